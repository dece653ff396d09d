"""The pool: tasks in, outcomes out.  Long sources have workers of their own: no short one waits for them.

Small tasks that wait are handed over several at a time, so that they wait for the disk together.  A worker
that dies, or does not answer in time, costs only its own batch: each task of it is tried again by itself, and
one that is by itself when its worker is lost for the second time is the one at fault.
"""

from __future__ import annotations

import select
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from daemon.workers.worker import convert
from lib.errors import Interrupted, Passing
from lib.outcome import Outcome, failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from daemon.workers.process import WorkerProcess
    from lib.errors import SidecarError
    from lib.options import Options
    from lib.sync.walk import Task

    Done = tuple[Task, Outcome]

LONG_BYTES: Final = 64 << 20
"""A source of this size takes the better part of a second, and more."""
BATCH_TASKS: Final = 16
_BATCH_BYTES: Final = 8 << 20
_ROOM: Final = 2 * BATCH_TASKS
_AHEAD: Final = 2
_FORK_AGAIN_SECONDS: Final = 0.5
_GAP_SECONDS: Final = 5.0
_GRACE_SECONDS: Final = 1.0
_WAIT_SECONDS: Final = 0.002
_SLOWEST_BYTES: Final = 1 << 20
"""A worker has a second more for each of these that it has read or written."""

_DIED: Final = Passing(
    "the worker died while it was handled, or did not answer in time, twice",
    hint="The system may have been short of memory: see the kernel's log (dmesg).",
)
STOPPED: Final = Interrupted("the workers were stopped")


@dataclass(frozen=True, slots=True)
class Job:
    """A task with how it is done, the size of its source in bytes, and how often its worker was lost."""

    task: Task
    options: Options
    size: int
    losses: int = 0


class Pool(Protocol):
    """What does the work; used from one thread, and no method waits longer than it says."""

    def fileno(self) -> int:
        """Return a descriptor for ``select``: readable when a task is done."""

    def __len__(self) -> int:
        """Count the tasks that were submitted and not yet returned by :meth:`done`."""

    def has_room(self) -> bool:
        """Tell whether another short task would start soon; more may be submitted, and wait."""

    def submit(self, task: Task, options: Options, size: int = 0) -> None:
        """Take a task on; ``size``: its source's, in bytes."""

    def done(self) -> list[Done]:
        """Return what was finished since the last call; call it every two seconds at least."""

    def rest(self) -> None:
        """Let idle workers go; the next task starts new ones."""

    def stop(self) -> None:
        """Drop what waits, for good, and ask the workers to stop at the end of the current block."""

    def kill(self) -> None:
        """End the work at once, for good; what it leaves behind is removed by the next sweep."""

    def close(self, patience_seconds: float = 5.0) -> None:
        """Stop, wait this long for running conversions, then kill them; may be called twice."""


class ProcessPool:
    """A :class:`Pool` of processes on this machine: at most ``jobs`` for long sources, ``jobs`` for others.

    ``inline_bytes``: a source up to this size that is alone is converted in this process, which is quicker.
    ``patience_seconds``: how long a worker may neither answer nor read or write anything, besides a second
    for each MiB that it has read or written before.
    ``start_seconds``: how long the system may refuse to start any worker before tasks fail for that.
    """

    def __init__(
        self,
        jobs: int,
        *,
        inline_bytes: int = -1,
        serve: Callable[[Connection], None] | None = None,
        patience_seconds: float = 120.0,
        start_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs = jobs
        self._inline_bytes = inline_bytes
        self._serve = serve
        self._patience = patience_seconds
        self._start_seconds = start_seconds
        self._clock = clock
        self._waiting: tuple[deque[Job], deque[Job]] = (deque(), deque())
        self._workers: list[WorkerProcess] = []
        self._ready = select.epoll()
        self._results: list[Done] = []
        self._stopping = False
        self._looked = clock()
        self._now = 0.0
        self._start_due = 0.0
        self._refused_since: float | None = None

    def fileno(self) -> int:
        """Return a descriptor for ``select``."""
        return self._ready.fileno()

    def __len__(self) -> int:
        """Count the tasks that were submitted and not yet returned by :meth:`done`."""
        return self._backlog(is_long=False) + self._backlog(is_long=True) + len(self._results)

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers."""
        return [worker.pid for worker in self._workers if worker.is_open]

    def has_room(self) -> bool:
        """Tell whether another short task would start soon."""
        return self._backlog(is_long=False) < _ROOM * self._jobs

    def submit(self, task: Task, options: Options, size: int = 0) -> None:
        """Take a task on; it starts with the next :meth:`done`."""
        if not self._stopping:
            self._waiting[size >= LONG_BYTES].append(Job(task, options, size))

    def done(self) -> list[Done]:
        """Return what was finished, start what waits, and end what does not answer."""
        now = self._clock()
        # a while in which nobody looked does not count: the whole program may have been stopped
        self._now += min(now - self._looked, _GAP_SECONDS)
        self._looked = now
        for worker in self._workers:
            self._collect(worker)
        self._workers = [worker for worker in self._workers if worker.is_open or not worker.has_ended()]
        for is_long in (False, True):
            self._fill(is_long=is_long)
        results, self._results = self._results, []
        return results

    def rest(self) -> None:
        """Let idle workers go; the next task starts new ones."""
        for worker in self._workers:
            if worker.is_open and not worker.batches:
                worker.stop()
                self._drop(worker)

    def stop(self) -> None:
        """Drop what waits, and ask the workers to stop."""
        self._stopping = True
        self._waiting = (deque(), deque())
        for worker in self._workers:
            worker.stop()

    def kill(self) -> None:
        """Drop what waits, and end the workers."""
        self.stop()
        for worker in self._workers:
            worker.kill()

    def close(self, patience_seconds: float = 5.0) -> None:
        """Stop, wait, kill; a process that the kernel cannot end is left to it."""
        if self._ready.closed:
            return
        for end, seconds in ((self.stop, patience_seconds), (self.kill, _GRACE_SECONDS)):
            end()
            deadline = self._clock() + seconds
            while self._workers and self._clock() < deadline:
                self._ready.poll(_WAIT_SECONDS)
                self._results += self.done()
        for worker in self._workers:
            worker.close()
        self._ready.close()

    def _backlog(self, *, is_long: bool) -> int:
        """Count the jobs of one length that wait or are in work."""
        given = [batch for worker in self._workers if worker.is_long == is_long for batch in worker.batches]
        return len(self._waiting[is_long]) + sum(map(len, given))

    def _collect(self, worker: WorkerProcess) -> None:
        """Take every answer of a worker, and end one that is late; one that has ended leaves its batches."""
        try:
            while worker.is_open and (outcomes := worker.answer()) is not None:
                jobs = worker.batches.popleft()
                self._set_deadline(worker, is_new=True)
                for job, outcome in zip(jobs, outcomes, strict=True):
                    self._finish(worker, job, outcome)
        except (EOFError, OSError):
            self._lose(worker)
        if worker.batches and self._now > worker.deadline and not self._set_deadline(worker, is_new=False):
            worker.kill()  # its place is free once it is gone

    def _finish(self, worker: WorkerProcess, job: Job, outcome: Outcome) -> None:
        if outcome.error is Interrupted and not self._stopping:
            self._waiting[worker.is_long].appendleft(job)  # somebody else ended that worker
        else:
            self._results.append((job.task, outcome))

    def _set_deadline(self, worker: WorkerProcess, *, is_new: bool) -> int:
        """Set when a worker must answer; return how many bytes it has read and written since the last time.

        Those of a batch that is not new also take their time to reach the disk.
        """
        size = worker.transferred_bytes()
        worker.deadline = self._now + self._patience + (0.0 if is_new else size / _SLOWEST_BYTES)
        return size

    def _lose(self, worker: WorkerProcess) -> None:
        """Take back what a lost worker had; its first batch is what it was lost with."""
        worker.kill()
        self._drop(worker)
        for number, batch in reversed(list(enumerate(worker.batches))):
            jobs = [replace(job, losses=job.losses + 1) for job in batch] if number == 0 else batch
            if self._stopping:
                self._results += all_failed(jobs, STOPPED)
            elif len(jobs) == 1 and jobs[0].losses > 1:
                self._results += all_failed(jobs, _DIED)
            else:
                self._waiting[worker.is_long].extendleft(reversed(jobs))
        worker.batches.clear()

    def _drop(self, worker: WorkerProcess) -> None:
        """Expect no answer of a worker any more; it is forgotten once it has ended."""
        with suppress(OSError):
            self._ready.unregister(worker)
        worker.close()

    def _fill(self, *, is_long: bool) -> None:
        """Hand out what waits, as long as there is a worker for it."""
        waiting = self._waiting[is_long]
        is_alone = len(waiting) == 1 and not self._open_workers(is_long=is_long)
        if is_alone and waiting[0].size <= self._inline_bytes:
            job = waiting.popleft()
            self._results += zip([job.task], convert([job.task], job.options), strict=True)
        while waiting and (worker := self._free_worker(is_long=is_long)) is not None:
            batch = next_batch(waiting, self._jobs)
            try:
                worker.give(batch)
            except OSError:  # it has ended, or is stopped, and nobody saw it yet
                waiting.extendleft(reversed(batch))
                self._lose(worker)
                continue
            if len(worker.batches) == 1:
                self._set_deadline(worker, is_new=True)

    def _open_workers(self, *, is_long: bool) -> list[WorkerProcess]:
        return [worker for worker in self._workers if worker.is_long == is_long and worker.is_open]

    def _free_worker(self, *, is_long: bool) -> WorkerProcess | None:
        """Return an idle worker, a new one, or one that is nearly done; None when all have enough."""
        workers = self._open_workers(is_long=is_long)
        usable = [worker for worker in workers if worker.is_usable]
        best = min(usable, key=lambda worker: len(worker.batches), default=None)
        if best is not None and not best.batches:
            return best
        if len(workers) < self._jobs and (started := self._start(is_long=is_long)) is not None:
            return started
        return best if best is not None and len(best.batches) < _AHEAD else None

    def _start(self, *, is_long: bool) -> WorkerProcess | None:
        """Start a worker; None when the system refuses, which it may do for a while."""
        if self._now < self._start_due:
            return None
        from daemon.workers.process import WorkerProcess  # a sweep with nothing to do needs none
        from daemon.workers.worker import serve

        try:
            worker = WorkerProcess(self._serve or serve, is_long=is_long)
        except (OSError, MemoryError) as error:
            self._start_due = self._now + _FORK_AGAIN_SECONDS
            self._refused_since = self._now if self._refused_since is None else self._refused_since
            is_over = self._now - self._refused_since >= self._start_seconds
            if is_over and not self._open_workers(is_long=is_long):
                self._results += all_failed(list(self._waiting[is_long]), _not_started(error))
                self._waiting[is_long].clear()
            return None
        self._refused_since = None
        self._ready.register(worker, select.EPOLLIN)
        self._workers.append(worker)
        return worker


def next_batch(waiting: deque[Job], width: int) -> list[Job]:
    """Take one job from those that wait, or a few small ones, leaving as many for every worker."""
    jobs = [waiting.popleft()]
    fair = min(BATCH_TASKS, (1 + len(waiting)) // width)
    size = jobs[0].size
    while waiting and len(jobs) < fair and waiting[0].options == jobs[0].options:
        size += waiting[0].size
        if size > _BATCH_BYTES or jobs[0].losses or waiting[0].losses:
            break
        jobs.append(waiting.popleft())
    return jobs


def _not_started(error: Exception) -> SidecarError:
    short = isinstance(error, MemoryError)
    words = "there is not enough memory" if short else getattr(error, "strerror", None) or str(error)
    return Passing(
        f"no worker could be started for it: {words}",
        hint="The system is short of processes, open files or memory.",
    )


def all_failed(jobs: list[Job], error: SidecarError) -> list[Done]:
    """Return the failure of each job for one reason."""
    return [(job.task, failure(job.task.name, job.options, error)) for job in jobs]
