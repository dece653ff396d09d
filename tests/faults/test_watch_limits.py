"""Fault 24, limits: the kernel allows fewer watches, or none; sweeps carry on, and events come back."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Final

import pytest
from faults.service import Service, is_complete, save, serving
from support import need

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORIES: Final = 300
LIMITS: Final = {"watches": ("max_inotify_watches", "100"), "instances": ("max_inotify_instances", "0")}
SETTLED_SECONDS: Final = 200.0
"""The watch is tried again after 1 s, 2 s, 4 s and so on, and trusted when it stood for half a minute."""


def limited_to(key: str, value: str) -> type[Service]:
    """Make a service that is root in a user namespace, of which the kernel counts the watches apart."""

    class Limited(Service):
        before = (
            *("unshare", "--user", "--map-root-user", "sh", "-c"),
            f'echo {value} > /proc/sys/user/{key}; exec "$@"',
            "sh",
        )

    return Limited


@pytest.mark.faults
@pytest.mark.parametrize("limit", LIMITS)
def test_fault_24_sweeps_replace_events_while_a_limit_is_too_low(tmp_path: Path, limit: str) -> None:
    """Every sidecar is made meanwhile; the log and ``--status`` say what to raise; then events are back."""
    key, value = LIMITS[limit]
    apart = ("unshare", "--user", "--map-root-user", "true")
    need(shutil.which("nsenter"), "nsenter is not installed")
    need(not subprocess.run(apart, check=False, capture_output=True).returncode, "no user namespaces here")
    root = tmp_path / "experiments"
    sources = [save(root / f"d{n}" / "n1_completions.npy", f"text {n}") for n in range(DIRECTORIES)]
    with serving(tmp_path, sweep_seconds=2, kind=limited_to(key, value)) as service:
        service.until(lambda: service.named("watch.degraded") and is_complete(sources))
        [degraded] = service.named("watch.degraded")
        assert f"sysctl -w fs.inotify.max_user_{limit}=" in str(degraded["reason"])
        service.until(lambda: "sweeping only" in service.status())
        assert "sysctl" in " ".join(service.status().split())
        later = save(root / "later" / "n1_completions.npy", "later")
        service.until(lambda: is_complete([later]))
        raise_limit = ("nsenter", "--user", "--target", str(service.process.pid), "sh", "-c")
        subprocess.run([*raise_limit, f"echo 100000 > /proc/sys/user/{key}"], check=True)
        service.until(lambda: service.named("watch.restored"), SETTLED_SECONDS)
        assert len(service.named("watch.degraded")) == 1
        service.until(lambda: "watching" in service.status())
