"""What a worker process does: one source at a time, and nothing that could hurt the service.

A task is a plain value, so that it can travel to any ``concurrent.futures`` executor.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lib.errors import Corrupt, SidecarError
from lib.outcome import Options, Outcome, failure
from lib.source import open_directory, status_of, storage_error
from lib.sync import sync_source

if TYPE_CHECKING:
    from types import FrameType

_PR_SET_PDEATHSIG: Final = 1
TICK_SECONDS: Final = 0.02
"""Clocks of file systems tick every 1 to 4 ms, and a write within a tick leaves no trace in the time."""


@dataclass(frozen=True, slots=True)
class Task:
    """One source to bring up to date: ``name`` in the directory ``parts`` below ``root``."""

    root: str
    parts: tuple[str, ...]
    name: str

    @property
    def path(self) -> str:
        """The source's path, for people."""
        return os.path.join(self.root, *self.parts, self.name)


class _Stop:
    """Asked between two blocks; set by SIGTERM."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        return self.asked

    def ask(self, _signal: int, _frame: FrameType | None) -> None:
        self.asked = True


_STOP: Final = _Stop()


def prepare(parent: int) -> None:
    """Make this process a worker: it ends with its parent, and leaves signals of the terminal to it."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _STOP.ask)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # the parent died before the line above


def convert(task: Task, options: Options) -> Outcome:
    """Bring one source up to date; every failure, even one of our own making, is an outcome."""
    try:
        with open_directory(task.root, task.parts) as directory:
            _wait_for_tick(directory, task.name)
            return sync_source(directory, task.name, options, _STOP)
    except SidecarError as error:
        return failure(task.name, options, error)
    except OSError as error:
        return failure(task.name, options, storage_error(error, "cannot be handled"))
    except Exception as error:  # noqa: BLE001 (one bad file never stops the work on others)
        fault = Corrupt(
            f"it met a fault of this program: {error!r}", hint="Please report it, with the file if you can."
        )
        return failure(task.name, options, fault)


def _wait_for_tick(directory: int, name: str) -> None:
    """Wait until a later write would get another time."""
    status = status_of(directory, name)
    age = time.time() - status.st_mtime if status else TICK_SECONDS
    if 0 <= age < TICK_SECONDS:
        time.sleep(TICK_SECONDS - age)
