"""Signals as counts, for a loop that looks at them and sleeps in :meth:`Signals.wait`."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import FrameType

    from _typeshed import FileDescriptorLike
    from typing_extensions import Self

_PR_SET_PDEATHSIG: Final = 1
_STOPS: Final = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """While entered, counts SIGTERM and SIGINT in ``stops``, SIGHUP in ``reloads``.  Main thread only.

    Without ``reloads``, SIGHUP is a stop: the terminal was closed.  It stays ignored after nohup(1).
    ``last_stop``: the last signal counted in ``stops``.
    """

    def __init__(self, *, reloads: bool = False) -> None:
        self.stops = 0
        self.last_stop = 0
        self.reloads = 0
        self._does_reload = reloads
        is_ignored = not reloads and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        self._numbers = _STOPS if is_ignored else (*_STOPS, signal.SIGHUP)

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before: dict[signal.Signals, Any] = {
            number: signal.signal(number, self._count) for number in self._numbers
        }
        self._before_wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_error: object) -> None:
        signal.set_wakeup_fd(self._before_wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)

    def wait(self, seconds: float, *others: FileDescriptorLike) -> None:
        """Sleep until a signal arrives or one of the others is readable, or for ``seconds``."""
        with selectors.PollSelector() as selector:
            for source in (self._read, *others):
                selector.register(source, selectors.EVENT_READ)
            selector.select(seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)

    def _count(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP and self._does_reload:
            self.reloads += 1
        else:
            self.stops += 1
            self.last_stop = number


def end_with(parent: int) -> None:
    """Have this process killed when its parent ends, and end it if that has happened already."""
    import ctypes  # only child processes need it

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
