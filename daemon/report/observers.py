"""Observers of the work: a sweep or the service tells each of them the same, whatever it makes of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daemon.config.model import Config
    from daemon.report.status import Status
    from lib.errors import SidecarError
    from lib.options import Options
    from lib.outcome import Outcome
    from lib.sync.walk import Found, Task


class Observer:
    """Does nothing with what it is told; ``now`` is monotonic seconds.  Called from one thread."""

    def wants(self, found: Found) -> bool:  # noqa: ARG002 (the parameter is for subclasses)
        """Tell whether a source must be read although its sidecars are fresh; called for each one seen."""
        return False

    def fresh(self, found: Found) -> None:
        """Record a source that a sweep found fresh."""

    def failed_path(self, path: str, error: SidecarError) -> None:
        """Record a path that a sweep could not look at."""

    def finished(self, task: Task, outcome: Outcome | None, now: float) -> None:
        """Record that a source had its turn; no outcome when it was not worked on."""

    def begin_walk(self) -> None:
        """Record that a sweep begins to see everything that is there."""

    def end_walk(self, now: float) -> None:
        """Record that a sweep has seen everything that is there."""

    def next_due(self) -> float:
        """Return when :meth:`write_if_due` has something to do."""
        return math.inf

    def write_if_due(self, now: float) -> None:
        """Write what is due."""

    def finish(self) -> int:
        """Write everything, as the work is over; return how many files could not be written."""
        return 0

    def report(self, status: Status) -> None:
        """Record the state of the service."""


def observers_of(config: Config, options: Options, version: str, log: Any) -> list[Observer]:
    """Make the observers that a configuration asks for."""
    observers: list[Observer] = []
    if config.index.enabled:
        from daemon.report.index import IndexWriter  # off by default, as are the metrics

        observers.append(IndexWriter(config.roots, options, log))
    if config.metrics.textfile is not None:
        from daemon.report.metrics import Metrics

        observers.append(Metrics(config.metrics.textfile, version, log))
    return observers
