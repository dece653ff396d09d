"""The table of sources without fresh sidecars: what it holds."""

from __future__ import annotations

import dataclasses
import json

from reports import FAILED, KEPT

from daemon.report.status import SourceReport
from daemon.report.troubles import Reported, TroubleTable, counts_of

SKIPPED = SourceReport(
    "/exp/t_completions.npy", "skipped", "it holds numbers", "", "2026-11-23T11:00:00+00:00"
)


def rows(table: TroubleTable) -> list[dict[str, object]]:
    """Return everything that a table reports."""
    groups = [{**json.loads(head), "files": [*map(json.loads, files)]} for head, files in table.skipped()]
    return [*map(json.loads, table.entries()), *groups]


def test_a_trouble_stands_until_it_is_dropped_or_replaced() -> None:
    """A path has one state at a time."""
    table = TroubleTable()
    for trouble in (FAILED, KEPT, SKIPPED):
        table.put(trouble)
    assert table.counts == {"failed": 1, "kept": 1, "skipped": 1}
    table.put(dataclasses.replace(SKIPPED, state="failed"))
    table.drop(KEPT.path)
    table.drop("/unknown")
    assert counts_of([table, TroubleTable()]) == {"failed": 2}
    assert [row["path"] for row in rows(table)] == [FAILED.path, SKIPPED.path]


def test_skipped_sources_stand_under_their_reason() -> None:
    """A hundred thousand of them share a sentence."""
    table = TroubleTable()
    table.put(SKIPPED)
    table.put(dataclasses.replace(SKIPPED, path="/exp/b"))
    table.put(dataclasses.replace(SKIPPED, path="/exp/c", reason="it holds records"))
    assert [(row["reason"], len(row["files"])) for row in rows(table)] == [  # type: ignore[arg-type]
        ("it holds numbers", 2),
        ("it holds records", 1),
    ]
    table.drop("/exp/c")
    assert len(rows(table)) == 1


def test_every_change_counts() -> None:
    """The version says whether there is something to write."""
    table = TroubleTable()
    seen = [table.version]
    for change in (lambda: table.put(FAILED), lambda: table.put(FAILED), lambda: table.drop(FAILED.path)):
        change()
        seen.append(table.version)
    table.drop(FAILED.path)
    assert len(set(seen)) == 4
    assert table.version == seen[-1]


def test_a_dictionary_is_reported_as_it_changes() -> None:
    """Whoever keeps the outcomes need not know of the report."""
    table = TroubleTable()
    known: Reported[str, str] = Reported(table, lambda path, reason: SourceReport(path, "failed", reason))
    known["/a"] = "x"
    known["/a"] = "y"
    assert [row["reason"] for row in rows(table)] == ["y"]
    assert known.pop("/a") == "y"
    assert known.pop("/a") is None
    assert rows(table) == []
