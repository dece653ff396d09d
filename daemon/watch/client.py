"""The service's end of the watch: starts the watcher process, reads its hints, judges its health, ends it.

The watch is something that can be thrown away.  Nothing here mends one: ``trouble`` says that it must be
replaced, and whoever replaces it sweeps, because no hint may be trusted to have arrived.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from daemon.watch import health
from daemon.watch.child import reading_end, start
from daemon.watch.protocol import BUSY, END, FATAL, OVERFLOW, PONG, READY, Hint, Hints, hint_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["Hint", "Hints", "Watch"]

_READ_BYTES: Final = 2**16
_READS: Final = 64
"""One read takes at most 4 MiB, so that a flood of hints leaves the service time for the rest."""


class Watch:
    """A running watcher process.  Implements :class:`Hints`; one thread uses it."""

    def __init__(self, child: subprocess.Popen[bytes], canary: Path, complaints: IO[bytes]) -> None:
        self._child = child
        self._canary = canary
        self._canary_inode = canary.stat().st_ino
        self._complaints = complaints
        self._pipe = reading_end(child)
        self._open = True
        self._unfinished = b""
        self._hints: list[Hint] = []
        self._asked = self._answered = 0
        self._heard = self._eventful = False
        self._reason: str | None = None
        self._deafness, self._spin = health.Deafness(), health.Spin()
        self._growth, self._gaps = health.Growth(), health.Gaps()
        self.ready = False
        self.ended = False

    @classmethod
    def open(cls, roots: Sequence[Path], scratch: Path | None = None) -> Watch:
        """Start watching ``roots``, directories, without waiting until the watch stands (see ``ready``).

        ``scratch``: where to make a small private directory, on a local filesystem; by default where
        temporary files go.  Raises OSError when not even a process or that directory can be made; nothing is
        left then.
        """
        canary = Path(tempfile.mkdtemp(prefix="generation-sidecars-watch-", dir=scratch))
        complaints = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115  # lives as long as the child
        try:
            return cls(start(roots, canary, complaints), canary, complaints)
        except BaseException:
            complaints.close()
            shutil.rmtree(canary, ignore_errors=True)
            raise

    @property
    def pid(self) -> int:
        """The watcher's process id."""
        return self._child.pid

    @property
    def doubtful(self) -> bool:
        """True after a look found directories unwatched: sweep again in a few seconds and look again."""
        return bool(self._gaps.suspects)

    def fileno(self) -> int:
        """Return the pipe's descriptor; see :meth:`Hints.fileno`."""
        return self._pipe.fileno()

    def read(self) -> list[Hint]:
        """Return the hints that have arrived, oldest first; may be empty.  Never blocks."""
        self._pump()
        hints, self._hints = self._hints, []
        return hints

    def ping(self) -> None:
        """Ask for a sign of life, by closing a new file in the private directory.  Idle before it is ready.

        A full disk is not the watcher's fault, and then there is no question; a directory that is gone is
        trouble.
        """
        if not self.ready or not self._open:
            return
        path = self._canary / str(self._asked + 1)
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            path.unlink()
        except FileNotFoundError:
            self._reason = self._reason or "its private directory is gone"
        except OSError:
            return
        else:
            self._asked += 1

    def trouble(self, now: float, directories: Collection[int] | None = None) -> str | None:
        """Say why the watch must be replaced, or None while it seems sound; a reason once given stays.

        What is waiting in the pipe is taken in first, so that a service that was busy does not blame the
        watcher.  ``directories``: see :meth:`Hints.trouble`; every call with it needs a fresh set, and as
        finding the watches takes 8 ms for 1,000 of them, it is for after a sweep.
        """
        self._pump()
        if self._reason is None and self._open:
            self._reason = self._end() or self._ailment(now)
            if self._reason is None and directories is not None and self.ready:
                self._reason = self._gap(now, directories)
        self._heard = self._eventful = False
        return self._reason

    def watches(self) -> int:
        """Count the directories that are watched; 0 when that is not to be seen."""
        return len(self._watched() or ())

    def close(self, timeout: float = 2.0) -> None:
        """End the process, by force after ``timeout`` seconds, and tidy up.  May be called twice."""
        if not self._open:
            return
        self._open = False
        if self._child.stdin is not None:
            with suppress(OSError):  # a byte, as a forked worker may keep the pipe from ending
                self._child.stdin.write(b"q")
            self._child.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout)
        self._child.kill()
        with suppress(subprocess.TimeoutExpired):  # stuck in the kernel: it dies when the kernel lets go
            self._child.wait(timeout)
        self._pipe.close()
        self._complaints.close()
        shutil.rmtree(self._canary, ignore_errors=True)

    def _pump(self) -> None:
        """Take in what is in the pipe."""
        if self.ended or not self._open:
            return
        chunks = [self._unfinished]
        with suppress(BlockingIOError):
            for _ in range(_READS):
                chunks.append(os.read(self._pipe.fileno(), _READ_BYTES))
                if not chunks[-1]:
                    self.ended = True
                    break
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
        elif letter == PONG:
            self._answered = max(self._answered, int(payload))
        elif letter == FATAL:
            self._reason = f"it ended: {payload.decode(errors='replace')}"
        # overflows come by themselves, one after the other, while watchdog 7 spins: they prove nothing
        self._heard |= letter != OVERFLOW
        self._eventful |= letter == BUSY or (hint is not None and letter != OVERFLOW)

    def _end(self) -> str | None:
        """Say how the process ended, if it did without a word on the pipe."""
        if self.ended:
            with suppress(subprocess.TimeoutExpired):  # between the pipe's end and its own lies a moment
                self._child.wait(0.5)
        code = self._child.poll()
        if code is None:
            return "it ended: it closed its pipe" if self.ended else None
        if code < 0:
            return f"it ended: killed by {signal.Signals(-code).name}"
        return f"it ended: exit status {code}{self._last_words()}"

    def _last_words(self) -> str:
        """Return the last line of standard error, such as why an import failed."""
        size = self._complaints.seek(0, os.SEEK_END)
        self._complaints.seek(max(0, size - 4096))
        lines = self._complaints.read().decode(errors="replace").split("\n")
        return next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")

    def _ailment(self, now: float) -> str | None:
        """Ask the judges that are cheap; before it is ready it is busy, silent and growing by right."""
        if not self.ready:
            return None
        cpu, resident = health.cpu_seconds(self.pid), health.resident_bytes(self.pid)
        return (
            self._deafness.look(now, asked=self._answered < self._asked, heard=self._heard)
            or (None if cpu is None else self._spin.look(now, cpu, eventful=self._eventful))
            or (None if resident is None else self._growth.look(resident))
        )

    def _gap(self, now: float, directories: Collection[int]) -> str | None:
        """Compare what is watched with what a sweep saw."""
        watched = self._watched()
        return None if watched is None else self._gaps.look(now, directories, watched)

    def _watched(self) -> list[int] | None:
        """Return the watched inodes but the private directory's; None when not to be seen."""
        if not self._open or self._child.poll() is not None:
            return None
        inodes = health.watched_inodes(self.pid)
        return None if inodes is None else [inode for inode in inodes if inode != self._canary_inode]


if TYPE_CHECKING:

    def _as_the_service_sees_it(watch: Watch) -> Hints:
        """Have the type checker hold this class to the protocol."""
        return watch
