"""Values shared by the tests of the status."""

from __future__ import annotations

import dataclasses
import os
from datetime import datetime, timezone
from typing import Final

from daemon.report.status import Status, Trouble

NOW: Final = datetime(2026, 11, 23, 12, 0, 0, tzinfo=timezone.utc)
HOSTILE: Final = "/exp/a\n\x1b[2J\udcff\u202e  b.npy"
FAILED: Final = Trouble(
    "/exp/n1_completions.npy", "failed", "the disk is full", "Make room.", "2026-11-23T11:00:00+00:00"
)
KEPT: Final = Trouble("/exp/n1_completions.md", "kept", "was edited")


def status(**changes: object) -> Status:
    """Return the status of this process, with changes."""
    plain = Status(
        version="0.1.0",
        pid=os.getpid(),
        since="2026-11-23T08:48:00+00:00",
        updated="2026-11-23T11:59:58+00:00",
        roots=("/exp",),
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]
