"""The summary of a sweep: a table, figures, and the files that need attention."""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Final

from daemon.report.logging import escaped
from daemon.report.outcomes import RESULTS, Done, Event
from daemon.report.status_text import duration
from lib.names import Kind, kind_of, sidecar_name
from lib.outcome import bars
from lib.sync.walk import Found, PathFailure, Task

if TYPE_CHECKING:
    from lib.outcome import Figures, Outcome, Result

_ROWS: Final[dict[Kind | None, str]] = {
    "completions": "completions",
    "full_texts": "full texts",
    None: "other paths",
}
_SHOWN_LIMIT: Final = 20
_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB")


class Summary:
    """An observer that adds up the results of one sweep by kind."""

    def __init__(self) -> None:
        self._sums: dict[Kind | None, Counter[str]] = {kind: Counter() for kind in _ROWS}
        self._figures: Counter[str] = Counter()
        self._shortest = sys.maxsize
        self._longest = 0
        self._by_length: Counter[int] = Counter()
        self._files: Counter[Result] = Counter()
        self._shown: dict[Result, list[str]] = {"failed": [], "kept": []}

    def notice(self, event: Event, _now: float) -> None:
        """Count the sidecars of a source; a path that cannot be read or written counts as one."""
        if isinstance(event, Found):
            self._sums[kind_of(event.task.name)]["fresh"] += len(event.plans)
        elif isinstance(event, PathFailure):
            self._sums[kind_of(os.path.basename(event.path))]["failed"] += 1
            self._list("failed", event.path, event.error.reason, event.error.hint)
        elif isinstance(event, Done) and event.outcome is not None:
            self._add(event.task, event.outcome)

    def _add(self, task: Task, outcome: Outcome) -> None:
        """Count the sidecars of a source that was converted."""
        self._sums[outcome.kind].update(verdict.result for verdict in outcome.verdicts)
        self._sums[outcome.kind]["bytes"] += outcome.bytes
        if outcome.result == "failed":
            self._list("failed", task.path, outcome.reason, outcome.hint)
        for verdict in outcome.verdicts:
            if verdict.result == "kept":
                page = os.path.join(os.path.dirname(task.path), sidecar_name(task.name, verdict.fmt))
                self._list("kept", page, verdict.reason, verdict.hint)
        if outcome.figures is not None:
            self._add_figures(outcome.figures)

    def _add_figures(self, figures: Figures) -> None:
        self._figures.update(
            items=figures.records, blank=figures.blank, distinct=figures.distinct or 0, sources=1
        )
        self._by_length.update(dict(enumerate(figures.by_length)))
        self._longest = max(self._longest, figures.longest_length or 0)
        if figures.shortest_length is not None:
            self._shortest = min(self._shortest, figures.shortest_length)

    def _list(self, result: Result, path: str, *texts: str) -> None:
        """Count a file that needs attention; keep the lines for the first few."""
        self._files[result] += 1
        if self._files[result] <= _SHOWN_LIMIT:
            self._shown[result] += [
                f"  {escaped(path)}",
                *(f"      {escaped(text)}" for text in texts if text),
            ]

    def text(self, seconds: float) -> str:
        """Return the summary with a final newline."""
        time = duration(seconds) if seconds >= 60 else f"{seconds:.1f} s"
        lines = [*self._table(), "", *self._read(), f"It took {time}."]
        for result, shown in self._shown.items():
            if count := self._files[result]:
                lines += ["", f"{_counted(count, 'file')} {result}:", *shown]
            if count > _SHOWN_LIMIT:
                lines.append(f"  … and {count - _SHOWN_LIMIT:,} more: see the log lines above")
        return "\n".join([*lines, ""])

    def _table(self) -> list[str]:
        sums = {label: self._sums[kind] for kind, label in _ROWS.items() if kind or self._sums[kind]}
        sums["total"] = sum(self._sums.values(), Counter())
        rows = [["sidecars", *RESULTS, "written"]]
        for label, counts in sums.items():
            rows.append([label, *(f"{counts[result]:,}" for result in RESULTS), size(counts["bytes"])])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]

    def _read(self) -> list[str]:
        figures = self._figures
        if not figures["sources"]:
            return []
        read = f"Read {_counted(figures['sources'], 'source')}: {_counted(figures['items'], 'item')}"
        more = f"{figures['blank']:,} blank, {figures['distinct']:,} distinct within their files."
        return [f"{read}, {more}", *self._lengths()]

    def _lengths(self) -> list[str]:
        """Return the line about the lengths of the texts, if there were any."""
        powers = [power for power, count in self._by_length.items() if count]
        if not powers:
            return []
        longest = _counted(self._longest, "character")
        if len(powers) == 1:
            return [f"The longest text has {longest}."]
        drawn = bars([self._by_length[power] for power in range(min(powers), max(powers) + 1)])
        return [f"Lengths: {self._shortest:,} {drawn} {longest}; lengths double from bar to bar."]


def size(count: float) -> str:
    """Return a number of bytes in a readable unit.

    >>> size(0), size(999), size(1_000), size(3_400_000_000)
    ('0 bytes', '999 bytes', '1.0 kB', '3.4 GB')
    """
    power = 0
    while count >= 1000 and power < len(_UNITS) - 1:
        count, power = count / 1000, power + 1
    return f"{count:.1f} {_UNITS[power]}" if power else f"{count} bytes"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
