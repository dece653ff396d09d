"""The health that a status reports, and its JSON."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

import pytest
from reports import FAILED, HOSTILE, KEPT, NOW, status

from daemon.report.status import Reading, Status, TroubleTable, exit_status, render_json
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
    """The time is that of the first failure, even if the reason changes."""
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
    """Return the time of the only entry."""
    [entry] = table.entries()
    return str(json.loads(entry)["since"])
