"""Sources without fresh sidecars, kept as they come and go, so that a report of many costs little."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from daemon.report.status import SourceReport

Key = TypeVar("Key")
Value = TypeVar("Value")


class TroubleTable:
    """Troubles by path, each encoded as JSON when it comes; those that are skipped stand under their reason.

    ``counts``: by state; ``version`` grows with every change.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.version = 0
        self._entries: dict[str, tuple[str, str]] = {}
        self._skipped: dict[tuple[str, str], dict[str, str]] = {}
        self._groups: dict[str, tuple[str, str]] = {}

    def put(self, trouble: SourceReport) -> None:
        """Add a trouble, in the place of what was known of its path."""
        self.drop(trouble.path)
        self.counts[trouble.state] += 1
        self.version += 1
        if trouble.state == "skipped":
            group = self._groups[trouble.path] = (trouble.reason, trouble.hint)
            files = self._skipped.setdefault(group, {})
            files[trouble.path] = json.dumps([trouble.path, trouble.since])
        else:
            self._entries[trouble.path] = (trouble.state, json.dumps(asdict(trouble)))

    def drop(self, path: str) -> None:
        """Remove what is known of a path, if anything."""
        entry, group = self._entries.pop(path, None), self._groups.pop(path, None)
        if entry is None and group is None:
            return
        self.version += 1
        self.counts[entry[0] if entry else "skipped"] -= 1
        if group is not None:
            del self._skipped[group][path]
            if not self._skipped[group]:
                del self._skipped[group]

    def entries(self) -> list[str]:
        """Return the JSON of each trouble that is not skipped."""
        return [text for _, text in self._entries.values()]

    def skipped(self) -> list[tuple[str, list[str]]]:
        """Return the groups of skipped sources, as JSON: reason and hint, and each file with its time."""
        return [
            (json.dumps({"reason": reason, "hint": hint}), list(files.values()))
            for (reason, hint), files in self._skipped.items()
        ]


class Reported(dict[Key, Value]):
    """A dictionary whose entries stand in a table too, but for those that are no trouble.

    Only item assignment and :meth:`pop` change it.
    """

    def __init__(self, table: TroubleTable, trouble_of: Callable[[Key, Value], SourceReport | None]) -> None:
        super().__init__()
        self._table = table
        self._trouble_of = trouble_of

    def __setitem__(self, key: Key, value: Value) -> None:
        super().__setitem__(key, value)
        trouble = self._trouble_of(key, value)
        if trouble is not None:
            self._table.put(trouble)

    def pop(self, key: Key, default: Value | None = None) -> Value | None:  # type: ignore[override]  # one shape suffices
        """Remove an entry and return it; ``default`` where there is none."""
        value = super().pop(key, None)
        if value is None:
            return default
        trouble = self._trouble_of(key, value)
        if trouble is not None:
            self._table.drop(trouble.path)
        return value


def counts_of(tables: Iterable[TroubleTable]) -> dict[str, int]:
    """Return the number of troubles by state, over several tables."""
    total = Counter[str]()
    for table in tables:
        total.update(table.counts)
    return {state: count for state, count in total.items() if count}
