"""The service's end of the watch: starts the watcher process, reads its hints, notices its end, ends it.

Nothing here repairs a watch: ``trouble`` says that it must be replaced, and a sweep follows, because what the
old one missed cannot be known.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from daemon.watch.protocol import END, FATAL, READY, Hint, Hints, hint_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_HOME: Final = str(Path(__file__).resolve().parents[2])
_BOOT: Final = (
    "import sys; sys.path[:] = {path!r}; from daemon.watch.process import main; "
    "main(int(sys.argv[1]), sys.argv[2:])"
)
_PIPE_BYTES: Final = 2**20
_READ_BYTES: Final = 2**16
_READS: Final = 64
"""One read takes at most 4 MiB, so that a flood of hints leaves the service time for the rest."""
_SILENT_SECONDS: Final = 10.0
_START_SECONDS: Final = 600.0
_END_SECONDS: Final = 2.0
"""A killed process ends in milliseconds, unless the machine is overloaded or the kernel holds it."""


class Watch:
    """A running watcher process.  Implements :class:`Hints`; one thread uses it."""

    def __init__(self, child: subprocess.Popen[bytes], stderr: int) -> None:
        if child.stdin is None or child.stdout is None:
            raise ValueError("the child was started without pipes")
        self._child = child
        self._questions, self._answers, self._stderr = child.stdin, child.stdout, stderr
        for pipe in (self._questions, self._answers):
            os.set_blocking(pipe.fileno(), False)
        with suppress(OSError):  # this user may have used up what the kernel allows for pipes
            fcntl.fcntl(self._answers.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._open = True
        self._unfinished = b""
        self._hints: list[Hint] = []
        self._started: float | None = None
        self._asked: float | None = None
        self._reason: str | None = None
        self.ready = False
        self.ended = False

    @classmethod
    def open(cls, roots: Sequence[str]) -> Watch:
        """Start watching directories, without waiting for ``ready``.

        Raises OSError when no process can be started; nothing is left then.
        """
        stderr = os.memfd_create("watcher-stderr")
        try:
            return cls(_start(roots, stderr), stderr)
        except BaseException:
            os.close(stderr)
            raise

    @property
    def pid(self) -> int:
        """The watcher's process id."""
        return self._child.pid

    def fileno(self) -> int:
        """Return the pipe's descriptor; see :meth:`Hints.fileno`."""
        return self._answers.fileno()

    def read(self) -> list[Hint]:
        """Return the hints that have arrived, oldest first; may be empty."""
        self._pump()
        hints, self._hints = self._hints, []
        return hints

    def trouble(self, now: float) -> str | None:
        """Return why the watch must be replaced; a reason once given stays.  See :meth:`Hints.trouble`.

        What waits in the pipe is read first, so that a busy service does not blame the watcher.
        """
        if self._open:
            self._pump()
            self._reason = self._reason or self._end() or self._silence(now)
        return self._reason

    def close(self) -> None:
        """Kill the process.  May be called twice.

        A process that is stuck in the kernel ends when the kernel lets go of it; nobody waits for that.
        """
        if not self._open:
            return
        self._open = False
        self._child.kill()
        self._answers.close()
        self._questions.close()
        os.close(self._stderr)
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(_END_SECONDS)

    def _pump(self) -> None:
        """Take in what is in the pipe."""
        if self.ended or not self._open:
            return
        chunks = [self._unfinished]
        with suppress(BlockingIOError):
            for _ in range(_READS):
                chunks.append(os.read(self._answers.fileno(), _READ_BYTES))
                if not chunks[-1]:
                    self.ended = True
                    break
        if any(chunks[1:]):
            self._asked = None  # an answer may stand behind a thousand hints: any record is a sign of life
        *records, self._unfinished = b"".join(chunks).split(END)
        for record in records:
            self._take(record[:1], record[1:])

    def _take(self, letter: bytes, payload: bytes) -> None:
        """Act on one record."""
        hint = hint_of(letter, payload)
        if hint is not None:
            self._hints.append(hint)
        elif letter == READY:
            self.ready = True
        elif letter == FATAL:
            self._reason = f"it ended: {payload.decode(errors='replace')}"

    def _end(self) -> str | None:
        """Say how the process ended, if it did without a record."""
        if self.ended:
            with suppress(subprocess.TimeoutExpired):  # its pipe ends a moment before the process
                self._child.wait(_END_SECONDS)
        code = self._child.poll()
        if code is None:
            return "it ended: it closed its pipe" if self.ended else None
        if code < 0:
            return f"it ended: killed by {signal.Signals(-code).name}"
        return f"it ended: exit status {code}{self._last_words()}"

    def _last_words(self) -> str:
        """Return the last line of standard error, such as why an import failed."""
        size = os.fstat(self._stderr).st_size
        lines = os.pread(self._stderr, 4096, max(0, size - 4096)).decode(errors="replace").split("\n")
        return next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")

    def _silence(self, now: float) -> str | None:
        """Say that the process does not answer, or takes too long to start; else ask for the next answer."""
        if self._started is None:
            self._started = now
        if not self.ready and now - self._started >= _START_SECONDS:
            return f"it was not ready after {_START_SECONDS:.0f} s"
        if self._asked is None:
            self._asked = now
            with suppress(OSError):  # it has just ended
                self._questions.write(b"?")
        elif now - self._asked >= _SILENT_SECONDS:
            return f"it did not answer for {_SILENT_SECONDS:.0f} s"
        return None


def _start(roots: Sequence[str], stderr: int) -> subprocess.Popen[bytes]:
    """Start the process with this one's import path: checkout, wheel, working directory do not matter."""
    path = [entry or _HOME for entry in sys.path]
    code = _BOOT.format(path=path if _HOME in path else [*path, _HOME])
    command = [sys.executable, "-c", code, str(os.getpid()), *roots]
    return subprocess.Popen(  # noqa: S603  # our own interpreter; roots are arguments, never a shell's
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, bufsize=0
    )


if TYPE_CHECKING:

    def _implements_hints(watch: Watch) -> Hints:
        """Have the type checker hold this class to the protocol."""
        return watch
