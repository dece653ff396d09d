"""Whether a source is at rest: pure functions of what was seen and of the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from daemon.workers.worker import seconds_in_tick

if TYPE_CHECKING:
    import os

    from lib.sync.plan import Action
    from lib.sync.walk import Found

FileVersion: TypeAlias = tuple[int, int, int]
"""Inode, size, and time in nanoseconds."""


class Version(NamedTuple):
    """A version of a source and of its sidecars; it is equal as long as nothing changes.

    Of a sidecar: what it needs, its stamp, whether it is too wide, and the file that is there.
    """

    source: FileVersion
    sidecars: tuple[tuple[Action, int, bool, FileVersion | None], ...]


def version_of(found: Found) -> Version:
    """Return the version of a source that was seen."""
    sidecars = (
        (plan.action, plan.stamp_ns, plan.is_wide, plan.seen and _version(plan.seen)) for plan in found.plans
    )
    return Version(_version(found.status), tuple(sidecars))


def _version(status: os.stat_result) -> FileVersion:
    return status.st_ino, status.st_size, status.st_mtime_ns


def seconds_to_wait(
    found: Found, settle_seconds: float, *, closed: bool, still_seconds: float, clock: float
) -> float:
    """Return how long a source, or an edited sidecar, must still stay unchanged; 0 when it is ready.

    ``closed``: its writer closed it.  ``still_seconds``: for how long it has been seen unchanged, which alone
    counts where a file's time is ahead of ``clock`` (seconds since the epoch).
    """
    for plan in found.plans:
        if plan.action == "compare" and plan.seen is not None:
            age = clock - plan.seen.st_mtime
            if 0 <= age < settle_seconds:
                return settle_seconds - age
    if closed:
        return seconds_in_tick(found.status, clock)
    age = clock - found.status.st_mtime
    return 0.0 if age >= settle_seconds else max(0.0, settle_seconds - still_seconds)
