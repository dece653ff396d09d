"""The names of the log events, which never change: scripts and alerts rely on them."""

from __future__ import annotations

from typing import Final

SERVICE_STARTED: Final = "service.started"
SERVICE_READY: Final = "service.ready"
SERVICE_STOPPING: Final = "service.stopping"
SERVICE_STOPPED: Final = "service.stopped"
CONFIG_RELOADED: Final = "config.reloaded"
CONFIG_REJECTED: Final = "config.rejected"
SWEEP_STARTED: Final = "sweep.started"
SWEEP_FINISHED: Final = "sweep.finished"
SIDECARS_WRITTEN: Final = "sidecars.written"
SIDECAR_ADOPTED: Final = "sidecar.adopted"
SIDECAR_KEPT: Final = "sidecar.kept"
SOURCE_SKIPPED: Final = "source.skipped"
SOURCE_FAILED: Final = "source.failed"
SOURCE_RECOVERED: Final = "source.recovered"
WATCH_DEGRADED: Final = "watch.degraded"
WATCH_OVERFLOW: Final = "watch.overflow"
WATCH_RESTORED: Final = "watch.restored"
INDEX_WRITTEN: Final = "index.written"
INDEX_FAILED: Final = "index.failed"
METRICS_FAILED: Final = "metrics.failed"
STATUS_FAILED: Final = "status.failed"
METADATA_UNREADABLE: Final = "metadata.unreadable"
LOG_DROPPED: Final = "log.dropped"
