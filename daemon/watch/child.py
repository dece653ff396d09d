"""Starting the watcher process: its import path, its signals, its pipes."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HOME: Final = str(Path(__file__).resolve().parents[2])
_BOOT: Final = (
    "import sys; sys.path[:] = {path!r}; from daemon.watch.process import main; "
    "main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])"
)
_PIPE_BYTES: Final = 2**20


def start(roots: Sequence[Path], canary: Path, complaints: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the process with this one's import path: checkout, wheel, working directory do not matter."""
    path = [entry or _HOME for entry in sys.path]
    code = _BOOT.format(path=path if _HOME in path else [*path, _HOME])
    command = [sys.executable, "-c", code, str(os.getpid()), str(canary), *map(str, roots)]
    with _signals_blocked():
        return subprocess.Popen(  # noqa: S603  # our own interpreter; roots are arguments, never a shell's
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, bufsize=0
        )


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Keep from a child that is started in here the signals that a terminal or systemd sends to all.

    The mask is inherited, so there is no moment when the young process could be hit; this one gets them
    later.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def reading_end(child: subprocess.Popen[bytes]) -> IO[bytes]:
    """Return the child's output, never blocking and large enough for a service that is busy for a while."""
    if child.stdout is None:
        raise ValueError("the child was started without a pipe")
    os.set_blocking(child.stdout.fileno(), False)
    with suppress(OSError):  # this user may have used up what the kernel allows for pipes
        fcntl.fcntl(child.stdout.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return child.stdout
