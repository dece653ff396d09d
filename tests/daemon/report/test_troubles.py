"""The table of sources without fresh sidecars: what it holds."""

from __future__ import annotations

import dataclasses
import json

from reports import FAILED, KEPT

from daemon.report.troubles import TroubleTable


def test_a_trouble_stays_until_it_is_dropped_or_replaced() -> None:
    """A key has one state at a time."""
    table = TroubleTable()
    table.put("a", FAILED)
    table.put("b", KEPT)
    assert +table.counts == {"failed": 1, "kept": 1}
    table.put("b", dataclasses.replace(FAILED, path="/exp/b"))
    table.drop("a")
    table.drop("unknown")
    assert +table.counts == {"failed": 1}
    assert [json.loads(entry)["path"] for entry in table.entries()] == ["/exp/b"]


def test_every_change_counts() -> None:
    """The version shows whether there is something to write."""
    table = TroubleTable()
    seen = [table.version]
    other = dataclasses.replace(FAILED, reason="the disk is read-only")
    for change in (lambda: table.put(1, FAILED), lambda: table.put(1, other), lambda: table.drop(1)):
        change()
        seen.append(table.version)
    table.drop(1)
    assert len(set(seen)) == 4
    assert table.version == seen[-1]


def test_a_state_keeps_its_beginning() -> None:
    """The status says since when a source fails, not when it failed last, or began to fail otherwise."""
    table = TroubleTable()
    assert table.put(1, FAILED)
    version, later = table.version, dataclasses.replace(FAILED, since="2026-11-23T23:00:00+00:00")
    assert not table.put(1, later)
    assert table.version == version
    assert table.put(1, dataclasses.replace(later, reason="it is corrupt"))
    assert since(table) == FAILED.since
    assert table.put(1, dataclasses.replace(later, state="skipped"))
    assert since(table) == later.since


def since(table: TroubleTable) -> str:
    """Return the beginning of the only entry."""
    [entry] = table.entries()
    return str(json.loads(entry)["since"])
