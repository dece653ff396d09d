"""Metrics of the service for Prometheus, in a file for node_exporter's textfile collector.

The names follow https://prometheus.io/docs/practices/naming/.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from daemon.config.validation import RefusedError
from daemon.report.events import METRICS_FAILED
from daemon.report.outcomes import Done, Event
from daemon.report.status import Status, moment
from lib.names import KINDS

if TYPE_CHECKING:
    from lib.outcome import Outcome

_NAMESPACE: Final = "generation_sidecars"
_STATES: Final = ("failed", "kept", "skipped")
_RESULTS: Final = ("rendered", "adopted", "kept", "skipped", "failed")


def require_library() -> None:
    """Check that prometheus-client is installed.

    :raises RefusedError: it is not.
    """
    try:
        import prometheus_client  # noqa: F401 -- an optional dependency
    except ImportError as error:
        raise RefusedError(
            "metrics.textfile needs prometheus-client: pip install 'generation-sidecars[metrics]'"
        ) from error


class Metrics:
    """An observer that counts the work since the start, and writes all metrics to ``path``."""

    def __init__(self, path: str, version: str, log: Any) -> None:
        import prometheus_client as prometheus  # see require_library

        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.path = path
        self._log = log
        self._reason = ""
        self._write = prometheus.write_to_textfile
        self._registry = registry = prometheus.CollectorRegistry()
        counter = partial(prometheus.Counter, namespace=_NAMESPACE, registry=registry)
        gauge = partial(prometheus.Gauge, namespace=_NAMESPACE, registry=registry)
        self._sidecars = counter("sidecars", "Sidecars by result.", ("kind", "result"))
        self._bytes = counter("written_bytes", "Bytes of sidecars that were written.", ("kind",))
        self._items = counter("items", "Generations that were rendered.", ("kind",))
        self._blank = counter("blank_items", "Generations that were rendered and are blank.", ("kind",))
        self._sources = gauge("sources", "Sources below the roots.")
        self._directories = gauge("directories", "Directories below the roots.")
        self._pending = gauge("pending_sources", "Sources in the queue.")
        self._troubled = gauge("troubled_sources", "Sources without fresh sidecars, by state.", ("state",))
        self._watching = gauge("watching", "1 while kernel events are reliable, 0 while only sweeps are.")
        self._sweep_seconds = gauge("last_sweep_duration_seconds", "How long the last sweep took.")
        self._sweep_time = gauge("last_sweep_timestamp_seconds", "When the last sweep ended.")
        self._updated = gauge("last_update_timestamp_seconds", "When this file was written.")
        self._start = gauge("start_time_seconds", "When the service started.")
        gauge("build_info", "The running version.", ("version",)).labels(version).set(1)
        for kind in KINDS:  # alerts need a counter before its first increase
            for result in _RESULTS:
                self._sidecars.labels(kind, result)
            for metric in (self._bytes, self._items, self._blank):
                metric.labels(kind)

    def notice(self, event: Event, _now: float) -> None:
        """Count the outcome of a source; write the file when the service reports its status."""
        if isinstance(event, Status):
            self._report(event)
        elif isinstance(event, Done) and event.outcome is not None:
            self._count(event.outcome)

    def _count(self, outcome: Outcome) -> None:
        for verdict in outcome.verdicts:
            if verdict.result in _RESULTS:
                self._sidecars.labels(outcome.kind, verdict.result).inc()
        if outcome.bytes and outcome.figures is not None:
            self._bytes.labels(outcome.kind).inc(outcome.bytes)
            self._items.labels(outcome.kind).inc(outcome.figures.records)
            self._blank.labels(outcome.kind).inc(outcome.figures.blank)

    def _report(self, status: Status) -> None:
        """Replace the file; log a failure once, until its reason changes."""
        self._start.set(moment(status.since).timestamp())
        self._sources.set(status.sources)
        self._directories.set(status.directories)
        self._pending.set(status.pending)
        self._watching.set(status.mode == "watching" and not status.unheard)
        for state in _STATES:
            self._troubled.labels(state).set(status.counts.get(state, 0))
        if status.last_sweep is not None and status.last_sweep_ended:
            self._sweep_seconds.set(status.last_sweep["seconds"])
            self._sweep_time.set(moment(status.last_sweep_ended).timestamp())
        self._updated.set_to_current_time()
        before, self._reason = self._reason, ""
        try:
            self._write(self.path, self._registry)
        except OSError as error:
            self._reason = error.strerror or str(error)
            if self._reason != before:
                hint = "Its directory must exist, have room and be writable for this user; with systemd, "
                hint += "it must also be in BindPaths=."
                self._log.error(METRICS_FAILED, path=self.path, reason=self._reason, hint=hint)
