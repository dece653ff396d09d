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

_HOME: Final = str(Path(__file__).resolve().parents[2])
_BOOT: Final = "import sys; sys.path[:] = {path!r}; from daemon.watch.process import main; main()"
_PIPE_BYTES: Final = 2**16
_SILENT_SECONDS: Final = 10.0
_START_SECONDS: Final = 600.0
_END_SECONDS: Final = 2.0
"""A killed process ends in milliseconds, unless the machine is overloaded or the kernel holds it."""


class Hint(NamedTuple):
    """Something may have happened at a path below a root; only the disk knows.

    ``closed``: a source or metadata file was closed after writing, or renamed to this path · ``seen``: it
    appeared (created, linked) · ``gone``: a source was removed or renamed; reported within seconds, not at
    once · ``directory``: a directory appeared, moved to this path or was removed.
    """

    kind: Literal["closed", "seen", "gone", "directory"]
    root: str
    parts: tuple[str, ...]


class Watch:
    """A running watcher process.  One thread uses it; no call waits, and none raises because it broke.

    ``ready``: everything that happens in the roots is reported; sweep after this, not before.  ``ended``: a
    read found that no more hints will come; ``trouble`` has the reason.  ``has_overflowed``: it lost events.
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
        self._questions = cast("IO[bytes]", self._child.stdin)
        self._answers = cast("IO[bytes]", self._child.stdout)
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
        """Return the descriptor to select on for reading, until ``trouble`` has returned a reason."""
        return self._answers.fileno()

    def read(self) -> list[Hint]:
        """Return the hints that have arrived, oldest first; of a flood, only some at a time."""
        with suppress(BlockingIOError):
            if not (self.ended or self._answers.closed):
                self._take(os.read(self._answers.fileno(), _PIPE_BYTES))
        hints, self._hints = self._hints, []
        return hints

    def trouble(self, now: float) -> str | None:
        """Return why the watch must be replaced, if it must be.  ``now``: monotonic seconds.

        Read first: the answer of a sound watch may be waiting.
        """
        return self._reason or (self._exit() if self.ended else self._silence(now))

    def close(self) -> None:
        """Kill the process; may be called twice.  One that is stuck in the kernel is not waited for."""
        self._child.kill()
        self._answers.close()
        self._questions.close()
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(_END_SECONDS)

    def _take(self, content: bytes) -> None:
        """Act on the records in the pipe; any other line comes from standard error, such as a traceback's."""
        self.ended = not content
        self._asked = None  # an answer may stand behind a thousand hints: any record is a sign of life
        *lines, self._unfinished = (self._unfinished + content).split(b"\n")
        for line in lines:
            try:
                kind, *texts = json.loads(line)
            except (ValueError, TypeError):
                self._last_words = line.decode(errors="replace").strip() or self._last_words
                continue
            if kind == "ready":
                self.ready = True
            elif kind in {"ended", "overflow"}:
                self._reason, self.has_overflowed = f"the watcher ended: {texts[0]}", kind == "overflow"
            elif kind != "alive":
                self._hints.append(Hint(kind, texts[0], tuple(texts[1:])))

    def _exit(self) -> str:
        """Return how the process ended without a record; its pipe ends a moment before it does."""
        self.close()
        code = self._child.returncode
        if code is not None and code < 0:
            return f"the watcher ended: killed by {signal.Signals(-code).name}"
        return f"the watcher ended: {self._last_words or f'exit status {code}'}"

    def _silence(self, now: float) -> str | None:
        """Return that the process has not answered in time; ask it, unless an answer is awaited already."""
        limit = _SILENT_SECONDS if self.ready else _START_SECONDS
        if self._asked is None:
            self._asked = now
            with suppress(OSError):  # it has just ended
                self._questions.write(b"?")
        return None if now - self._asked < limit else f"it did not answer for {limit:.0f} s"
