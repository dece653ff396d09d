"""Stand-ins for what surrounds the parts of the service: the log, pools, and a watch fed with lists."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daemon.cli.backfill import sweep
from daemon.signals import Signals
from daemon.workers import worker
from daemon.workers.process_pool import ProcessPool
from daemon.workers.worker import convert
from lib.errors import Interrupted
from lib.options import Options
from lib.outcome import Outcome, failure
from lib.sync.walk import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    from daemon.report.index import IndexWriter
    from daemon.watch.client import Hint
    from lib.errors import SidecarError

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


class FakePool:
    """A pool without processes: the work is done when :meth:`done` is called, or fails as ``errors`` says.

    ``errors``: of a name, an error for every attempt, or a list of one for each attempt, after which it is
    done.  ``busy``: nothing is finished yet.
    """

    def __init__(self, width: int = 1) -> None:
        self.width = width
        self.options = Options()
        self.submitted: list[Task] = []
        self.sizes: dict[str, int] = {}
        self.errors: dict[str, SidecarError | list[SidecarError]] = {}
        self.busy = False
        self.stopped = False
        self.worked: list[str] = []
        self.before: Callable[[Task], object] = lambda _task: None
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        weakref.finalize(self, _close, self._read, self._write)

    def __len__(self) -> int:
        return len(self.submitted)

    def fileno(self) -> int:
        """Return a descriptor that is readable while there is work."""
        return self._read

    def has_room(self) -> bool:
        """Tell whether it takes more: three a worker."""
        return len(self) < 3 * self.width

    def submit(self, task: Task, size: int = 0) -> None:
        """Take a task on."""
        self.submitted.append(task)
        self.sizes[task.name] = size
        os.write(self._write, b".")

    def done(self) -> list[tuple[Task, Outcome]]:
        """Do all the work there is."""
        if self.busy:
            return []
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)
        given, self.submitted = self.submitted, []
        self.worked += [task.name for task in given]
        return [(task, self._outcome(task)) for task in given]

    def stop(self) -> None:
        """Fail what is still to be done as interrupted."""
        self.stopped = True

    kill = stop

    def close(self, patience_seconds: float = 5.0) -> None:
        """Nothing is open."""

    def _outcome(self, task: Task) -> Outcome:
        self.before(task)
        error = self.errors.get(task.name)
        if isinstance(error, list):
            error = error.pop(0) if error else None
        if self.stopped:
            error = Interrupted("stopped")
        if error is not None:
            return failure(task.name, self.options, error)
        return convert([task], self.options)[0]


class NoSignals(Signals):
    """Signals that nobody sends; ``stops`` counts what ``stop`` says instead."""

    def __init__(self, stop: Callable[[], bool] = lambda: False) -> None:
        self._stop = stop
        self.last_stop = signal.SIGTERM
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        weakref.finalize(self, _close, self._read, self._write)

    @property
    def stops(self) -> int:  # type: ignore[override]  # asked, not counted
        """One if it is to stop."""
        return int(self._stop())


def sweep_once(
    root: Path,
    log: Log,
    *,
    pool: FakePool | None = None,
    stop: Callable[[], bool] = lambda: False,
    indexes: Sequence[IndexWriter] = (),
    **options: Any,
) -> dict[str, int]:
    """Sweep a tree in this process, without workers; return the sums."""
    pool = FakePool(10) if pool is None else pool
    pool.options = Options(**options)
    sums = sweep([str(root)], pool.options, pool, log, NoSignals(stop), indexes=indexes)
    return {name: int(count) for name, count in sums.items() if name != "seconds"}


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class FakeWatch:
    """Stands in for :class:`daemon.watch.client.Watch`; tests set what it reports."""

    def __init__(self, roots: list[str]) -> None:
        self.roots = roots
        self.ready = True
        self.ended = False
        self.has_overflowed = False
        self.reason: str | None = None
        self.looks = 0
        self.closed = False
        self._hints: list[Hint] = []
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.wake()  # that it is ready is no hint, and wakes the service

    def feed(self, *hints: Hint) -> None:
        """Have these hints arrive."""
        self._hints += hints
        self.wake()

    def wake(self) -> None:
        """Be readable, as by an answer that is no hint."""
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


def moody_serve(options: Options, connection: Connection, stop: worker.Stop) -> None:
    """Serve as a worker does, that dies of some tasks and never ends others, as their names say."""
    worker.serve(options, _Moody(connection, stop), stop)  # type: ignore[arg-type]  # it has what is needed


class _Moody:
    """A connection that has a mood about what it receives."""

    def __init__(self, connection: Connection, stop: worker.Stop) -> None:
        self._connection = connection
        self._stop = stop
        self.send, self.poll = connection.send, connection.poll

    def recv(self) -> Any:
        """Receive a batch, and show a mood about each of its tasks."""
        batch = self._connection.recv()
        self._stop.is_idle = False
        for task in batch:
            _show_mood(task)
        return batch


class StartingPool(ProcessPool):
    """A pool that can be told to start what waits, without giving results away."""

    def __init__(self, jobs: int, options: Options | None = None, **more: Any) -> None:
        super().__init__(jobs, options or Options(), **more)
        self._early: list[tuple[Task, Outcome]] = []

    def __len__(self) -> int:
        return super().__len__() + len(self._early)

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers."""
        return [worker.pid for lane in self._lanes for worker in lane.workers]

    def start(self) -> None:
        """Start what waits; what is done already is returned by the next :meth:`done`."""
        self._early += super().done()

    def done(self) -> list[tuple[Task, Outcome]]:
        """Return what was finished since the last call."""
        early, self._early = self._early, []
        return early + super().done()


def moody_pool(jobs: int, options: Options | None = None, **more: Any) -> StartingPool:
    """Make a pool whose workers have moods."""
    return StartingPool(jobs, options, serve=moody_serve, **more)


def _show_mood(task: Task) -> None:
    if task.name.startswith("poison"):
        os.kill(os.getpid(), signal.SIGKILL)
    if task.name.startswith("mortal"):
        mark = Path(task.path + ".died")
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    if task.name.startswith("slow"):
        for _ in range(25):
            Path(task.path + ".written").write_bytes(b"x")
            threading.Event().wait(0.1)
    if task.name.startswith("endless"):
        Path(task.path + ".pid").write_text(str(os.getpid()), "ascii")
        threading.Event().wait(100)


def task_of(path: Path, root: Path | None = None) -> Task:
    """Name the task for a source; its root is its directory unless another is given."""
    root = root or path.parent
    return Task(str(root), path.parent.relative_to(root).parts, path.name)
