"""The state that a service reports, its troubles and its condition, as values and as JSON."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    from daemon.report.systemd import FailedUnit
    from lib.sync.walk import PathFailure

Condition: TypeAlias = Literal["running", "stuck", "died"]

NAME: Final = "generation-sidecars"
NOT_RUNNING: Final = 3
"""The exit status when no service is running."""
_MISSED_WRITES: Final = 3


@dataclass(frozen=True, slots=True)
class Trouble:
    """A source without fresh sidecars, or an index that cannot be written; ``since`` is an ISO time."""

    path: str
    state: str
    reason: str
    hint: str = ""
    since: str = ""


class _Entry(NamedTuple):
    state: str = ""
    reason: str = ""
    since: str = ""
    text: str = ""


class TroubleTable:
    """Troubles by key, each encoded when it is added, so that writing 100,000 takes little time.

    ``counts``: the number of troubles by state; ``version`` grows with every change.  ``clock`` returns the
    seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.counts: Counter[str] = Counter()
        self.version = 0
        self._entries: dict[Hashable, _Entry] = {}
        self._clock = clock

    def state_of(self, key: Hashable) -> str:
        """Return the state under a key, or ""."""
        return self._entries.get(key, _Entry()).state

    def put(self, key: Hashable, path: str, state: str, reason: str, hint: str = "") -> bool:
        """Add a trouble, or replace the one under its key, whose time is kept while the state is the same.

        Returns whether the state or the reason is new.
        """
        before = self._entries.get(key, _Entry())
        if (before.state, before.reason) == (state, reason):
            return False
        since = before.since if before.state == state else iso(self._clock())
        self.drop(key)
        self.counts[state] += 1
        self.version += 1
        text = json.dumps(asdict(Trouble(path, state, reason, hint, since)))
        self._entries[key] = _Entry(state, reason, since, text)
        return True

    def put_failure(self, failure: PathFailure) -> bool:
        """Add a path that failed, under its name; return whether that or the reason is new."""
        return self.put(failure.path, failure.path, "failed", failure.error.reason, failure.error.hint)

    def drop(self, key: Hashable) -> None:
        """Remove the trouble under a key, if there is one."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.counts[entry.state] -= 1
            self.version += 1

    def entries(self) -> Iterator[str]:
        """Yield the JSON of every trouble."""
        return (entry.text for entry in self._entries.values())


@dataclass(frozen=True, slots=True)
class Status:
    """The state of one service.

    Roots are absolute, times ISO with a zone; ``updated`` is the time of the status file, which is renewed
    every ``interval_seconds``.  ``totals``: sidecars rendered, adopted and kept, sources failed and skipped,
    since the start; ``counts``: the troubles now, by state.
    """

    version: str
    pid: int
    since: str
    updated: str
    roots: tuple[str, ...]
    unusable: Mapping[str, str] = field(default_factory=dict)
    """The roots that are not watched, and why: missing, or watched by another service."""
    mode: str = "watching"
    unheard: str = ""
    """Why events are unreliable and sweeps run more often; empty if events are reliable."""
    rejected: tuple[str, ...] = ()
    """The problems of the last configuration, if it was rejected."""
    directories: int = 0
    sources: int = 0
    pending: int = 0
    last_sweep: Mapping[str, int | float] | None = None
    last_sweep_ended: str = ""
    totals: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    troubles: tuple[Trouble, ...] = ()
    interval_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Reading:
    """The content of a status file, and whether its service is alive."""

    status: Status
    is_alive: bool = True

    def condition(self, now: datetime) -> Condition:
        """Return the condition; a service that is alive but has missed three updates is stuck."""
        if not self.is_alive:
            return "died"
        patience = timedelta(seconds=_MISSED_WRITES * self.status.interval_seconds)
        return "stuck" if now - moment(self.status.updated) > patience else "running"


def exit_status(readings: Sequence[Reading], now: datetime, failed: FailedUnit | None = None) -> int:
    """Return the exit status of ``--status``: 0 all is well, 3 no service is running, else 1.

    1: a file failed, the configuration was rejected, a service is stuck or died, or its unit ``failed``.
    """
    if failed is not None:
        return 1
    conditions = {reading.condition(now) for reading in readings}
    if not conditions - {"died"}:
        return NOT_RUNNING
    is_ill = any(reading.status.rejected or reading.status.counts.get("failed") for reading in readings)
    return 1 if is_ill or conditions != {"running"} else 0


def render_json(readings: Sequence[Reading], now: datetime, failed: FailedUnit | None = None) -> str:
    """Return the readings as a JSON list in ASCII, each with its ``condition``.

    The unit that ``failed``, if any, comes last, with the condition "failed".
    """
    entries = [asdict(reading.status) | {"condition": reading.condition(now)} for reading in readings]
    entries += [] if failed is None else [asdict(failed) | {"condition": "failed"}]
    return json.dumps(entries, indent=2) + "\n"


def moment(text: str) -> datetime:
    """Parse an ISO time; without a zone it is in UTC."""
    parsed = datetime.fromisoformat(text.replace("Z", "+00:00"))  # Python 3.10 cannot read the Z
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)


def iso(seconds: float) -> str:
    """Return a time (seconds since the epoch) as ISO text in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
