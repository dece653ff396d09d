"""What happens to sources: events for the observers of the work, and their lines in the log."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from daemon.report import events

if TYPE_CHECKING:
    from daemon.report.status import Status
    from lib.outcome import Outcome, Result
    from lib.sync.walk import Found, PathFailure, Task

RESULTS: Final[tuple[Result, ...]] = ("rendered", "adopted", "fresh", "kept", "skipped", "failed")
"""The fields of ``sweep.finished``.  A path that cannot be read or written counts as failed."""
_FIGURES: Final = ("records", "blank", "distinct", "median_length", "longest_length")


@dataclass(frozen=True, slots=True)
class Done:
    """A source had its turn; ``outcome`` is None if it was not converted."""

    task: Task
    outcome: Outcome | None


class Walk(Enum):
    """The walk of a sweep begins, or has seen everything."""

    BEGUN = "begun"
    ENDED = "ended"


Event: TypeAlias = "Found | PathFailure | Done | Walk | Status"
"""``Found``: a sweep found this source fresh.  ``PathFailure``: a path cannot be read or written."""


class Observer(Protocol):
    """Something that is told about the work, always from the same thread."""

    def notice(self, event: Event, now: float, /) -> None:
        """Act on an event; ``now`` is monotonic seconds."""


def log_outcome(
    log: Any, task: Task, outcome: Outcome, *, attempt: int = 1, retry_seconds: float | None = None
) -> None:
    """Log the outcome of one source, unless all its sidecars were fresh.

    ``attempt``: the number of the failed attempt, from 1; ``retry_seconds``: the time until the next one,
    None if it waits for a change or for the next sweep.
    """
    where = {"source": task.path, "kind": outcome.kind}
    for warning in outcome.warnings:
        log.warning(events.METADATA_UNREADABLE, source=task.path, reason=warning)
    formats = [verdict.fmt for verdict in outcome.verdicts if verdict.result == "rendered"]
    if formats and outcome.figures is not None:
        figures = {name: getattr(outcome.figures, name) for name in _FIGURES}
        more = {"bytes": outcome.bytes, "seconds": round(outcome.seconds, 4)}
        log.info(events.SIDECARS_WRITTEN, **where, formats=formats, **figures, **more)
    for verdict in outcome.verdicts:
        which = {"source": task.path, "format": verdict.fmt}
        if verdict.result == "adopted":
            log.info(events.SIDECAR_ADOPTED, **which)
        elif verdict.result == "kept":
            log.warning(events.SIDECAR_KEPT, **which, reason=verdict.reason, hint=verdict.hint)
    why = {"reason": outcome.reason, "hint": outcome.hint}
    if outcome.result == "skipped":
        log.info(events.SOURCE_SKIPPED, **where, **why)
    elif outcome.result == "failed":
        if retry_seconds is not None:
            why["hint"] = f"{outcome.hint} It is retried automatically.".lstrip()
        log.error(events.SOURCE_FAILED, **where, **why, attempt=attempt, retry_seconds=retry_seconds)


def log_unstamped(log: Any, task: Task, outcome: Outcome) -> None:
    """Log that a sidecar is up to date, but that its file system does not keep its stamp."""
    verdict = next(verdict for verdict in outcome.verdicts if verdict.unstamped)
    hint = "Such sidecars are compared by content: once by the service, and in every --backfill."
    log.warning(
        events.SIDECAR_ADOPTED, source=task.path, format=verdict.fmt, reason=verdict.reason, hint=hint
    )


def log_failure(log: Any, failure: PathFailure) -> None:
    """Log a path that could not be read."""
    why = {"reason": failure.error.reason, "hint": failure.error.hint}
    log.error(events.SOURCE_FAILED, source=failure.path, **why, attempt=1, retry_seconds=None)
