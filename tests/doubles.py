"""Stand-ins for what surrounds the parts of the service: log, executors, crew, and a watch fed with lists."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daemon.workers.pool import local_processes
from daemon.workers.worker import convert
from lib.files.reader import open_directory
from lib.outcome import Outcome, failure
from lib.sync.walk import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.watch.protocol import Hint
    from lib.errors import SidecarError
    from lib.options import Options

NEVER = float("inf")
"""An end of a slice that never comes."""


class Log:
    """Keeps events; ``on`` maps an event's name to what is to happen when it is logged."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.on: dict[str, Callable[[], object]] = {}

    def _keep(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.events.append((level, event, fields))
        self.on.get(event, lambda: None)()

    def info(self, event: str, **fields: Any) -> None:
        """Keep an event."""
        self._keep("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Keep a warning."""
        self._keep("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Keep an error."""
        self._keep("error", event, fields)

    @property
    def names(self) -> list[str]:
        """The names of all events, in order."""
        return [event for _, event, _ in self.events]

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return the fields of every event of this name."""
        return [fields for _, name, fields in self.events if name == event]


class Inline(Executor):
    """Does the work in ``submit``, in this thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call it now."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class FakePool:
    """A crew whose work is done when ``done`` is called, or as ``errors`` says; ``busy``: not yet."""

    def __init__(self, width: int = 1) -> None:
        self.width = width
        self.submitted: list[tuple[Task, Options]] = []
        self.sizes: dict[str, int] = {}
        self.errors: dict[str, SidecarError] = {}
        self.busy = False
        self.worked: list[str] = []

    def __len__(self) -> int:
        return len(self.submitted)

    def has_room(self) -> bool:
        """Tell whether it takes more: three a worker."""
        return len(self) < 3 * self.width

    def submit(self, task: Task, options: Options, size: int = 0) -> None:
        """Take a task on."""
        self.submitted.append((task, options))
        self.sizes[task.name] = size

    def done(self) -> list[tuple[Task, Outcome]]:
        """Do all the work there is."""
        if self.busy:
            return []
        given, self.submitted = self.submitted, []
        self.worked += [task.name for task, _ in given]
        return [(task, self._outcome(task, options)) for task, options in given]

    def _outcome(self, task: Task, options: Options) -> Outcome:
        error = self.errors.get(task.name)
        return convert([task], options)[0] if error is None else failure(task.name, options, error)


class FakeWatch:
    """A watch as :class:`daemon.watch.protocol.Hints` describes it; tests set what it says."""

    def __init__(self, roots: list[str]) -> None:
        self.roots = roots
        self.ready = True
        self.ended = False
        self.reason: str | None = None
        self.looks = 0
        self.closed = False
        self._hints: list[Hint] = []
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.write(self._write, b".")  # that it is ready is no hint, and wakes the service

    def feed(self, *hints: Hint) -> None:
        """Have these hints arrive."""
        self._hints += hints
        os.write(self._write, b".")

    def fileno(self) -> int:
        """Return the descriptor to select on."""
        return self._read

    def read(self) -> list[Hint]:
        """Return the hints that have arrived."""
        if self._hints or self.reason is None:
            with contextlib.suppress(BlockingIOError):
                os.read(self._read, 4096)
        hints, self._hints = self._hints, []
        return hints

    def trouble(self, now: float) -> str | None:  # noqa: ARG002 (protocol)
        """Say what the test wants to be wrong."""
        self.looks += 1
        return self.reason

    def close(self) -> None:
        """End."""
        if not self.closed:
            os.close(self._read)
            os.close(self._write)
        self.closed = True


class Moody(ProcessPoolExecutor):
    """Worker processes that die of some tasks, and that never end others, as their names say."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Put a mood between the worker and its work."""
        return super().submit(_moody, fn, *args, **kwargs)


def moody_processes(jobs: int) -> ProcessPoolExecutor:
    """Make what :func:`local_processes` makes, with moods."""
    executor = local_processes(jobs)
    executor.__class__ = Moody
    return executor


def _moody(
    work: Callable[[list[Task], Options], list[Outcome]], tasks: list[Task], options: Options
) -> list[Outcome]:
    for task in tasks:
        _show_mood(task)
    return work(tasks, options)


def _show_mood(task: Task) -> None:
    if task.name.startswith("poison"):
        os.kill(os.getpid(), signal.SIGKILL)
    if task.name.startswith("mortal"):
        mark = Path(task.path + ".died")
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    if task.name.startswith("endless"):
        Path(task.path + ".pid").write_text(str(os.getpid()), "ascii")
        threading.Event().wait(100)


def task_of(path: Path, root: Path | None = None) -> Task:
    """Name the task for a source; its root is its directory unless another is given."""
    root = root or path.parent
    return Task(str(root), path.parent.relative_to(root).parts, path.name)


def inode_of(path: Path) -> int:
    """Return the inode number of a directory as a sweep sees it."""
    with open_directory(str(path)) as directory:
        return os.fstat(directory).st_ino
