"""What a worker process does: a few sources at a time, and nothing that could hurt the service.

A task is a plain value, so that it can travel to any ``concurrent.futures`` executor.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from lib.errors import Corrupt, SidecarError
from lib.files.reader import open_directory, status_of, storage_error
from lib.outcome import Outcome, failure
from lib.sync.engine import sync_sources

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from lib.options import Options
    from lib.sync.walk import Task

_PR_SET_PDEATHSIG: Final = 1
_ONE_THREAD: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
TICK_SECONDS: Final = 0.02
"""Clocks of file systems tick every 1 to 4 ms, and a write within a tick leaves no trace in the time."""


class _Stop:
    """Asked between two blocks; set by SIGTERM."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        return self.asked

    def ask(self, _signal: int, _frame: FrameType | None) -> None:
        self.asked = True


_STOP: Final = _Stop()


def prepare(parent: int) -> None:
    """Make this process a worker: it ends with its parent, and leaves signals of the terminal to it.

    numpy, which it imports later, would start a thread a core for linear algebra; nothing here needs any.
    """
    for name in _ONE_THREAD:
        os.environ.setdefault(name, "1")
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _STOP.ask)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # the parent died before the line above


def convert(tasks: Sequence[Task], options: Options) -> list[Outcome]:
    """Bring sources up to date, all waiting for the disk together; every failure is an outcome."""
    try:
        with ExitStack() as stack:
            return _converted(tasks, options, stack)
    except Exception as error:  # noqa: BLE001 (one bad file never stops the work on others)
        if len(tasks) > 1:
            return [outcome for task in tasks for outcome in convert([task], options)]
        return [failure(tasks[0].name, options, _explained(error))]


def _explained(error: Exception) -> SidecarError:
    if isinstance(error, OSError):
        return storage_error(error, "cannot be handled")
    return Corrupt(
        f"it met a fault of this program: {error!r}", hint="Please report it, with the file if you can."
    )


def _converted(tasks: Sequence[Task], options: Options, stack: ExitStack) -> list[Outcome]:
    """Open each directory once, and hand the sources in those that can be opened to the engine."""
    folders = dict.fromkeys((task.root, task.parts) for task in tasks)
    places = {folder: _opened(*folder, stack) for folder in folders}
    found = [(places[task.root, task.parts], task) for task in tasks]
    ready = [(place, task.name) for place, task in found if isinstance(place, int)]
    _wait_for_tick(ready)
    outcomes = iter(sync_sources(ready, options, _STOP))
    return [
        next(outcomes) if isinstance(place, int) else failure(task.name, options, place)
        for place, task in found
    ]


def _opened(root: str, parts: tuple[str, ...], stack: ExitStack) -> int | SidecarError:
    try:
        return stack.enter_context(open_directory(root, parts))
    except SidecarError as error:
        return error


def _wait_for_tick(sources: Sequence[tuple[int, str]]) -> None:
    """Wait until a later write of any of them would get another time."""
    times = [status.st_mtime for source in sources if (status := _status(*source)) is not None]
    now = time.time()
    ages = [now - moment for moment in times if 0 <= now - moment < TICK_SECONDS]
    if ages:
        time.sleep(TICK_SECONDS - min(ages))


def _status(directory: int, name: str) -> os.stat_result | None:
    try:
        return status_of(directory, name)
    except SidecarError:  # the engine meets it again, and tells
        return None
