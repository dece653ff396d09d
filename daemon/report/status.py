"""The state of a service as it reports it: values, what they say of its health, and their JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daemon.report.systemd import FailedUnit

Condition: TypeAlias = Literal["running", "stuck", "died"]

NAME: Final = "generation-sidecars"
NOT_RUNNING: Final = 3
"""The exit status when no service was found."""
_MISSED_WRITES: Final = 3


@dataclass(frozen=True, slots=True)
class SourceReport:
    """A source without fresh sidecars: its state, why, what a person can do, and since when (ISO)."""

    path: str
    state: str
    reason: str
    hint: str = ""
    since: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """The state of one service.

    Roots are absolute, times ISO with their zone; ``interval_seconds`` is how often ``updated`` is renewed.
    ``counts``: troubles by state; ``totals``: since the start, sidecars rendered, adopted and kept, sources
    failed and skipped.
    """

    version: str
    pid: int
    since: str
    updated: str
    roots: tuple[str, ...]
    unusable: Mapping[str, str] = field(default_factory=dict)
    """Why a root is not watched for now: it is missing, or another service has it."""
    mode: str = "watching"
    unheard: str = ""
    """Why events cannot be relied on, so that sweeps run more often; empty when they can."""
    rejected: tuple[str, ...] = ()
    """The problems of a configuration that was rejected since the one in force."""
    directories: int = 0
    sources: int = 0
    pending: int = 0
    last_sweep: Mapping[str, int | float] | None = None
    totals: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    troubles: tuple[SourceReport, ...] = ()
    interval_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Reading:
    """A status that was read, and whether its service is alive."""

    status: Status
    is_alive: bool = True

    def condition(self, now: datetime) -> Condition:
        """Return how the service is: "stuck" when it lives and has missed three of its updates."""
        if not self.is_alive:
            return "died"
        patience = timedelta(seconds=_MISSED_WRITES * self.status.interval_seconds)
        return "stuck" if now - moment(self.status.updated) > patience else "running"


def exit_status(readings: Sequence[Reading], now: datetime, failed: FailedUnit | None = None) -> int:
    """Return the exit status of ``--status``: 0 all is well, 3 no service, else 1.

    1: a file failed, a configuration was rejected, a service is stuck or died, or its unit ``failed``.
    """
    if failed is not None:
        return 1
    conditions = {reading.condition(now) for reading in readings}
    if not conditions - {"died"}:
        return NOT_RUNNING
    is_ill = any(reading.status.rejected or reading.status.counts.get("failed") for reading in readings)
    return 1 if is_ill or conditions != {"running"} else 0


def render_json(readings: Sequence[Reading], now: datetime, failed: FailedUnit | None = None) -> str:
    """Return what services report as a JSON list, each with its ``condition``; in ASCII any name survives.

    A unit that ``failed`` stands at its end, with the condition "failed".
    """
    entries = [asdict(reading.status) | {"condition": reading.condition(now)} for reading in readings]
    entries += [] if failed is None else [asdict(failed) | {"condition": "failed"}]
    return json.dumps(entries, indent=2) + "\n"


def moment(text: str) -> datetime:
    """Return an ISO time with its zone, UTC where it has none."""
    time = datetime.fromisoformat(text.replace("Z", "+00:00"))  # Python 3.10 does not know the Z
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def iso(seconds: float) -> str:
    """Return a time of day (epoch, seconds) as ISO text in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
