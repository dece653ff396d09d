"""Sweeps inside the service: in slices, each reported, none held up, and the directories between them."""

from __future__ import annotations

import json
import math
import os
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from doubles import NEVER, FakePool, Log, task_of
from support import SECOND_NS, save

from daemon.report.outcomes import Event, Walk
from daemon.report.status import moment
from daemon.schedule.scheduler import Scheduler
from daemon.schedule.sweeper import Sweeper
from lib.errors import Storage
from lib.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


PERIOD = 300.0


class Walks:
    """Acts when a walk has ended."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def notice(self, event: Event, now: float) -> None:  # noqa: ARG002 (as declared)
        """Act."""
        if event is Walk.ENDED:
            self._act()


class SweeperBench:
    """A sweeper over a tree with its scheduler and pool, and a clock that is turned by hand."""

    def __init__(self, root: Path, **more: Any) -> None:
        self.root, self.log, self.pool, self.now = root, Log(), FakePool(), 1000.0
        self.scheduler = Scheduler(self.pool, Options(), 0.5, self.log)
        self.sweeper = Sweeper([str(root)], self.scheduler, frozenset({".git"}), self.log, **more)
        self.scheduler.observers = [self.sweeper]

    def save(self, *names: str, age: float = 100.0) -> None:
        """Save sources below the root."""
        for name in names:
            path = self.root / f"{name}_completions.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            save(path, ["text"], time_ns=int((time.time() - age) * SECOND_NS))

    def walk(self) -> None:
        """Walk to the end, without any work."""
        self.sweeper.step(self.now, NEVER, PERIOD)

    def go(self, seconds: float = 1.0) -> None:
        """Let time pass and go round once, as the service does."""
        self.now += seconds
        self.scheduler.collect(self.now)
        self.scheduler.work(self.now, NEVER)
        self.walk()

    def sweep(self) -> dict[str, int | float]:
        """Ask, go until it is quiet, and return what the last sweep says."""
        self.sweeper.ask()
        for _ in range(20):
            self.go(0.1)
        assert self.sweeper.last is not None
        return self.sweeper.last

    @property
    def listed(self) -> list[dict[str, str]]:
        """What the status lists."""
        return [json.loads(entry) for entry in self.scheduler.troubles.entries()]

    def sums(self) -> list[dict[str, int]]:
        """Return what each finished sweep says, zeros left out."""
        return [
            {key: value for key, value in fields.items() if value and key != "seconds"}
            for fields in self.log.of("sweep.finished")
        ]


@pytest.fixture
def bench(tmp_path: Path) -> SweeperBench:
    """Make sweeper over an empty tree."""
    root = tmp_path / "root"
    root.mkdir()
    return SweeperBench(root)


def test_the_first_sweep_is_due_at_once_and_makes_what_is_missing(bench: SweeperBench) -> None:
    """Started, everything rendered, finished with its sums."""
    bench.save("a", "d/b", "d/e/c", ".git/never")
    assert bench.sweeper.next_due() <= 0.0
    bench.sweep()
    assert bench.log.events[0] == ("info", "sweep.started", {"paths": [str(bench.root)]})
    assert bench.sums() == [{"rendered": 6}]
    assert (bench.sweeper.inventory.directories, bench.sweeper.inventory.sources) == (3, 3)
    assert set(bench.sweeper.last or ()) == {
        "rendered", "adopted", "fresh", "kept", "skipped", "failed", "seconds",
    }  # fmt: skip


def test_sweeps_come_every_period_more_or_less(bench: SweeperBench) -> None:
    """With jitter, so that many services on one server do not sweep together."""
    starts = []
    bench.log.on["sweep.started"] = lambda: starts.append(bench.now)
    for _ in range(3200):
        bench.go(1.0)
    waits = [later - earlier for earlier, later in pairwise(starts)]
    assert len(waits) >= 8
    assert all(0.9 * PERIOD <= wait <= 1.1 * PERIOD + 1 for wait in waits)
    assert len(set(waits)) > 1


def test_a_sweep_in_between_finds_everything_fresh(bench: SweeperBench) -> None:
    """Nothing is worked on twice."""
    bench.save("a", "b")
    bench.sweep()
    bench.sweep()
    assert bench.sums() == [{"rendered": 4}, {"fresh": 4}]
    assert len(bench.pool.worked) == 2


def test_a_walk_is_cut_into_slices(bench: SweeperBench) -> None:
    """When time is up it takes one step still, so that it gets on however busy the service is."""
    bench.save(*(f"d{number}/x" for number in range(5)))
    steps = 0
    while bench.sweeper.last is None and steps < 100:
        bench.sweeper.step(bench.now, 0.0, PERIOD)
        bench.scheduler.work(bench.now + 1, NEVER)
        bench.scheduler.collect(bench.now)
        steps += 1
    assert 11 <= steps <= 30


def test_a_request_during_a_walk_leads_to_another_sweep(bench: SweeperBench) -> None:
    """What the running one has passed already is found by the next one, once."""
    bench.save("a")
    bench.sweeper.step(bench.now, 0.0, PERIOD)
    bench.sweeper.ask()
    for _ in range(5):
        bench.go()
    assert bench.log.names.count("sweep.started") == 2
    assert bench.sums() == [{"rendered": 2}, {"fresh": 2}]
    assert bench.sweeper.next_due() > bench.now


def test_a_request_while_sources_are_in_work_waits_ten_seconds_at_most(bench: SweeperBench) -> None:
    """One endless source holds no sweep up: then the earlier one is reported with what it has done."""
    bench.save("a")
    bench.pool.busy = True
    bench.go()
    bench.sweeper.ask()
    bench.go(9.9)
    assert bench.sums() == []
    assert bench.sweeper.next_due() > bench.now
    bench.go(0.1)
    assert bench.sums() == [{}]
    bench.pool.busy = False
    bench.go()
    assert bench.sums() == [{}, {"rendered": 2}]


def test_every_sweep_that_starts_is_reported(bench: SweeperBench) -> None:
    """However often it is asked for."""
    bench.save("a", "b", "c")
    for _ in range(20):
        bench.sweeper.ask()
        bench.go(0.01)
    bench.go()
    bench.go()
    started, finished = (bench.log.names.count(f"sweep.{word}") for word in ("started", "finished"))
    assert started == finished > 10


def test_a_source_that_is_retried_for_hours_does_not_delay_a_sweep(bench: SweeperBench) -> None:
    """The sweep counts its failure, and so does every later one, without hurrying it."""
    bench.save("bad", "good")
    bench.pool.errors["bad_completions.npy"] = Storage("full")
    bench.sweep()
    worked = len(bench.pool.worked)
    bench.sweeper.ask()
    bench.go(0.01)
    assert bench.sums() == [{"rendered": 2, "failed": 2}, {"fresh": 2, "failed": 2}]
    assert len(bench.pool.worked) == worked


def test_a_file_that_is_being_written_does_not_delay_a_sweep(bench: SweeperBench) -> None:
    """It is not at rest yet: the sweep ends without it; it is done later, and counted once."""
    bench.save("young", age=0.0)
    bench.go(0.01)
    bench.go(0.01)
    assert bench.sums() == [{}]
    assert bench.sweeper.inventory.sources == 1
    bench.go(1.0)
    bench.go(1.0)
    assert len(bench.pool.worked) == 1
    assert bench.sweeper.inventory.sources == 1


def test_a_thousand_failures_do_not_stop_sweeps(tmp_path: Path) -> None:
    """The disk is full: what waits for its retry is no work ahead, and new sources are found."""
    bench = SweeperBench(tmp_path, backlog_limit=3)
    names = [f"n{number}" for number in range(12)]
    bench.save(*names)
    bench.pool.errors = {f"{name}_completions.npy": Storage("full") for name in names}
    for _ in range(40):
        bench.go(0.01)
    assert bench.sums() == [{"failed": 24}]
    bench.save("new")
    bench.sweep()
    assert "new_completions.npy" in bench.pool.worked


def test_a_walk_waits_while_enough_is_pending(tmp_path: Path) -> None:
    """Memory holds no list of a million sources; finished work lets it go on."""
    bench = SweeperBench(tmp_path, backlog_limit=3)
    bench.save(*(f"n{number}" for number in range(9)))
    bench.walk()
    assert len(bench.scheduler.queue) == 3
    assert bench.sweeper.next_due() == math.inf
    assert bench.sweeper.next_due() > bench.now
    bench.walk()
    assert len(bench.scheduler.queue) == 3
    bench.sweep()
    assert bench.sums()[0] == {"rendered": 18}


def test_new_directories_obey_the_limit_too(tmp_path: Path) -> None:
    """A tree of a million sources that is moved in comes in by portions."""
    bench = SweeperBench(tmp_path, backlog_limit=3)
    bench.sweep()
    bench.save(*(f"d/n{number}" for number in range(9)))
    bench.sweeper.ask_branch(str(bench.root), ("d",), bench.now)
    bench.sweeper.step(bench.now, 0.0, PERIOD)
    assert bench.sweeper.next_due() == 0.0
    bench.walk()
    assert len(bench.scheduler.queue) == 3
    assert bench.sweeper.next_due() > bench.now
    for _ in range(20):
        bench.go(0.1)
    assert len(bench.pool.worked) == 9


def test_a_settled_source_is_counted_and_not_worked_on(bench: SweeperBench) -> None:
    """Token ids are skipped by every sweep, without opening them again."""
    save(bench.root / "ids_completions.npy", np.arange(3), time_ns=SECOND_NS)
    bench.sweep()
    bench.sweep()
    assert bench.sums() == [{"skipped": 2}, {"skipped": 2}]
    assert len(bench.pool.worked) == 1


def test_what_is_gone_is_forgotten_by_the_next_sweep(bench: SweeperBench) -> None:
    """A failure whose file was deleted is no failure; one that was settled during the sweep stays."""
    save(bench.root / "ids_completions.npy", np.arange(3), time_ns=SECOND_NS)
    save(bench.root / "more_completions.npy", np.arange(3), time_ns=SECOND_NS)
    bench.sweep()
    assert len(bench.listed) == 2
    (bench.root / "ids_completions.npy").unlink()
    bench.sweep()
    assert [listed["path"] for listed in bench.listed] == [str(bench.root / "more_completions.npy")]


def test_a_failure_that_somebody_else_mended_is_over(bench: SweeperBench) -> None:
    """The sweep sees it fresh: one line, and it is off the list."""
    bench.save("a")
    bench.pool.errors["a_completions.npy"] = Storage("full")
    bench.sweep()
    other = SweeperBench(bench.root)
    other.sweep()
    bench.sweep()
    assert bench.log.names.count("source.recovered") == 1
    assert bench.listed == []


def test_a_source_that_vanishes_ends_the_sweep_too(bench: SweeperBench) -> None:
    """Deleted between walk and work: nothing waits for it."""
    bench.save("a")
    bench.walk()
    (bench.root / "a_completions.npy").unlink()
    bench.go()
    assert bench.sums() == [{}]


def test_sources_are_counted_once(bench: SweeperBench) -> None:
    """Those of the sweep by the sweep, new ones when they are made, retried ones not again."""
    bench.save("a", "bad")
    bench.pool.errors["bad_completions.npy"] = Storage("full")
    bench.sweep()
    assert bench.sweeper.inventory.sources == 2
    bench.save("new")
    bench.scheduler.hint(task_of(bench.root / "new_completions.npy"), bench.now, closed=True)
    bench.pool.errors.clear()
    for _ in range(20):
        bench.go(1.0)
    assert bench.sweeper.inventory.sources == 3
    assert bench.log.names.count("source.recovered") == 1


def test_observers_are_notified_once_that_a_walk_ended(bench: SweeperBench) -> None:
    """The number of directories it went through, the root included, is known then."""
    ends: list[int] = []
    bench.save("a", "d/e/b", ".git/x")
    bench.scheduler.observers.append(Walks(lambda: ends.append(bench.sweeper.inventory.directories)))
    bench.sweep()
    assert ends == [3]


def test_a_change_that_nothing_was_known_about_is_reported(bench: SweeperBench) -> None:
    """Not what a hint named, what is fresh, or what failed before and is still the same."""
    told: list[str] = []
    bench.sweeper.on_changed = lambda found, _now: told.append(found.task.name)
    bench.save("hinted", "unhinted")
    bench.scheduler.hint(task_of(bench.root / "hinted_completions.npy"), bench.now, closed=True)
    bench.walk()
    assert told == ["unhinted_completions.npy"]
    bench.sweep()
    assert told == ["unhinted_completions.npy"]


def test_a_new_directory_is_looked_into_at_once_and_when_it_has_settled(bench: SweeperBench) -> None:
    """What is written before the watch stands over it is found, and what came a little later."""
    bench.sweep()
    bench.save("d/a")
    bench.sweeper.ask_branch(str(bench.root), ("d",), bench.now)
    assert bench.sweeper.next_due() <= bench.now
    bench.go(0.0)
    bench.save("d/b")
    bench.go(0.1)
    bench.go(0.1)
    assert bench.pool.worked == ["a_completions.npy"]
    bench.go(0.4)
    bench.go(0.1)
    bench.go(0.1)
    assert bench.pool.worked == ["a_completions.npy", "b_completions.npy"]
    assert bench.sweeper.inventory.directories == 2
    assert bench.log.names.count("sweep.started") == 1


def test_a_directory_that_is_named_often_is_looked_into_twice(bench: SweeperBench) -> None:
    """Its second look waits until it is named no more."""
    bench.sweep()
    for _ in range(10):
        bench.sweeper.ask_branch(str(bench.root), (), bench.now)
    bench.walk()
    assert bench.sweeper.next_due() == pytest.approx(bench.now + 0.5)
    bench.go(0.6)
    assert bench.sweeper.next_due() > bench.now + 100


def test_a_directory_that_was_removed_is_not_a_failure(bench: SweeperBench) -> None:
    """Deleted before it was looked into."""
    bench.sweep()
    bench.sweeper.ask_branch(str(bench.root), ("gone",), bench.now)
    bench.go()
    assert bench.listed == []


def test_what_is_gone_with_its_directory_is_forgotten_at_once(bench: SweeperBench) -> None:
    """Also when a directory has a source's name; what is left elsewhere stays listed."""
    name = ("y" * 240 + "_full_texts.npy")[-255:]  # its sidecar's name is too long
    for path in ("d/e/ids_completions.npy", f"d/{name}", "other/ids_completions.npy"):
        (bench.root / path).parent.mkdir(parents=True, exist_ok=True)
        save(bench.root / path, np.arange(3), time_ns=SECOND_NS)
    (bench.root / "no_completions.npy").mkdir()
    bench.sweep()
    assert len(bench.listed) == 4
    (bench.root / "d").rename(bench.root.parent / "elsewhere")
    (bench.root / "no_completions.npy").rmdir()
    for name in ("d", "other", "no_completions.npy"):
        bench.sweeper.ask_branch(str(bench.root), (name,), bench.now)
    bench.go(0.1)
    bench.go(0.1)
    assert [listed["path"] for listed in bench.listed] == [str(bench.root / "other/ids_completions.npy")]
    assert bench.log.names.count("sweep.started") == 1
    assert bench.pool.worked.count("ids_completions.npy") == 2


def test_a_flood_of_directories_makes_sweeps_of_everything(tmp_path: Path) -> None:
    """One at once, and one more when the last that was named has settled."""
    bench = SweeperBench(tmp_path, branches_limit=2)
    bench.sweep()
    for number in range(50):
        bench.sweeper.ask_branch(str(bench.root), (f"d{number}",), bench.now)
    bench.go(0.1)
    bench.go(0.1)
    assert bench.log.names.count("sweep.started") == 2
    bench.save("d40/late")
    bench.go(0.5)
    bench.go(0.1)
    bench.go(0.1)
    assert bench.log.names.count("sweep.started") == 3
    assert bench.pool.worked == ["late_completions.npy"]
    assert bench.sweeper.next_due() > bench.now + 100


def test_a_path_that_cannot_be_looked_at_is_reported_once_and_kept(bench: SweeperBench) -> None:
    """Its reason and its beginning stay for the status, until a sweep finds it mended."""
    name = ("y" * 240 + "_full_texts.npy")[-255:]  # its sidecar's name is too long
    source = save(bench.root / name, ["text"], time_ns=SECOND_NS)
    bench.sweep()
    bench.sweep()
    assert bench.log.names.count("source.failed") == 1
    assert bench.sums() == [{"failed": 1}, {"failed": 1}]
    [listed] = bench.listed
    assert listed["path"] == str(source)
    assert "shorten" in listed["hint"]
    assert moment(listed["since"]).timestamp() <= time.time()
    source.unlink()
    bench.sweep()
    assert bench.listed == []
    save(source, ["text"], time_ns=SECOND_NS)
    bench.sweeper.ask_branch(str(bench.root), (), bench.now)
    bench.go()
    assert bench.log.names.count("source.failed") == 2


def test_a_missing_root_is_left_to_the_supervisor(bench: SweeperBench) -> None:
    """The sweep ends and counts no failure that nobody names; another event names the directory."""
    os.rmdir(bench.root)
    assert bench.sweep()["failed"] == 0
    assert "source.failed" not in bench.log.names
    assert bench.listed == []


def test_a_shorter_period_counts_at_once(bench: SweeperBench) -> None:
    """When the watch is lost sweeps come more often from then on, not after the next one."""
    bench.sweep()
    bench.sweeper.step(bench.now, NEVER, 30.0)
    assert bench.sweeper.next_due() <= bench.now + 33.0
