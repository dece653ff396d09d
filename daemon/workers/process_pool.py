"""The pool of processes on this machine.

Long sources have workers of their own, so that no short one waits for them.  A worker that dies, or does not
answer in time, costs only the batches that it had: each task of these is tried again by itself, and fails if
its worker is lost again.
"""

from __future__ import annotations

import math
import select
import time
from collections import deque
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from daemon.workers.pool import BATCH_TASKS, STOPPED, Finished, Job, Pool, all_failed, next_batch
from daemon.workers.worker import Serve, convert, serve
from lib.errors import Interrupted, Passing, SidecarError

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.workers.process import WorkerProcess
    from lib.options import Options
    from lib.sync.walk import Task

LONG_BYTES: Final = 64 << 20
"""A source of this size takes the better part of a second, and more."""
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


@dataclass(slots=True)
class _Lane:
    """The jobs that wait for the workers of one lane, for short or for long sources, and these workers."""

    waiting: deque[Job] = field(default_factory=deque)
    workers: list[WorkerProcess] = field(default_factory=list)

    def __len__(self) -> int:
        """Count the jobs that wait or are in work."""
        return len(self.waiting) + sum(len(batch) for worker in self.workers for batch in worker.batches)


@dataclass(eq=False)
class ProcessPool(Pool):
    """At most ``jobs`` processes for long sources, and as many for others.

    ``inline_bytes``: a source up to this size that is alone is converted in this process, which is quicker.
    ``patience_seconds``: how long a worker may neither answer nor read or write anything, besides a second
    for each MiB that it has read or written before.
    ``start_seconds``: how long the system may refuse to start any worker before tasks fail for that.
    ``rest_seconds``: how long a worker may be idle, as it holds numpy's memory.
    """

    jobs: int
    options: Options
    _: KW_ONLY
    inline_bytes: int = -1
    serve: Serve = serve
    patience_seconds: float = 120.0
    start_seconds: float = 30.0
    rest_seconds: float = 60.0
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._short, self._long = self._lanes = (_Lane(), _Lane())
        self._ending: list[WorkerProcess] = []
        self._ready = select.epoll()
        self._results: list[Finished] = []
        self._is_stopping = False
        self._looked = self.clock()
        self._now = 0.0
        self._start_due = 0.0
        self._refused_since = math.inf

    def fileno(self) -> int:
        return self._ready.fileno()

    def __len__(self) -> int:
        return len(self._short) + len(self._long) + len(self._results)

    def has_room(self) -> bool:
        return len(self._short) < _ROOM * self.jobs

    def submit(self, task: Task, size: int = 0) -> None:
        if not self._is_stopping:
            lane = self._long if size >= LONG_BYTES else self._short
            lane.waiting.append(Job(task, size))

    def done(self) -> list[Finished]:
        now = self.clock()
        # time in which nobody called this does not count: the whole program may have been stopped
        self._now += min(now - self._looked, _GAP_SECONDS)
        self._looked = now
        for lane in self._lanes:
            for worker in list(lane.workers):
                self._collect(lane, worker)
        self._ending = [worker for worker in self._ending if not worker.has_ended()]
        for lane in self._lanes:
            self._fill(lane)
        results, self._results = self._results, []
        return results

    def stop(self) -> None:
        self._is_stopping = True
        for lane in self._lanes:
            lane.waiting.clear()
        for worker in self._processes():
            worker.stop()

    def kill(self) -> None:
        self.stop()
        for worker in self._processes():
            worker.kill()

    def close(self, patience_seconds: float = 5.0) -> None:
        if self._ready.closed:
            return
        for end, seconds in ((self.stop, patience_seconds), (self.kill, _GRACE_SECONDS)):
            end()
            deadline = self.clock() + seconds
            while self._processes() and self.clock() < deadline:
                self._ready.poll(_WAIT_SECONDS)
                results = self.done()  # takes the present list, which must not be added to itself
                self._results += results
        for worker in self._processes():  # the kernel could not end it
            worker.close()
        self._ready.close()

    def _processes(self) -> list[WorkerProcess]:
        """Return the workers, and the lost ones that have not ended."""
        return [*self._short.workers, *self._long.workers, *self._ending]

    def _collect(self, lane: _Lane, worker: WorkerProcess) -> None:
        """Take every answer of a worker; kill one that is late, or has long been idle; one may have ended."""
        try:
            while (outcomes := worker.answer()) is not None:
                jobs = worker.batches.popleft()
                self._set_deadline(worker)
                for job, outcome in zip(jobs, outcomes, strict=True):
                    if outcome.error is Interrupted and not self._is_stopping:
                        lane.waiting.appendleft(job)  # not by this pool
                    else:
                        self._results.append((job.task, outcome))
        except (EOFError, OSError):
            self._lose(lane, worker)
            return
        if self._now > worker.deadline and not (worker.batches and self._extend_deadline(worker)):
            worker.kill()  # its place is free once it is gone

    def _set_deadline(self, worker: WorkerProcess) -> None:
        """Set when a worker must answer its first batch, or has been idle for too long."""
        worker.transferred_bytes()  # those from now on count
        worker.deadline = self._now + (self.patience_seconds if worker.batches else self.rest_seconds)

    def _extend_deadline(self, worker: WorkerProcess) -> bool:
        """Give a worker more time if it has read or written anything, which takes time to reach the disk."""
        size = worker.transferred_bytes()
        worker.deadline = self._now + self.patience_seconds + size / _SLOWEST_BYTES
        return size > 0

    def _lose(self, lane: _Lane, worker: WorkerProcess) -> None:
        """Take back what a lost worker had; any of it may be what it was lost with."""
        worker.kill()
        with suppress(OSError):
            self._ready.unregister(worker)
        worker.close()
        lane.workers.remove(worker)
        self._ending.append(worker)
        jobs = [job for batch in worker.batches for job in batch]
        worker.batches.clear()
        for job in reversed(jobs):
            if self._is_stopping or job.losses:
                self._results += all_failed([job], self.options, STOPPED if self._is_stopping else _DIED)
            else:
                lane.waiting.appendleft(replace(job, losses=1))

    def _fill(self, lane: _Lane) -> None:
        """Hand out what waits, as long as there is a worker for it."""
        waiting = lane.waiting
        if len(waiting) == 1 and not lane.workers and waiting[0].size <= self.inline_bytes:
            job = waiting.popleft()
            self._results += zip([job.task], convert([job.task], self.options), strict=True)
        while waiting and (worker := self._free_worker(lane)) is not None:
            batch = next_batch(waiting, self.jobs)
            try:
                worker.give(batch)
            except OSError:  # it has ended, or is stopped
                waiting.extendleft(reversed(batch))
                self._lose(lane, worker)
                continue
            if len(worker.batches) == 1:
                self._set_deadline(worker)

    def _free_worker(self, lane: _Lane) -> WorkerProcess | None:
        """Return an idle worker, a new one, or one that is nearly done; None when all have enough."""
        usable = [worker for worker in lane.workers if worker.is_usable]
        best = min(usable, key=lambda worker: len(worker.batches), default=None)
        if best is not None and not best.batches:
            return best
        if len(lane.workers) < self.jobs and (started := self._start(lane)) is not None:
            return started
        if best is None or len(best.batches) == _AHEAD:
            return None
        # a task that was lost with its worker goes by itself: nothing else is taken for the cause then
        return None if lane.waiting[0].losses or best.batches[0][0].losses else best

    def _start(self, lane: _Lane) -> WorkerProcess | None:
        """Start a worker; None when the system refuses, which it may do for a while."""
        if self._now < self._start_due:
            return None
        from daemon.workers.process import WorkerProcess  # a sweep with nothing to do needs none

        try:
            worker = WorkerProcess(partial(self.serve, self.options))
        except (OSError, MemoryError) as error:
            self._start_due = self._now + _FORK_AGAIN_SECONDS
            self._refused_since = min(self._refused_since, self._now)
            if self._now - self._refused_since >= self.start_seconds and not lane.workers:
                self._results += all_failed(lane.waiting, self.options, _not_started(error))
                lane.waiting.clear()
            return None
        self._refused_since = math.inf
        self._ready.register(worker, select.EPOLLIN)
        lane.workers.append(worker)
        return worker


def _not_started(error: OSError | MemoryError) -> SidecarError:
    words = error.strerror if isinstance(error, OSError) else "there is not enough memory"
    return Passing(
        f"no worker could be started for it: {words}",
        hint="The system is short of processes, open files or memory.",
    )
