"""Faults 25 to 30: killed at every system call, or anywhere, by a power cut; clocks; several at once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from faults.service import counts, is_right, litter, pause, rounds, serving, sidecars
from faults.service import save as save_texts
from faults.tools import KILLED, LONGEST_SECONDS, convert, quick_directory, real_disk, start_sweep, sweep_here
from support import (
    METADATA,
    SECOND_NS,
    SOURCE,
    mounted,
    need,
    objects,
    processes_with,
    processor_seconds,
    save,
    stat_of,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Callable

OLD_NS: Final = 1_700_000_000_000_000_000
NEW_NS: Final = 1_710_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class Case:
    """A directory before a conversion: how many items its source has, and whether it had sidecars before."""

    items: int
    had_sidecars: bool
    metadata: bool = False

    def make(self, directory: Path) -> Path:
        """Make the directory; return its source, which nobody but owner and group may read."""
        directory.mkdir()
        source = directory / SOURCE
        if self.had_sidecars:
            self.write(source, "old", OLD_NS)
            sweep_here(directory)
        if self.metadata:
            (directory / METADATA).write_text('{"model_name": "org/model"}')
            os.utime(directory / METADATA, ns=(OLD_NS, OLD_NS))
        self.write(source, "new", NEW_NS)
        return source

    def write(self, source: Path, word: str, time_ns: int) -> None:
        """Write one version of the source."""
        save(source, objects([f"{word} {number} " * 20 for number in range(self.items)]), time_ns=time_ns)
        source.chmod(0o640)


WRITING: Final = frozenset({"openat", "write", "fchmod", "utimensat", "fsync", "renameat"})
SMALL: Final = {"first": Case(3, had_sidecars=False), "again": Case(3, had_sidecars=True, metadata=True)}
LARGE: Final = {
    "first": Case(2000, had_sidecars=False, metadata=True),
    "again": Case(2000, had_sidecars=True, metadata=True),
}


def contents(source: Path) -> tuple[bytes | None, ...]:
    """Return the bytes of both sidecars."""
    return tuple(path.read_bytes() if path.exists() else None for path in sidecars(source))


def kill_at_every_call(directory: Path, case: Case, names: frozenset[str] | None = None) -> None:
    """Convert as often as a conversion has system calls, kill it at another one each time, then sweep."""
    old = contents(case.make(directory / "old"))
    whole = case.make(directory / "whole")
    calls = convert(whole).calls
    new = contents(whole)
    assert {call.name for call in calls} >= WRITING
    assert None not in new
    for position, call in enumerate(call for call in calls if names is None or call.name in names):
        source = case.make(directory / f"{position:04}")
        assert convert(source, call.inject("signal=KILL")).status == KILLED, call
        for before, now, after in zip(old, contents(source), new, strict=True):
            assert now in {before, after}, call
        assert_private(source.parent)
        sums, _ = sweep_here(source.parent)
        assert sums["failed"] == 0, call
        assert contents(source) == new, call
        assert not litter(source.parent), call


def assert_private(directory: Path) -> None:
    """No file beside a source may be read by anyone who may not read the source."""
    for path in directory.iterdir():
        if path.name != METADATA:
            assert stat.S_IMODE(path.stat().st_mode) & ~0o640 == 0, path


@pytest.mark.faults
@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL)
def test_fault_27_and_40_kill_at_every_call_that_writes(case: Case) -> None:
    """Each sidecar is whole-old or whole-new and never opened to others, and the next sweep completes it."""
    with quick_directory() as directory:
        kill_at_every_call(directory, case, WRITING)


@pytest.mark.faults
@pytest.mark.parametrize("case", LARGE.values(), ids=LARGE)
def test_fault_27_and_40_kill_at_every_system_call(case: Case) -> None:
    """Also at those that read; several blocks, so that it is killed between two writes of one file too."""
    with quick_directory() as directory:
        kill_at_every_call(directory, case)


class Tree:
    """A backlog whose every version is told by its texts: one word and one number, all through."""

    ITEMS: Final = 40

    def __init__(self, root: Path, count: int) -> None:
        self.root = root
        self.sources = [root / f"d{number % 5}" / f"n{number}_completions.npy" for number in range(count)]
        for directory in {source.parent for source in self.sources}:
            directory.mkdir(parents=True, exist_ok=True)
        self.version = 0

    def write(self, part: int = 1) -> None:
        """Write another version of every ``part``-th source, each under a temporary name first."""
        self.version += 1
        for source in self.sources[self.version % part :: part]:
            draft = save(source.with_name("draft"), objects([f"version {self.version} " * 9] * self.ITEMS))
            draft.replace(source)

    def is_finished(self) -> bool:
        """Tell whether every sidecar is right."""
        return all(is_right(source) for source in self.sources)

    def assert_whole(self, root: Path | None = None) -> int:
        """Check that every sidecar that can be seen is one whole version; return how many there are."""
        texts = [path.read_text() for path in (root or self.root).rglob("*.json")]
        pages = [path.read_text() for path in (root or self.root).rglob("*.md")]
        for items in map(json.loads, texts):
            assert len(items) == self.ITEMS
            assert len(set(items)) == 1
        for page in pages:
            assert page.endswith("---\n\n")
            assert page.count("\n## Completion ") == self.ITEMS
            assert len(set(re.findall(r"version \d+", page))) == 1
        return len(texts) + len(pages)


def kill_and_start_again(root: Path, times: int, count: int) -> None:
    """Kill a sweep at any moment of it, over and over, while new versions arrive; then let one finish."""
    tree = Tree(root, count)
    tree.write()
    assert start_sweep(root).wait(LONGEST_SECONDS) == 0
    tries = landed = 0
    while tries < times or (landed <= times / 4 and tries < 10 * times):
        tree.write(part=4)
        before = made(tree)
        enough = before + random.randrange(count // 2)  # of the sidecars that a quarter of the sources have
        sweep = start_sweep(root)
        wait_for(lambda sweep=sweep, enough=enough: sweep.poll() is not None or made(tree) >= enough, 60)
        sweep.kill()
        sweep.wait()
        tries += 1
        landed += before < made(tree) < 2 * count
        tree.assert_whole()
    assert landed > times / 4, f"only {landed} of {tries} kills fell between the first sidecar and the last"
    wait_for(lambda: not processes_with(str(root)), 30)
    assert start_sweep(root).wait(LONGEST_SECONDS) == 0
    assert tree.is_finished()
    assert not litter(root)


@pytest.mark.faults
@pytest.mark.parametrize("half", [1, 2])
def test_fault_28_kill_a_backfill_of_200_files_again_and_again(half: int) -> None:
    """The same with two hundred files, five hundred times in all: in two halves, which run side by side."""
    with quick_directory() as directory:
        kill_and_start_again(directory, times=rounds(250), count=200)


@counts(3, 100)
def test_fault_29_a_power_cut(tmp_path: Path, count: int) -> None:
    """At any moment: every sidecar that is on the disk then is whole, and a sweep makes the others.

    The copy of a disk that is being written to would be no disk that ever was: the sweep stands still for it.
    """
    image, copy = tmp_path / "disk.img", tmp_path / "copy.img"
    seen = 0
    with real_disk(image, tmp_path / "disk", 24) as disk:
        tree = Tree(disk, 12)
        for _ in range(count):
            tree.write()
            subprocess.run(["sync", "-f", str(disk)], check=True)
            interrupt(tree, lambda: shutil.copyfile(image, copy))
            with mounted(tmp_path / "found", "-o", "loop", str(copy)) as found:
                seen += tree.assert_whole(found)
                sums, _ = sweep_here(found)
                assert sums["failed"] == 0
                assert not litter(found)
                assert all(is_right(found / source.relative_to(disk)) for source in tree.sources)
    assert seen, "no cut was late enough for a sidecar to be there"


def interrupt(tree: Tree, copy: Callable[[], object]) -> None:
    """Sweep; somewhere between two sidecars, stop all its processes while the disk is copied."""
    enough = random.randrange(2 * len(tree.sources))
    sweep = start_sweep(tree.root)
    try:
        wait_for(lambda: sweep.poll() is not None or made(tree) >= enough, LONGEST_SECONDS)
        with contextlib.suppress(ProcessLookupError):  # it was quicker
            os.killpg(sweep.pid, signal.SIGSTOP)
        wait_for(lambda: {state_of(pid) for pid in processes_of(sweep.pid)} <= set("TtZ"), 30)
        copy()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(sweep.pid, signal.SIGCONT)
        assert sweep.wait(LONGEST_SECONDS) == 0


def made(tree: Tree) -> int:
    """Count the sidecars that carry the present version's time."""
    pairs = [(source, path) for source in tree.sources for path in sidecars(source)]
    return sum(path.exists() and path.stat().st_mtime_ns == it.stat().st_mtime_ns for it, path in pairs)


def processes_of(group: int) -> list[int]:
    """Name the processes of a group."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if stat_of(pid)[2:3] == [str(group)]]


def state_of(pid: int) -> str:
    """Return a process's state; that of one that is gone is Z."""
    return (stat_of(pid) or ["Z"])[0]


def test_fault_30_a_page_that_a_crash_left_out_is_made(tmp_path: Path) -> None:
    """The JSON stays as it is."""
    source = save_texts(tmp_path / SOURCE, "x")
    sweep_here(tmp_path)
    text, page = sidecars(source)
    before = text.stat()
    page.unlink()
    sums, _ = sweep_here(tmp_path)
    assert sums["rendered"] == sums["fresh"] == 1
    assert is_right(source)
    assert text.stat().st_ino == before.st_ino


def test_fault_30_a_sweep_ended_in_the_middle_of_a_file(tmp_path: Path) -> None:
    """SIGTERM ends it within what the unit allows, with nothing published and nothing left."""
    source = tmp_path / SOURCE
    many = 20_000_000
    with source.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<U1", "fortran_order": False, "shape": (many,)})
        file.truncate(file.tell() + 4 * many)  # sparse: empty texts, and work for many seconds
    sweep = start_sweep(tmp_path)
    wait_for(lambda: any(path.stat().st_size > 0 for path in litter(tmp_path)), LONGEST_SECONDS)
    sweep.send_signal(signal.SIGTERM)
    sweep.wait(90)
    assert not litter(tmp_path)
    assert not any(path.exists() for path in sidecars(source))


TIMES: Final = {"1969": -1, "1970": 0, "2035": 2_051_222_400, "2100": 4_102_444_800}


def test_fault_25_files_of_other_times(tmp_path: Path) -> None:
    """Each sidecar has its source's time to the nanosecond, and the service comes to rest."""
    with serving(tmp_path) as service:
        sources = [service.root / f"n{year}_completions.npy" for year in TIMES]
        for source, seconds in zip(sources, TIMES.values(), strict=True):
            save(source, objects([f"of {seconds}"]), time_ns=seconds * SECOND_NS + 1)
        service.until(lambda: all(is_right(source) for source in sources))
        before, began = processor_seconds(service.process.pid), time.monotonic()
        pause(2)
        used = processor_seconds(service.process.pid) - before
        assert used < 0.5 * (time.monotonic() - began), "it never comes to rest"
        assert not service.named("source.failed")


YEAR_SECONDS: Final = 365 * 86_400
CLOCK: Final = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The time of day is a year earlier as soon as a file is there; the kernel's own times are not. */
int clock_gettime(clockid_t id, struct timespec *now) {
    struct stat status;
    int result = syscall(SYS_clock_gettime, id, now);
    if (id == CLOCK_REALTIME && stat(getenv("CLOCK_IS_BACK"), &status) == 0) now->tv_sec -= 365 * 86400;
    return result;
}
"""


@pytest.mark.faults
def test_fault_25_the_clock_is_set_back_a_year(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Timers are monotonic: what is saved before and after is done at once, and retries go on."""
    need(shutil.which("cc"), "there is no C compiler to make a clock with")
    back, library = tmp_path / "clock-is-back", tmp_path / "clock.so"
    (tmp_path / "clock.c").write_text(CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "clock.c")], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("CLOCK_IS_BACK", str(back))
    now = [sys.executable, "-c", "import time; print(time.time())"]
    with serving(tmp_path, sweep_seconds=2) as service:
        monkeypatch.delenv("LD_PRELOAD")
        first = save_texts(service.root / "n1_completions.npy", "before")
        cut = service.root / "n3_completions.npy"
        whole = save_texts(tmp_path / "whole.npy", "cut short").read_bytes()
        cut.write_bytes(whole[:-9])
        service.until(lambda: is_right(first) and service.named("source.failed"))
        back.touch()
        told = subprocess.run(
            now, env={**os.environ, "LD_PRELOAD": str(library)}, check=True, capture_output=True
        )
        assert float(told.stdout) < time.time() - YEAR_SECONDS + 3600, "the clock was not set back"
        sweeps = len(service.named("sweep.finished"))
        second = save_texts(service.root / "n2_completions.npy", "after")
        cut.write_bytes(whole)
        service.until(lambda: is_right(second) and is_right(cut))
        service.until(lambda: len(service.named("sweep.finished")) > sweeps + 1)
        before, began = processor_seconds(service.process.pid), time.monotonic()
        pause(2)
        assert processor_seconds(service.process.pid) - before < 0.5 * (time.monotonic() - began)


@pytest.mark.faults
def test_fault_26_sweeps_and_a_service_at_once(tmp_path: Path) -> None:
    """All of them do the same work, and every sidecar is whole all the time."""
    root = tmp_path / "experiments"
    tree = Tree(root, 40)
    for _ in range(3):
        tree.write()
        with serving(tmp_path) as service:
            sweeps = [start_sweep(root) for _ in range(2)]
            while any(sweep.poll() is None for sweep in sweeps):
                tree.assert_whole()
                pause(0.05)
            service.until(tree.is_finished)
        assert [sweep.returncode for sweep in sweeps] == [0, 0]
        assert not litter(root)
        assert not service.named("source.failed")
