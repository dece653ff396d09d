"""The service: one loop that owns all state and does nothing slow.

Hints from the watch and finished work wake it.  Each turn hands out what is due, checks the watch, walks a
slice of a sweep and reports the state.  Conversions run in worker processes, the watch in one of its own.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, closing
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Final

from daemon.config.validation import RefusedError
from daemon.report import events, systemd
from daemon.report.index import IndexWriter
from daemon.report.metrics import Metrics
from daemon.report.reporter import WRITE_SECONDS, Reporter
from daemon.report.status import Status
from daemon.schedule.scheduler import Scheduler
from daemon.schedule.sweeper import Sweeper
from daemon.signals import Signals
from daemon.watch.roots import Roots
from daemon.watch.supervisor import Supervisor
from daemon.workers.process_pool import ProcessPool
from lib.errors import SidecarError
from lib.files.atomic import make_directories
from lib.names import sources_concerned
from lib.sync.walk import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daemon.config.model import Config
    from daemon.watch.client import Hint, Watch
    from daemon.workers.pool import Pool
    from lib.options import Options

_SLICE_SECONDS: Final = 0.02
_LONGEST_WAIT_SECONDS: Final = 2.0
_DEGRADED_SWEEP_SECONDS: Final = 30.0


@dataclass(eq=False)
class Service:
    """Watches until a signal stops it.

    ``pool``, ``scheduler`` and ``sweeper`` exist once it is open, and are replaced by a reload.
    ``lock_seconds``: how long the start waits for a locked root.
    """

    config: Config
    _: KW_ONLY
    version: str
    log: Any
    make_watch: Callable[[list[str]], Watch]
    reload: Callable[[], Config]
    make_default_root: bool = False
    make_pool: Callable[[int, Options], Pool] = ProcessPool
    lock_seconds: float = 3.0

    def __post_init__(self) -> None:
        self.signals = Signals(reloads=True)
        self._roots = Roots()
        self._reporter = Reporter(self.log)
        self._metrics: list[Metrics] = []
        self._stack = ExitStack()

    def run(self) -> int:
        """Watch and sweep until SIGTERM or SIGINT; return the exit status."""
        if not self.open():
            return 1
        with closing(self):
            self.log.info(
                events.SERVICE_STARTED, version=self.version, pid=os.getpid(), roots=list(self.config.roots)
            )
            while not self.signals.stops:
                self.turn()
            self.stop()
        self.log.info(events.SERVICE_STOPPED)
        return 0

    def open(self) -> bool:
        """Lock the roots, and get everything ready for :meth:`turn`; False when the service cannot start."""
        if not self._use_roots():
            return False
        self._build()
        self._stack.callback(self._close_parts)
        self._stack.enter_context(self.signals)
        return True

    def close(self) -> None:
        """Release everything; may be called twice."""
        self._stack.close()

    def _use_roots(self) -> bool:
        """Create the default root, and lock the roots that exist; False when that is not possible."""
        root = ""
        try:
            for root in self.config.roots if self.make_default_root else ():
                make_directories(root)
        except SidecarError as error:
            self.log.error(events.SERVICE_STOPPED, root=root, reason=error.reason, hint=error.hint)
            return False
        deadline = time.monotonic() + self.lock_seconds
        refused = self._roots.use(self.config.roots)
        while refused is not None and refused.is_taken and time.monotonic() < deadline:
            time.sleep(0.05)  # workers of a service that was just killed may still hold the lock
            refused = self._roots.use(self.config.roots)
        if refused is not None:
            self.log.error(
                events.SERVICE_STOPPED, root=refused.path, reason=refused.obstacle, hint=refused.hint
            )
        return refused is None

    def _build(self) -> None:
        config = self.config
        options = config.options()
        self.pool = self.make_pool(config.work.jobs or 1, options)
        self.scheduler = Scheduler(self.pool, options, config.watch.settle_seconds, self.log)
        self.sweeper = Sweeper(list(config.roots), self.scheduler, frozenset(config.watch.ignore), self.log)
        self._supervisor = Supervisor(self._roots, self.make_watch, self.log)
        troubles, textfile = self.scheduler.troubles, config.metrics.textfile
        indexed = config.roots if config.index.enabled else ()
        indexes = [IndexWriter(root, options, self.log, troubles) for root in indexed]
        if textfile is None:
            self._metrics = []
        elif self._metrics:  # they count since the start, across reloads
            self._metrics[0].path = textfile
        else:
            self._metrics = [Metrics(textfile, self.version, self.log)]
        self.scheduler.indexes = indexes
        self.scheduler.observers = [self._reporter, *indexes, *self._metrics, self.sweeper]
        self.sweeper.on_changed = self._supervisor.found_changed

    def turn(self) -> None:
        """Take one turn of the loop."""
        self._wait()
        now = time.monotonic()
        if self.signals.reloads:
            self.signals.reloads = 0
            self._reload_config()
        for hint in self._supervisor.read():
            self._take_hint(hint, now)
        until = time.monotonic() + _SLICE_SECONDS
        self.scheduler.work(now, until)
        self.scheduler.collect(now)
        if self._supervisor.check(now):
            self.sweeper.roots = self._roots.to_sweep
            self.sweeper.ask()
        for index in self.scheduler.indexes:
            index.write_if_due(now)
        if self._supervisor.is_settled:  # one sweep covers what appears until the watch is ready
            self.sweeper.step(now, until, self._sweep_seconds())
        troubles, is_settled = self.scheduler.troubles, self._supervisor.is_settled
        status = self._reporter.update(now, self._status, troubles, is_settled=is_settled)
        if status is not None:
            self.scheduler.notify(status, now)

    def _take_hint(self, hint: Hint, now: float) -> None:
        """Queue the sources that a hint concerns, or ask for a walk of its directory."""
        if any(name in self.config.watch.ignore or name.startswith(".") for name in hint.parts):
            return
        if hint.kind == "directory":
            self.sweeper.ask_branch(hint.root, hint.parts, now)
            return
        *folders, name = hint.parts
        if hint.kind == "gone":
            self.scheduler.look_again(Task(hint.root, tuple(folders), name), now)
            return
        for source in sources_concerned(name, pairs=self.config.sidecars.pairs):
            task = Task(hint.root, tuple(folders), source)
            if not self.scheduler.hint(task, now, closed=hint.kind == "closed"):
                self.sweeper.ask()

    def _wait(self) -> None:
        """Sleep until something happens or is due."""
        now = time.monotonic()
        due = [self._supervisor.next_check, self._reporter.next_due(), self.scheduler.next_due()]
        due += [self.sweeper.next_due()] if self._supervisor.is_settled else []
        due += [index.due for index in self.scheduler.indexes]
        timeout = min(max(0.0, min(due) - now), _LONGEST_WAIT_SECONDS)
        watches = [self._supervisor.watch] if self._supervisor.watch is not None else []
        self.signals.wait(timeout, self.pool, *watches)

    def _status(self) -> Status:
        """Return the state of the service, without the list of troubles."""
        return Status(
            version=self.version,
            pid=os.getpid(),
            since=self._reporter.since,
            updated="",
            roots=tuple(os.path.abspath(root.path) for root in self._roots.found),
            unusable={os.path.abspath(it.path): it.obstacle for it in self._roots.found if it.obstacle},
            mode=self._supervisor.mode,
            unheard=self._supervisor.unheard,
            rejected=self._reporter.rejected,
            directories=self.sweeper.inventory.directories,
            sources=self.sweeper.inventory.sources,
            pending=len(self.scheduler.queue),
            last_sweep=self.sweeper.last,
            last_sweep_ended=self.sweeper.last_ended,
            totals=dict(self._reporter.totals),
            counts=dict(+self.scheduler.troubles.counts),
            interval_seconds=WRITE_SECONDS,
        )

    def _sweep_seconds(self) -> float:
        """Return the seconds between sweeps, fewer when events are unreliable."""
        configured = self.config.watch.sweep_seconds
        is_reliable = self._supervisor.is_ready and not self._supervisor.unheard
        return configured if is_reliable else min(configured, _DEGRADED_SWEEP_SECONDS)

    def _reload_config(self) -> None:
        """Read the configuration again; report a rejected one until another is accepted."""
        systemd.notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        problems: Sequence[str] = ()
        try:
            self._apply(self.reload())
        except RefusedError as error:
            problems = str(error).splitlines()
            self.log.error(
                events.CONFIG_REJECTED, problems=problems, hint="The previous configuration stays in force."
            )
        else:
            self.log.info(events.CONFIG_RELOADED)
        self._reporter.reloaded(problems)

    def _apply(self, config: Config) -> None:
        """Replace the configuration: end the work in progress, and build everything but the roots anew.

        :raises RefusedError: a root is another service's, or overlaps another; nothing has changed.
        """
        refused = self._roots.use(config.roots)
        if refused is not None:
            raise RefusedError(refused.obstacle)
        self.pool.close()
        self.scheduler.collect(time.monotonic())  # what was finished is logged and counted
        self._supervisor.close()
        self.config = config
        self._build()

    def stop(self) -> None:
        """End the work in progress, and report it."""
        self.log.info(events.SERVICE_STOPPING)
        systemd.notify("STOPPING=1")
        self.scheduler.stop(self.signals)

    def _close_parts(self) -> None:
        self.pool.close()
        self._supervisor.close()
        self._roots.close()
        self._reporter.close()
