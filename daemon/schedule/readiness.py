"""Whether a source is at rest, from what was seen of it: pure functions, time is passed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daemon.workers.worker import TICK_SECONDS

if TYPE_CHECKING:
    from lib.sync.walk import Found


def signature_of(found: Found) -> Any:
    """Return what a later look must find the same for nothing to have happened: source and sidecars."""
    status = found.status
    sidecars = tuple(
        (
            plan.action,
            plan.stamp_ns,
            plan.is_wide,
            plan.seen and (plan.seen.st_ino, plan.seen.st_size, plan.seen.st_mtime_ns),
        )
        for plan in found.plans
    )
    return (status.st_ino, status.st_size, status.st_mtime_ns, sidecars)


def seconds_to_wait(
    found: Found, settle_seconds: float, *, closed: bool, still_seconds: float, clock: float
) -> float:
    """Say how long a source, or somebody's edit of its sidecar, must still lie still; 0 when it is ready.

    ``closed``: its writer let go of it.  ``still_seconds``: for how long it has been seen unchanged.
    ``clock``: the time of day, epoch seconds; a time in its future says nothing, only watching does.
    """
    for plan in found.plans:
        if plan.action == "compare" and plan.seen is not None:
            age = clock - plan.seen.st_mtime
            if 0 <= age < settle_seconds:
                return settle_seconds - age
    age = clock - found.status.st_mtime
    if closed:
        return TICK_SECONDS - age if 0 <= age < TICK_SECONDS else 0.0
    return 0.0 if age >= settle_seconds else max(0.0, settle_seconds - still_seconds)
