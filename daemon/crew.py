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
from concurrent.futures import Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Final

from daemon.work import Task, convert, prepare
from lib.errors import Interrupted, Passing
from lib.outcome import Outcome, failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.outcome import Options

_DIED: Final = Passing(
    "the worker died while it was handled, twice",
    hint="The system may have been short of memory: see the kernel's log (dmesg).",
)
_STOPPED: Final = Interrupted("the workers were stopped")


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
        self._unstarted: list[tuple[Task, Outcome]] = []
        self._alone = False
        self._stopping = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """Return a descriptor for ``select``."""
        return self._read

    def __len__(self) -> int:
        """Count the tasks that were submitted and not yet taken by :meth:`done`."""
        return len(self._waiting) + len(self._suspects) + len(self._running) + len(self._unstarted)

    def submit(self, task: Task, options: Options) -> None:
        """Take a task on."""
        self._waiting.append((task, options))
        self._fill()

    def done(self) -> list[tuple[Task, Outcome]]:
        """Return what was finished since the last call, without waiting."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read, 4096):
                pass
        outcomes, self._unstarted = self._unstarted, []
        finished = [future for future in self._running if future.done()]
        outcomes += [pair for future in finished if (pair := self._finish(future)) is not None]
        self._fill()
        return outcomes

    def rest(self) -> None:
        """Let idle workers go; the next task starts new ones."""
        if not self._running:
            self._end_executor()

    def ask_to_stop(self) -> None:
        """Drop what waits for good, and ask the workers to stop at the end of the current block."""
        self._drop_waiting()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the workers at once, for good; what they leave behind is removed by the next sweep."""
        self._drop_waiting()
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Wait for the workers and let everything go; may be called twice."""
        self._drop_waiting()
        wait([future for future in self._running if not future.cancel()])
        self._end_executor()
        if self._read >= 0:
            os.close(self._read)
            os.close(self._write)
            self._read = self._write = -1

    def _drop_waiting(self) -> None:
        self._stopping = True
        self._waiting.clear()
        self._suspects.clear()

    def _fill(self) -> None:
        """Start what may be started: suspects alone, the others as long as there is room."""
        if self._suspects and not self._running:
            self._alone = True
            self._start(*self._suspects.popleft())
        while self._waiting and self._is_open():
            self._start(*self._waiting.popleft())

    def _is_open(self) -> bool:
        return not self._suspects and not self._alone and len(self._running) < 2 * self.width

    def _start(self, task: Task, options: Options) -> None:
        try:
            if self._executor is None:
                self._executor = self._make_executor()
            future = self._executor.submit(convert, task, options)
        except BrokenProcessPool:  # by another task, which is found out in its turn
            future = Future()
            future.set_exception(BrokenProcessPool())
        except (OSError, MemoryError) as error:
            self._give_up(task, options, error)
            return
        self._running[future] = (task, options)
        future.add_done_callback(self._wake)

    def _give_up(self, task: Task, options: Options, error: OSError | MemoryError) -> None:
        """Report a task for which the system had no process; the half-made pool is of no use."""
        self._end_executor()
        self._alone = False
        words = getattr(error, "strerror", None) or "there is not enough memory"
        reason = f"no worker could be started for it: {words}"
        hint = "The system is short of processes, open files or memory; it is tried again by itself."
        self._unstarted.append((task, failure(task.name, options, Passing(reason, hint=hint))))
        self._wake()

    def _finish(self, future: Future[Outcome]) -> tuple[Task, Outcome] | None:
        task, options = self._running.pop(future)
        alone, self._alone = self._alone, False
        try:
            return task, future.result()
        except BrokenProcessPool:
            self._end_executor()
        if self._stopping:
            return task, failure(task.name, options, _STOPPED)
        if alone:
            return task, failure(task.name, options, _DIED)
        self._suspects.append((task, options))
        return None

    def _end_executor(self) -> None:
        """End an executor whose workers have nothing left to do.

        They are killed: a broken pool ends its workers with SIGTERM, which ours take for a wish, and waits.
        """
        if self._executor is not None:
            self._signal(signal.SIGKILL)
            self._executor.shutdown()
            self._executor = None

    def _wake(self, _future: Future[Outcome] | None = None) -> None:
        with contextlib.suppress(OSError):  # full: it will be read anyway; closed: nobody waits
            os.write(self._write, b"\0")

    def _signal(self, number: signal.Signals) -> None:
        """Signal the workers of a pool of processes; an ended one's number may be another's by now."""
        processes = getattr(self._executor, "_processes", None) or {}
        for process in list(processes.values()):
            if process.is_alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, number)
