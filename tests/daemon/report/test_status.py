"""The health that a status reports, and its JSON."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

import pytest
from reports import FAILED, HOSTILE, KEPT, NOW, status

from daemon.report.status import Reading, Status, Trouble, TroubleTable, exit_status, render_json
from daemon.report.systemd import FailedUnit

UNIT = FailedUnit("generation-sidecars.service", "exit-code, status 2")


@pytest.mark.parametrize(("late", "expected"), [(0, "running"), (28, "running"), (29, "stuck")])
def test_a_service_that_missed_three_updates_is_stuck(late: int, expected: str) -> None:
    """It is alive, but its loop is not running."""
    assert Reading(status()).condition(NOW + timedelta(seconds=late)) == expected


def test_a_service_without_its_lock_died() -> None:
    """The age of its file does not matter."""
    assert Reading(status(), is_alive=False).condition(NOW) == "died"


def test_the_exit_status_says_how_it_is() -> None:
    """It is 0 if all is well, 3 without a service, else 1."""
    well, died = Reading(status()), Reading(status(), is_alive=False)
    failing = Reading(status(counts={"failed": 1, "kept": 1}))
    assert exit_status([], NOW) == 3
    assert exit_status([died], NOW) == 3
    assert exit_status([well, Reading(status(counts={"kept": 1, "skipped": 1}))], NOW) == 0
    assert exit_status([well, failing], NOW) == 1
    assert exit_status([well], NOW + timedelta(hours=1)) == 1
    assert exit_status([well, died], NOW) == 1


def test_fault_65_a_rejected_configuration_and_a_failed_unit_are_ill() -> None:
    """Both need a person."""
    assert exit_status([Reading(status(rejected=("work.jobs: found 0",)))], NOW) == 1
    assert exit_status([], NOW, UNIT) == 1


def test_the_json_is_for_programs() -> None:
    """It has every field and the condition; any path is read back unchanged."""
    told = status(troubles=(dataclasses.replace(FAILED, path=HOSTILE), KEPT))
    text = render_json([Reading(told)], NOW)
    (entry,) = json.loads(text)
    assert text.isascii()
    assert entry["condition"] == "running"
    assert entry["roots"] == ["/exp"]
    assert entry["troubles"][0]["path"] == HOSTILE
    assert set(entry) == {field.name for field in dataclasses.fields(Status)} | {"condition"}


def test_the_json_has_a_unit_that_failed() -> None:
    """A monitor sees which unit to look at."""
    (entry,) = json.loads(render_json([], NOW, UNIT))
    assert (entry["condition"], entry["name"]) == ("failed", "generation-sidecars.service")


def put(table: TroubleTable, key: object, trouble: Trouble, **changes: str) -> bool:
    """Put a trouble into a table."""
    trouble = dataclasses.replace(trouble, **changes)
    return table.put(key, trouble.path, trouble.state, trouble.reason, trouble.hint)


def test_a_trouble_stays_until_it_is_dropped_or_replaced() -> None:
    """A key has one state at a time."""
    table = TroubleTable()
    put(table, "a", FAILED)
    put(table, "b", KEPT)
    assert +table.counts == {"failed": 1, "kept": 1}
    put(table, "b", FAILED, path="/exp/b")
    table.drop("a")
    table.drop("unknown")
    assert +table.counts == {"failed": 1}
    assert [json.loads(entry)["path"] for entry in table.entries()] == ["/exp/b"]


def test_every_change_counts() -> None:
    """The version shows whether there is something to write."""
    table = TroubleTable()
    seen = [table.version]
    for change in (
        lambda: put(table, 1, FAILED),
        lambda: put(table, 1, FAILED, reason="the disk is read-only"),
        lambda: table.drop(1),
    ):
        change()
        seen.append(table.version)
    table.drop(1)
    assert len(set(seen)) == 4
    assert table.version == seen[-1]


def test_a_state_keeps_its_beginning() -> None:
    """The time is that of the first failure, even if the reason changes."""
    clock = iter((0.0, 60.0))
    table = TroubleTable(clock.__next__)
    assert put(table, 1, FAILED)
    version = table.version
    assert not put(table, 1, FAILED)
    assert table.version == version
    assert put(table, 1, FAILED, reason="it is corrupt")
    assert since(table) == "1970-01-01T00:00:00+00:00"
    assert put(table, 1, FAILED, state="skipped")
    assert since(table) == "1970-01-01T00:01:00+00:00"


def since(table: TroubleTable) -> str:
    """Return the time of the only entry."""
    [entry] = table.entries()
    return str(json.loads(entry)["since"])
