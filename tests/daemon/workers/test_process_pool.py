"""The pool: real worker processes, some of which die, hang, or cannot be started."""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from collections import deque
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from doubles import StartingPool, moody_pool, task_of
from support import freeze, save, wait_for

from daemon.workers import process
from daemon.workers.pool import Job, next_batch
from daemon.workers.process_pool import LONG_BYTES
from lib.errors import Interrupted, ProgramFault
from lib.options import Options
from lib.sync.walk import Task, walk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from daemon.workers.worker import Stop
    from lib.outcome import Outcome

NAMES = ["a", "b", "c", "d", "e"]


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[StartingPool]:
    """Make a pool of two processes that have moods."""
    pool = moody_pool(2)
    yield pool
    end(pool, tmp_path)


def end(pool: StartingPool, folder: Path) -> None:
    """End a pool at once, and remove what the dead leave behind."""
    pool.kill()
    pool.close()
    for _ in walk(str(folder), Options(), frozenset()):
        pass


def submit(pool: StartingPool, folder: Path, *names: str, size: int = 0) -> list[Task]:
    """Save sources of these names, hand them in, and have them started."""
    tasks = [task_of(save(folder / f"{name}_completions.npy", ["text"])) for name in names]
    for task in tasks:
        pool.submit(task, size)
    pool.start()
    return tasks


def collect(pool: StartingPool, seconds: float = 60.0) -> dict[str, Outcome]:
    """Take outcomes until none is left."""
    outcomes: dict[str, Outcome] = {}
    deadline = time.monotonic() + seconds
    while len(pool):
        assert time.monotonic() < deadline
        select.select([pool], [], [], 0.05)
        for task, outcome in pool.done():
            assert task.name not in outcomes
            outcomes[task.name.removesuffix("_completions.npy")] = outcome
    return outcomes


def results(outcomes: dict[str, Outcome]) -> dict[str, str]:
    """Return the result of each."""
    return {name: outcome.result for name, outcome in outcomes.items()}


def fates(outcomes: dict[str, Outcome]) -> dict[str, str]:
    """Return whether each is done or failed; one whose worker died late is fresh at its second turn."""
    return {name: "failed" if outcome.result == "failed" else "done" for name, outcome in outcomes.items()}


def busy_pids(folder: Path, count: int) -> list[int]:
    """Wait until this many workers are in an endless task; list them."""
    wait_for(lambda: sum(bool(mark.read_text()) for mark in folder.glob("*.pid")) == count)
    return [int(mark.read_text()) for mark in folder.glob("*.pid")]


def is_there(pid: int) -> bool:
    """Tell whether a process exists."""
    return Path(f"/proc/{pid}").exists()


def test_every_task_comes_back_once(pool: StartingPool, tmp_path: Path) -> None:
    """More tasks than workers: all are done, and the sidecars are there."""
    submit(pool, tmp_path, *NAMES)
    assert len(pool) == 5
    assert results(collect(pool)) == dict.fromkeys(NAMES, "rendered")
    assert len(list(tmp_path.glob("*.md"))) == 5
    assert pool.done() == []


def test_small_tasks_that_wait_go_together_and_large_ones_alone(tmp_path: Path) -> None:
    """Up to sixteen and up to eight megabytes, and no more than every worker's share."""
    task = task_of(tmp_path / "a_completions.npy")
    sizes = [1000] * 28 + [9 << 20] * 2 + [1000] * 5
    waiting = deque(Job(task, size) for size in sizes)
    assert [len(next_batch(waiting, 1)) for _ in range(5)] == [16, 12, 1, 1, 5]
    waiting = deque(Job(task, 1000) for _ in range(20))
    assert [len(next_batch(waiting, 4)) for _ in range(4)] == [5, 3, 3, 2]


def test_the_descriptor_is_quiet_when_there_is_nothing_to_take(pool: StartingPool, tmp_path: Path) -> None:
    """It is readable for finished work only."""
    submit(pool, tmp_path, "a")
    collect(pool)
    assert select.select([pool], [], [], 0) == ([], [], [])


def test_small_sources_pass_a_long_one(tmp_path: Path) -> None:
    """A long conversion has a worker of its own, and long ones that wait leave room for small ones."""
    with closing(moody_pool(1)) as pool:
        long = submit(pool, tmp_path, "endless", size=LONG_BYTES)
        for _ in range(1000):
            pool.submit(long[0], LONG_BYTES)
        busy_pids(tmp_path, 1)
        assert pool.has_room()
        submit(pool, tmp_path, "a", "b", "c", size=LONG_BYTES - 1)
        wait_for(lambda: bool(pool.done()) and len(list(tmp_path.glob("*.md"))) == 3)
        assert len(pool.pids) == 2
        end(pool, tmp_path)


def test_a_dying_worker_costs_one_retry(pool: StartingPool, tmp_path: Path) -> None:
    """A task whose worker died once succeeds, as do all that were in work with it."""
    submit(pool, tmp_path, "a", "mortal", "b", "c")
    assert fates(collect(pool)) == dict.fromkeys(["a", "mortal", "b", "c"], "done")
    assert len(list(tmp_path.glob("*.md"))) == 4


def test_a_poison_task_fails_alone(pool: StartingPool, tmp_path: Path) -> None:
    """The task that kills every worker is reported; its neighbours, before and after, are done."""
    submit(pool, tmp_path, "a", "poison", "b", "c", "d", "poison2", "e")
    outcomes = collect(pool)
    assert fates(outcomes) == dict.fromkeys(NAMES, "done") | {"poison": "failed", "poison2": "failed"}
    assert len(list(tmp_path.glob("*.md"))) == len(NAMES)
    poison = outcomes["poison"]
    assert poison.passing
    assert "died" in poison.reason
    assert "memory" in poison.hint


@pytest.mark.parametrize("stopped", [False, True])
def test_a_worker_that_hangs_is_replaced(tmp_path: Path, *, stopped: bool) -> None:
    """Asleep for ever, or stopped: its task is tried again, and fails in its turn; the others are done."""
    with closing(moody_pool(1, patience_seconds=0.5)) as pool:
        submit(pool, tmp_path, "a", "endless", "b")
        if stopped:
            freeze(busy_pids(tmp_path, 1)[0])
        outcomes = collect(pool)
        end(pool, tmp_path)
    assert fates(outcomes) == {"a": "done", "b": "done", "endless": "failed"}
    assert outcomes["endless"].passing
    assert "did not answer in time" in outcomes["endless"].reason


def test_a_worker_that_writes_is_not_taken_for_one_that_hangs(tmp_path: Path) -> None:
    """A small source may have large sidecars: what counts is that it goes on."""
    with closing(moody_pool(1, patience_seconds=2.0)) as pool:  # the disk may well stand still for a second
        submit(pool, tmp_path, "slow")
        workers = list(pool.pids)
        assert results(collect(pool)) == {"slow": "rendered"}
        assert pool.pids == workers


def test_an_idle_worker_that_is_stopped_is_replaced(tmp_path: Path) -> None:
    """Nobody sees that before it has work, and then it does not do it."""
    with closing(StartingPool(1, patience_seconds=0.5)) as pool:
        submit(pool, tmp_path, "a")
        collect(pool)
        freeze(pool.pids[0])
        submit(pool, tmp_path, "b")
        assert results(collect(pool)) == {"b": "rendered"}


def test_a_time_in_which_nobody_looked_does_not_count(tmp_path: Path) -> None:
    """The whole program was stopped, with its workers, and continued."""
    now = [0.0]
    with closing(
        moody_pool(1, patience_seconds=10.0, clock=lambda: now[0] if now else time.monotonic())
    ) as pool:
        submit(pool, tmp_path, "endless")
        worker = busy_pids(tmp_path, 1)[0]
        now[0] += 3600.0
        pool.done()
        assert is_there(worker)
        for _ in range(22):  # once more, as it has read something since it got its task
            now[0] += 1.0
            pool.done()
        wait_for(lambda: not pool.done() and not is_there(worker))
        now.clear()
        end(pool, tmp_path)


@pytest.mark.parametrize("stopped", [False, True])
def test_idle_workers_go_and_come_back(tmp_path: Path, *, stopped: bool) -> None:
    """A stopped one, too, frees its place; the next task starts another."""
    with closing(StartingPool(1, rest_seconds=0.1)) as pool:
        submit(pool, tmp_path, "a")
        collect(pool)
        before = pool.pids
        if stopped:
            freeze(before[0])
        wait_for(lambda: not pool.done() and not any(map(is_there, before)))
        submit(pool, tmp_path, "b")
        assert results(collect(pool)) == {"b": "rendered"}
        assert before[0] not in pool.pids


def test_a_busy_worker_does_not_rest(tmp_path: Path) -> None:
    """It is at work, however long that takes."""
    with closing(moody_pool(1, rest_seconds=0.01)) as pool:
        submit(pool, tmp_path, "slow")
        worker = pool.pids
        while len(pool) and not pool.done():
            assert pool.pids == worker
            select.select([pool], [], [], 0.01)
        end(pool, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_idle_worker_that_another_program_ends_is_replaced(
    pool: StartingPool, tmp_path: Path, number: signal.Signals
) -> None:
    """The next tasks are done by another one."""
    submit(pool, tmp_path, "a")
    collect(pool)
    for pid in pool.pids:
        os.kill(pid, number)
    submit(pool, tmp_path, "b", "c")
    assert results(collect(pool)) == {"b": "rendered", "c": "rendered"}


def test_work_that_another_program_interrupts_is_done_again(tmp_path: Path) -> None:
    """A signal from outside is not the pool's wish to stop."""
    with closing(StartingPool(1, serve=_interrupted_once)) as pool:
        submit(pool, tmp_path, "a")
        assert results(collect(pool)) == {"a": "rendered"}


def _interrupted_once(options: Options, connection: Connection, stop: Stop) -> None:
    from lib.outcome import failure

    tasks = connection.recv()
    mark = Path(tasks[0].path + ".interrupted")
    if mark.exists():
        from daemon.workers.worker import convert

        connection.send(convert(tasks, options))
    else:
        mark.touch()
        connection.send([failure(task.name, options, Interrupted("stopped")) for task in tasks])


def test_a_worker_with_a_broken_program_is_replaced(tmp_path: Path) -> None:
    """After an import that failed it ends: a module that was half imported would stay so."""
    with closing(StartingPool(1, serve=_without_rendering)) as pool:
        submit(pool, tmp_path, "a")
        first = pool.pids
        outcomes = collect(pool)
        assert outcomes["a"].error is ProgramFault
        assert outcomes["a"].passing
        wait_for(lambda: not pool.done() and not any(map(is_there, first)))


def _without_rendering(options: Options, connection: Connection, stop: Stop) -> None:
    import sys

    from daemon.workers.worker import serve

    sys.modules["lib.render.stream"] = None  # type: ignore[assignment]  # an import of it fails
    serve(options, connection, stop)


def test_a_killed_pool_starts_nothing_again(pool: StartingPool, tmp_path: Path) -> None:
    """What was handed on comes back as interrupted, what waited does not."""
    for name in ("endless", "endless2", "a", "b", "c", "d"):
        submit(pool, tmp_path, name)
    busy_pids(tmp_path, 2)
    pool.kill()
    outcomes = collect(pool)
    assert {outcome.error for outcome in outcomes.values()} == {Interrupted}
    assert list(tmp_path.glob("*.md")) == []


def test_workers_stop_when_asked(tmp_path: Path) -> None:
    """What waits is dropped, and what is in work comes back, whatever became of it."""
    pool = StartingPool(1)
    submit(pool, tmp_path, *NAMES)
    pool.stop()
    assert {outcome.error for outcome in collect(pool).values()} <= {None, Interrupted}
    pool.close()
    pool.close()
    pool.kill()


@pytest.mark.parametrize("stopped", [False, True])
def test_closing_has_a_deadline(tmp_path: Path, *, stopped: bool) -> None:
    """A worker that hangs, or is stopped, holds nobody up: no process is left, and no descriptor."""
    before = set(os.listdir("/proc/self/fd"))
    pool = moody_pool(2)
    submit(pool, tmp_path, "endless", "endless2")
    workers = busy_pids(tmp_path, 2)
    if stopped:
        for worker in workers:
            freeze(worker)
    began = time.monotonic()
    pool.close(0.2)
    assert time.monotonic() - began < 5
    assert not any(map(is_there, workers))
    assert set(os.listdir("/proc/self/fd")) == before


def test_closing_lets_work_in_progress_end(tmp_path: Path) -> None:
    """It is stopped between two blocks, not killed."""
    pool = StartingPool(2)
    submit(pool, tmp_path, *NAMES)
    workers = pool.pids
    pool.close()
    assert not any(map(is_there, workers))


def refusing(monkeypatch: pytest.MonkeyPatch, error: Exception, times: int) -> list[Exception]:
    """Have the system refuse a process this many times; return the refusals to come."""
    errors = [error] * times
    fork = os.fork

    def refuse() -> int:
        if errors:
            raise errors.pop()
        return fork()

    monkeypatch.setattr(process.os, "fork", refuse)
    return errors


REFUSALS = [(OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)), "unavailable"), (MemoryError(), "memory")]


@pytest.mark.parametrize(("error", "words"), REFUSALS, ids=["EAGAIN", "memory"])
def test_work_waits_until_a_process_can_be_started(
    error: Exception, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fork refused for a moment is no failure of any task."""
    errors = refusing(monkeypatch, error, 2)
    with closing(StartingPool(1)) as pool:
        submit(pool, tmp_path, "a", "b")
        assert results(collect(pool)) == {"a": "rendered", "b": "rendered"}
    assert errors == []


@pytest.mark.parametrize(("error", "words"), REFUSALS, ids=["EAGAIN", "memory"])
def test_without_any_process_tasks_fail_for_now(
    error: Exception, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while, with the system's reason; they can be tried again later."""
    refusing(monkeypatch, error, 1000)
    with closing(StartingPool(1, start_seconds=0.7)) as pool:
        submit(pool, tmp_path, "a", "b")
        outcomes = collect(pool)
    assert results(outcomes) == {"a": "failed", "b": "failed"}
    assert outcomes["a"].passing
    assert words in outcomes["a"].reason


def test_one_worker_does_the_work_if_no_second_can_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever processes there are go on."""
    with closing(StartingPool(2, start_seconds=0.1)) as pool:
        submit(pool, tmp_path, "a")
        refusing(monkeypatch, OSError(errno.EAGAIN, "no"), 1000)
        submit(pool, tmp_path, *NAMES[1:])
        assert results(collect(pool)) == dict.fromkeys(NAMES, "rendered")


def test_a_signal_before_a_worker_is_prepared_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM between fork and the worker's own handler waits for that handler."""
    prepare = process.prepare

    def slow(parent: int) -> Stop:
        os.kill(os.getpid(), signal.SIGTERM)
        return prepare(parent)

    monkeypatch.setattr(process, "prepare", slow)
    called: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: called.append(number))
    try:
        with closing(StartingPool(1, start_seconds=0.1)) as pool:
            pool.start()
            task = task_of(save(tmp_path / "a_completions.npy", ["text"]))
            pool.submit(task)
            outcomes = collect(pool)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert fates(outcomes) == {"a": "failed"}  # each of its workers ended before it began
    assert called == []


def test_a_small_source_that_is_alone_needs_no_process(tmp_path: Path) -> None:
    """Where that is allowed; two have processes."""
    with closing(StartingPool(2, inline_bytes=100)) as pool:
        submit(pool, tmp_path, "a", size=100)
        assert pool.pids == []
        assert results(collect(pool)) == {"a": "rendered"}
        submit(pool, tmp_path, "b", size=101)
        assert len(pool.pids) == 1
        submit(pool, tmp_path, "c", "d", size=1)
        assert set(results(collect(pool))) == {"b", "c", "d"}
