"""Running a piece of work so that no signal's handler can interrupt it between two steps."""

from __future__ import annotations

import _thread
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

from lib.files.lock import never

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


class _Run(Generic[Result]):
    """A thread's work: what it returned or raised, and whether it is asked to stop."""

    def __init__(self, work: Callable[[Callable[[], bool]], Result]) -> None:
        self._work = work
        self._may_begin = threading.Event()
        self._ended = threading.Event()
        self._is_stopped = False
        self._error: BaseException | None = None
        self._results: list[Result] = []

    def __call__(self) -> None:
        self._may_begin.wait()
        try:
            if not self._is_stopped:
                self._results.append(self._work(lambda: self._is_stopped))
        except BaseException as error:  # noqa: BLE001 -- it is raised in the thread that waits
            self._error = error
        finally:
            self._ended.set()

    def begin_and_wait(self) -> None:
        self._may_begin.set()
        self._ended.wait()

    def stop_and_wait(self) -> None:
        """Wait until the work has stopped or has come to its end, whatever else is raised meanwhile."""
        has_begun, self._is_stopped = self._may_begin.is_set(), True
        self._may_begin.set()
        if not has_begun:  # there may be no thread: it was interrupted while it was started
            self._ended.wait(1)
            return
        while not self._ended.is_set():
            with suppress(BaseException):  # the first exception is raised, when the work has ended
                self._ended.wait()

    def result(self) -> Result:
        if self._error is not None:
            raise self._error
        return self._results[0]


def run_uninterrupted(work: Callable[[Callable[[], bool]], Result]) -> Result:
    """Do work in a thread of its own and return its result: handlers of signals run in the main thread only.

    When one raises (``KeyboardInterrupt``), the work is asked to stop, through the function that it is
    given, and what was raised is raised here once it has.  Where no thread can be started, it is done in
    this one.
    """
    run = _Run(work)
    try:
        try:
            # not threading.Thread, which cannot be interrupted safely while it starts
            _thread.start_new_thread(run, ())
        except RuntimeError:
            return work(never)
        run.begin_and_wait()
    except BaseException:
        run.stop_and_wait()
        raise
    return run.result()
