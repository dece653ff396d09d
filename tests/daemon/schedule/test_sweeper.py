"""Sweeps inside the service: in slices, each reported, none held up, and the directories between them."""

from __future__ import annotations

import math
import os
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from doubles import NEVER, HandCrew, Log, inode_of, task_of
from support import SECOND_NS, save

from daemon.schedule import sweeper as module
from daemon.schedule.scheduler import Desk
from daemon.schedule.sweeper import Rounds
from lib.errors import Storage
from lib.options import Options

if TYPE_CHECKING:
    from pathlib import Path

PERIOD = 300.0


class Beat:
    """Rounds over a tree with its desk and crew, and a clock that is turned by hand."""

    def __init__(self, root: Path) -> None:
        self.root, self.log, self.crew, self.now = root, Log(), HandCrew(), 1000.0
        self.desk = Desk(self.crew, Options(), 0.5, self.log)  # type: ignore[arg-type]  # a double
        self.rounds = Rounds([str(root)], self.desk, frozenset({".git"}), self.log)
        self.desk.on_finished = self.rounds.finished

    def save(self, *names: str, age: float = 100.0) -> None:
        """Save sources below the root."""
        for name in names:
            path = self.root / f"{name}_completions.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            save(path, ["text"], time_ns=int((time.time() - age) * SECOND_NS))

    def walk(self) -> None:
        """Walk to the end, without any work."""
        self.rounds.step(self.now, NEVER, PERIOD)

    def go(self, seconds: float = 1.0) -> None:
        """Let time pass and go round once, as the service does."""
        self.now += seconds
        self.desk.finish(self.now)
        self.desk.work(self.now, NEVER)
        self.walk()

    def sweep(self) -> dict[str, int | float]:
        """Ask, go until it is quiet, and return what the last sweep says."""
        self.rounds.ask()
        for _ in range(20):
            self.go(0.1)
        assert self.rounds.last is not None
        return self.rounds.last

    def sums(self) -> list[dict[str, int]]:
        """Return what each finished sweep says, zeros left out."""
        return [
            {key: value for key, value in fields.items() if value and key != "seconds"}
            for fields in self.log.of("sweep.finished")
        ]


@pytest.fixture
def beat(tmp_path: Path) -> Beat:
    """Make rounds over an empty tree."""
    root = tmp_path / "root"
    root.mkdir()
    return Beat(root)


def test_the_first_sweep_is_due_at_once_and_makes_what_is_missing(beat: Beat) -> None:
    """Started, everything rendered, finished with its sums."""
    beat.save("a", "d/b", "d/e/c", ".git/never")
    assert beat.rounds.is_busy(0.0)
    beat.sweep()
    assert beat.log.events[0] == ("info", "sweep.started", {"paths": [str(beat.root)]})
    assert beat.sums() == [{"rendered": 6}]
    assert (beat.rounds.directories, beat.rounds.sources) == (3, 3)
    assert set(beat.rounds.last or ()) == {
        "rendered", "adopted", "fresh", "kept", "skipped", "failed", "seconds",
    }  # fmt: skip


def test_sweeps_come_every_period_more_or_less(beat: Beat) -> None:
    """With jitter, so that many services on one server do not sweep together."""
    starts = []
    beat.log.on["sweep.started"] = lambda: starts.append(beat.now)
    for _ in range(3200):
        beat.go(1.0)
    waits = [later - earlier for earlier, later in pairwise(starts)]
    assert len(waits) >= 8
    assert all(0.9 * PERIOD <= wait <= 1.1 * PERIOD + 1 for wait in waits)
    assert len(set(waits)) > 1


def test_a_sweep_in_between_finds_everything_fresh(beat: Beat) -> None:
    """Nothing is worked on twice."""
    beat.save("a", "b")
    beat.sweep()
    beat.sweep()
    assert beat.sums() == [{"rendered": 4}, {"fresh": 4}]
    assert len(beat.crew.worked) == 2


def test_a_walk_is_cut_into_slices(beat: Beat) -> None:
    """When time is up it takes one step still, so that it gets on however busy the service is."""
    beat.save(*(f"d{number}/x" for number in range(5)))
    steps = 0
    while beat.rounds.last is None and steps < 100:
        beat.rounds.step(beat.now, 0.0, PERIOD)
        beat.desk.work(beat.now + 1, NEVER)
        beat.desk.finish(beat.now)
        steps += 1
    assert 11 <= steps <= 30


def test_a_request_during_a_walk_leads_to_another_sweep(beat: Beat) -> None:
    """What the running one has passed already is found by the next one, once."""
    beat.save("a")
    beat.rounds.step(beat.now, 0.0, PERIOD)
    beat.rounds.ask()
    for _ in range(5):
        beat.go()
    assert beat.log.names.count("sweep.started") == 2
    assert beat.sums() == [{"rendered": 2}, {"fresh": 2}]
    assert beat.rounds.next_due() > beat.now


def test_a_request_while_sources_are_in_work_waits_ten_seconds_at_most(beat: Beat) -> None:
    """One endless source holds no sweep up: then the earlier one is reported with what it has done."""
    beat.save("a")
    beat.crew.busy = True
    beat.go()
    beat.rounds.ask()
    beat.go(9.9)
    assert beat.sums() == []
    assert not beat.rounds.is_busy(beat.now)
    beat.go(0.1)
    assert beat.sums() == [{}]
    beat.crew.busy = False
    beat.go()
    assert beat.sums() == [{}, {"rendered": 2}]


def test_every_sweep_that_starts_is_reported(beat: Beat) -> None:
    """However often it is asked for."""
    beat.save("a", "b", "c")
    for _ in range(20):
        beat.rounds.ask()
        beat.go(0.01)
    beat.go()
    beat.go()
    started, finished = (beat.log.names.count(f"sweep.{word}") for word in ("started", "finished"))
    assert started == finished > 10


def test_a_source_that_is_retried_for_hours_holds_no_sweep_up(beat: Beat) -> None:
    """The sweep counts its failure, and so does every later one, without hurrying it."""
    beat.save("bad", "good")
    beat.crew.errors["bad_completions.npy"] = Storage("full")
    beat.sweep()
    worked = len(beat.crew.worked)
    beat.rounds.ask()
    beat.go(0.01)
    assert beat.sums() == [{"rendered": 2, "failed": 2}, {"fresh": 2, "failed": 2}]
    assert len(beat.crew.worked) == worked


def test_a_file_that_is_being_written_holds_no_sweep_up(beat: Beat) -> None:
    """It is not at rest yet: the sweep ends without it; it is done later, and counted once."""
    beat.save("young", age=0.0)
    beat.go(0.01)
    beat.go(0.01)
    assert beat.sums() == [{}]
    assert beat.rounds.sources == 1
    beat.go(1.0)
    beat.go(1.0)
    assert len(beat.crew.worked) == 1
    assert beat.rounds.sources == 1


def test_a_thousand_failures_do_not_stop_sweeps(beat: Beat, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full: what waits for its retry is no work ahead, and new sources are found."""
    monkeypatch.setattr(module, "_ENOUGH_PENDING", 3)
    names = [f"n{number}" for number in range(12)]
    beat.save(*names)
    beat.crew.errors = {f"{name}_completions.npy": Storage("full") for name in names}
    for _ in range(40):
        beat.go(0.01)
    assert beat.sums() == [{"failed": 24}]
    beat.save("new")
    beat.sweep()
    assert "new_completions.npy" in beat.crew.worked


def test_a_walk_waits_while_enough_is_pending(beat: Beat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory holds no list of a million sources; finished work lets it go on."""
    monkeypatch.setattr(module, "_ENOUGH_PENDING", 3)
    beat.save(*(f"n{number}" for number in range(9)))
    beat.walk()
    assert len(beat.desk.pending) == 3
    assert beat.rounds.next_due() == math.inf
    assert not beat.rounds.is_busy(beat.now)
    beat.walk()
    assert len(beat.desk.pending) == 3
    beat.sweep()
    assert beat.sums()[0] == {"rendered": 18}


def test_new_directories_obey_the_limit_too(beat: Beat, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree of a million sources that is moved in comes in by portions."""
    beat.sweep()
    monkeypatch.setattr(module, "_ENOUGH_PENDING", 3)
    beat.save(*(f"d/n{number}" for number in range(9)))
    beat.rounds.ask_branch(str(beat.root), ("d",), beat.now, 0.5)
    beat.rounds.step(beat.now, 0.0, PERIOD)
    assert beat.rounds.next_due() == 0.0
    beat.walk()
    assert len(beat.desk.pending) == 3
    assert not beat.rounds.is_busy(beat.now)
    for _ in range(20):
        beat.go(0.1)
    assert len(beat.crew.worked) == 9


def test_a_settled_source_is_counted_and_not_worked_on(beat: Beat) -> None:
    """Token ids are skipped by every sweep, without opening them again."""
    save(beat.root / "ids_completions.npy", np.arange(3), time_ns=SECOND_NS)
    beat.sweep()
    beat.sweep()
    assert beat.sums() == [{"skipped": 2}, {"skipped": 2}]
    assert len(beat.crew.worked) == 1


def test_what_is_gone_is_forgotten_by_the_next_sweep(beat: Beat) -> None:
    """A failure whose file was deleted is no failure; one that was settled during the sweep stays."""
    save(beat.root / "ids_completions.npy", np.arange(3), time_ns=SECOND_NS)
    save(beat.root / "more_completions.npy", np.arange(3), time_ns=SECOND_NS)
    beat.sweep()
    assert len(beat.desk.settled) == 2
    (beat.root / "ids_completions.npy").unlink()
    beat.sweep()
    assert [task.name for task in beat.desk.settled] == ["more_completions.npy"]


def test_a_failure_that_somebody_else_mended_is_over(beat: Beat) -> None:
    """The sweep sees it fresh: one line, and it is off the list."""
    beat.save("a")
    beat.crew.errors["a_completions.npy"] = Storage("full")
    beat.sweep()
    other = Beat(beat.root)
    other.sweep()
    beat.sweep()
    assert beat.log.names.count("source.recovered") == 1
    assert beat.desk.retrying == {}


def test_a_source_that_vanishes_ends_the_sweep_too(beat: Beat) -> None:
    """Deleted between walk and work: nothing waits for it."""
    beat.save("a")
    beat.walk()
    (beat.root / "a_completions.npy").unlink()
    beat.go()
    assert beat.sums() == [{}]


def test_sources_are_counted_once(beat: Beat) -> None:
    """Those of the sweep by the sweep, new ones when they are made, retried ones not again."""
    beat.save("a", "bad")
    beat.crew.errors["bad_completions.npy"] = Storage("full")
    beat.sweep()
    assert beat.rounds.sources == 2
    beat.save("new")
    beat.desk.hint(task_of(beat.root / "new_completions.npy"), beat.now, closed=True)
    beat.crew.errors.clear()
    for _ in range(20):
        beat.go(1.0)
    assert beat.rounds.sources == 3
    assert beat.log.names.count("source.recovered") == 1


def test_inodes_of_all_directories_are_given_once(beat: Beat) -> None:
    """They tell the watch what it must cover, roots included, after each sweep."""
    beat.save("a", "d/e/b", ".git/x")
    assert beat.rounds.take_directories() is None
    beat.sweep()
    expected = {inode_of(beat.root / place) for place in (".", "d", "d/e")}
    assert set(beat.rounds.take_directories() or ()) == expected
    assert beat.rounds.take_directories() is None


def test_a_new_directory_is_looked_into_at_once_and_when_it_has_settled(beat: Beat) -> None:
    """What is written before the watch stands over it is found, and what came a little later."""
    beat.sweep()
    beat.save("d/a")
    beat.rounds.ask_branch(str(beat.root), ("d",), beat.now, 0.5)
    assert beat.rounds.is_busy(beat.now)
    beat.go(0.0)
    beat.save("d/b")
    beat.go(0.1)
    beat.go(0.1)
    assert beat.crew.worked == ["a_completions.npy"]
    beat.go(0.4)
    beat.go(0.1)
    beat.go(0.1)
    assert beat.crew.worked == ["a_completions.npy", "b_completions.npy"]
    assert beat.rounds.directories == 2
    assert beat.log.names.count("sweep.started") == 1


def test_a_directory_that_is_named_often_is_looked_into_twice(beat: Beat) -> None:
    """Its second look waits until it is named no more."""
    beat.sweep()
    for _ in range(10):
        beat.rounds.ask_branch(str(beat.root), (), beat.now, 0.5)
    beat.walk()
    assert beat.rounds.next_due() == pytest.approx(beat.now + 0.5)
    beat.go(0.6)
    assert beat.rounds.next_due() > beat.now + 100


def test_a_directory_that_went_is_no_trouble(beat: Beat) -> None:
    """Deleted before it was looked into."""
    beat.sweep()
    beat.rounds.ask_branch(str(beat.root), ("gone",), beat.now, 0.5)
    beat.go()
    assert beat.rounds.problems == {}


def test_a_flood_of_directories_makes_sweeps_of_everything(
    beat: Beat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at once, and one more when the last that was named has settled."""
    beat.sweep()
    monkeypatch.setattr(module, "_BRANCHES_LIMIT", 2)
    for number in range(50):
        beat.rounds.ask_branch(str(beat.root), (f"d{number}",), beat.now, 0.5)
    beat.go(0.1)
    beat.go(0.1)
    assert beat.log.names.count("sweep.started") == 2
    beat.save("d40/late")
    beat.go(0.5)
    beat.go(0.1)
    beat.go(0.1)
    assert beat.log.names.count("sweep.started") == 3
    assert beat.crew.worked == ["late_completions.npy"]
    assert beat.rounds.next_due() > beat.now + 100


def test_a_path_that_cannot_be_looked_at_is_said_once_and_kept(beat: Beat) -> None:
    """Its reason and its beginning stay for the status, until a sweep finds it mended."""
    name = ("y" * 240 + "_full_texts.npy")[-255:]  # its sidecar's name is too long
    source = save(beat.root / name, ["text"], time_ns=SECOND_NS)
    beat.sweep()
    beat.sweep()
    assert beat.log.names.count("source.failed") == 1
    assert beat.sums() == [{"failed": 1}, {"failed": 1}]
    [(path, problem)] = beat.rounds.problems.items()
    assert path == str(source)
    assert "shorten" in problem.error.hint
    assert problem.since <= time.time() - 0.0
    source.unlink()
    beat.sweep()
    assert beat.rounds.problems == {}
    save(source, ["text"], time_ns=SECOND_NS)
    beat.rounds.ask_branch(str(beat.root), (), beat.now, 0.5)
    beat.go()
    assert beat.log.names.count("source.failed") == 2


def test_a_missing_root_is_left_to_whoever_keeps_the_roots(beat: Beat) -> None:
    """The sweep ends; its directory is named by another event."""
    os.rmdir(beat.root)
    assert beat.sweep()["failed"] == 1
    assert "source.failed" not in beat.log.names
    assert beat.rounds.problems == {}


def test_a_shorter_period_counts_at_once(beat: Beat) -> None:
    """When the watch is lost sweeps come more often from then on, not after the next one."""
    beat.sweep()
    beat.rounds.step(beat.now, NEVER, 30.0)
    assert beat.rounds.next_due() <= beat.now + 33.0
