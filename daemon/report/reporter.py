"""Reports the state of the service to ``--status``, through the status file, and to systemd."""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING, Any, Final

from daemon.report import systemd
from daemon.report.events import SERVICE_READY, STATUS_FAILED
from daemon.report.outcomes import Done, Event
from daemon.report.status import Status, TroubleTable, iso
from daemon.report.status_file import StatusFile, own_directories
from lib.sync.walk import PathFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LOOK_SECONDS: Final = 2.0
_LEAST_PAUSE_SECONDS: Final = 0.3
_WRITING_SHARE: Final = 0.1
"""How much of the time may be spent on writing: 100,000 troubles take 40 ms."""
WRITE_SECONDS: Final = 10.0
_SIDECARS: Final = ("rendered", "adopted", "kept")
_SOURCES: Final = ("failed", "skipped")
_HINT: Final = "Set RUNTIME_DIRECTORY or XDG_RUNTIME_DIR to a directory that only this user can write to."


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
        self._troubled: dict[object, str] = {}
        self._is_ready = False
        self._look_due = 0.0
        self._pause_ends = 0.0
        self._renew_due = 0.0
        self._file: StatusFile | None = None
        self._has_failed = False
        self._written: object = None
        self._alive_every = systemd.watchdog_seconds() / 3
        self._alive_due = 0.0 if self._alive_every < math.inf else math.inf

    def notice(self, event: Event, _now: float) -> None:
        """Count an outcome, and report it soon."""
        self._look_due = min(self._look_due, self._pause_ends)
        if isinstance(event, PathFailure):
            self._count_source(event.path, "failed")
        elif isinstance(event, Done) and event.outcome is not None:
            for verdict in event.outcome.verdicts:
                if verdict.result in _SIDECARS:
                    self.totals[verdict.result] += 1
            self._count_source(event.task, event.outcome.result)

    def next_due(self) -> float:
        """Return when there is something to report."""
        return min(self._look_due, self._alive_due)

    def update(
        self, now: float, make_status: Callable[[], Status], table: TroubleTable, *, is_settled: bool
    ) -> Status | None:
        """Report the state if it has changed, and every few seconds, as a sign of life, if it has not.

        Returns the state if it was reported.  systemd's watchdog is told that the loop is running.
        """
        if now >= self._alive_due:
            self._alive_due = now + self._alive_every
            systemd.notify("WATCHDOG=1")
        if is_settled and not self._is_ready:
            self._is_ready = True
            self._log.info(SERVICE_READY, mode=make_status().mode)
            systemd.notify("READY=1")
            self._look_due = now
        if now < self._look_due:
            return None
        self._look_due = now + _LOOK_SECONDS
        began, status = time.monotonic(), make_status()
        has_changed = self._written != (status, table.version)
        if not has_changed and now < self._renew_due:
            return None
        self._renew_due = now + WRITE_SECONDS
        self._save(status, table, has_changed=has_changed)
        systemd.notify(f"STATUS={_summary(status)}")
        self._pause_ends = now + max(_LEAST_PAUSE_SECONDS, (time.monotonic() - began) / _WRITING_SHARE)
        self._look_due = max(self._look_due, self._pause_ends)
        return status

    def reloaded(self, problems: Sequence[str] = ()) -> None:
        """Report that the configuration was read, and why it was rejected."""
        self.rejected = tuple(problems)
        self._look_due, self._written = 0.0, None
        systemd.notify("READY=1")

    def close(self) -> None:
        """Remove the status file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _count_source(self, source: object, result: str) -> None:
        """Count a source once, however often it fails or is skipped before it is done."""
        if result not in _SOURCES:
            self._troubled.pop(source, None)
        elif self._troubled.get(source) != result:
            self._troubled[source] = result
            self.totals[result] += 1

    def _save(self, status: Status, table: TroubleTable, *, has_changed: bool) -> None:
        """Write or renew the status file; the service carries on without one, and tries again later."""
        try:
            if self._file is None:
                self._file, has_changed = StatusFile.open(own_directories(), os.getpid()), True
            if has_changed:
                self._file.write(status, table.entries())
            else:
                self._file.renew()
            self._written, self._has_failed = (status, table.version), False
        except OSError as error:
            path = own_directories()[-1] if self._file is None else self._file.path
            self._written = None
            self.close()
            if not self._has_failed:
                reason = f"--status cannot show this service: {path} cannot be written: {error.strerror}"
                self._log.warning(STATUS_FAILED, reason=reason, hint=_HINT)
            self._has_failed = True


def _summary(status: Status) -> str:
    """Return the line that ``systemctl status`` shows."""
    rejected = "configuration rejected, " if status.rejected else ""
    return (
        f"{rejected}{status.mode}: {status.directories:,} directories, {status.sources:,} sources, "
        f"{status.pending:,} pending, {status.counts.get('failed', 0):,} failed"
    )
