"""Who looks on while the service works, if they are asked for: the index of each root, and the metrics."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daemon.config.model import Config
    from daemon.report.index import Catalogue
    from daemon.report.metrics import Metrics
    from daemon.report.status import Status
    from lib.options import Options
    from lib.outcome import Outcome
    from lib.sync.walk import Found, Task


class Onlookers:
    """Made anew with every configuration.  ``now`` is monotonic seconds."""

    def __init__(self, config: Config, options: Options, version: str, log: Any) -> None:
        self._catalogue: Catalogue | None = None
        self._metrics: Metrics | None = None
        if config.index.enabled:
            from daemon.report.index import Catalogue  # off by default, as are the metrics

            self._catalogue = Catalogue(config.roots, options, log)
        if config.metrics.textfile is not None:
            from daemon.report.metrics import Metrics

            self._metrics = Metrics(config.metrics.textfile, version, log)

    def want(self, found: Found) -> bool:
        """Tell whether a source is to be read though its sidecars are fresh; hears that it is there."""
        return self._catalogue is not None and self._catalogue.lacks(found)

    def hear(self, task: Task, outcome: Outcome, now: float) -> None:
        """Hear what became of a source."""
        if self._catalogue is not None:
            self._catalogue.take(task, outcome, now)
        if self._metrics is not None:
            self._metrics.count(outcome)

    def end_walk(self, now: float) -> None:
        """Hear that a sweep saw everything that is there."""
        if self._catalogue is not None:
            self._catalogue.end_sweep(now)

    def next_due(self) -> float:
        """Say when there is something to write."""
        return math.inf if self._catalogue is None else self._catalogue.next_due()

    def write_if_due(self, now: float) -> None:
        """Write what is due."""
        if self._catalogue is not None:
            self._catalogue.write_if_due(now)

    def tell(self, status: Status) -> None:
        """Hear how the service is."""
        if self._metrics is not None:
            self._metrics.write(status)
