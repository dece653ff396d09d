"""Two lanes: what is long does not hold up what is short."""

from __future__ import annotations

import os
import select
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from doubles import moody_processes, task_of
from support import save, wait_for

from daemon.workers.lanes import LONG_BYTES, Lanes
from daemon.workers.pool import Crew
from lib.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    """Make two lanes of one worker each."""
    lanes = Lanes(Crew(lambda: moody_processes(1), 1), Crew(lambda: moody_processes(1), 1))
    with closing(lanes):
        yield lanes
        lanes.kill()


def test_small_sources_pass_a_long_one(lanes: Lanes, tmp_path: Path) -> None:
    """A conversion that does not end leaves the other lane free; all are counted, and announced."""
    long = save(tmp_path / "endless_completions.npy", ["text"])
    lanes.submit(task_of(long), Options(), LONG_BYTES)
    wait_for((tmp_path / "endless_completions.npy.pid").exists)
    small = [task_of(save(tmp_path / f"{name}_completions.npy", ["text"])) for name in "abc"]
    for task in small:
        lanes.submit(task, Options(), LONG_BYTES - 1)
    assert len(lanes) == 4
    assert lanes.has_room()
    done = []
    while len(lanes) > 1:
        assert select.select([lanes], [], [], 20) != ([], [], [])
        done += lanes.done()
    assert [task for task, _ in done] == small
    assert {outcome.result for _, outcome in done} == {"rendered"}


def test_long_sources_that_wait_do_not_fill_the_crew(lanes: Lanes, tmp_path: Path) -> None:
    """However many there are, there is room for small ones."""
    task = task_of(save(tmp_path / "endless_completions.npy", ["text"]))
    for _ in range(1000):
        lanes.submit(task, Options(), LONG_BYTES)
    assert lanes.has_room()


def test_both_lanes_are_told_to_stop(lanes: Lanes, tmp_path: Path) -> None:
    """What waits is dropped in both; what is in work ends when it is killed."""
    tasks = [task_of(save(tmp_path / f"endless{number}_completions.npy", ["text"])) for number in range(2)]
    for task, size in zip(tasks, (1, LONG_BYTES), strict=True):
        lanes.submit(task, Options(), size)
        lanes.submit(task_of(save(tmp_path / "a_completions.npy", ["text"])), Options(), size)
    marks = [tmp_path / f"endless{number}_completions.npy.pid" for number in range(2)]
    wait_for(lambda: all(mark.exists() and mark.read_text() for mark in marks))
    lanes.ask_to_stop()
    lanes.kill()
    wait_for(lambda: not any(os.path.exists(f"/proc/{mark.read_text()}/exe") for mark in marks))
    wait_for(lambda: not lanes.done() and not len(lanes))


def test_idle_lanes_rest(lanes: Lanes, tmp_path: Path) -> None:
    """And wake up for the next task."""
    for name in "ab":
        lanes.submit(task_of(save(tmp_path / f"{name}_completions.npy", ["text"])), Options())
        wait_for(lambda: bool(lanes.done()))
        lanes.rest()
