"""Faults 23 and 24: directories that outrun the watch, lost events, dead readers, roots that come and go."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from faults.service import (
    Service,
    counts,
    holds,
    is_complete,
    is_fresh,
    is_right,
    litter,
    pause,
    rounds,
    save,
    serving,
    unmade,
)
from faults.tools import quick_directory
from support import freeze, need

LONG_SECONDS = 240.0


@counts(50, 500)
def test_fault_23_a_path_is_made_and_saved_into_at_once(tmp_path: Path, count: int) -> None:
    """Back to back: none is missed."""
    with serving(tmp_path) as service:
        sources = [
            save(service.root / f"m{number}" / "b" / "c" / "n1_completions.npy", f"text {number}")
            for number in range(count)
        ]
        service.until(lambda: is_complete(sources), LONG_SECONDS)
        service.until(lambda: not unmade(service.root))


@counts(100, 1000)
def test_fault_23_a_tree_that_moves_in_is_done(tmp_path: Path, count: int) -> None:
    """One rename: twice as many sidecars as sources, all right, and no litter."""
    for number in range(count):
        folder = f"d{number % 10}/e{number % 7}/f{number % 3}"
        save(tmp_path / "elsewhere" / folder / f"n{number}_completions.npy", f"moved {number}")
    with serving(tmp_path) as service:
        (tmp_path / "elsewhere").rename(service.root / "arrived")
        sources = sorted(service.root.rglob("*.npy"))
        assert len(sources) == count
        service.until(lambda: is_complete(sources), LONG_SECONDS)
        service.until(lambda: not unmade(service.root))
        assert len([path for path in service.root.rglob("*") if path.is_file()]) == 3 * count
        service.until(lambda: not litter(service.root))
        assert service.named("source.failed") == []


@pytest.mark.faults
def test_fault_24_an_overflow_loses_nothing() -> None:
    """20,000 files while the watcher is stopped: more events than the kernel keeps, and every sidecar."""
    count = rounds(20_000)
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    need(queue < 2 * count, f"a queue of {queue} events does not overflow")
    with quick_directory() as directory, serving(directory, "--jobs", "2") as service:
        data = save(directory / "model.npy", "one text").read_bytes()
        service.until(lambda: service.watcher is not None)
        watcher = service.watcher
        assert watcher is not None
        freeze(watcher)
        try:
            for number in range(count):
                (service.root / f"n{number}_completions.npy").write_bytes(data)
        finally:
            with suppress(ProcessLookupError):  # one that is deaf for too long is replaced
                os.kill(watcher, signal.SIGCONT)
        sources = sorted(service.root.glob("*.npy"))
        assert len(sources) == count
        service.until(lambda: len(os.listdir(service.root)) >= 3 * count, LONG_SECONDS * 2)
        service.until(lambda: is_complete(sources))
        assert all(is_fresh(source) and holds(source, "one text") for source in sources)
        last = save(service.root / "last_completions.npy", "last")
        service.until(lambda: is_right(last))


def replace_the_root(service: Service, how: str) -> None:
    """Put another directory in the root's place, or the same one back."""
    if how == "renamed":
        service.root.rename(service.root.with_name("old"))
    elif how == "deleted":
        shutil.rmtree(service.root)
    else:
        new = service.root.with_name("new")
        new.mkdir()
        save(new / "n0_completions.npy", "came with it")
        service.root.rename(service.root.with_name("away"))
        new.rename(service.root)
    service.root.mkdir(exist_ok=True)


@pytest.mark.parametrize("how", ["renamed", "deleted", "exchanged"])
def test_fault_24_a_root_that_is_replaced_is_followed(tmp_path: Path, how: str) -> None:
    """Renamed away, deleted or exchanged: what stands at the root's path is watched, and swept."""
    with serving(tmp_path) as service:
        first = save(service.root / "n1_completions.npy", "first")
        service.until(lambda: is_right(first))
        replace_the_root(service, how)
        second = save(service.root / "deep" / "n2_completions.npy", "second")
        service.until(lambda: is_right(second))
        third = save(service.root / "deep" / "n3_completions.npy", "third")
        service.until(lambda: is_right(third))
        assert unmade(service.root) == []


def test_fault_24_the_moves_that_kill_a_reader_thread_lose_nothing(tmp_path: Path) -> None:
    """Five commands after which watchdog's reader is dead while its observer looks alive."""
    with serving(tmp_path) as service:
        inside, outside = service.root / "p", tmp_path / "out"
        inside.mkdir()
        inside.rename(outside)
        inside.mkdir()
        inside.rmdir()
        outside.rmdir()
        for number in range(5):
            source = save(service.root / f"d{number}" / "n_completions.npy", f"after {number}")
            service.until(lambda source=source: is_right(source))


@counts(40, 400)
def test_fault_24_runs_that_replace_each_other_lose_nothing(tmp_path: Path, count: int) -> None:
    """``mv run old; mkdir run; write``, again and again."""
    with serving(tmp_path) as service:
        for number in range(count):
            run = service.root / "run"
            if run.exists():
                run.rename(service.root / f"old{number}")
            save(run / "n_completions.npy", f"run {number}")
        sources = sorted(service.root.rglob("*.npy"))
        assert len(sources) == count
        service.until(lambda: is_complete(sources), LONG_SECONDS)
        service.until(lambda: not unmade(service.root))
        last = save(service.root / "run" / "last_completions.npy", "last")
        service.until(lambda: is_right(last))


@pytest.mark.faults
def test_fault_24_a_watcher_that_is_stopped_or_killed_loses_nothing(tmp_path: Path) -> None:
    """A deaf watcher and a dead one are both replaced, and what was saved meanwhile is found."""
    with serving(tmp_path) as service:
        for number, name in enumerate((signal.SIGKILL, signal.SIGSTOP)):
            service.until(lambda: service.watcher is not None)
            watcher = service.watcher
            assert watcher is not None
            os.kill(watcher, name)
            source = save(service.root / "deep" / f"n{number}_completions.npy", "meanwhile")
            service.until(lambda source=source: is_right(source))
            service.until(lambda watcher=watcher: service.watcher not in {None, watcher})


@pytest.mark.faults
def test_fault_24_a_change_that_no_event_announced_replaces_the_watch(tmp_path: Path) -> None:
    """A sweep finds it, makes the sidecars, and takes the watch for incomplete: said, and at most once."""
    with serving(tmp_path, sweep_seconds=1) as service:
        source = service.root / "n1_completions.npy"
        np.save(source, np.array(["before", "text"]))
        service.until(lambda: is_right(source))
        mapped = np.load(source, mmap_mode="r+")  # this opens and closes the file, and that is an event
        pause(1.0)
        watcher = service.watcher
        for number in range(2):
            mapped[0] = f"late {number}"
            mapped.flush()
            service.until(lambda: is_right(source))
            service.until(lambda: service.named("watch.degraded"))
            pause(3.0)
        [degraded] = service.named("watch.degraded")
        assert degraded["reason"] == f"no event announced {source}"
        service.until(lambda: service.watcher not in {None, watcher})
