"""Fixtures that police: what a test starts it ends, and what it writes it finishes."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from support import wait_for

from lib.names import is_temporary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# No deadline for an example: a machine may stand still for a moment.  The same ones each time, save at night.
settings.register_profile(
    "steady",
    deadline=None,
    derandomize="FAULT_ROUNDS" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")

# Sweeps lower their priority: beside tests of normal priority on all processors they would hardly ever run.
if os.getpriority(os.PRIO_PROCESS, 0) == 0:
    os.setpriority(os.PRIO_PROCESS, 0, 10)

# Under nohup(1) they would inherit that SIGHUP is ignored, and some are about what it does.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

_OF_PYTHON_ITSELF = (b"multiprocessing.resource_tracker", b"multiprocessing.forkserver")


def _children() -> set[int]:
    """Return the ids of this process's children, those aside that Python keeps until its end."""
    lists = [_content(task / "children") for task in Path("/proc/self/task").iterdir()]
    found = {int(pid) for children in lists for pid in children.split()}
    return {pid for pid in found if not any(name in _command(pid) for name in _OF_PYTHON_ITSELF)}


def _command(pid: int) -> bytes:
    return _content(Path(f"/proc/{pid}/cmdline"))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # a thread or process that has just ended, or a kernel without this list
        return b""


@pytest.fixture(scope="session", autouse=True)
def _services_of_this_machine_are_not_met(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Status files of tests lie in a directory of their own: no other service's count, none see theirs."""
    os.environ["RUNTIME_DIRECTORY"] = str(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session", autouse=True)
def _every_thread_is_measured() -> Iterator[None]:
    """Coverage sees threads of :mod:`threading` only; a save runs in one that was started without it."""
    trace, start = threading.gettrace(), _thread.start_new_thread

    def start_measured(function: Callable[..., object], arguments: tuple[object, ...]) -> int:
        def measured(*given: object) -> None:
            sys.settrace(trace)
            function(*given)

        return start(measured, arguments)

    with pytest.MonkeyPatch.context() as patch:
        if trace is not None:
            patch.setattr(_thread, "start_new_thread", start_measured)
        yield


@pytest.fixture(autouse=True)
def _nothing_is_left_running() -> Iterator[None]:
    """No thread and no child process outlives the test that started it."""
    threads, children = set(threading.enumerate()), _children()
    yield
    wait_for(lambda: set(threading.enumerate()) <= threads)
    wait_for(lambda: _children() <= children)


@pytest.fixture(autouse=True)
def _no_litter(request: pytest.FixtureRequest) -> Iterator[None]:
    """No temporary file is left in the test's own directory."""
    yield
    folder = getattr(request.node, "funcargs", {}).get("tmp_path")
    if folder is not None:
        names = [name for _, _, files in os.walk(folder) for name in files if is_temporary(name)]
        assert names == []
