"""Outcomes as log events, in the same words for a sweep and the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from daemon.report import events

if TYPE_CHECKING:
    from lib.outcome import Outcome, Result
    from lib.sync.walk import PathFailure, Task

RESULTS: Final[tuple[Result, ...]] = ("rendered", "adopted", "fresh", "kept", "skipped", "failed")
"""The fields of ``sweep.finished``.  A path that could not be looked at or written counts as failed."""
_FIGURES: Final = ("records", "blank", "distinct", "median_length", "longest_length")


def log_outcome(
    log: Any, task: Task, outcome: Outcome, *, attempt: int = 1, retry_seconds: float | None = None
) -> None:
    """Log the outcome of one source; one whose sidecars are all fresh is not logged.

    ``attempt``: the number of a failed attempt, from 1; ``retry_seconds``: when the next one follows, None if
    it waits for a change or the next sweep.
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
    """Log that sidecars are up to date but do not keep their stamps here."""
    verdict = next(verdict for verdict in outcome.verdicts if verdict.unstamped)
    hint = "Such sidecars are compared instead: once by the service, each time by --backfill."
    log.warning(
        events.SIDECAR_ADOPTED, source=task.path, format=verdict.fmt, reason=verdict.reason, hint=hint
    )


def log_failure(log: Any, failure: PathFailure) -> None:
    """Log a path that could not be looked at."""
    why = {"reason": failure.error.reason, "hint": failure.error.hint}
    log.error(events.SOURCE_FAILED, source=failure.path, **why, attempt=1, retry_seconds=None)
