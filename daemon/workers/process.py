"""One worker process and the batches that it was given: forked, and spoken to over a socket.

A pool of our own rather than ``concurrent.futures``: its manager thread holds locks and waits for workers
without a deadline, so a worker that hangs would make the program hang, at the latest when it ends.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections import deque
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Final

from daemon.workers.worker import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.workers.pool import Job
    from lib.outcome import Outcome

_SIGNALS: Final = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_TRANSFER_SECONDS: Final = 5
"""How long the rest of a message may take: one end may be stopped in the middle of it."""


class WorkerProcess:
    """Starts with the object.

    ``deadline``: when its first batch must be done, in seconds of the pool's clock; ``seen_bytes``: what it
    had read and written when that was set.

    :raises OSError: the system has no process to give; or, as MemoryError, no memory.
    """

    def __init__(self, serve: Callable[[Connection], None]) -> None:
        ours, theirs = socket.socketpair()
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            ours.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", _TRANSFER_SECONDS, 0))
        self.batches: deque[list[Job]] = deque()
        self.deadline = 0.0
        self.seen_bytes = 0
        self._killed = False
        self._connection = Connection(ours.detach())
        with Connection(theirs.detach()) as connection:
            try:
                self.pid = _fork(serve, connection)
            except (OSError, MemoryError):
                self._connection.close()
                raise

    @property
    def is_usable(self) -> bool:
        """Tell whether it may be given work: it was not killed."""
        return not self._killed

    def fileno(self) -> int:
        """Return a descriptor for ``select``: readable when there is an answer, or the process has ended."""
        return self._connection.fileno()

    def give(self, batch: list[Job]) -> None:
        """Hand it a batch.

        :raises OSError: it has ended, or does not take it.
        """
        self._connection.send(([job.task for job in batch], batch[0].options))
        self.batches.append(batch)

    def answer(self) -> list[Outcome] | None:
        """Return the outcomes of its first batch, None while it is at work; never waits for the work.

        :raises EOFError: the process has ended.
        :raises OSError: it is beyond help.
        """
        if not self._connection.poll():
            return None
        outcomes: list[Outcome] = self._connection.recv()
        return outcomes

    def transferred_bytes(self) -> int:
        """Return how many bytes it has read and written (proc_pid_io(5)); 0 where that is not known."""
        try:
            with open(f"/proc/{self.pid}/io", "rb") as file:
                figures = dict(line.split(b":") for line in file)
            return int(figures[b"rchar"]) + int(figures[b"wchar"])
        except (OSError, KeyError, ValueError):
            return 0

    def stop(self) -> None:
        """Ask it to end: at once when it is idle, else at the end of the current block."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it, also when it is stopped."""
        self._killed = True
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Let go of the connection; :meth:`has_ended` must still be asked until it says so."""
        self._connection.close()

    def has_ended(self) -> bool:
        """Tell whether the process is gone, and collect it; ask no more then."""
        with suppress(ChildProcessError):
            return os.waitpid(self.pid, os.WNOHANG)[0] != 0
        return True

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # not collected yet, so the number is its own
            os.kill(self.pid, number)


def _fork(serve: Callable[[Connection], None], connection: Connection) -> int:
    """Start the process; signals wait until it has its own handlers for them."""
    parent = os.getpid()
    before = set(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)))
    try:
        pid = os.fork()
        if pid == 0:
            _run(serve, connection, parent, before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _run(
    serve: Callable[[Connection], None],
    connection: Connection,
    parent: int,
    mask: set[int],
) -> None:
    status = 1
    try:
        prepare(parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask - _SIGNALS)
        serve(connection)
        status = 0
    finally:  # whatever happens, the parent's code is not for this process
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        os._exit(status)
