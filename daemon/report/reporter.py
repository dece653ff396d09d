"""Reports the state of the service: in its status file, for ``--status``, and to the service manager."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from daemon.report import systemd
from daemon.report.events import SERVICE_READY, STATUS_FAILED
from daemon.report.observers import Done
from daemon.report.status import iso
from daemon.report.status_file import StatusFile, own_directories
from lib.sync.walk import PathFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daemon.report.observers import Event
    from daemon.report.status import Status, TroubleTable

_LOOK_SECONDS: Final = 2.0
_LEAST_PAUSE_SECONDS: Final = 0.3
_WRITING_SHARE: Final = 0.1
"""Writing may take this share of the time while something happens: 100,000 troubles take 40 ms."""
WRITE_SECONDS: Final = 10.0
_SIDECARS: Final = ("rendered", "adopted", "kept")
_SOURCES: Final = ("failed", "skipped")


class Reporter:
    """An observer that reports on one service, over every reload.  ``now`` is monotonic seconds.

    ``since``: when it started (ISO); ``totals``: the work since then; ``rejected``: the problems of the last
    configuration, if it was rejected.
    """

    def __init__(self, log: Any) -> None:
        self.since = iso(time.time())
        self.totals = dict.fromkeys((*_SIDECARS, *_SOURCES), 0)
        self.rejected: tuple[str, ...] = ()
        self._log = log
        self._counted: dict[object, str] = {}
        self._ready = False
        self._look_due = 0.0
        self._pause_ends = 0.0
        self._write_due = 0.0
        self._file: StatusFile | None = None
        self._has_failed = False
        self._written: object = None
        self._notifier = systemd.Notifier.from_environment()
        patience = systemd.watchdog_seconds()
        self._alive_every = patience / 3 if patience else float("inf")
        self._alive_due = 0.0 if patience else float("inf")

    def notice(self, event: Event, now: float) -> None:  # noqa: ARG002 (as declared)
        """Count an outcome, and report it soon; a source that fails again and again is one that failed."""
        self._look_due = min(self._look_due, self._pause_ends)
        if isinstance(event, PathFailure):
            self._count(event.path, "failed")
        elif isinstance(event, Done) and event.outcome is not None:
            for verdict in event.outcome.verdicts:
                if verdict.result in _SIDECARS:
                    self.totals[verdict.result] += 1
            self._count(event.task, event.outcome.result)

    def next_due(self) -> float:
        """Return when there is something to report."""
        return min(self._look_due, self._alive_due)

    def update(
        self, now: float, make_status: Callable[[], Status], table: TroubleTable, *, is_settled: bool
    ) -> Status | None:
        """Report what has changed, and to the service manager's watchdog that the loop turns.

        Returns the state of the service if it was reported.
        """
        if now >= self._alive_due:
            self._alive_due = now + self._alive_every
            self._notifier.send("WATCHDOG=1")
        if not self._ready and is_settled:
            self._ready = True
            self._log.info(SERVICE_READY, mode=make_status().mode)
            self._notifier.send("READY=1")
            self._look_due = now
        if now < self._look_due:
            return None
        began, status = time.monotonic(), make_status()
        is_reported = self._report(now, status, table)
        self._pause_ends = now + max(_LEAST_PAUSE_SECONDS, (time.monotonic() - began) / _WRITING_SHARE)
        self._look_due = max(now + _LOOK_SECONDS, self._pause_ends)
        return status if is_reported else None

    def reloading(self) -> None:
        """Report that the configuration is being read again."""
        self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self, problems: Sequence[str] = ()) -> None:
        """Report that the configuration was read, and why it was rejected."""
        self.rejected = tuple(problems)
        self._look_due, self._written = 0.0, None
        self._notifier.send("READY=1")

    def stopping(self) -> None:
        """Report that the service is stopping."""
        self._notifier.send("STOPPING=1")

    def close(self) -> None:
        """Remove the status file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _count(self, source: object, result: str) -> None:
        if result not in _SOURCES:
            self._counted.pop(source, None)
        elif self._counted.get(source) != result:
            self._counted[source] = result
            self.totals[result] += 1

    def _report(self, now: float, status: Status, table: TroubleTable) -> bool:
        """Report a state that changed, and every few seconds, as a sign of life, one that did not."""
        state = (status, table.version)
        has_changed = self._written != state
        if not has_changed and now < self._write_due:
            return False
        self._write_due = now + WRITE_SECONDS
        self._written = state
        try:
            self._write(status, table, has_changed=has_changed)
            self._has_failed = False
        except OSError as error:  # the service goes on, and tries again later
            self._written = None
            self.close()
            self._log_failure(error)
        self._notifier.send(f"STATUS={_summary(status)}")
        return True

    def _write(self, status: Status, table: TroubleTable, *, has_changed: bool) -> None:
        if self._file is None:
            self._file, has_changed = StatusFile.open(own_directories(), os.getpid()), True
        if has_changed:
            self._file.write(status, table.entries())
        else:
            self._file.renew()

    def _log_failure(self, error: OSError) -> None:
        """Log once, until it works again, that the status file cannot be written."""
        if not self._has_failed:
            self._has_failed = True
            hint = "Give the service a private directory, in RUNTIME_DIRECTORY or XDG_RUNTIME_DIR."
            reason = f"--status cannot show this service: {error.filename}: {error.strerror}"
            self._log.warning(STATUS_FAILED, reason=reason, hint=hint)


def _summary(status: Status) -> str:
    """Return the line that ``systemctl status`` shows."""
    rejected = "configuration rejected, " if status.rejected else ""
    return (
        f"{rejected}{status.mode}: {status.directories:,} directories, {status.sources:,} sources, "
        f"{status.pending:,} pending, {status.counts.get('failed', 0):,} failed"
    )
