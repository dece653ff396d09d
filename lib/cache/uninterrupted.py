"""Running a piece of work so that no signal's handler can interrupt it between two steps."""

from __future__ import annotations

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

    def stop_and_wait(self, thread: threading.Thread) -> None:
        """Wait until the work has stopped, or has come to its end, whatever else is raised meanwhile."""
        self._is_stopped = True
        self._may_begin.set()
        while thread.ident is not None and not self._ended.is_set():
            with suppress(BaseException):  # the first one is raised, when the work has ended
                self._ended.wait()

    def result(self) -> Result:
        if self._error is not None:
            raise self._error
        return self._results[0]


def run_uninterrupted(work: Callable[[Callable[[], bool]], Result]) -> Result:
    """Do work in a thread of its own and return its result: handlers of signals run in the main thread only.

    When one raises (``KeyboardInterrupt``), the work is asked to stop, through the function that it is
    given, and what was raised is raised here once it has.  Without a thread it is done in this one.
    """
    run = _Run(work)
    thread = threading.Thread(target=run, name="save-generations")
    try:
        thread.start()
        run.begin_and_wait()
    except BaseException as error:
        if isinstance(error, RuntimeError) and thread.ident is None:  # no thread can be started
            return work(never)
        run.stop_and_wait(thread)
        raise
    thread.join()
    return run.result()
