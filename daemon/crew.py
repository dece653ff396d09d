"""The worker processes, behind ``concurrent.futures``: tasks in, outcomes out.

When a worker dies (killed for its memory, say), every task in work is lost with the pool.  They are tried
again one at a time; a task that is alone when a worker dies for the second time is the one at fault.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from daemon.work import Task, convert, prepare
from lib.errors import Passing
from lib.outcome import Outcome, failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.outcome import Options

_DIED = Passing(
    "the worker died while it was handled, twice",
    hint="The system may have been short of memory: see the kernel's log (dmesg).",
)


def local_processes(jobs: int) -> ProcessPoolExecutor:
    """Make an executor of ``jobs`` worker processes on this machine; they start with the first task.

    They are forked: no process besides the workers themselves, and what is imported is shared.
    """
    context = multiprocessing.get_context("fork")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=prepare, initargs=(os.getpid(),))


class Crew:
    """Hands tasks to an executor; use from one thread.  :meth:`fileno` is readable when a task is done."""

    def __init__(self, make_executor: Callable[[], Executor], width: int) -> None:
        self._make_executor = make_executor
        self.width = width
        self._executor: Executor | None = None
        self._waiting: deque[tuple[Task, Options]] = deque()
        self._suspects: deque[tuple[Task, Options]] = deque()
        self._running: dict[Future[Outcome], tuple[Task, Options]] = {}
        self._alone = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """Return a descriptor for ``select``."""
        return self._read

    def __len__(self) -> int:
        """Count the tasks that were submitted and not yet taken by :meth:`done`."""
        return len(self._waiting) + len(self._suspects) + len(self._running)

    def submit(self, task: Task, options: Options) -> None:
        """Take a task on."""
        self._waiting.append((task, options))
        self._fill()

    def done(self) -> list[tuple[Task, Outcome]]:
        """Return what was finished since the last call, without waiting."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read, 4096):
                pass
        finished = [future for future in self._running if future.done()]
        outcomes = [pair for future in finished if (pair := self._finish(future)) is not None]
        self._fill()
        return outcomes

    def rest(self) -> None:
        """Let idle workers go; the next task starts new ones."""
        if self._executor is not None and not self._running:
            self._executor.shutdown()
            self._executor = None

    def ask_to_stop(self) -> None:
        """Drop what waits, and ask the workers to stop at the end of the current block."""
        self._waiting.clear()
        self._suspects.clear()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the workers at once; what they leave behind is removed by the next sweep."""
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Wait for the workers and let everything go; may be called twice."""
        self._waiting.clear()
        self._suspects.clear()
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None
        if self._read >= 0:
            os.close(self._read)
            os.close(self._write)
            self._read = self._write = -1

    def _fill(self) -> None:
        while self._suspects and not self._running:
            self._alone = True
            self._start(*self._suspects.popleft())
        while (
            self._waiting and not self._suspects and not self._alone and len(self._running) < 2 * self.width
        ):
            self._start(*self._waiting.popleft())

    def _start(self, task: Task, options: Options) -> None:
        if self._executor is None:
            self._executor = self._make_executor()
        try:
            future = self._executor.submit(convert, task, options)
        except BrokenProcessPool:
            self._replace()
            self._suspects.append((task, options))
            return
        self._running[future] = (task, options)
        future.add_done_callback(self._wake)

    def _finish(self, future: Future[Outcome]) -> tuple[Task, Outcome] | None:
        task, options = self._running.pop(future)
        alone, self._alone = self._alone, False
        try:
            return task, future.result()
        except BrokenProcessPool:
            self._replace()
            if not alone:
                self._suspects.append((task, options))
                return None
            return task, failure(task.name, options, _DIED)

    def _replace(self) -> None:
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None

    def _wake(self, _future: Future[Outcome]) -> None:
        with contextlib.suppress(OSError):  # full: it will be read anyway; closed: nobody waits
            os.write(self._write, b"\0")

    def _signal(self, number: signal.Signals) -> None:
        processes = getattr(self._executor, "_processes", None) or {}
        for process in list(processes.values()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
