"""The pool of a cluster's workers, reached through a Dask scheduler.

The workers run this package, and see the same paths on a shared file system.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import deque
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from daemon.config.validation import RefusedError
from daemon.workers.pool import BATCH_TASKS, STOPPED, Finished, Job, Pool, all_failed, next_batch
from daemon.workers.worker import convert
from lib.errors import Passing, SidecarError, Vanished

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.options import Options
    from lib.outcome import Outcome
    from lib.sync.walk import Task

_ADDRESS: Final = re.compile(r"((tcp|tls|ws|wss)://)?[^/\s]+:\d+")
_ALIVE: Final = frozenset({"running", "connecting"})
_LEAST_WIDTH: Final = 8
"""An adaptive cluster has no workers before there is work that waits for them."""
_DISCONNECT_SECONDS: Final = 3.0

_GONE: Final = Passing(
    "its worker does not answer any more: the scheduler is gone",
    hint="Start the cluster again; the same command does the rest.",
)
_UNSEEN: Final = Passing(
    "it exists, but the worker that was to read it does not see it",
    hint="Workers of a cluster must see the same paths as the sweep.",
)


class DaskPool(Pool):
    """The workers of the cluster whose scheduler has this address.

    Nothing here waits for the cluster: futures are read once they are done, and Dask's own functions for
    cancelling and closing, which wait, run in threads that may be left behind.

    :raises RefusedError: Dask is not installed here, or no scheduler answers.
    """

    def __init__(self, address: str, options: Options) -> None:
        self._options = options
        self._client = _connect(address)
        self._width: int = max(_LEAST_WIDTH, sum(self._client.nthreads().values()))
        # not pure: Dask would answer a second look at a source with the result of the first
        self._executor = self._client.get_executor(pure=False)
        self._waiting: deque[Job] = deque()
        self._running: dict[Future[list[Outcome]], list[Job]] = {}
        self._results: list[Finished] = []
        self._is_stopping = False
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        return self._event

    def __len__(self) -> int:
        return len(self._waiting) + sum(map(len, self._running.values())) + len(self._results)

    def has_room(self) -> bool:
        return len(self) < 2 * BATCH_TASKS * self._width

    def submit(self, task: Task, size: int = 0) -> None:
        if not self._is_stopping:
            self._waiting.append(Job(task, size))

    def done(self) -> list[Finished]:
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)
        for future in [future for future in self._running if future.done()]:
            self._results += self._outcomes(future, self._running.pop(future))
        if self._client.status not in _ALIVE:
            self._abandon(STOPPED if self._is_stopping else _GONE)
        while self._waiting and len(self._running) < 2 * self._width:
            self._send(next_batch(self._waiting, self._width))
        results, self._results = self._results, []
        return results

    def stop(self) -> None:
        """Drop what no worker has begun: those at work cannot be asked to stop."""
        self._is_stopping = True
        self._waiting.clear()
        running = list(self._running)
        _in_background(lambda: [future.cancel() for future in running])

    def kill(self) -> None:
        """Expect nothing any more: those at work finish what they have begun."""
        self._is_stopping = True
        self._abandon(STOPPED)

    def close(self, patience_seconds: float = _DISCONNECT_SECONDS) -> None:
        """Disconnect from the scheduler, waiting no longer than this; may be called twice."""
        if self._event >= 0:
            _in_background(lambda: self._client.close(patience_seconds)).join(patience_seconds + 1.0)
            os.close(self._event)
            self._event = -1

    def _send(self, batch: list[Job]) -> None:
        try:
            future = self._executor.submit(convert, [job.task for job in batch], self._options)
        except Exception as error:  # noqa: BLE001 (a client that lost its scheduler has errors of its own)
            self._results += all_failed(batch, self._options, _lost(error))
            return
        self._running[future] = batch
        future.add_done_callback(self._wake)

    def _outcomes(self, future: Future[list[Outcome]], jobs: list[Job]) -> list[Finished]:
        try:
            outcomes = future.result(0)
        except (Exception, CancelledError) as error:  # noqa: BLE001 (a cluster has errors of its own)
            return all_failed(jobs, self._options, STOPPED if self._is_stopping else _lost(error))
        return [self._checked(job, outcome) for job, outcome in zip(jobs, outcomes, strict=True)]

    def _checked(self, job: Job, outcome: Outcome) -> Finished:
        """Return a worker's outcome; not finding a file that exists is a fault of the cluster."""
        if outcome.error is Vanished and os.path.lexists(job.task.path):
            (unseen,) = all_failed([job], self._options, _UNSEEN)
            return unseen
        return job.task, outcome

    def _abandon(self, error: SidecarError) -> None:
        """Report everything as failed: the workers will not answer."""
        for batch in (*self._running.values(), self._waiting):
            self._results += all_failed(batch, self._options, error)
        self._running.clear()
        self._waiting.clear()

    def _wake(self, _future: Future[list[Outcome]]) -> None:
        with suppress(OSError):  # closed: nobody waits
            os.eventfd_write(self._event, 1)


def _in_background(act: Callable[[], object]) -> threading.Thread:
    """Run what waits for the scheduler, and may fail, in a thread that may be left behind."""

    def run() -> None:
        with suppress(Exception):
            act()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def _lost(error: Exception) -> SidecarError:
    return Passing(
        f"its worker did not answer: {type(error).__name__}: {error}".partition("\n")[0],
        hint="See the worker's log; generation-sidecars must be installed there. The next sweep tries again.",
    )


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise RefusedError(
            "--scheduler needs Dask, which is not installed: pip install 'generation-sidecars[dask]'"
        ) from None
    if not _ADDRESS.fullmatch(address):  # Dask would report it as well, but then takes a minute to end
        raise RefusedError(f"{address}: no address of a scheduler, such as tcp://host:8786")
    logging.disable()  # Dask's loggers: they print tracebacks of what is reported here as a sentence
    try:
        return Client(address, set_as_default=False)
    except (OSError, ValueError) as error:  # a time that ran out is an OSError
        reason = str(error).partition("\n")[0]
        raise RefusedError(
            f"{address}: no Dask scheduler answers there: {reason}. "
            "Start one (dask scheduler), or give the address that it shows, such as tcp://host:8786."
        ) from error
