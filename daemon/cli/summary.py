"""The summary of a sweep, for the person who waits for its end: a table, figures, files that need a look."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from daemon.report.logging import escaped
from daemon.report.observers import Observer
from daemon.report.outcomes import Sums
from lib.names import kind_of, sidecar_name
from lib.render.statistics import bars

if TYPE_CHECKING:
    from lib.errors import SidecarError
    from lib.names import Kind
    from lib.outcome import Figures, Outcome, Result
    from lib.sync.walk import Found, Task

_ROWS: Final[dict[Kind | None, str]] = {
    "completions": "completions",
    "full_texts": "full texts",
    None: "other paths",
}
_SHOWN_LIMIT: Final = 20
_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB")


@dataclass(frozen=True, slots=True)
class _Attention:
    """A file that somebody should look at."""

    path: str
    reason: str
    hint: str


class _Files:
    """The first few files of a sort, and how many there are."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._first: list[_Attention] = []
        self._count = 0

    def add(self, path: str, reason: str, hint: str) -> None:
        self._count += 1
        if self._count <= _SHOWN_LIMIT:
            self._first.append(_Attention(path, reason, hint))

    def lines(self) -> list[str]:
        if not self._count:
            return []
        lines = ["", f"{_counted(self._count, 'file')} {self._what}:"]
        for file in self._first:
            lines += [f"  {escaped(file.path)}", f"      {escaped(file.reason)}"]
            lines += [f"      {escaped(file.hint)}"] if file.hint else []
        if self._count > _SHOWN_LIMIT:
            lines.append(f"  … and {self._count - _SHOWN_LIMIT:,} more, each in a line above")
        return lines


class Summary(Observer):
    """Adds up a sweep, kind by kind; one object a sweep."""

    def __init__(self) -> None:
        self._sums: dict[Kind | None, Sums] = {kind: Sums() for kind in _ROWS}
        self._bytes: Counter[Kind | None] = Counter()
        self._figures: Counter[str] = Counter()
        self._shortest = sys.maxsize
        self._longest = 0
        self._by_length: Counter[int] = Counter()
        self._failed = _Files("failed")
        self._kept = _Files("kept")

    def add(self, kind: Kind | None, result: Result, count: int = 1) -> None:
        """Count sidecars of one result."""
        self._sums[kind].add(result, count)

    def fresh(self, found: Found) -> None:
        """Count the sidecars of a source that is up to date."""
        self.add(kind_of(found.task.name), "fresh", len(found.plans))

    def finished(self, task: Task, outcome: Outcome | None, now: float) -> None:  # noqa: ARG002 (as declared)
        """Count all sidecars of a source."""
        if outcome is None:
            return
        self._sums[outcome.kind].add_outcome(outcome)
        self._bytes[outcome.kind] += outcome.bytes
        if outcome.result == "failed":
            self._failed.add(task.path, outcome.trouble, outcome.hint)
        for verdict in outcome.verdicts:
            if verdict.result == "kept":
                page = os.path.join(os.path.dirname(task.path), sidecar_name(task.name, verdict.fmt))
                self._kept.add(page, verdict.reason, verdict.hint)
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

    def failed_path(self, path: str, error: SidecarError) -> None:
        """Count a path that could not be looked at."""
        self._sums[kind_of(os.path.basename(path))].failed += 1
        self._failed.add(path, error.reason, error.hint)

    def total(self) -> Sums:
        """Return the sums over all kinds."""
        total = Sums()
        for sums in self._sums.values():
            for result, count in sums.as_fields().items():
                setattr(total, result, getattr(total, result) + count)
        return total

    def text(self, seconds: float) -> str:
        """Return the whole summary, a line break at its end."""
        lines = [*self._table(), "", *self._read(), f"It took {_duration(seconds)}."]
        return "\n".join([*lines, *self._failed.lines(), *self._kept.lines(), ""])

    def _table(self) -> list[str]:
        results = list(Sums().as_fields())
        rows = [["sidecars", *results, "written"]]
        for kind, label in _ROWS.items():
            fields = self._sums[kind].as_fields()
            if kind is not None or any(fields.values()):
                rows.append([label, *(f"{fields[result]:,}" for result in results), size(self._bytes[kind])])
        total = self.total().as_fields()
        rows.append(["total", *(f"{total[result]:,}" for result in results), size(self._bytes.total())])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return ["  ".join(_cells(row, widths)) for row in rows]

    def _read(self) -> list[str]:
        figures = self._figures
        if not figures["sources"]:
            return []
        read = f"Read {_counted(figures['sources'], 'source')}: {_counted(figures['items'], 'item')}"
        return [
            f"{read}, {figures['blank']:,} blank, {figures['distinct']:,} distinct in their files.",
            *self._lengths(),
        ]

    def _lengths(self) -> list[str]:
        """Return the line that shows how long the texts are, if there were any."""
        counts = [self._by_length[power] for power in range(max(self._by_length, default=-1) + 1)]
        while counts and not counts[0]:
            del counts[0]
        if not counts:
            return []
        longest = _counted(self._longest, "character")
        if len(counts) == 1:
            return [f"The longest text has {longest}."]
        return [
            f"Lengths: {self._shortest:,} {bars(counts)} {longest}; each bar goes twice as far as the last."
        ]


def size(count: int) -> str:
    """Write a number of bytes for people.

    >>> size(0), size(999), size(1_000), size(3_400_000_000)
    ('0 bytes', '999 bytes', '1.0 kB', '3.4 GB')
    """
    power = 0
    while count >= 1000 ** (power + 1) and power < len(_UNITS) - 1:
        power += 1
    return f"{count / 1000**power:.1f} {_UNITS[power]}" if power else f"{count} bytes"


def _cells(row: list[str], widths: list[int]) -> list[str]:
    first = row[0].ljust(widths[0])
    return [first, *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
