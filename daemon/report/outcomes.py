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
"""The fields of ``sweep.finished``.  A path that could not be looked at or written counts as failed."""


def log_outcome(
    log: Any,
    task: Task,
    outcome: Outcome,
    seconds: float,
    *,
    attempt: int = 1,
    retry_seconds: float | None = None,
) -> None:
    """Log the outcome of one source; one whose sidecars are all fresh is not logged.

    ``attempt``: the number of a failed attempt, from 1; ``retry_seconds``: when the next one follows, None if
    it waits for a change or the next sweep.
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
    """Add to a hint that the source is retried."""
    return f"{hint} It is retried automatically.".lstrip()


def log_unstamped(log: Any, task: Task, outcome: Outcome) -> None:
    """Log that sidecars are up to date but do not keep their stamps here."""
    verdict = next(verdict for verdict in outcome.verdicts if verdict.unstamped)
    hint = "Such sidecars are compared instead: once by the service, each time by --backfill."
    log.warning(SIDECAR_ADOPTED, source=task.path, format=verdict.fmt, reason=verdict.reason, hint=hint)


def log_trouble(log: Any, path: str, error: SidecarError) -> None:
    """Log a path that could not be looked at."""
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
