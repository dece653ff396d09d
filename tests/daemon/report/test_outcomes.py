"""Outcomes as log events, compared by equality."""

from __future__ import annotations

from typing import Any

from doubles import Log

from daemon.report.outcomes import log_failure, log_outcome
from lib.errors import NotText, Storage
from lib.options import Options
from lib.outcome import Figures, Outcome, Verdict, failure
from lib.sync.walk import PathFailure, Task

TASK = Task("/r", ("d",), "n1_completions.npy")
PATH = "/r/d/n1_completions.npy"


def outcome(*verdicts: Verdict, **more: Any) -> Outcome:
    """Make an outcome with these verdicts."""
    return Outcome(TASK.name, "completions", verdicts, **more)


def events(result: Outcome, **retry: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """Log one outcome; return the events."""
    log = Log()
    log_outcome(log, TASK, result, **retry)
    return log.events


def test_what_was_written_is_one_event_with_its_figures() -> None:
    """It names only the formats that were rendered."""
    figures = Figures(records=3, blank=1, distinct=2, median_length=4.0, longest_length=9)
    verdicts = (Verdict("json", "rendered", "absent"), Verdict("md", "fresh", "up to date"))
    assert events(outcome(*verdicts, figures=figures, bytes=77, seconds=0.123456)) == [
        (
            "info",
            "sidecars.written",
            {
                "source": PATH,
                "kind": "completions",
                "formats": ["json"],
                "records": 3,
                "blank": 1,
                "distinct": 2,
                "median_length": 4.0,
                "longest_length": 9,
                "bytes": 77,
                "seconds": 0.1235,
            },
        )
    ]


def test_a_fresh_source_is_not_logged() -> None:
    """Nothing was written."""
    assert events(outcome(Verdict("json", "fresh", "up to date"))) == []


def test_an_adopted_sidecar_and_a_kept_one_have_their_events() -> None:
    """A kept sidecar is a warning with a hint."""
    verdicts = (Verdict("json", "adopted", "the same"), Verdict("md", "kept", "edited", "Use --force."))
    assert events(outcome(*verdicts)) == [
        ("info", "sidecar.adopted", {"source": PATH, "format": "json"}),
        (
            "warning",
            "sidecar.kept",
            {"source": PATH, "format": "md", "reason": "edited", "hint": "Use --force."},
        ),
    ]


def test_a_skipped_source_says_why() -> None:
    """Data without text is not an error."""
    assert events(failure(TASK.name, Options(), NotText("it holds int64"))) == [
        (
            "info",
            "source.skipped",
            {"source": PATH, "kind": "completions", "reason": "it holds int64", "hint": NotText.hint_default},
        )
    ]


def test_a_failed_source_says_why_and_when_it_is_tried_again() -> None:
    """There is no time where only a change of the file helps, or in a sweep."""
    error = failure(TASK.name, Options(), Storage("full", hint="Make room."))
    fields = {"source": PATH, "kind": "completions", "reason": "full", "hint": "Make room."}
    final = fields | {"attempt": 1, "retry_seconds": None}
    assert events(error) == [("error", "source.failed", final)]
    retried = events(error, attempt=2, retry_seconds=2.0)
    again = {"hint": "Make room. It is retried automatically.", "attempt": 2, "retry_seconds": 2.0}
    assert retried == [("error", "source.failed", fields | again)]


def test_metadata_that_cannot_be_read_is_a_warning() -> None:
    """The page is made anyway."""
    result = outcome(Verdict("md", "fresh", "up to date"), warnings=("no JSON",))
    assert events(result) == [("warning", "metadata.unreadable", {"source": PATH, "reason": "no JSON"})]


def test_a_path_that_cannot_be_looked_at_is_a_failure() -> None:
    """The event has reason and hint."""
    log = Log()
    log_failure(log, PathFailure("/r/d", Storage("denied", hint="Give permission.")))
    fields = {"source": "/r/d", "reason": "denied", "hint": "Give permission."}
    fields |= {"attempt": 1, "retry_seconds": None}
    assert log.events == [("error", "source.failed", fields)]
