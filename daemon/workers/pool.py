"""The worker processes, behind ``concurrent.futures``: tasks in, outcomes out.

Small tasks that wait are handed over several at a time, so that they wait for the disk together.

When a worker dies (killed for its memory, say), every task in work is lost with the pool.  They are tried
again one at a time; a task that is alone when it is lost for the second time is the one at fault.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from concurrent.futures import Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from daemon.workers.worker import convert, prepare
from lib.errors import Interrupted, Passing
from lib.outcome import Outcome, failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.errors import SidecarError
    from lib.options import Options
    from lib.sync.walk import Task

_DIED: Final = Passing(
    "the worker died while it was handled, twice",
    hint="The system may have been short of memory: see the kernel's log (dmesg).",
)
_GONE: Final = Passing(
    "its worker does not answer any more: the scheduler is gone",
    hint="Start the cluster again; the same command does the rest.",
)
_TOGETHER: Final = 16
_TOGETHER_BYTES: Final = 8 << 20
_DEPTH: Final = 2 * _TOGETHER
_STOPPED: Final = Interrupted("the workers were stopped")


def local_processes(jobs: int) -> ProcessPoolExecutor:
    """Make an executor of ``jobs`` worker processes on this machine; they start with the first task.

    They are forked: no process besides the workers themselves, and what is imported is shared.
    """
    context = multiprocessing.get_context("fork")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=prepare, initargs=(os.getpid(),))


@dataclass(frozen=True, slots=True)
class _Job:
    """A task with how it is to be done, and the size of its source in bytes."""

    task: Task
    options: Options
    size: int


class Crew:
    """Hands tasks to an executor; use from one thread.  :meth:`fileno` is readable when a task is done."""

    def __init__(
        self, make_executor: Callable[[], Executor], width: int, is_alive: Callable[[], bool] = lambda: True
    ) -> None:
        self._make_executor = make_executor
        self._is_alive = is_alive
        self.width = width
        self._executor: Executor | None = None
        self._waiting: deque[_Job] = deque()
        self._suspects: deque[_Job] = deque()
        self._running: dict[Future[list[Outcome]], list[_Job]] = {}
        self._unstarted: list[tuple[Task, Outcome]] = []
        self._alone = False
        self._stopping = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """Return a descriptor for ``select``."""
        return self._read

    def __len__(self) -> int:
        """Count the tasks that were submitted and not yet taken by :meth:`done`."""
        running = sum(map(len, self._running.values()))
        return len(self._waiting) + len(self._suspects) + running + len(self._unstarted)

    def has_room(self) -> bool:
        """Tell whether another task would start soon; more may be submitted, and wait."""
        return len(self) < _DEPTH * self.width

    def submit(self, task: Task, options: Options, size: int = 0) -> None:
        """Take a task on; ``size``: its source's, in bytes."""
        self._waiting.append(_Job(task, options, size))
        self._fill()

    def done(self) -> list[tuple[Task, Outcome]]:
        """Return what was finished since the last call, without waiting."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read, 4096):
                pass
        outcomes, self._unstarted = self._unstarted, []
        for future in [future for future in self._running if future.done()]:
            outcomes += self._finish(future)
        if not self._is_alive():
            outcomes += self._abandon()
        self._fill()
        return outcomes

    def rest(self) -> None:
        """Let idle workers go; the next task starts new ones."""
        if not self._running:
            self._end_executor()

    def ask_to_stop(self) -> None:
        """Drop what waits for good, and ask the workers to stop at the end of the current block."""
        self._drop_waiting()
        for future in list(self._running):
            future.cancel()  # what no worker has begun
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
            self._start([self._suspects.popleft()])
        while self._waiting and self._is_open():
            self._start(self._next_jobs())

    def _is_open(self) -> bool:
        return not self._suspects and not self._alone and len(self._running) < 2 * self.width

    def _next_jobs(self) -> list[_Job]:
        """Take one job from those that wait, or a few small ones, leaving as many for every worker."""
        jobs = [self._waiting.popleft()]
        fair = min(_TOGETHER, (1 + len(self._waiting)) // self.width)
        size = jobs[0].size
        while self._waiting and len(jobs) < fair and self._waiting[0].options == jobs[0].options:
            size += self._waiting[0].size
            if size > _TOGETHER_BYTES:
                break
            jobs.append(self._waiting.popleft())
        return jobs

    def _start(self, jobs: list[_Job]) -> None:
        try:
            if self._executor is None:
                self._executor = self._make_executor()
            future = self._executor.submit(convert, [job.task for job in jobs], jobs[0].options)
        except BrokenProcessPool:  # by another task, which is found out in its turn
            future = Future()
            future.set_exception(BrokenProcessPool())
        except Exception as error:  # noqa: BLE001 (the system has no process, or the cluster is gone)
            self._give_up(jobs, error)
            return
        self._running[future] = jobs
        future.add_done_callback(self._wake)

    def _abandon(self) -> list[tuple[Task, Outcome]]:
        """Report everything as failed: those who were to do it will never answer."""
        jobs = [job for jobs in self._running.values() for job in jobs]
        jobs += [*self._waiting, *self._suspects]
        self._running.clear()
        self._waiting.clear()
        self._suspects.clear()
        self._executor = None
        return _all_failed(jobs, _GONE)

    def _give_up(self, jobs: list[_Job], error: Exception) -> None:
        """Report tasks for which the system had no process; the half-made pool is of no use."""
        self._end_executor()
        self._alone = False
        short = isinstance(error, MemoryError)
        words = "there is not enough memory" if short else getattr(error, "strerror", None) or str(error)
        reason = f"no worker could be started for it: {words}"
        hint = "The system is short of processes, open files or memory; it is tried again by itself."
        self._unstarted += _all_failed(jobs, Passing(reason, hint=hint))
        self._wake()

    def _finish(self, future: Future[list[Outcome]]) -> list[tuple[Task, Outcome]]:
        jobs = self._running.pop(future)
        alone, self._alone = self._alone, False
        try:
            return [(job.task, outcome) for job, outcome in zip(jobs, future.result(), strict=True)]
        except BrokenProcessPool:
            self._end_executor()
            error: SidecarError = _DIED
        except Exception as trouble:  # noqa: BLE001 (a cluster's executor has errors of its own)
            error = _lost(trouble)
        if self._stopping:
            return _all_failed(jobs, _STOPPED)
        if alone:
            return _all_failed(jobs, error)
        self._suspects += jobs
        return []

    def _end_executor(self) -> None:
        """End an executor whose workers have nothing left to do.

        They are killed: a broken pool ends its workers with SIGTERM, which ours take for a wish, and waits.
        """
        if self._executor is not None:
            self._signal(signal.SIGKILL)
            self._executor.shutdown()
            self._executor = None

    def _wake(self, _future: Future[list[Outcome]] | None = None) -> None:
        with contextlib.suppress(OSError):  # full: it will be read anyway; closed: nobody waits
            os.write(self._write, b"\0")

    def _signal(self, number: signal.Signals) -> None:
        """Signal the workers of a pool of processes; an ended one's number may be another's by now."""
        processes = getattr(self._executor, "_processes", None) or {}
        for process in list(processes.values()):
            if process.is_alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, number)


def _lost(error: Exception) -> SidecarError:
    return Passing(
        f"its worker did not answer: {type(error).__name__}: {error}".partition("\n")[0],
        hint="See the worker's log; generation-sidecars must be installed there. The next sweep tries again.",
    )


def _all_failed(jobs: list[_Job], error: SidecarError) -> list[tuple[Task, Outcome]]:
    return [(job.task, failure(job.task.name, job.options, error)) for job in jobs]
