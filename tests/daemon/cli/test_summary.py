"""The summary at the end of a sweep."""

from __future__ import annotations

import os
from typing import Any

from daemon.cli.summary import Summary
from daemon.report.outcomes import Done
from lib.errors import Corrupt, Storage
from lib.options import Options
from lib.outcome import Figures, Outcome, Verdict, failure
from lib.sync.walk import Found, PathFailure, Task

TEXT = """\
sidecars     rendered  adopted  fresh  kept  skipped  failed  written
completions         1        0  1,374     1        0       2   3.4 MB
full texts          0        0      0     0        0       0  0 bytes
other paths         0        0      0     0        0       1  0 bytes
total               1        0  1,374     1        0       3   3.4 MB

Read 1 source: 1,000 items, 97 blank, 12 distinct within their files.
Lengths: 1 ▇▁▂ 4,003 characters; lengths double from bar to bar.
It took 2 min 5 s.

2 files failed:
  x/bad_completions.npy
      it is cut short
      Generate it again.
  x/\\x1blocked
      the directory cannot be opened: Permission denied
      Ask.

1 file kept:
  x/a_completions.md
      edited after it was written
      Use --force.
"""


def outcome(name: str, *verdicts: Verdict, **more: object) -> Outcome:
    """Make an outcome of completions."""
    return Outcome(name, "completions", verdicts, **more)  # type: ignore[arg-type]


def look_fresh(summary: Summary, name: str, sidecars: int) -> None:
    """Report a fresh source with this many sidecars."""
    plans: Any = (None,) * sidecars
    summary.notice(Found(Task("x", (), name), os.stat("/"), plans), 0.0)


def test_a_summary_line_by_line() -> None:
    """It has sidecars by kind and result, figures, the time, and every file that needs attention."""
    summary = Summary()
    look_fresh(summary, "a_completions.npy", 1374)
    done = (
        Verdict("json", "rendered", ""),
        Verdict("md", "kept", "edited after it was written", "Use --force."),
    )
    figures = Figures(1000, 97, 12, 3.0, 4003, 1, (0, 999, 0, 1))
    made = outcome("a_completions.npy", *done, figures=figures, bytes=3_400_000)
    summary.notice(Done(Task("x", (), "a_completions.npy"), made), 0.0)
    bad = Corrupt("it is cut short", hint="Generate it again.")
    failed = failure("bad_completions.npy", Options(), bad)
    summary.notice(Done(Task("x", (), "bad_completions.npy"), failed), 0.0)
    denied = Storage("the directory cannot be opened: Permission denied", hint="Ask.")
    summary.notice(PathFailure("x/\x1blocked", denied), 0.0)
    assert summary.text(125.0) == TEXT


def test_a_sweep_with_nothing_to_do_is_short() -> None:
    """It has only the table and the time."""
    summary = Summary()
    look_fresh(summary, "a_full_texts.npy", 4)
    lines = summary.text(0.04).splitlines()
    assert lines[1:] == [
        "completions         0        0      0     0        0       0  0 bytes",
        "full texts          0        0      4     0        0       0  0 bytes",
        "total               0        0      4     0        0       0  0 bytes",
        "",
        "It took 0.0 s.",
    ]


def test_very_many_failures_are_counted() -> None:
    """Only twenty are listed; all of them were logged."""
    summary = Summary()
    for number in range(1005):
        summary.notice(PathFailure(f"d{number}", Storage("no")), 0.0)
    text = summary.text(4000)
    assert "1,005 files failed:" in text
    assert "  d19\n" in text
    assert "  d20\n" not in text
    assert "… and 985 more" in text
    assert "It took 1 h 6 min." in text
