"""Running a piece of work so that no signal's handler can interrupt it between two steps."""

from __future__ import annotations

import _thread
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


class Stopped(BaseException):
    """Raised inside the work that is to stop; no handler of errors catches it."""


def run_uninterrupted(work: Callable[[Callable[[], None]], Result]) -> Result:
    """Do work in a thread of its own and return its result: handlers of signals run in the main thread only.

    When one raises (``KeyboardInterrupt``), the work is asked to stop, by the function that it is given,
    which raises :class:`Stopped` then; what the handler raised is raised here once the work has ended.
    Where no thread can be started, the work is done in this one.
    """
    # threading.Event and Thread cannot be interrupted safely at every moment
    begun, ended = _thread.allocate_lock(), _thread.allocate_lock()
    ended.acquire()
    results: list[Result] = []
    errors: list[BaseException] = []
    is_stopped = False

    def check_stop() -> None:
        if is_stopped:
            raise Stopped

    def run() -> None:
        if not begun.acquire(blocking=False):  # it was stopped before it began
            return
        try:
            results.append(work(check_stop))
        except BaseException as error:  # noqa: BLE001 -- it is raised in the thread that waits
            errors.append(error)
        finally:
            ended.release()

    try:
        try:
            _thread.start_new_thread(run, ())
        except RuntimeError:
            return work(check_stop)
        while not ended.acquire(timeout=0.1):
            pass  # a handler whose signal came just before the wait began runs here
    except BaseException:
        is_stopped = True
        while not begun.acquire(blocking=False) and not (results or errors):
            with suppress(BaseException):  # the first exception is raised, when the work has ended
                ended.acquire(timeout=1)
        raise
    if errors:
        raise errors[0]
    return results[0]
