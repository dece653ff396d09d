"""Fault 62: saves at the same time, interrupted and killed: a load gives one save's files, or None."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
from faults.service import rounds
from faults.tools import LONGEST_SECONDS, quick_directory, sweep_here
from support import REPOSITORY, unmeasured, wait_for

from lib.generation import load_generations_from_cache, save_generations_to_cache
from lib.names import is_temporary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ITEMS: Final = 5
_PRELUDE: Final = """
import errno, fcntl, os, sys
from lib.generation import load_generations_from_cache, save_generations_to_cache
def no_locks(*_):
    raise OSError(errno.ENOLCK, "no locks")
if sys.argv[3] == "no locks":
    fcntl.flock = no_locks
def save(word):
    save_generations_to_cache(sys.argv[1], [f"full {word}"] * 5, [word] * 5, {"word": word})
"""
SAVER: Final = """
for number in range(int(sys.argv[2])):
    save(f"{os.getpid()} {number}")
"""
LOADER: Final = """
import time
loads = mixtures = 0
print("ready", flush=True)
while not os.path.exists(sys.argv[2]):
    cache = load_generations_from_cache(sys.argv[1])
    loads += 1
    if cache is None:
        print("None")
    else:
        full, completions, metadata = cache
        word = metadata["word"]
        if (full, completions) != ([f"full {word}"] * 5, [word] * 5):
            print("mixture", full[0], completions[0], word)
print(loads)
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Run a saver or a loader in a process of its own."""
    command = [sys.executable, "-c", _PRELUDE + code, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=REPOSITORY, env=unmeasured(os.environ), stdout=subprocess.PIPE, text=True
    )


def assert_one_save(stem: Path) -> str:
    """Check that a cache is one save's, seven files and nothing else; return its word."""
    cache = load_generations_from_cache(stem)
    assert cache is not None
    word = cache[2]["word"]
    assert cache == ([f"full {word}"] * ITEMS, [word] * ITEMS, {"word": word})
    assert sum(name.startswith(stem.name) for name in os.listdir(stem.parent)) == 7
    return str(word)


def whole(word: str) -> tuple[list[str], list[str], dict[str, str]]:
    """Return what a load of one save gives."""
    return [f"full {word}"] * ITEMS, [word] * ITEMS, {"word": word}


def save(stem: Path, word: str) -> None:
    """Save a cache that tells everywhere which save it is of."""
    save_generations_to_cache(stem, [f"full {word}"] * ITEMS, [word] * ITEMS, {"word": word})


def litter(directory: Path) -> list[str]:
    """Return the hidden files that are left."""
    return [name for name in os.listdir(directory) if is_temporary(name)]


@pytest.mark.parametrize("locks", ["locks", "no locks"])
def test_fault_62_four_processes_save_one_cache_while_another_loads_it(tmp_path: Path, locks: str) -> None:
    """Every load is one save's, and never None: with locks, and on a mount that has none."""
    stem, stop = tmp_path / "n5", tmp_path / "stop"
    save(stem, "first")
    with start(LOADER, stem, stop, locks) as loader:
        assert loader.stdout
        loader.stdout.readline()
        savers = [start(SAVER, stem, 10 * rounds(1), locks) for _ in range(4)]
        assert [saver.wait(LONGEST_SECONDS) for saver in savers] == [0] * 4
        for saver in savers:
            saver.communicate()
        stop.touch()
        said = loader.stdout.read().split("\n")[:-1]
    assert len(said) == 1, said
    assert int(said[0]) > 3
    assert_one_save(stem)
    assert litter(tmp_path) == []


class Alarm(Exception):  # noqa: N818 -- what a handler raises
    """What the handler of a test's signal raises."""


@pytest.fixture
def alarm() -> Iterator[Any]:
    """Give a function that has a signal's handler raise after some seconds."""

    def handle(*_: object) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, handle)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_fault_62_a_save_that_a_signal_interrupts_leaves_the_old_or_the_new_cache(
    tmp_path: Path, alarm: Any
) -> None:
    """At a hundred random moments: never a mixture, and neither a hidden file, a descriptor nor a thread."""
    stem = tmp_path / "n5"
    threads = len(os.listdir("/proc/self/task"))  # before a save's own, which ends a moment after it
    save(stem, "0")
    began = time.monotonic()
    save(stem, "0")
    seconds = time.monotonic() - began
    descriptors = len(os.listdir("/proc/self/fd"))
    outcomes = {"old": 0, "new": 0}
    for number in range(1, 100 * rounds(1)):
        word = assert_one_save(stem)
        with suppress(Alarm):
            with suppress(Alarm):
                alarm(random.uniform(0.0001, seconds * 1.2))
                save(stem, str(number))
            alarm(0)
        wait_for(lambda: len(os.listdir("/proc/self/task")) <= threads)
        assert litter(tmp_path) == []
        assert len(os.listdir("/proc/self/fd")) <= descriptors
        outcomes["new" if assert_one_save(stem) == str(number) else "old"] += 1
        assert assert_one_save(stem) in {word, str(number)}
    assert all(outcomes.values()), outcomes


class Calls:
    """Counts a process's calls of the system that change or lock files, and does something before one."""

    NAMES: Final = (
        "open", "write", "fsync", "rename", "link", "unlink", "fchmod", "fchown", "utime", "mkdir",
    )  # fmt: skip

    def __init__(self, position: int, act: Callable[[], object]) -> None:
        self.count = 0
        self.name = ""
        self._position, self._act = position, act

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        """Stand between the library and the system."""
        for name in self.NAMES:
            patch.setattr(os, name, partial(self._call, getattr(os, name)))
        patch.setattr(fcntl, "flock", partial(self._call, fcntl.flock))

    def _call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        self.count += 1
        if self.count == self._position:
            self.name = function.__name__
            self._act()
        return function(*arguments, **options)


def kill_this_process() -> None:
    """End as ``kill -9`` ends a process."""
    os.kill(os.getpid(), signal.SIGKILL)


def save_and_die(stem: Path, position: int) -> bool:
    """Save in a process that is killed before one of its calls; False when it had fewer."""
    child = os.fork()
    if child == 0:
        with pytest.MonkeyPatch.context() as patch:
            Calls(position, kill_this_process).patch(patch)
            save(stem, "new")
        os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


@pytest.mark.parametrize("before", ["nothing", "old"])
def test_fault_62_a_save_killed_before_any_of_its_calls_is_one_save_or_none(before: str) -> None:
    """Never a mixture; the next save completes it, and a sweep leaves no hidden file."""
    with quick_directory() as directory:
        for position in range(1, 1000):
            stem = directory / str(position) / "n5"
            stem.parent.mkdir()
            if before == "old":
                save(stem, "old")
            was_killed = save_and_die(stem, position)
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                cache = load_generations_from_cache(stem)
            assert said == []
            assert cache is None or assert_one_save(stem) in {"old", "new"}
            save(stem, "newer")
            assert assert_one_save(stem) == "newer"
            sweep_here(stem.parent)
            assert litter(stem.parent) == []
            if not was_killed:
                break
        assert position > 40


def fail(number: int) -> None:
    """Fail as the system does."""
    raise OSError(number, os.strerror(number))


def interrupt() -> None:
    """Raise what Ctrl-C raises."""
    raise KeyboardInterrupt


def save_with(calls: Calls, stem: Path) -> BaseException | None:
    """Save with one call that fails; return what was raised."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        calls.patch(patch)
        try:
            save(stem, "new")
        except (OSError, KeyboardInterrupt) as error:
            return error
    return None


def load(stem: Path) -> object:
    """Load a cache, whatever it warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_generations_from_cache(stem)


LOST: Final = (errno.EIO, errno.ENOSPC, errno.EDQUOT)
REFUSED: Final = (
    errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EEXIST, errno.EMFILE,
)  # fmt: skip
FAULTS: Final = (
    *(
        number if number in {errno.EIO, errno.EPERM} else pytest.param(number, marks=pytest.mark.faults)
        for number in LOST + REFUSED
    ),
    None,
)


@pytest.mark.parametrize("number", FAULTS, ids=lambda number: errno.errorcode.get(number, "Ctrl-C"))
@pytest.mark.parametrize("before", ["nothing", "old"])
def test_fault_62_a_call_that_fails_leaves_one_whole_save(before: str, number: int | None) -> None:
    """What says that data is lost is an error or a warning; what a mount refuses loses nothing."""
    with quick_directory() as directory:
        for position in range(1, 1000):
            stem = directory / str(position) / "n5"
            stem.parent.mkdir()
            if before == "old":
                save(stem, "old")
            descriptors = len(os.listdir("/proc/self/fd"))
            calls = Calls(position, interrupt if number is None else partial(fail, number))
            error = save_with(calls, stem)
            assert len(os.listdir("/proc/self/fd")) <= descriptors, (position, calls.name)
            assert len(litter(stem.parent)) <= (calls.name == "unlink")
            # before the directory is open, numpy could not save either
            assert error is None or number in {*LOST, None} or position <= 2, (calls.name, error)
            cache = load(stem)
            if isinstance(error, OSError):
                assert cache == (None if before == "nothing" else whole("old")), (position, calls.name)
            elif error is not None:
                assert cache in (None if before == "nothing" else whole("old"), whole("new")), calls.name
            else:  # without the metadata nothing loads
                assert cache in (None, whole("new")), (position, calls.name)
            if calls.count < position:
                break
        assert position > 30
        assert cache == whole("new")
