"""One worker process and the batches that it was given: forked, and reached over a socket.

``concurrent.futures`` will not do: its manager thread holds locks and waits for workers without a deadline,
so a worker that hangs would make the program hang, at the latest when it ends.
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

from daemon.workers.worker import Stop, prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.workers.pool import Job
    from lib.outcome import Outcome

_SIGNALS: Final = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_TRANSFER_SECONDS: Final = 5
"""How long the rest of a message may take: one end may be stopped in the middle of it."""


class WorkerProcess:
    """A process that starts with the object, and the batches that it has not answered, in order.

    ``deadline``: when its first batch must be done, or it has been idle for too long, by the pool's clock.
    ``is_usable``: it may be given work, as it was not killed.

    :raises OSError: the system starts no process now.
    :raises MemoryError: the system has no memory for one.
    """

    def __init__(self, serve: Callable[[Connection, Stop], None]) -> None:
        ours, theirs = socket.socketpair()
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            ours.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", _TRANSFER_SECONDS, 0))
        self.is_usable = True
        self.batches: deque[list[Job]] = deque()
        self.deadline = 0.0
        self._transferred = 0
        self._connection = Connection(ours.detach())
        with Connection(theirs.detach()) as connection:
            try:
                self.pid = _fork(serve, connection)
            except (OSError, MemoryError):
                self._connection.close()
                raise

    def fileno(self) -> int:
        """Return a descriptor for ``select``: readable when there is an answer, or the process has ended."""
        return self._connection.fileno()

    def give(self, batch: list[Job]) -> None:
        """Hand it a batch.

        :raises OSError: it has ended, or does not take it.
        """
        self._connection.send([job.task for job in batch])
        self.batches.append(batch)

    def answer(self) -> list[Outcome] | None:
        """Return the outcomes of its first batch, None while it is at work; never waits for the work.

        :raises EOFError: the process has ended.
        :raises OSError: it has ended, or was stopped, in the middle of an answer.
        """
        outcomes: list[Outcome] | None = self._connection.recv() if self._connection.poll() else None
        return outcomes

    def transferred_bytes(self) -> int:
        """Return what it has read and written since the last call (proc_pid_io(5)); 0 if unknown."""
        before = self._transferred
        with suppress(OSError, KeyError, ValueError), open(f"/proc/{self.pid}/io", "rb") as file:
            figures = dict(line.split(b":") for line in file)
            self._transferred = int(figures[b"rchar"]) + int(figures[b"wchar"])
        return self._transferred - before

    def stop(self) -> None:
        """Ask it to end: at once when it is idle, else at the end of the current block."""
        with suppress(ProcessLookupError):  # not collected yet, so the number is its own
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it, also when it is stopped."""
        self.is_usable = False
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close the connection; :meth:`has_ended` must still be called until it returns True."""
        self._connection.close()

    def has_ended(self) -> bool:
        """Tell whether the process is gone, and collect it; not to be called again then."""
        with suppress(ChildProcessError):
            return os.waitpid(self.pid, os.WNOHANG)[0] != 0
        return True


def _fork(serve: Callable[[Connection, Stop], None], connection: Connection) -> int:
    """Start the process; signals wait until it has its own handlers for them."""
    parent = os.getpid()
    before = set(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)))
    try:
        pid = os.fork()
        if pid == 0:
            try:
                stop = prepare(parent)
                signal.pthread_sigmask(signal.SIG_SETMASK, before - _SIGNALS)
                serve(connection, stop)
                os._exit(0)
            finally:  # it must not return into its parent's code
                signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
                os._exit(1)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid
