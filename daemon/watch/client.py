"""The service's end of the watch: starts the watcher process, reads its hints, checks it and ends it.

Nothing here repairs a watch: ``trouble`` returns why it must be replaced.
"""

from __future__ import annotations

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

    _Pipes = tuple[IO[bytes], IO[bytes]]

_HOME: Final = str(Path(__file__).resolve().parents[2])
_BOOT: Final = (
    "import sys; sys.path[:] = {path!r}; from daemon.watch.process import main; "
    "main(int(sys.argv[1]), sys.argv[2:])"
)
_PIPE_BYTES: Final = 2**16
_SILENT_SECONDS: Final = 10.0
_START_SECONDS: Final = 600.0
_END_SECONDS: Final = 2.0
"""A killed process ends in milliseconds, unless the machine is overloaded or the kernel holds it."""


class Hint(NamedTuple):
    """Something may have happened at a path below a root; only the disk knows.

    ``closed``: a source or metadata file was closed after writing, or renamed to this path · ``seen``: it
    appeared (created, linked) · ``directory``: a directory appeared, moved to this path or went.
    """

    kind: Literal["closed", "seen", "directory"]
    root: str
    parts: tuple[str, ...]


class Watch:
    """A running watcher process.  One thread uses it; no call waits, and none raises because it broke.

    ``ready``: everything that happens in the roots is reported; sweep after this, not before.  ``ended``: a
    read found that no hint will come any more; ``trouble`` has the reason.  ``has_overflowed``: it ended
    because events were lost.
    """

    def __init__(self, roots: Sequence[str]) -> None:
        """Start watching directories, without waiting for ``ready``.

        The process has this one's import path: checkout, wheel and working directory do not matter.  Raises
        OSError when it cannot be started; nothing is left then.
        """
        path = [entry or _HOME for entry in sys.path]
        code = _BOOT.format(path=path if _HOME in path else [*path, _HOME])
        command = [sys.executable, "-c", code, str(os.getpid()), *roots]
        self._child = subprocess.Popen(  # noqa: S603  # this interpreter; roots are arguments, no shell's
            command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._questions, self._answers = cast("_Pipes", (self._child.stdin, self._child.stdout))
        os.set_blocking(self._answers.fileno(), False)
        self._unfinished = b""
        self._hints: list[Hint] = []
        self._last_words = ""
        self._asked: float | None = None
        self._reason: str | None = None
        self.pid = self._child.pid
        self.ready = False
        self.ended = False
        self.has_overflowed = False

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
        self._pump()
        self._reason = self._reason or (self._exit() if self.ended else self._silence(now))
        return self._reason

    def close(self) -> None:
        """Kill the process; may be called twice.  One that is stuck in the kernel is not waited for."""
        self._child.kill()
        self._answers.close()
        self._questions.close()
        self._wait()

    def _pump(self) -> None:
        """Take in what is in the pipe; a flood of hints leaves the service time for the rest."""
        if self.ended or self._answers.closed:
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
            kind, *texts = json.loads(record)
        except (ValueError, TypeError):
            self._last_words = record.decode(errors="replace").strip() or self._last_words
            return
        if kind == "ready":
            self.ready = True
        elif kind in {"ended", "overflow"}:
            self._reason, self.has_overflowed = f"the watcher ended: {texts[0]}", kind == "overflow"
        elif kind != "alive":
            self._hints.append(Hint(kind, texts[0], tuple(texts[1:])))

    def _wait(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(_END_SECONDS)
        return self._child.returncode

    def _exit(self) -> str:
        """Return how the process ended without a record; its pipe ends a moment before it does."""
        code = self._wait()
        if code is not None and code < 0:
            return f"the watcher ended: killed by {signal.Signals(-code).name}"
        return ": ".join(filter(None, [f"the watcher ended: exit status {code}", self._last_words]))

    def _silence(self, now: float) -> str | None:
        """Return that the process takes too long to start, or does not answer; else ask it for an answer."""
        if self._asked is None:
            self._asked = now
            with suppress(OSError):  # it has just ended
                self._questions.write(b"?")
        elif not self.ready and now - self._asked >= _START_SECONDS:
            return f"it was not ready after {_START_SECONDS:.0f} s"
        elif self.ready and now - self._asked >= _SILENT_SECONDS:
            return f"it did not answer for {_SILENT_SECONDS:.0f} s"
        return None
