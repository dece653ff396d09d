"""The scheduler: what is worked on when, retried, left alone, and what is said about it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from doubles import NEVER, FakePool, Log, task_of
from support import SECOND_NS, results, save, small_disk, sync, wait_for

from daemon.report.outcomes import Done, Event
from daemon.report.status import iso
from daemon.schedule.queue import FEW, Queue
from daemon.schedule.readiness import seconds_to_wait
from daemon.schedule.scheduler import Scheduler
from lib.errors import Changed, Corrupt, Interrupted, Storage, Unfinished, Vanished
from lib.options import Options
from lib.outcome import Outcome, Verdict
from lib.sync.walk import Found, Task, look

if TYPE_CHECKING:
    from pathlib import Path


NAME = "n1_completions.npy"


def found_at(task: Task) -> Found:
    """See a source as a sweep does."""
    found = look(task, Options())
    assert isinstance(found, Found)
    return found


class Turns:
    """Keeps which sources had their turn."""

    def __init__(self, turns: list[tuple[Task, Outcome | None]]) -> None:
        self._turns = turns

    def notice(self, event: Event, now: float) -> None:  # noqa: ARG002 (as declared)
        """Keep it."""
        assert isinstance(event, Done)
        self._turns.append((event.task, event.outcome))


class SchedulerBench:
    """A scheduler with its pool and its log, and a clock that is turned by hand."""

    def __init__(self, folder: Path, settle_seconds: float = 0.5, **more: Any) -> None:
        self.pool, self.log, self.now = FakePool(), Log(), 1000.0
        self.scheduler = Scheduler(self.pool, Options(), settle_seconds, self.log, **more)
        self.path = folder / NAME
        self.task = task_of(self.path)
        self.turns: list[tuple[Task, Outcome | None]] = []
        self.scheduler.observers = [Turns(self.turns)]

    def save(self, items: Any = ("text",), age: float = 100.0) -> None:
        """Save the source; ``age``: how old it is to look."""
        save(self.path, items, time_ns=int((time.time() - age) * SECOND_NS))

    def hint(self, *, closed: bool = True) -> None:
        """Hint at the source, now."""
        assert self.scheduler.hint(self.task, self.now, closed=closed)

    def go(self, seconds: float = 1.0) -> None:
        """Let time pass, and go round once."""
        self.now += seconds
        self.scheduler.work(self.now, NEVER)
        self.scheduler.collect(self.now)

    def turn(self) -> None:
        """Hint at the source, and have it worked on."""
        self.hint()
        self.go()

    def fail(self, error: Any) -> None:
        """Save the source, and have it fail."""
        self.save()
        self.pool.errors[NAME] = error
        self.turn()

    def hint_during_work(self) -> None:
        """Hint at the source once more while it is in work, which then ends."""
        self.hint()
        self.pool.busy = True
        self.go()
        self.hint()
        self.pool.busy = False

    def take(self) -> Outcome | None:
        """Have a sweep hand it in."""
        return self.scheduler.take(found_at(self.task), self.now)

    @property
    def state(self) -> str | None:
        """What the source waits for, if it is remembered."""
        source = self.scheduler.queue.get(self.task)
        return source and source.state

    @property
    def listed(self) -> list[dict[str, str]]:
        """What the status lists."""
        return [json.loads(entry) for entry in self.scheduler.troubles.entries()]

    @property
    def is_made(self) -> bool:
        """Whether both sidecars are there."""
        return all(self.path.with_suffix(suffix).exists() for suffix in (".json", ".md"))


@pytest.fixture
def bench(tmp_path: Path) -> SchedulerBench:
    """Open an bench over an empty directory."""
    return SchedulerBench(tmp_path)


def test_a_sidecar_that_lacks_only_its_stamp_is_not_listed(
    bench: SchedulerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it when the other one was made again: nothing is left to be done."""
    verdicts = (Verdict("json", "rendered", "it was absent"), Verdict("md", "fresh", "same", unstamped=True))
    outcome = Outcome(NAME, "completions", verdicts)
    monkeypatch.setattr(bench.pool, "done", lambda: [(task, outcome) for task in bench.pool.submitted])
    bench.save()
    bench.turn()
    assert bench.state == "settled"
    assert bench.listed == []


def test_a_hinted_source_is_done(bench: SchedulerBench) -> None:
    """Closed and old enough: at once, with one event."""
    bench.save()
    bench.turn()
    assert bench.is_made
    assert bench.log.names == ["sidecars.written"]
    assert len(bench.scheduler.queue) == 0
    assert [outcome and outcome.result for _, outcome in bench.turns] == ["rendered"]


def test_many_hints_are_one_piece_of_work(bench: SchedulerBench) -> None:
    """Created, closed, closed: done once."""
    bench.save()
    for closed in (False, True, True):
        bench.hint(closed=closed)
    bench.go()
    bench.go()
    assert bench.pool.worked == [NAME]


def test_a_fresh_source_is_not_converted(bench: SchedulerBench) -> None:
    """A look tells; nothing is logged."""
    bench.save()
    bench.turn()
    bench.turn()
    assert bench.pool.worked == [NAME]
    assert len(bench.scheduler.queue) == 0
    assert bench.turns[-1] == (bench.task, None)


def test_a_source_that_is_gone_is_forgotten(bench: SchedulerBench) -> None:
    """A hint at nothing leaves nothing."""
    bench.turn()
    assert (bench.pool.worked, bench.log.events, len(bench.scheduler.queue)) == ([], [], 0)


def test_an_open_file_must_lie_still_first(bench: SchedulerBench) -> None:
    """Seen, not closed: it waits for settle_seconds without a change, and is then done."""
    bench.save(age=0.0)
    bench.hint(closed=False)
    bench.go(0.05)
    assert bench.pool.worked == []
    os.utime(bench.path, ns=(time.time_ns(), time.time_ns()))
    bench.go(0.5)
    assert bench.pool.worked == []
    bench.go(0.6)
    assert bench.pool.worked == [NAME]


def test_closing_ends_the_wait(bench: SchedulerBench) -> None:
    """A file that was watched while open is done as soon as it is closed."""
    bench.scheduler.settle_seconds = 3600.0
    bench.save(age=1.0)
    bench.hint(closed=False)
    bench.go()
    assert bench.pool.worked == []
    bench.hint(closed=True)
    bench.go()
    assert bench.is_made


@pytest.mark.parametrize("year", [1971, 2035])
def test_times_long_ago_and_in_the_future_are_accepted(bench: SchedulerBench, year: int) -> None:
    """A time long ago is at rest; one in the future is watched for settle_seconds, and then at rest."""
    save(bench.path, ["text"], time_ns=(year - 1970) * 365 * 86_400 * SECOND_NS)
    bench.take()
    bench.go(0.1)
    assert bench.is_made == (year < 2000)
    bench.go(0.6)
    assert bench.is_made


def test_a_hint_during_the_work_leads_to_another_look(bench: SchedulerBench) -> None:
    """What is written while the worker reads is done afterwards."""
    bench.save(["old"])
    bench.hint_during_work()
    bench.go(0.0)
    bench.save(["new"], age=50.0)
    bench.go(0.1)
    assert bench.pool.worked == [NAME, NAME]
    assert "new" in bench.path.with_suffix(".json").read_text("utf-8")


def test_a_hint_during_a_failing_attempt_brings_the_next_one_forward(bench: SchedulerBench) -> None:
    """The retry that was planned does not hold back what is known to have changed."""
    bench.save()
    bench.pool.errors[NAME] = Storage("full")
    bench.hint_during_work()
    bench.go(0.0)
    bench.pool.errors.clear()
    bench.go(0.03)
    assert bench.is_made


def test_a_hint_during_work_on_what_vanishes_is_kept(bench: SchedulerBench) -> None:
    """Deleted and written anew: the second one is done."""
    bench.save()
    bench.pool.errors[NAME] = Vanished("gone")
    bench.hint_during_work()
    bench.pool.errors.clear()
    bench.go(0.0)
    bench.go(0.1)
    assert bench.is_made


def test_what_time_can_mend_is_tried_again_with_growing_waits(bench: SchedulerBench) -> None:
    """1, 2, 4 … seconds; the first failure is logged, and then one line on recovery."""
    bench.fail(Storage("cannot be written: full", hint="Make room."))
    for wait in (1.0, 2.0, 4.0):
        bench.go(wait - 0.1)
        bench.go(0.2)
    assert bench.pool.worked == [NAME] * 4
    [failed] = bench.log.of("source.failed")
    assert failed == {
        "source": str(bench.path),
        "kind": "completions",
        "reason": "cannot be written: full",
        "hint": "Make room. It is retried automatically.",
        "attempt": 1,
        "retry_seconds": 1.0,
    }
    [listed] = bench.listed
    assert (listed["state"], listed["reason"]) == ("failed", "cannot be written: full")
    bench.pool.errors.clear()
    bench.go(8.0)
    assert bench.log.names == ["source.failed", "sidecars.written", "source.recovered"]
    assert bench.log.of("source.recovered") == [{"source": str(bench.path), "attempts": 5}]
    assert (bench.state, bench.listed, len(bench.scheduler.queue)) == (None, [], 0)


def test_a_lasting_failure_is_logged_at_most_once_in_five_minutes(bench: SchedulerBench) -> None:
    """Days of a full disk are a line an interval, and another line when the reason changes."""
    bench.save()
    bench.pool.errors[NAME] = Storage("full")
    bench.hint()
    for _ in range(3600):
        bench.go(1.0)
    assert 11 <= len(bench.log.of("source.failed")) <= 13
    bench.pool.errors[NAME] = Storage("denied")
    bench.go(301.0)
    assert bench.log.events[-1][2]["reason"] == "denied"


def test_a_failure_keeps_its_beginning(bench: SchedulerBench) -> None:
    """The status says since when it fails, not when it failed last."""
    bench.fail(Storage("full"))
    [first] = bench.listed
    wait_for(lambda: iso(time.time()) > first["since"])
    bench.go(1.0)
    bench.go(2.0)
    assert bench.listed == [first]
    bench.pool.errors[NAME] = Corrupt("broken")
    bench.go(4.0)
    [last] = bench.listed
    assert (last["reason"], last["since"]) == ("broken", first["since"])


def test_recovery_by_somebody_else_is_recovery(bench: SchedulerBench) -> None:
    """A sweep by hand did it meanwhile: the line comes all the same."""
    bench.fail(Storage("full"))
    other = SchedulerBench(bench.path.parent)
    other.turn()
    bench.go(1.0)
    assert bench.log.names == ["source.failed", "source.recovered"]
    assert (bench.state, bench.listed) == (None, [])
    bench.scheduler.take_fresh(bench.task)
    assert len(bench.log.events) == 2


def test_what_time_cannot_mend_waits_for_a_change(bench: SchedulerBench) -> None:
    """Corrupt: said once, not tried again by hint or sweep, and done when the file is written anew."""
    bench.path.write_bytes(b"\x93NUMPY nonsense, and more than enough of it")
    os.utime(bench.path, (1000.0, 1000.0))
    bench.turn()
    bench.turn()
    outcome = bench.take()
    assert outcome is not None
    assert outcome.result == "failed"
    bench.go()
    assert bench.pool.worked == [NAME]
    [failed] = bench.log.of("source.failed")
    assert (failed["attempt"], failed["retry_seconds"]) == (1, None)
    bench.save()
    assert bench.take() is None
    bench.go()
    assert bench.is_made
    assert bench.log.names == ["source.failed", "sidecars.written", "source.recovered"]
    assert (bench.state, bench.listed) == (None, [])


def test_numbers_are_skipped_once_and_recover_a_failure(bench: SchedulerBench) -> None:
    """A broken file replaced by token ids is no failure any more."""
    bench.save(np.arange(3))
    bench.pool.errors[NAME] = Corrupt("broken")
    bench.turn()
    bench.pool.errors.clear()
    bench.save(np.arange(5))
    bench.turn()
    bench.turn()
    assert bench.log.names == ["source.failed", "source.skipped", "source.recovered"]
    assert bench.state == "settled"
    assert [listed["state"] for listed in bench.listed] == ["skipped"]


def test_an_edited_sidecar_is_kept_after_it_has_lain_still(bench: SchedulerBench) -> None:
    """An edit in progress is not judged; a finished one is reported once and kept."""
    bench.save()
    bench.turn()
    page = bench.path.with_suffix(".md")
    page.write_text("mine", "utf-8")
    bench.hint()
    bench.go(0.1)
    assert bench.pool.worked == [NAME]
    os.utime(page, (time.time() - 1, time.time() - 1))
    bench.go(0.6)
    bench.turn()
    assert bench.pool.worked == [NAME, NAME]
    assert bench.log.names == ["sidecars.written", "sidecar.kept"]
    assert page.read_text("utf-8") == "mine"


def test_a_file_that_changes_while_it_is_read_is_not_a_failure_at_first(bench: SchedulerBench) -> None:
    """Three quiet attempts, then it is said."""
    bench.fail(Changed("it changed while it was read"))
    bench.go(1.0)
    bench.go(2.0)
    assert (bench.log.events, bench.listed) == ([], [])
    assert [outcome for _, outcome in bench.turns] == [None] * 3
    bench.go(4.0)
    assert bench.log.names == ["source.failed"]
    assert (bench.state, len(bench.listed)) == ("put off", 1)


def test_a_short_file_is_retried_while_young_and_truncated_when_old(bench: SchedulerBench) -> None:
    """Its writer may be at it; a minute after its last change it is gone."""
    bench.save(age=1.0)
    bench.pool.errors[NAME] = Unfinished("it is shorter than its header says")
    bench.turn()
    assert bench.state == "put off"
    bench.save(age=61.0)
    bench.go(1.0)
    assert bench.state == "settled"
    bench.go(600.0)
    assert bench.pool.worked == [NAME, NAME]


@pytest.mark.parametrize("error", [Vanished("gone"), Interrupted("stopped")])
def test_a_source_that_vanished_or_was_interrupted_is_forgotten(bench: SchedulerBench, error: Any) -> None:
    """Deleted meanwhile, or stopped: no event, and nothing is kept."""
    bench.save()
    bench.pool.errors[NAME] = error
    if isinstance(error, Vanished):
        bench.pool.before = lambda _task: bench.path.unlink()
    bench.turn()
    assert (bench.log.events, bench.state, bench.listed) == ([], None, [])
    assert bench.turns == [(bench.task, None)]


def test_a_source_that_is_still_there_did_not_vanish(bench: SchedulerBench) -> None:
    """Its temporary file was deleted, say: quiet at first, as with a file that changes, then a failure."""
    bench.save()
    bench.pool.errors[NAME] = Vanished("cannot be written: No such file or directory")
    bench.hint()
    for _ in range(3):
        bench.go(5.0)
    assert (bench.log.events, bench.pool.worked) == ([], [NAME] * 3)
    bench.go(5.0)
    assert bench.log.names == ["source.failed"]
    bench.pool.errors.clear()
    bench.go(9.0)
    assert bench.is_made


def test_a_sweep_gives_a_file_that_is_being_written_a_few_quick_attempts(tmp_path: Path) -> None:
    """Four in less than a second, then it has failed; nothing is left in the queue."""
    bench = SchedulerBench(tmp_path, 0.0, queue=Queue(FEW))
    for error in (Changed("it changed"), Vanished("a draft vanished"), Unfinished("it is short")):
        bench.save(age=1.0)
        bench.pool.errors[NAME] = error
        bench.pool.worked.clear()
        bench.take()
        for _ in range(10):
            bench.go(0.1)
        assert bench.pool.worked == [NAME] * 4
        assert len(bench.scheduler.queue) == 0
        assert bench.log.events[-1][2]["attempt"] == 4
        assert bench.log.events[-1][2]["retry_seconds"] is None
    assert bench.log.names == ["source.failed"] * 3


def test_a_sweep_tries_nothing_else_again(tmp_path: Path) -> None:
    """A full disk and a file that has been short for long are failures at once."""
    bench = SchedulerBench(tmp_path, 0.0, queue=Queue(FEW))
    for error in (Storage("full"), Unfinished("it is short")):
        bench.save([str(error)], age=100.0)
        bench.pool.errors[NAME] = error
        bench.take()
        bench.go(0.0)
        assert len(bench.scheduler.queue) == 0
    assert bench.pool.worked == [NAME, NAME]
    assert bench.log.names == ["source.failed"] * 2


def test_a_retried_source_that_is_deleted_is_forgotten(bench: SchedulerBench) -> None:
    """A file that is no longer there is not reported."""
    bench.fail(Storage("full"))
    bench.path.unlink()
    bench.go(1.0)
    assert (bench.state, bench.listed) == (None, [])


def test_a_directory_swapped_for_a_link_is_reported_once(tmp_path: Path) -> None:
    """What cannot be looked at for good is settled; a sweep that does not meet it forgets it."""
    (tmp_path / "real").mkdir()
    bench = SchedulerBench(tmp_path / "real")
    bench.save()
    (tmp_path / "link").symlink_to("real")
    bench.task = task_of(tmp_path / "link" / NAME, tmp_path)
    bench.turn()
    assert bench.log.names == ["source.failed"]
    assert bench.state == "settled"
    assert [listed["path"] for listed in bench.listed] == [bench.task.path]
    bench.scheduler.forget([bench.task, task_of(tmp_path / "other" / NAME)])
    assert (bench.state, bench.listed) == (None, [])


def test_what_cannot_be_looked_at_for_now_is_retried(tmp_path: Path) -> None:
    """A sidecar's name that is too long is the system's refusal, with its hint, and no end of the service."""
    bench = SchedulerBench(tmp_path)
    bench.path = tmp_path / ("x" * 235 + "_full_texts.npy").rjust(255, "y")
    bench.task = task_of(bench.path)
    bench.save()
    bench.turn()
    [failed] = bench.log.of("source.failed")
    assert "shorten" in failed["hint"]
    assert (failed["attempt"], bench.state) == (1, "put off")


def test_a_sweep_leaves_a_failing_source_to_its_retry(bench: SchedulerBench) -> None:
    """Its last outcome stands; only a change makes the sweep hurry it."""
    bench.fail(Storage("full"))
    outcome = bench.take()
    assert outcome is not None
    assert outcome.result == "failed"
    bench.go(0.5)
    assert bench.pool.worked == [NAME]
    bench.save(["changed"], age=50.0)
    assert bench.take() is None
    bench.go(0.1)
    assert bench.pool.worked == [NAME, NAME]


def test_a_sweep_does_not_repeat_what_is_in_work(bench: SchedulerBench) -> None:
    """Found again while a worker has it: once is enough."""
    bench.save()
    bench.hint()
    bench.pool.busy = True
    bench.go()
    assert bench.take() is None
    bench.pool.busy = False
    bench.go()
    bench.go()
    assert bench.pool.worked == [NAME]
    assert len(bench.scheduler.queue) == 0


def test_a_full_queue_takes_no_new_source(tmp_path: Path) -> None:
    """The hint says that only a sweep helps; sources in the table are still taken, and sweeps add none."""
    bench = SchedulerBench(tmp_path, queue=Queue(capacity=1))
    other = task_of(bench.path.parent / "other_completions.npy")
    assert bench.scheduler.hint(other, bench.now, closed=True)
    assert bench.scheduler.hint(other, bench.now, closed=True)
    assert not bench.scheduler.hint(bench.task, bench.now, closed=True)
    bench.save()
    assert bench.take() is None
    assert bench.task not in bench.scheduler.queue


def test_sidecars_that_cannot_be_stamped_are_compared_once_and_reported_once(tmp_path: Path) -> None:
    """On a disk that is read-only, say: they are right, and wait for a change of their file."""
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        bench = SchedulerBench(disk)
        bench.save()
        sync(bench.path)
        for suffix in (".json", ".md"):
            os.utime(bench.path.with_suffix(suffix), (time.time() - 50,) * 2)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert bench.take() is None
        bench.go()
        (outcome,) = [outcome for _, outcome in bench.turns]
        assert outcome is not None
        assert results(outcome) == {"json": "fresh", "md": "fresh"}
        assert bench.take() is outcome
        assert bench.log.names == ["sidecar.adopted"]
        (event,) = bench.log.of("sidecar.adopted")
        assert "cannot be set: Read-only file system" in event["reason"]
        bench.scheduler.forget([bench.task])
        bench.take()
        bench.go()
        assert bench.log.names == ["sidecar.adopted"]


def test_settled_sources_have_a_limit(tmp_path: Path) -> None:
    """Memory is bounded; what finds no room is looked at by every sweep."""
    bench = SchedulerBench(tmp_path, queue=Queue(settled_limit=0))
    bench.save(np.arange(3))
    bench.turn()
    assert (bench.state, bench.listed) == (None, [])
    assert bench.take() is None


def test_the_pool_learns_the_size_of_a_source(bench: SchedulerBench) -> None:
    """It decides by that who does it."""
    path = save(bench.path, ["text"], time_ns=SECOND_NS)
    bench.scheduler.hint(task_of(path), bench.now, closed=True)
    bench.scheduler.work(bench.now + 1, NEVER)
    assert bench.pool.sizes == {NAME: path.stat().st_size}


def test_work_stops_at_the_end_of_its_slice_and_when_the_pool_is_full(bench: SchedulerBench) -> None:
    """No time, no work; and three tasks a worker at the most."""
    for number in range(5):
        path = save(bench.path.parent / f"n{number}_completions.npy", ["text"], time_ns=SECOND_NS)
        bench.scheduler.hint(task_of(path), bench.now, closed=True)
    bench.scheduler.work(bench.now + 1, 0.0)
    assert len(bench.pool) == 0
    bench.scheduler.work(bench.now + 1, NEVER)
    assert len(bench.pool) == 3


@pytest.mark.parametrize(
    ("digits_ns", "age", "closed", "still", "wait"),
    [
        # within a tick of the clock, two writes have one time
        (1_000_000, 0.0, True, 0.0, 0.02),
        (1_000_000, 0.03, True, 0.0, 0.0),
        # a time of whole seconds: its file system may keep no digits below them
        (0, 0.5, True, 9.0, 1.5),
        (0, 1.5, True, 9.0, 0.5),
        (0, 2.0, True, 9.0, 0.0),
        # a clock set back a year: everything seems to be from the future
        (1_000_000, -366 * 86_400, True, 0.0, 0.0),
        (1_000_000, -366 * 86_400, False, 0.0, 0.5),
        (1_000_000, -366 * 86_400, False, 0.6, 0.0),
    ],
)
def test_a_source_waits_until_a_later_write_would_show(
    tmp_path: Path, digits_ns: int, age: float, still: float, wait: float, *, closed: bool
) -> None:
    """One that was closed as long as a write could get the same time, another until it has lain still."""
    path = save(tmp_path / NAME, ["text"], time_ns=1_700_000_000 * SECOND_NS + digits_ns)
    clock = path.stat().st_mtime + age
    found = found_at(task_of(path))
    waited = seconds_to_wait(found, 0.5, closed=closed, still_seconds=still, clock=clock)
    assert waited == pytest.approx(wait, abs=1e-6)
