"""Running a piece of work so that no signal's handler can interrupt it between two steps."""

from __future__ import annotations

import _thread
import os
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_ENDING: Final = (signal.SIGHUP, signal.SIGTERM)

Result = TypeVar("Result")


class Stopped(BaseException):
    """Raised inside the work that is to stop; no handler of errors catches it."""


def run_uninterrupted(work: Callable[[Callable[[], None]], Result]) -> Result:
    """Do work in a thread of its own and return its result: handlers of signals run in the main thread only.

    When a handler raises (``KeyboardInterrupt``), the work is told to stop: the function that it was given
    raises :class:`Stopped` from then on.  Once the work has ended, the handler's exception is raised here.
    Where no thread can be started, the work is done in this one.

    A SIGTERM or SIGHUP that nothing handles ends the process only after the work; a second one at once.
    """
    thread = _WorkThread(work)
    with _later_end():
        try:
            try:
                _thread.start_new_thread(thread.run, ())
            except RuntimeError:
                return work(thread.check_stop)
            thread.wait()
        except BaseException:
            thread.stop()
            raise
    if thread.error is not None:
        raise thread.error
    return thread.results[0]


@contextmanager
def _later_end() -> Iterator[None]:
    """Delay the end of the process by a signal; only the main thread can."""
    caught: list[int] = []
    held: list[signal.Signals] = []
    process = os.getpid()

    def catch(number: int, _: FrameType | None) -> None:
        caught.append(number)
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != process:  # another thread forked it meanwhile
            signal.raise_signal(number)

    with suppress(ValueError):  # another thread
        for ending in _ENDING:
            if signal.getsignal(ending) is signal.SIG_DFL:
                signal.signal(ending, catch)
                held.append(ending)
    try:
        yield
    finally:
        for ending in held:
            signal.signal(ending, signal.SIG_DFL)
        for number in caught:
            signal.raise_signal(number)


class _WorkThread(Generic[Result]):
    """The thread and who waits for it, joined by locks: an exception can leave threading's classes broken."""

    def __init__(self, work: Callable[[Callable[[], None]], Result]) -> None:
        self.results: list[Result] = []
        self.error: BaseException | None = None
        self._work = work
        self._is_stopped = False
        self._begun, self._ended = _thread.allocate_lock(), _thread.allocate_lock()
        self._ended.acquire()

    def check_stop(self) -> None:
        """Raise in the work if it is to stop."""
        if self._is_stopped:
            raise Stopped

    def run(self) -> None:
        """Do the work, unless it was stopped before it began."""
        if not self._begun.acquire(blocking=False):
            return
        try:
            self.results.append(self._work(self.check_stop))
        except BaseException as error:  # noqa: BLE001 -- it is raised in the thread that waits
            self.error = error
        self._ended.release()

    def wait(self) -> None:
        """Wait for the end of the work; a handler of a signal may raise."""
        while not self._ended.acquire(timeout=0.1):
            pass  # a handler whose signal came just before the wait began runs here

    def stop(self) -> None:
        """Keep the work from beginning, or tell it to stop and wait for its end."""
        self._is_stopped = True
        while not (self._begun.acquire(blocking=False) or self.results or self.error is not None):
            with suppress(BaseException):  # the first exception is raised, when the work has ended
                self._ended.acquire(timeout=1)
