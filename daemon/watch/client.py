"""The service's end of the watch: starts the watcher process, reads its hints, checks it and ends it.

Nothing here repairs a watch: ``trouble`` returns why it must be replaced.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Literal, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

_HOME: Final = str(Path(__file__).resolve().parents[2])
_BOOT: Final = (
    "import sys; sys.path[:] = {path!r}; from daemon.watch.process import main; "
    "main(int(sys.argv[1]), sys.argv[2:])"
)
_PIPE_BYTES: Final = 2**20
_SILENT_SECONDS: Final = 10.0
_START_SECONDS: Final = 600.0
_END_SECONDS: Final = 2.0
"""A killed process ends in milliseconds, unless the machine is overloaded or the kernel holds it."""


class Hint(NamedTuple):
    """Something may have happened at ``path``; only the disk knows.

    ``closed``: a source or metadata file was closed after writing, or renamed to ``path`` · ``seen``: it
    appeared (created, linked) · ``directory``: a directory appeared, moved to ``path`` or went ·
    ``overflow``: events were lost, and only a sweep helps; ``path`` is empty.
    """

    kind: Literal["closed", "seen", "directory", "overflow"]
    path: str


class Watch:
    """A running watcher process.  One thread uses it; no call waits, and none raises because it broke.

    ``ready``: everything that happens in the roots is reported; sweep after this, not before.  ``ended``: a
    read found that no hint will come any more; ``trouble`` has the reason.
    """

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self._questions, self._answers = cast("tuple[IO[bytes], IO[bytes]]", (child.stdin, child.stdout))
        for pipe in (self._questions, self._answers):
            os.set_blocking(pipe.fileno(), False)
        with suppress(OSError):  # this user may have used up what the kernel allows for pipes
            fcntl.fcntl(self._answers.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._is_open = True
        self._unfinished = b""
        self._hints: list[Hint] = []
        self._last_words = ""
        self._started: float | None = None
        self._asked: float | None = None
        self._reason: str | None = None
        self.ready = False
        self.ended = False

    @classmethod
    def open(cls, roots: Sequence[str]) -> Watch:
        """Start watching directories, without waiting for ``ready``.

        The process has this one's import path: checkout, wheel and working directory do not matter.  Raises
        OSError when it cannot be started; nothing is left then.
        """
        path = [entry or _HOME for entry in sys.path]
        code = _BOOT.format(path=path if _HOME in path else [*path, _HOME])
        command = [sys.executable, "-c", code, str(os.getpid()), *roots]
        child = subprocess.Popen(  # noqa: S603  # this interpreter; roots are arguments, never a shell's
            command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        return cls(child)

    @property
    def pid(self) -> int:
        """The watcher's process id."""
        return self._child.pid

    def fileno(self) -> int:
        """Return the descriptor to select on for reading; it stays readable after the watch ended."""
        return self._answers.fileno()

    def read(self) -> list[Hint]:
        """Return the hints that have arrived, oldest first; may be empty."""
        self._pump()
        hints, self._hints = self._hints, []
        return hints

    def trouble(self, now: float) -> str | None:
        """Return why the watch must be replaced; a reason once given stays.  ``now``: monotonic seconds.

        What waits in the pipe is read first, so that a busy service does not blame the watcher.
        """
        if self._is_open:
            self._pump()
            self._reason = self._reason or self._end() or self._silence(now)
        return self._reason

    def close(self) -> None:
        """Kill the process; may be called twice.  One that is stuck in the kernel is not waited for."""
        if not self._is_open:
            return
        self._is_open = False
        self._child.kill()
        self._answers.close()
        self._questions.close()
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(_END_SECONDS)

    def _pump(self) -> None:
        """Take in what is in the pipe; a flood of hints leaves the service time for the rest."""
        if self.ended or not self._is_open:
            return
        try:
            content = os.read(self._answers.fileno(), _PIPE_BYTES)
        except BlockingIOError:
            return
        self.ended = not content
        self._asked = None  # an answer may stand behind a thousand hints: any record is a sign of life
        *records, self._unfinished = (self._unfinished + content).split(b"\n")
        for record in records:
            self._take(record)

    def _take(self, record: bytes) -> None:
        """Act on one record; what is none was written to standard error, such as why an import failed."""
        try:
            kind, text = json.loads(record)
        except (ValueError, TypeError):
            self._last_words = record.decode(errors="replace").strip() or self._last_words
            return
        if kind == "ready":
            self.ready = True
        elif kind == "ended":
            self._reason = f"the watcher ended: {text}"
        elif kind != "alive":
            self._hints.append(Hint(kind, text))

    def _end(self) -> str | None:
        """Return how the process ended, if it did without a record."""
        if not self.ended:
            return None
        with suppress(subprocess.TimeoutExpired):  # its pipe ends a moment before the process
            self._child.wait(_END_SECONDS)
        code = self._child.returncode
        if code is None:
            return "the watcher ended: it closed its pipe"
        if code < 0:
            return f"the watcher ended: killed by {signal.Signals(-code).name}"
        return ": ".join(filter(None, [f"the watcher ended: exit status {code}", self._last_words]))

    def _silence(self, now: float) -> str | None:
        """Return that the process takes too long to start, or does not answer; else ask it for an answer."""
        if not self.ready:
            self._started = now if self._started is None else self._started
            is_late = now - self._started >= _START_SECONDS
            return f"it was not ready after {_START_SECONDS:.0f} s" if is_late else None
        if self._asked is None:
            self._asked = now
            with suppress(OSError):  # it has just ended
                self._questions.write(b"?")
        elif now - self._asked >= _SILENT_SECONDS:
            return f"it did not answer for {_SILENT_SECONDS:.0f} s"
        return None
