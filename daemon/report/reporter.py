"""Reports the state of the service: to its status file, for ``--status``, and to the service manager."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from daemon.report import systemd
from daemon.report.events import SERVICE_READY
from daemon.report.observers import Observer
from daemon.report.status import iso
from daemon.report.status_file import StatusFile, own_directories
from daemon.report.troubles import counts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from daemon.report.status import Status
    from daemon.report.troubles import TroubleTable
    from lib.errors import SidecarError
    from lib.outcome import Outcome
    from lib.sync.walk import Task

_LOOK_SECONDS: Final = 2.0
WRITE_SECONDS: Final = 10.0
_SIDECARS: Final = ("rendered", "adopted", "kept")
_SOURCES: Final = ("failed", "skipped")


@dataclass(slots=True)
class _Written:
    """What the status file holds."""

    status: Status
    versions: tuple[int, ...]


class Reporter(Observer):
    """Reports on one service from its start to its end, over every reload.  ``now`` is monotonic seconds.

    ``since``: when it started (ISO); ``totals``: what has been done since.
    """

    def __init__(self, log: Any) -> None:
        self.since = iso(time.time())
        self.totals = dict.fromkeys((*_SIDECARS, *_SOURCES), 0)
        self.rejected: tuple[str, ...] = ()
        self._log = log
        self._counted: dict[object, str] = {}
        self._ready = False
        self._look_due = 0.0
        self._write_due = 0.0
        self._file: StatusFile | None = None
        self._steps: Iterator[None] | None = None
        self._written: _Written | None = None
        self._notifier = systemd.Notifier.from_environment()
        patience = systemd.watchdog_seconds()
        self._alive_every = patience / 3 if patience else None
        self._alive_due = 0.0

    def finished(self, task: Task, outcome: Outcome | None, now: float) -> None:  # noqa: ARG002  # an observer's
        """Count a source's outcome; one that fails again and again is one source that failed."""
        if outcome is None:
            return
        for verdict in outcome.verdicts:
            if verdict.result in _SIDECARS:
                self.totals[verdict.result] += 1
        self._count(task, outcome.result)

    def failed_path(self, path: str, error: SidecarError) -> None:  # noqa: ARG002  # an observer's
        """Count a path that a sweep could not look at."""
        self._count(path, "failed")

    def next_due(self) -> float:
        """Return when there is something to report."""
        due = 0.0 if self._steps is not None else self._look_due
        return due if self._alive_every is None else min(due, self._alive_due)

    def update(
        self,
        now: float,
        make_status: Callable[[], Status],
        tables: Sequence[TroubleTable],
        *,
        is_settled: bool,
        observers: Iterable[Observer] = (),
    ) -> None:
        """Report what has changed; tell the service manager's watchdog that the loop turns."""
        if self._alive_every is not None and now >= self._alive_due:
            self._alive_due = now + self._alive_every
            self._notifier.send("WATCHDOG=1")
        if not self._ready and is_settled:
            self._ready = True
            self._log.info(SERVICE_READY, mode=make_status().mode)
            self._notifier.send("READY=1")
            self._look_due = now
        if self._steps is not None:
            self._put(self._steps)
        elif now >= self._look_due:
            self._look_due = now + _LOOK_SECONDS
            self._write(now, make_status(), tables, observers)

    def reloading(self) -> None:
        """Report that the configuration is being read again."""
        self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self, problems: Sequence[str] = ()) -> None:
        """Report that reading it has ended, and for what it was rejected."""
        self.rejected = tuple(problems)
        self._look_due = 0.0
        self._notifier.send("READY=1")

    def stopping(self) -> None:
        """Report that the service ends."""
        self._notifier.send("STOPPING=1")

    def close(self) -> None:
        """Remove the status file."""
        self._steps = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def _count(self, source: object, result: str) -> None:
        if result not in _SOURCES:
            self._counted.pop(source, None)
        elif self._counted.get(source) != result:
            self._counted[source] = result
            self.totals[result] += 1

    def _write(
        self, now: float, current: Status, tables: Sequence[TroubleTable], observers: Iterable[Observer]
    ) -> None:
        """Write the file when something changed, and renew it now and then to show that the service lives."""
        current = replace(current, counts=counts_of(tables))
        versions = tuple(table.version for table in tables)
        changed = self._written != _Written(current, versions)
        if not changed and now < self._write_due:
            return
        self._write_due = now + WRITE_SECONDS
        reported = replace(current, updated=iso(time.time()))
        self._written = _Written(current, versions)
        self._put(self._steps_of(reported, tables, changed=changed))
        for observer in observers:
            observer.report(reported)
        words = (
            f"{current.mode} {current.directories:,} directories, {current.sources:,} sources, "
            f"{current.pending:,} pending, {current.counts.get('failed', 0):,} failed"
        )
        self._notifier.send(f"STATUS={'configuration rejected, ' if current.rejected else ''}{words}")

    def _steps_of(self, status: Status, tables: Sequence[TroubleTable], *, changed: bool) -> Iterator[None]:
        """Bring the file up to date, step by step."""
        if self._file is None:
            self._file, changed = StatusFile.open(own_directories(), os.getpid()), True
        if changed:
            yield from self._file.steps(status, tables)
        else:
            self._file.renew()

    def _put(self, steps: Iterator[None]) -> None:
        """Take one step; where the file cannot be written, the service works all the same and tries again."""
        try:
            next(steps)
        except StopIteration:
            self._steps = None
        except OSError:
            self._written = None
            self.close()
        else:
            self._steps = steps
