"""What a worker does: it converts a few sources at a time; every failure is an outcome.

Tasks and outcomes are plain values, so that they can travel to any process.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Final, TypeAlias

from daemon.signals import end_with
from daemon.workers.capacity import lower_disk_priority
from lib.errors import ProgramFault, SidecarError
from lib.files.reader import open_directory, status_of
from lib.outcome import Outcome, failure
from lib.sync.engine import publish_sources, write_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection
    from types import FrameType

    from lib.options import Options
    from lib.sync.walk import Task

Serve: TypeAlias = "Callable[[Options, Connection, Stop], None]"
_ONE_THREAD: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_SWITCH_SECONDS: Final = 0.0005
"""How long a thread that publishes waits for Python's lock after each system call; 5 ms by default."""
_KEPT_BYTES: Final = 4 << 20
"""Half of what stays with a process, which is enough for a block of texts and what is made of it."""
TICK_SECONDS: Final = 0.02
"""Clocks of file systems tick every 1 to 4 ms, and a write within a tick leaves no trace in the time."""
_COARSE_TICK_SECONDS: Final = 2.0
"""FAT's; ext3 and HFS+ keep whole seconds."""


class Stop:
    """Whether a worker was asked to stop: after the current block, or at once while it ``is_idle``."""

    def __init__(self) -> None:
        self.asked = False
        self.is_idle = False

    def __call__(self) -> bool:
        """Tell whether it was asked."""
        return self.asked

    def ask(self, _signal: int, _frame: FrameType | None) -> None:
        """Handle SIGTERM."""
        is_first, self.asked = not self.asked, True
        if is_first and self.is_idle:  # once: a second one must not interrupt the end of the process
            raise SystemExit


def tune() -> None:
    """Tune this process for conversions: one thread, and freed memory stays for the next block.

    Nothing here does linear algebra, for which numpy would start a thread a core.  glibc would return each
    block's memory to the system and take it again for the next one: freeing one larger block raises the
    threshold for that (``M_MMAP_THRESHOLD`` in mallopt(3)).
    """
    for name in _ONE_THREAD:
        os.environ.setdefault(name, "1")
    bytearray(_KEPT_BYTES)


def prepare(parent: int) -> Stop:
    """Make this process a worker, which ends with its parent and leaves the terminal's signals to it.

    Returns what SIGTERM sets.
    """
    stop = Stop()
    tune()
    sys.setswitchinterval(_SWITCH_SECONDS)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop.ask)
    end_with(parent)
    return stop


def serve(options: Options, connection: Connection, stop: Stop) -> None:
    """Convert the batches that arrive, until the process is asked to stop or its parent is gone.

    While a batch is flushed to disk and published, the next one is written.
    """
    publishing: Thread | None = None
    try:
        while True:
            stop.is_idle = publishing is None
            if stop.asked:
                return
            tasks = connection.recv()
            stop.is_idle = False
            answer = partial(_answer, connection, begin(tasks, options, stop), stop)
            if publishing is not None:
                publishing.join()
            publishing = _started(answer) if connection.poll() else answer()
    finally:
        if publishing is not None:
            publishing.join()


def _answer(connection: Connection, publish: Callable[[], list[Outcome]], stop: Stop) -> None:
    outcomes = publish()
    with suppress(OSError):  # the parent is gone
        connection.send(outcomes)
    if any(outcome.error is ProgramFault for outcome in outcomes):
        stop.asked = True  # a module that was half imported stays so; the next worker begins anew


def _started(work: Callable[[], None]) -> Thread | None:
    """Start work in a thread; do it at once when the system has no thread to give."""
    thread = Thread(target=work)
    try:
        thread.start()
    except RuntimeError:
        work()
        return None
    return thread


def serve_in_background(options: Options, connection: Connection, stop: Stop) -> None:
    """Serve as :func:`serve` does, with the lowest priority for the disk."""
    lower_disk_priority()
    serve(options, connection, stop)


def convert(
    tasks: Sequence[Task], options: Options, stop: Callable[[], bool] = lambda: False
) -> list[Outcome]:
    """Bring sources up to date, all waiting for the disk together; every failure is an outcome.

    ``stop`` is asked between two blocks.
    """
    return begin(tasks, options, stop)()


def begin(tasks: Sequence[Task], options: Options, stop: Callable[[], bool]) -> Callable[[], list[Outcome]]:
    """Write the sidecars of sources; return what publishes them, to be called once, in any thread."""
    with ExitStack() as stack:
        folders = dict.fromkeys((task.root, task.parts) for task in tasks)
        places = {folder: _opened(*folder, stack) for folder in folders}
        found = [(places[task.root, task.parts], task) for task in tasks]
        ready = [(place, task.name) for place, task in found if isinstance(place, int)]
        _wait_for_tick(ready)
        began = time.perf_counter()
        conversions = write_sources(ready, options, stop)
        directories = stack.pop_all()

    def publish() -> list[Outcome]:
        with directories:
            done = iter(publish_sources(conversions))
        seconds = (time.perf_counter() - began) / max(1, len(ready))
        return [
            replace(next(done), seconds=seconds)
            if isinstance(place, int)
            else failure(task.name, options, place)
            for place, task in found
        ]

    return publish


def seconds_in_tick(status: os.stat_result, clock: float) -> float:
    """Return how long a later write of a file could still get the same time; ``clock``: seconds since 1970.

    0 for a file whose time is ahead of the clock.
    """
    tick = TICK_SECONDS if status.st_mtime_ns % 1_000_000_000 else _COARSE_TICK_SECONDS
    age = clock - status.st_mtime
    return tick - age if 0 <= age < tick else 0.0


def _opened(root: str, parts: tuple[str, ...], stack: ExitStack) -> int | SidecarError:
    try:
        return stack.enter_context(open_directory(root, parts))
    except SidecarError as error:
        return error


def _wait_for_tick(sources: Sequence[tuple[int, str]]) -> None:
    """Wait until a later write of any of them would get another time."""
    seconds = 0.0
    for source in sources:
        with suppress(SidecarError):  # the engine meets it again, and reports it
            status = status_of(*source)
            seconds = max(seconds, seconds_in_tick(status, time.time()) if status is not None else 0.0)
    if seconds:
        time.sleep(seconds)
