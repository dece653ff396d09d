"""Outcomes as log events, in the same words for a sweep and the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from daemon.report.events import (
    METADATA_UNREADABLE,
    SIDECAR_ADOPTED,
    SIDECAR_KEPT,
    SIDECARS_WRITTEN,
    SOURCE_FAILED,
    SOURCE_SKIPPED,
)

if TYPE_CHECKING:
    from lib.errors import SidecarError
    from lib.outcome import Outcome, Result
    from lib.sync.walk import Task


RESULTS: Final[tuple[Result, ...]] = ("rendered", "adopted", "fresh", "kept", "skipped", "failed")
"""What a sweep counts sidecars by, in this order.  A path that could not be looked at counts as failed."""


def log_outcome(
    log: Any,
    task: Task,
    outcome: Outcome,
    seconds: float,
    *,
    attempt: int = 1,
    retry_seconds: float | None = None,
) -> None:
    """Log what became of one source; a source whose sidecars are all fresh is no event.

    ``attempt`` and ``retry_seconds`` are for a failure: which attempt it was, from 1, and when the next will
    be, None where only a change of the file helps, or the next sweep.
    """
    for warning in outcome.warnings:
        log.warning(METADATA_UNREADABLE, source=task.path, reason=warning)
    _log_written(log, task, outcome, seconds)
    for verdict in outcome.verdicts:
        if verdict.result == "adopted":
            log.info(SIDECAR_ADOPTED, source=task.path, format=verdict.fmt)
        elif verdict.result == "kept":
            log.warning(
                SIDECAR_KEPT, source=task.path, format=verdict.fmt, reason=verdict.reason, hint=verdict.hint
            )
    if outcome.result == "skipped":
        log.info(
            SOURCE_SKIPPED, source=task.path, kind=outcome.kind, reason=outcome.trouble, hint=outcome.hint
        )
    elif outcome.result == "failed":
        log.error(
            SOURCE_FAILED,
            source=task.path,
            kind=outcome.kind,
            reason=outcome.trouble,
            hint=outcome.hint if retry_seconds is None else with_retry(outcome.hint),
            attempt=attempt,
            retry_seconds=retry_seconds,
        )


def with_retry(hint: str) -> str:
    """Add to a hint that the work is retried: a service does that, a single sweep does not."""
    return f"{hint} It is retried automatically.".lstrip()


def log_unstamped(log: Any, task: Task, outcome: Outcome) -> None:
    """Log, for the first such source, that sidecars are right and do not keep their stamp."""
    verdict = next(verdict for verdict in outcome.verdicts if verdict.unstamped)
    hint = "Such sidecars are compared instead: once by the service, in every sweep by --backfill."
    log.warning(SIDECAR_ADOPTED, source=task.path, format=verdict.fmt, reason=verdict.reason, hint=hint)


def log_trouble(log: Any, path: str, error: SidecarError) -> None:
    """Log a path that could not even be looked at."""
    log.error(SOURCE_FAILED, source=path, reason=error.reason, hint=error.hint, attempt=1, retry_seconds=None)


def _log_written(log: Any, task: Task, outcome: Outcome, seconds: float) -> None:
    formats = [verdict.fmt for verdict in outcome.verdicts if verdict.result == "rendered"]
    if formats and outcome.figures is not None:
        log.info(
            SIDECARS_WRITTEN,
            source=task.path,
            kind=outcome.kind,
            formats=formats,
            records=outcome.figures.records,
            blank=outcome.figures.blank,
            distinct=outcome.figures.distinct,
            median_length=outcome.figures.median_length,
            longest_length=outcome.figures.longest_length,
            bytes=outcome.bytes,
            seconds=round(seconds, 4),
        )
