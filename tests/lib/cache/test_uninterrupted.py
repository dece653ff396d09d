"""Work that no signal's handler interrupts."""

from __future__ import annotations

import _thread
import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest
from support import wait_for

from lib.cache.uninterrupted import Stopped, run_uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_work_is_done_outside_the_main_thread() -> None:
    """Its result is returned, and its error raised."""
    assert run_uninterrupted(lambda _: threading.get_ident()) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        run_uninterrupted(lambda _: 1 // 0)


def test_fault_63_work_is_done_here_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on processes does not lose a run."""

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    assert run_uninterrupted(lambda _: threading.get_ident()) == threading.get_ident()


def test_a_handler_that_raises_stops_the_work_and_is_heard_once_it_has_ended() -> None:
    """The work cleans up first."""
    steps = []

    def work(check_stop: Callable[[], None]) -> None:
        def is_over() -> bool:
            check_stop()  # it raises
            return False

        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        try:
            wait_for(is_over)
        except Stopped:
            steps.append("cleaned up")
            raise

    # a shell starts what runs in its background with SIGINT ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_uninterrupted(work)
    finally:
        signal.signal(signal.SIGINT, before)
    assert steps == ["cleaned up"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_fault_62_a_signal_that_ends_the_process_waits_for_the_work(number: int, tmp_path: Path) -> None:
    """The process still ends by it, unless the signal is ignored."""

    def work(_: object) -> None:
        os.kill(os.getpid(), number)
        (tmp_path / "done").touch()

    for action, status in ((signal.SIG_DFL, number), (signal.SIG_IGN, 0)):
        child = os.fork()
        if child == 0:
            signal.signal(number, action)
            run_uninterrupted(work)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == status
        (tmp_path / "done").unlink()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_that_is_forked_meanwhile_ends_by_its_first_signal() -> None:
    """Nobody sends a second one."""

    def work(_: object) -> int:
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000):  # a handler runs between two steps of Python
                pass
            os._exit(0)
        return os.waitpid(child, 0)[1]

    assert run_uninterrupted(work) == signal.SIGTERM
