"""The desk: what is worked on when, retried, left alone, and what is said about it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from doubles import NEVER, HandCrew, Log, task_of
from support import SECOND_NS, save

from daemon.schedule import queue as pending
from daemon.schedule import scheduler as module
from daemon.schedule.readiness import seconds_to_wait
from daemon.schedule.scheduler import Desk
from lib.errors import Changed, Corrupt, Interrupted, Storage, Unfinished, Vanished
from lib.options import Options
from lib.sync.walk import Found, look

if TYPE_CHECKING:
    from pathlib import Path

    from lib.outcome import Outcome
    from lib.sync.walk import Task

NAME = "n1_completions.npy"


class Office:
    """A desk with its crew and its log, and a clock that is turned by hand."""

    def __init__(self, folder: Path, settle_seconds: float = 0.5) -> None:
        self.crew, self.log, self.now = HandCrew(), Log(), 1000.0
        self.desk = Desk(self.crew, Options(), settle_seconds, self.log)  # type: ignore[arg-type]  # a double
        self.path = folder / NAME
        self.task = task_of(self.path)
        self.turns: list[tuple[Task, Outcome | None]] = []
        self.desk.on_finished = lambda task, outcome: self.turns.append((task, outcome))

    def save(self, items: Any = ("text",), age: float = 100.0) -> None:
        """Save the source; ``age``: how old it is to look."""
        save(self.path, items, time_ns=int((time.time() - age) * SECOND_NS))

    def hint(self, *, closed: bool = True) -> None:
        """Hint at the source, now."""
        assert self.desk.hint(self.task, self.now, closed=closed)

    def go(self, seconds: float = 1.0) -> None:
        """Let time pass, and go round once."""
        self.now += seconds
        self.desk.work(self.now, NEVER)
        self.desk.finish(self.now)

    def found(self) -> Found:
        """See the source as a sweep does."""
        found = look(self.task, Options())
        assert isinstance(found, Found)
        return found

    def take(self) -> Outcome | None:
        """Have a sweep hand it in."""
        return self.desk.take(self.found(), self.now)

    @property
    def is_made(self) -> bool:
        """Whether both sidecars are there."""
        return all(self.path.with_suffix(suffix).exists() for suffix in (".json", ".md"))


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """Open an office over an empty directory."""
    return Office(tmp_path)


def test_a_hinted_source_is_done(office: Office) -> None:
    """Closed and old enough: at once, with one event."""
    office.save()
    office.hint()
    office.go()
    assert office.is_made
    assert office.log.names == ["sidecars.written"]
    assert len(office.desk.pending) == 0
    assert [outcome and outcome.result for _, outcome in office.turns] == ["rendered"]


def test_many_hints_are_one_piece_of_work(office: Office) -> None:
    """Created, closed, closed: done once."""
    office.save()
    for closed in (False, True, True):
        office.hint(closed=closed)
    office.go()
    office.go()
    assert office.crew.worked == [NAME]


def test_a_fresh_source_is_no_work(office: Office) -> None:
    """A look tells; nothing is logged."""
    office.save()
    office.hint()
    office.go()
    office.hint()
    office.go()
    assert office.crew.worked == [NAME]
    assert len(office.desk.pending) == 0
    assert office.turns[-1] == (office.task, None)


def test_a_source_that_is_gone_is_forgotten(office: Office) -> None:
    """A hint at nothing leaves nothing."""
    office.hint()
    office.go()
    assert (office.crew.worked, office.log.events, len(office.desk.pending)) == ([], [], 0)


def test_an_open_file_must_lie_still_first(office: Office) -> None:
    """Seen, not closed: it waits for settle_seconds without a change, and is then done."""
    office.save(age=0.0)
    office.hint(closed=False)
    office.go(0.05)
    assert office.crew.worked == []
    os.utime(office.path, ns=(time.time_ns(), time.time_ns()))
    office.go(0.5)
    assert office.crew.worked == []
    office.go(0.6)
    assert office.crew.worked == [NAME]


def test_closing_ends_the_wait(office: Office) -> None:
    """A file that was watched while open is done as soon as it is closed."""
    office.desk.settle_seconds = 3600.0
    office.save(age=1.0)
    office.hint(closed=False)
    office.go()
    assert office.crew.worked == []
    office.hint(closed=True)
    office.go()
    assert office.is_made


@pytest.mark.parametrize("year", [1971, 2035])
def test_times_from_other_ages_are_no_hindrance(office: Office, year: int) -> None:
    """A time long ago is at rest; one in the future is watched for settle_seconds, and then at rest."""
    save(office.path, ["text"], time_ns=(year - 1970) * 365 * 86_400 * SECOND_NS)
    office.take()
    office.go(0.1)
    assert office.is_made == (year < 2000)
    office.go(0.6)
    assert office.is_made


def test_a_hint_during_the_work_leads_to_another_look(office: Office) -> None:
    """What is written while the worker reads is done afterwards."""
    office.save(["old"])
    office.hint()
    office.crew.busy = True
    office.go()
    office.hint()
    office.crew.busy = False
    office.go(0.0)
    office.save(["new"], age=50.0)
    office.go(0.1)
    assert office.crew.worked == [NAME, NAME]
    assert "new" in office.path.with_suffix(".json").read_text("utf-8")


def test_a_hint_during_a_failing_attempt_brings_the_next_one_forward(office: Office) -> None:
    """The retry that was planned does not hold back what is known to have changed."""
    office.save()
    office.crew.errors[NAME] = Storage("full")
    office.hint()
    office.crew.busy = True
    office.go()
    office.hint()
    office.crew.busy = False
    office.go(0.0)
    office.crew.errors.clear()
    office.go(0.03)
    assert office.is_made


def test_a_hint_during_work_on_what_vanishes_is_kept(office: Office) -> None:
    """Deleted and written anew: the second one is done."""
    office.save()
    office.crew.errors[NAME] = Vanished("gone")
    office.hint()
    office.crew.busy = True
    office.go()
    office.hint()
    office.crew.busy = False
    office.crew.errors.clear()
    office.go(0.0)
    office.go(0.1)
    assert office.is_made


def test_what_time_can_mend_is_tried_again_with_growing_waits(office: Office) -> None:
    """1, 2, 4 … seconds; the first failure is logged, and then one line on recovery."""
    office.save()
    office.crew.errors[NAME] = Storage("cannot be written: full", hint="Make room.")
    office.hint()
    office.go()
    for wait in (1.0, 2.0, 4.0):
        office.go(wait - 0.1)
        office.go(0.2)
    assert office.crew.worked == [NAME] * 4
    [failed] = office.log.of("source.failed")
    assert failed == {
        "source": str(office.path),
        "kind": "completions",
        "reason": "cannot be written: full",
        "hint": "Make room.",
        "attempt": 1,
        "retry_seconds": 1.0,
    }
    assert office.desk.retrying[office.task].outcome.trouble == "cannot be written: full"
    office.crew.errors.clear()
    office.go(8.0)
    assert office.log.names == ["source.failed", "sidecars.written", "source.recovered"]
    assert office.log.of("source.recovered") == [{"source": str(office.path), "attempts": 5}]
    assert (office.desk.retrying, office.desk.settled, len(office.desk.pending)) == ({}, {}, 0)


def test_a_lasting_failure_is_logged_at_most_once_in_five_minutes(office: Office) -> None:
    """Days of a full disk are a line an interval, and another line when the reason changes."""
    office.save()
    office.crew.errors[NAME] = Storage("full")
    office.hint()
    for _ in range(3600):
        office.go(1.0)
    assert 11 <= len(office.log.of("source.failed")) <= 13
    office.crew.errors[NAME] = Storage("denied")
    office.go(301.0)
    assert office.log.events[-1][2]["reason"] == "denied"


def test_a_failure_keeps_its_beginning(office: Office) -> None:
    """The status says since when it fails, not when it failed last."""
    office.save()
    office.crew.errors[NAME] = Storage("full")
    office.hint()
    office.go()
    since = office.desk.retrying[office.task].since
    office.go(1.0)
    office.go(2.0)
    assert office.desk.retrying[office.task].since == since
    office.crew.errors[NAME] = Corrupt("broken")
    office.go(4.0)
    assert office.desk.settled[office.task].since == since


def test_recovery_by_somebody_else_is_recovery(office: Office) -> None:
    """A sweep by hand did it meanwhile: the line comes all the same."""
    office.save()
    office.crew.errors[NAME] = Storage("full")
    office.hint()
    office.go()
    other = Office(office.path.parent)
    other.hint()
    other.go()
    office.go(1.0)
    assert office.log.names == ["source.failed", "source.recovered"]
    assert office.desk.retrying == {}
    office.desk.take_fresh(office.task)
    assert len(office.log.events) == 2


def test_what_time_cannot_mend_waits_for_a_change(office: Office) -> None:
    """Corrupt: said once, not tried again by hint or sweep, and done when the file is written anew."""
    office.path.write_bytes(b"\x93NUMPY nonsense, and more than enough of it")
    os.utime(office.path, (1000.0, 1000.0))
    office.hint()
    office.go()
    office.hint()
    office.go()
    assert office.take() == office.desk.settled[office.task].outcome
    office.go()
    assert office.crew.worked == [NAME]
    [failed] = office.log.of("source.failed")
    assert (failed["attempt"], failed["retry_seconds"]) == (1, None)
    office.save()
    assert office.take() is None
    office.go()
    assert office.is_made
    assert office.log.names == ["source.failed", "sidecars.written", "source.recovered"]
    assert office.desk.settled == {}


def test_numbers_are_skipped_once_and_recover_a_failure(office: Office) -> None:
    """A broken file replaced by token ids is no failure any more."""
    office.save(np.arange(3))
    office.crew.errors[NAME] = Corrupt("broken")
    office.hint()
    office.go()
    office.crew.errors.clear()
    office.save(np.arange(5))
    office.hint()
    office.go()
    office.hint()
    office.go()
    assert office.log.names == ["source.failed", "source.skipped", "source.recovered"]
    assert office.desk.settled[office.task].outcome.result == "skipped"


def test_an_edited_sidecar_is_kept_after_it_has_lain_still(office: Office) -> None:
    """An edit in progress is not judged; a finished one is reported once and kept."""
    office.save()
    office.hint()
    office.go()
    page = office.path.with_suffix(".md")
    page.write_text("mine", "utf-8")
    office.hint()
    office.go(0.1)
    assert office.crew.worked == [NAME]
    os.utime(page, (time.time() - 1, time.time() - 1))
    office.go(0.6)
    office.hint()
    office.go()
    assert office.crew.worked == [NAME, NAME]
    assert office.log.names == ["sidecars.written", "sidecar.kept"]
    assert page.read_text("utf-8") == "mine"


def test_a_file_that_changes_while_it_is_read_is_no_failure_at_first(office: Office) -> None:
    """Three quiet attempts, then it is said."""
    office.save()
    office.crew.errors[NAME] = Changed("it changed while it was read")
    office.hint()
    office.go()
    office.go(1.0)
    office.go(2.0)
    assert (office.log.events, office.desk.retrying) == ([], {})
    assert [outcome for _, outcome in office.turns] == [None] * 3
    office.go(4.0)
    assert office.log.names == ["source.failed"]
    assert office.task in office.desk.retrying


def test_a_short_file_is_retried_while_young_and_truncated_when_old(office: Office) -> None:
    """Its writer may be at it; a minute after its last change it is gone."""
    office.save(age=1.0)
    office.crew.errors[NAME] = Unfinished("it is shorter than its header says")
    office.hint()
    office.go()
    assert office.task in office.desk.retrying
    office.save(age=61.0)
    office.go(1.0)
    assert office.task in office.desk.settled
    assert office.desk.retrying == {}
    office.go(600.0)
    assert office.crew.worked == [NAME, NAME]


@pytest.mark.parametrize("error", [Vanished("gone"), Interrupted("stopped")])
def test_what_ended_without_a_fault_is_let_go(office: Office, error: Any) -> None:
    """Deleted meanwhile, or stopped: no event, and nothing is kept."""
    office.save()
    office.crew.errors[NAME] = error
    office.hint()
    office.go()
    assert (office.log.events, office.desk.retrying, office.desk.settled) == ([], {}, {})
    assert office.turns == [(office.task, None)]


def test_a_retried_source_that_is_deleted_is_forgotten(office: Office) -> None:
    """Nobody is told of a file that is no longer there."""
    office.save()
    office.crew.errors[NAME] = Storage("full")
    office.hint()
    office.go()
    office.path.unlink()
    office.go(1.0)
    assert (office.desk.retrying, len(office.desk.pending)) == ({}, 0)


def test_a_directory_swapped_for_a_link_is_reported_once(tmp_path: Path) -> None:
    """What cannot be looked at for good is settled; a sweep that does not meet it forgets it."""
    (tmp_path / "real").mkdir()
    office = Office(tmp_path / "real")
    office.save()
    (tmp_path / "link").symlink_to("real")
    office.task = task_of(tmp_path / "link" / NAME, tmp_path)
    office.hint()
    office.go()
    assert office.log.names == ["source.failed"]
    assert office.desk.settled[office.task].outcome.error == "Unsafe"
    office.desk.forget([office.task, task_of(tmp_path / "other" / NAME)])
    assert office.desk.settled == {}


def test_what_cannot_be_looked_at_for_now_is_retried(tmp_path: Path) -> None:
    """A sidecar's name that is too long is the system's refusal, with its hint, and no end of the service."""
    office = Office(tmp_path)
    office.path = tmp_path / ("x" * 235 + "_full_texts.npy").rjust(255, "y")
    office.task = task_of(office.path)
    office.save()
    office.hint()
    office.go()
    [failed] = office.log.of("source.failed")
    assert "shorten" in failed["hint"]
    assert (failed["attempt"], len(office.desk.retrying)) == (1, 1)


def test_a_sweep_leaves_a_failing_source_to_its_retry(office: Office) -> None:
    """Its last outcome stands; only a change makes the sweep hurry it."""
    office.save()
    office.crew.errors[NAME] = Storage("full")
    office.hint()
    office.go()
    outcome = office.take()
    assert outcome is not None
    assert outcome.result == "failed"
    office.go(0.5)
    assert office.crew.worked == [NAME]
    office.save(["changed"], age=50.0)
    assert office.take() is None
    office.go(0.1)
    assert office.crew.worked == [NAME, NAME]


def test_a_sweep_does_not_repeat_what_is_in_work(office: Office) -> None:
    """Found again while a worker has it: once is enough."""
    office.save()
    office.hint()
    office.crew.busy = True
    office.go()
    assert office.take() is None
    office.crew.busy = False
    office.go()
    office.go()
    assert office.crew.worked == [NAME]
    assert len(office.desk.pending) == 0


def test_a_full_table_takes_no_new_source(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint says that only a sweep helps; sources in the table are still taken, and sweeps add none."""
    monkeypatch.setattr(pending, "FULL", 1)
    other = task_of(office.path.parent / "other_completions.npy")
    assert office.desk.hint(other, office.now, closed=True)
    assert office.desk.hint(other, office.now, closed=True)
    assert not office.desk.hint(office.task, office.now, closed=True)
    office.save()
    assert office.take() is None
    assert office.task not in office.desk.pending


def test_settled_sources_have_a_limit(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded; what finds no room is looked at by every sweep."""
    monkeypatch.setattr(module, "_SETTLED_LIMIT", 0)
    office.save(np.arange(3))
    office.hint()
    office.go()
    assert office.desk.settled == {}
    assert office.take() is None


def test_the_crew_is_told_how_large_a_source_is(office: Office) -> None:
    """It decides by that who does it."""
    path = save(office.path, ["text"], time_ns=SECOND_NS)
    office.desk.hint(task_of(path), office.now, closed=True)
    office.desk.work(office.now + 1, NEVER)
    assert office.crew.sizes == {NAME: path.stat().st_size}


def test_work_stops_at_the_end_of_its_slice_and_when_the_crew_is_full(office: Office) -> None:
    """No time, no work; and three tasks a worker at the most."""
    for number in range(5):
        path = save(office.path.parent / f"n{number}_completions.npy", ["text"], time_ns=SECOND_NS)
        office.desk.hint(task_of(path), office.now, closed=True)
    office.desk.work(office.now + 1, 0.0)
    assert len(office.crew) == 0
    office.desk.work(office.now + 1, NEVER)
    assert len(office.crew) == 3


def test_a_clock_set_back_a_year_delays_nothing(tmp_path: Path) -> None:
    """Everything looks to be from the future: a closed file is done at once, another when it lay still."""
    path = save(tmp_path / NAME, ["text"])
    found = look(task_of(path), Options())
    assert isinstance(found, Found)
    clock = time.time() - 366 * 86_400
    assert seconds_to_wait(found, 0.5, closed=True, still_seconds=0.0, clock=clock) == 0.0
    assert seconds_to_wait(found, 0.5, closed=False, still_seconds=0.0, clock=clock) == 0.5
    assert seconds_to_wait(found, 0.5, closed=False, still_seconds=0.6, clock=clock) == 0.0


def test_a_closed_file_waits_until_a_later_write_would_show(tmp_path: Path) -> None:
    """Within a tick of the clock two writes have one time."""
    path = save(tmp_path / NAME, ["text"])
    found = look(task_of(path), Options())
    assert isinstance(found, Found)
    clock = path.stat().st_mtime
    assert 0 < seconds_to_wait(found, 0.5, closed=True, still_seconds=0.0, clock=clock) <= 0.02
    assert seconds_to_wait(found, 0.5, closed=True, still_seconds=0.0, clock=clock + 0.03) == 0.0
