"""Tells how the service is: to its status file, which ``--status`` reads, and to the service manager."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from daemon.report import status
from daemon.report import systemd as notify
from daemon.report.logging import SERVICE_READY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.report.observers import Observer
    from daemon.schedule.scheduler import Scheduler
    from daemon.schedule.sweeper import Sweeper
    from daemon.watch.supervisor import Supervisor

_LOOK_SECONDS: Final = 2.0
_WRITE_SECONDS: Final = 10.0
_TROUBLES_SHOWN: Final = 10_000


class Teller:
    """Speaks for one service from its start to its end.  ``now`` is monotonic seconds."""

    def __init__(self, version: str, log: Any) -> None:
        self._version = version
        self._log = log
        self._since = _iso(time.time())
        self._ready = False
        self._look_due = 0.0
        self._write_due = 0.0
        self._written: status.Status | None = None
        self._notifier = notify.Notifier.from_environment()
        patience = notify.watchdog_seconds()
        self._alive_every = patience / 3 if patience else None
        self._alive_due = 0.0

    def next_due(self) -> float:
        """Say when there is something to tell."""
        return self._look_due if self._alive_every is None else min(self._look_due, self._alive_due)

    def tell(
        self,
        now: float,
        supervisor: Supervisor,
        scheduler: Scheduler,
        sweeper: Sweeper,
        observers: Sequence[Observer],
    ) -> None:
        """Tell what is new; the service manager's watchdog hears that the loop still turns."""
        if self._alive_every is not None and now >= self._alive_due:
            self._alive_due = now + self._alive_every
            self._notifier.send("WATCHDOG=1")
        if not self._ready and supervisor.is_settled:
            self._ready = True
            self._log.info(SERVICE_READY, mode=supervisor.mode)
            self._notifier.send("READY=1")
            self._look_due = now
        if now >= self._look_due:
            self._look_due = now + _LOOK_SECONDS
            self._write(now, self._status(supervisor, scheduler, sweeper), observers)

    def reloading(self) -> None:
        """Tell that the configuration is being read again."""
        self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """Tell that reading it has ended."""
        self._notifier.send("READY=1")

    def stopping(self) -> None:
        """Tell that the service ends."""
        self._notifier.send("STOPPING=1")

    def close(self) -> None:
        """Take the status file away."""
        status.remove(status.runtime_directory(), os.getpid())

    def _write(self, now: float, current: status.Status, observers: Sequence[Observer]) -> None:
        """Write the file when something changed, and now and then to show that the service lives."""
        if current == self._written and now < self._write_due:
            return
        self._written = current
        self._write_due = now + _WRITE_SECONDS
        told = replace(current, updated=_iso(time.time()))
        with contextlib.suppress(OSError):  # no runtime directory: the service works all the same
            status.write(told, status.runtime_directory())
        for observer in observers:
            observer.report(told)
        failed = sum(trouble.state == "failed" for trouble in current.troubles)
        words = (
            f"{current.mode} {current.directories:,} directories, {current.sources:,} sources, "
            f"{current.pending:,} pending, {failed:,} failed"
        )
        self._notifier.send(f"STATUS={words}")

    def _status(self, supervisor: Supervisor, scheduler: Scheduler, sweeper: Sweeper) -> status.Status:
        troubles = [
            status.Trouble(path, "failed", it.error.reason, it.error.hint, _iso(it.since))
            for path, it in sweeper.problems.items()
        ]
        troubles += (
            status.Trouble(task.path, it.outcome.result, *it.outcome.reason_and_hint, _iso(it.since))
            for table in (scheduler.retrying, scheduler.settled)
            for task, it in table.items()
            if it.outcome.result != "fresh"
        )
        return status.Status(
            version=self._version,
            pid=os.getpid(),
            since=self._since,
            updated="",
            roots=tuple(os.path.abspath(root.path) for root in supervisor.roots),
            mode=supervisor.mode,
            unheard=supervisor.unheard,
            directories=sweeper.directories,
            sources=sweeper.sources,
            pending=len(scheduler.queue),
            last_sweep=sweeper.last,
            troubles=tuple(troubles[:_TROUBLES_SHOWN]),
            interval_seconds=_WRITE_SECONDS,
        )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
