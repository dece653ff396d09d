"""Whether a source is at rest: pure functions of what was seen and of the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from daemon.workers.worker import seconds_in_tick
from lib.files.reader import file_version

if TYPE_CHECKING:
    from lib.sync.walk import Found

Version: TypeAlias = tuple[object, ...]
"""A source with its sidecars as they were seen: two of them are equal as long as nothing changes."""


def version_of(found: Found) -> Version:
    """Return the version of a source and of each of its sidecars."""
    sidecars = (
        (plan.action, plan.stamp_ns, plan.is_wide, plan.seen and file_version(plan.seen))
        for plan in found.plans
    )
    return (file_version(found.status), *sidecars)


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
