"""The crew: real worker processes, some of which die."""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from doubles import Inline, moody_processes, task_of
from support import save, wait_for

from daemon.workers.pool import Crew, local_processes
from lib.errors import Interrupted
from lib.options import Options
from lib.sync.walk import walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor, Future

    from lib.outcome import Outcome
    from lib.sync.walk import Task

NAMES = ["a", "b", "c", "d", "e"]


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    """Make a crew of two processes that have moods."""
    crew = Crew(lambda: moody_processes(2), 2)
    yield crew
    crew.kill()
    crew.close()
    for _ in walk(str(tmp_path), Options(), frozenset()):  # removes what the dead leave behind
        pass


def submit(crew: Crew, folder: Path, *names: str) -> list[Task]:
    """Save sources of these names and hand them in."""
    tasks = [task_of(save(folder / f"{name}_completions.npy", ["text"])) for name in names]
    for task in tasks:
        crew.submit(task, Options())
    return tasks


def collect(crew: Crew, seconds: float = 60.0) -> dict[str, Outcome]:
    """Take outcomes as the descriptor announces them, until none is left."""
    outcomes: dict[str, Outcome] = {}
    deadline = time.monotonic() + seconds
    while len(crew):
        ready, _, _ = select.select([crew], [], [], deadline - time.monotonic())
        assert ready, "no work was announced"
        for task, outcome in crew.done():
            assert task.name not in outcomes
            outcomes[task.name.removesuffix("_completions.npy")] = outcome
    return outcomes


def results(outcomes: dict[str, Outcome]) -> dict[str, str]:
    """Say what became of each."""
    return {name: outcome.result for name, outcome in outcomes.items()}


def fates(outcomes: dict[str, Outcome]) -> dict[str, str]:
    """Say whether each is done or failed; what was done when its pool broke is fresh at its second turn."""
    return {name: "failed" if outcome.result == "failed" else "done" for name, outcome in outcomes.items()}


def test_every_task_comes_back_once(crew: Crew, tmp_path: Path) -> None:
    """More tasks than workers: all are done, and the sidecars are there."""
    submit(crew, tmp_path, *NAMES)
    assert len(crew) == 5
    assert results(collect(crew)) == dict.fromkeys(NAMES, "rendered")
    assert len(list(tmp_path.glob("*.md"))) == 5
    assert crew.done() == []


def test_small_tasks_that_wait_go_together_and_large_ones_alone(tmp_path: Path) -> None:
    """While a worker is busy, what waits is gathered: up to sixteen, up to eight megabytes."""
    executor = Inline()
    batches = []
    crew = Crew(lambda: executor, 1)

    def noting(fn: Callable[..., Any], tasks: list[Task], options: Options) -> Future[Any]:
        batches.append(len(tasks))
        return Inline.submit(executor, fn, tasks, options)

    executor.submit = noting  # type: ignore[method-assign]  # listens in
    tasks = [task_of(save(tmp_path / f"{number}_completions.npy", ["text"])) for number in range(40)]
    for number, task in enumerate(tasks):
        crew.submit(task, Options(), size=9 << 20 if number in {30, 31} else 1000)
    outcomes = collect(crew)
    crew.close()
    assert set(results(outcomes).values()) == {"rendered"}
    assert len(outcomes) == 40
    assert batches == [1, 1, 16, 12, 1, 1, 8]


def test_the_descriptor_is_quiet_when_there_is_nothing_to_take(crew: Crew, tmp_path: Path) -> None:
    """It is readable for finished work only."""
    submit(crew, tmp_path, "a")
    collect(crew)
    assert select.select([crew], [], [], 0) == ([], [], [])


def test_a_dying_worker_costs_one_retry(crew: Crew, tmp_path: Path) -> None:
    """A task whose worker died once succeeds, as do all that were in work with it."""
    submit(crew, tmp_path, "a", "mortal", "b", "c")
    assert fates(collect(crew)) == dict.fromkeys(["a", "mortal", "b", "c"], "done")
    assert len(list(tmp_path.glob("*.md"))) == 4


def test_a_poison_task_fails_alone(crew: Crew, tmp_path: Path) -> None:
    """The task that kills every worker is reported; its neighbours, before and after, are done."""
    submit(crew, tmp_path, "a", "poison", "b", "c", "d", "poison2", "e")
    outcomes = collect(crew)
    assert fates(outcomes) == dict.fromkeys(NAMES, "done") | {"poison": "failed", "poison2": "failed"}
    assert len(list(tmp_path.glob("*.md"))) == len(NAMES)
    poison = outcomes["poison"]
    assert poison.passing
    assert "died" in poison.trouble
    assert "memory" in poison.hint


def test_idle_workers_go_and_come_back(crew: Crew, tmp_path: Path) -> None:
    """Resting ends the processes; the next task starts others."""
    submit(crew, tmp_path, "a")
    collect(crew)
    before = pids(crew)
    crew.rest()
    assert before
    assert not any(Path(f"/proc/{pid}").exists() for pid in before)
    submit(crew, tmp_path, "b")
    assert results(collect(crew)) == {"b": "rendered"}


def test_a_busy_crew_does_not_rest(crew: Crew, tmp_path: Path) -> None:
    """Workers with work stay."""
    submit(crew, tmp_path, "endless")
    wait_for((tmp_path / "endless_completions.npy.pid").exists)
    crew.rest()
    assert pids(crew)


def test_an_idle_worker_that_dies_harms_nobody(crew: Crew, tmp_path: Path) -> None:
    """The next task finds a broken pool and is done by a new one."""
    submit(crew, tmp_path, "a")
    collect(crew)
    for pid in pids(crew):
        os.kill(pid, signal.SIGKILL)
    submit(crew, tmp_path, "b", "c")
    assert results(collect(crew)) == {"b": "rendered", "c": "rendered"}


def test_a_killed_crew_starts_nothing_again(crew: Crew, tmp_path: Path) -> None:
    """Impatience ends at once: what was in work comes back as interrupted, what waited does not."""
    submit(crew, tmp_path, "endless", "endless2", "a", "b", "c", "d")
    wait_for(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    crew.kill()
    outcomes = collect(crew)
    assert {outcome.error for outcome in outcomes.values()} == {Interrupted}
    assert set(outcomes) == {"endless", "endless2", "a", "b"}  # twice as many as workers were handed on
    assert list(tmp_path.glob("*.md")) == []


def test_workers_stop_when_asked(tmp_path: Path) -> None:
    """Asking drops what waits and lets what is in work come back, whatever became of it."""
    crew = Crew(lambda: local_processes(1), 1)
    submit(crew, tmp_path, *NAMES)
    crew.ask_to_stop()
    assert len(crew) <= 2
    assert {outcome.error for outcome in collect(crew).values()} <= {None, Interrupted}
    crew.close()
    crew.close()
    crew.kill()


def test_closing_waits_for_the_workers(tmp_path: Path) -> None:
    """No process is left, and no descriptor."""
    before = set(os.listdir("/proc/self/fd"))
    crew = Crew(lambda: local_processes(2), 2)
    submit(crew, tmp_path, *NAMES)
    workers = pids(crew)
    crew.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert set(os.listdir("/proc/self/fd")) == before


class Refusing(Inline):
    """Refuses the first task with an error of the system."""

    def __init__(self, errors: list[BaseException]) -> None:
        self._errors = errors

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Raise what is left to raise, then work."""
        if self._errors:
            raise self._errors.pop(0)
        return super().submit(fn, *args, **kwargs)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)), "temporarily unavailable"),
        (MemoryError(), "memory"),
    ],
)
@pytest.mark.parametrize("when", ["making", "submitting"])
def test_a_system_without_processes_fails_the_task_for_now(
    error: Exception, words: str, when: str, tmp_path: Path
) -> None:
    """Fork refused is no crash: that task can be tried again later, the next one works."""
    errors: list[BaseException] = [error]

    def make() -> Executor:
        if when == "making" and errors:
            raise errors.pop()
        return Refusing(errors)

    crew = Crew(make, 1)
    submit(crew, tmp_path, "a", "b")
    outcomes = collect(crew)
    crew.close()
    assert results(outcomes) == {"a": "failed", "b": "rendered"}
    assert outcomes["a"].passing
    assert words in outcomes["a"].trouble


def test_a_pool_that_breaks_during_submit_is_replaced(tmp_path: Path) -> None:
    """The task was not at fault, and is done by the next pool."""
    errors: list[BaseException] = [BrokenProcessPool()]
    crew = Crew(lambda: Refusing(errors), 1)
    submit(crew, tmp_path, "a", "b", "c")
    outcomes = collect(crew)
    crew.close()
    assert results(outcomes) == dict.fromkeys("abc", "rendered")


def test_a_pool_that_always_breaks_fails_every_task_and_ends(tmp_path: Path) -> None:
    """No task is tried for ever."""
    crew = Crew(lambda: Refusing([BrokenProcessPool() for _ in range(9)]), 1)
    submit(crew, tmp_path, "a", "b", "c")
    outcomes = collect(crew)
    crew.close()
    assert results(outcomes) == dict.fromkeys("abc", "failed")


def pids(crew: Crew) -> list[int]:
    """List the worker processes."""
    return list(getattr(crew._executor, "_processes", None) or {})
