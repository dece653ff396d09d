"""Fault 24, storms: overflows on vast trees, ten thousand files a second, directories that never rest.

The service sweeps once an hour here: what it does soon, it does for an event, or because it noticed that
events were lost.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from faults.service import (
    PATIENCE_SECONDS,
    Service,
    is_complete,
    is_right,
    pause,
    rounds,
    save,
    serving,
    unmade,
)
from faults.tools import quick_directory
from support import freeze, need, processor_seconds, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR_SECONDS: Final = 3600.0
LONG_SECONDS: Final = 300.0
REST_SECONDS: Final = 3.0
KILOBYTES_BY_CHANCE: Final = 30_000


def resident_kilobytes(pid: int) -> int:
    """Return how much memory a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def comes_to_rest(service: Service) -> None:
    """Wait until the service and its watcher do nothing, for seconds on end."""

    def rests() -> bool:
        pids = service.process.pid, service.watcher
        before = processor_seconds(*pids)
        pause(REST_SECONDS)
        return pids[1] == service.watcher and processor_seconds(*pids) - before < 0.1 * REST_SECONDS

    service.until(rests, LONG_SECONDS)


def hears(service: Service, directory: Path) -> None:
    """Expect that a source that is saved there is done for its event."""
    source = save(directory / "heard_completions.npy", f"in {directory.name}")
    service.until(lambda: is_right(source))


def overflow(service: Service, cause: Callable[[], None]) -> None:
    """Cause more events than the kernel keeps while nobody reads them."""
    watcher = service.watcher
    assert watcher is not None
    freeze(watcher)
    try:
        cause()
    finally:
        with suppress(ProcessLookupError):  # one that is deaf for too long is replaced
            os.kill(watcher, signal.SIGCONT)


@pytest.mark.faults
@pytest.mark.parametrize("count", [20_000, 100_000])
def test_fault_24_an_overflow_on_a_vast_tree(count: int) -> None:
    """Noticed at once; a minute later no processor is burnt, and events flow again."""
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    watches = int(Path("/proc/sys/fs/inotify/max_user_watches").read_text())
    need(watches > 1.5 * count, f"{watches} watches are too few for {count} directories")
    with quick_directory() as directory:
        root = directory / "experiments"
        folders = [root / f"d{number % 300}" / f"e{number}" for number in range(count)]
        for folder in folders:
            folder.mkdir(parents=True)
        with serving(directory, sweep_seconds=HOUR_SECONDS) as service:
            comes_to_rest(service)
            sources = [folder / "n1_completions.npy" for folder in folders[:: count // 200]]

            def cause() -> None:
                for number in range(queue + 1000):
                    (folders[number % count] / f"other{number // count}").touch()
                for source in sources:  # last: their events are those that are lost
                    save(source, "lost")

            overflow(service, cause)
            service.until(lambda: is_complete(sources), LONG_SECONDS)
            comes_to_rest(service)
            hears(service, folders[-1])
            hears(service, folders[count // 2])


def save_by_the_thousand(directory: Path, seconds: int) -> None:
    """Make ten thousand files a second, of which each hundredth is a source."""
    with serving(directory, sweep_seconds=HOUR_SECONDS) as service:
        data = save(directory / "model.npy", "one text").read_bytes()
        sources, began = [], time.monotonic()
        for second in range(seconds):
            wait_for(lambda second=second: time.monotonic() >= began + second)
            for number in range(10_000):
                path = service.root / f"n{second}_{number}"
                if number % 100 == 0:
                    sources.append(path.with_name(f"{path.name}_completions.npy"))
                    sources[-1].write_bytes(data)
                else:
                    path.touch()
        service.until(lambda: is_complete(sources), LONG_SECONDS)
        assert not unmade(service.root)
        comes_to_rest(service)
        hears(service, service.root)


@pytest.mark.faults
def test_fault_24_ten_thousand_files_a_second_for_ten_seconds() -> None:
    """Nothing is missed."""
    with quick_directory() as directory:
        save_by_the_thousand(directory, rounds(10))


class Churn:
    """Directories that come, go and change names, with sources saved into them; of one seed."""

    def __init__(self, root: Path, outside: Path, seed: int) -> None:
        self.dice = random.Random(seed)
        self.root = root
        self.outside = outside
        self.count = 0

    def step(self) -> None:
        """Do one thing to a directory."""
        self.count += 1
        folder = self.root.joinpath(*(f"d{self.dice.randrange(4)}" for _ in range(self.dice.randrange(1, 4))))
        deeds = (self.make, self.make, self.save, self.save, self.save, self.rename, self.remove, self.leave)
        with suppress(OSError):  # the service may make a file in a directory that is being removed
            self.dice.choice(deeds)(folder)

    def make(self, folder: Path) -> None:
        """Make a directory."""
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, folder: Path) -> None:
        """Save a source, directly or under another name first."""
        source = folder / f"n{self.dice.randrange(5)}_completions.npy"
        if self.dice.random() < 0.5:
            save(source, f"step {self.count}")
        else:
            save(folder / "draft.npy", f"step {self.count}").replace(source)

    def rename(self, folder: Path) -> None:
        """Rename a directory, or put it in another one's place."""
        target = folder.with_name(f"d{self.dice.randrange(4)}")
        if folder.exists() and folder != target:
            shutil.rmtree(target, ignore_errors=True)
            folder.rename(target)

    def remove(self, folder: Path) -> None:
        """Remove a directory with all that is in it."""
        shutil.rmtree(folder, ignore_errors=True)

    def leave(self, folder: Path) -> None:
        """Move a directory out of the root, or the last one that left back in."""
        if folder.exists() and not self.outside.exists():
            folder.rename(self.outside)
        elif self.outside.exists() and not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            self.outside.rename(folder)


def churn(directory: Path, seconds: float) -> None:
    """Churn; afterwards nothing is missing, and the service is as it was."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 (shown when the test fails)
    with serving(directory, sweep_seconds=HOUR_SECONDS) as service:
        hears(service, service.root)
        pid = service.process.pid
        before = len(os.listdir(f"/proc/{pid}/fd")), resident_kilobytes(pid)
        chaos, deadline = Churn(service.root, directory / "outside", seed), time.monotonic() + seconds
        while time.monotonic() < deadline:
            chaos.step()
        service.until(lambda: not unmade(service.root), PATIENCE_SECONDS + seconds)
        comes_to_rest(service)
        for folder in sorted(path for path in service.root.rglob("*") if path.is_dir()):
            hears(service, folder)
        assert not unmade(service.root)
        after = len(os.listdir(f"/proc/{pid}/fd")), resident_kilobytes(pid)
        assert after[0] <= before[0] + 2
        assert after[1] < before[1] + KILOBYTES_BY_CHANCE
        assert not service.failures()


@pytest.mark.faults
def test_fault_24_directories_that_come_and_go_for_a_minute() -> None:
    """For a minute, in memory, where thousands of things happen in a second."""
    with quick_directory() as directory:
        churn(directory, rounds(60))


@pytest.mark.faults
def test_fault_24_what_moved_out_is_left_alone(tmp_path: Path) -> None:
    """Nothing is made outside the root, and nobody complains."""
    with serving(tmp_path, sweep_seconds=HOUR_SECONDS) as service:
        run = service.root / "run"
        hears(service, run)
        run.rename(tmp_path / "away")
        save(tmp_path / "away" / "later_completions.npy", "outside")
        hears(service, service.root / "next")
        comes_to_rest(service)
        assert not (tmp_path / "away" / "later_completions.json").exists()
        assert not service.failures()
