"""A file system that others write to unseen, by way of FUSE: no event, shorter sweeps, the same sidecars.

What could not be had here: NFS, SMB and Lustre themselves, with their caches and their delays.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from faults.service import is_right, save, serving
from support import need

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def seen_through_fuse(directory: Path, shown: Path) -> Iterator[None]:
    """Show a directory at another place, as a FUSE file system that knows nothing of inotify."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("the kernel has no FUSE, or it is not for this user")
    need(shutil.which("bindfs"), "bindfs is not installed")
    shown.mkdir()
    # by names alone: whoever looks for what a service left behind would take this program for that
    subprocess.run(["bindfs", directory.name, shown.name], check=True, cwd=directory.parent)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(shown)], check=True)


@pytest.mark.faults
def test_fault_24_what_another_host_writes_is_found_by_sweeps(tmp_path: Path) -> None:
    """It is said once, and by ``--status``; what is saved here is made as well."""
    exported, root = tmp_path / "exported", tmp_path / "experiments"
    exported.mkdir()
    with seen_through_fuse(exported, root), serving(tmp_path, sweep_seconds=1) as service:
        service.until(lambda: service.named("watch.degraded"))
        [degraded] = service.named("watch.degraded")
        assert f"fuse is mounted in {root}" in str(degraded["reason"])
        assert "unreliable" in service.status()
        save(exported / "n1_completions.npy", "from another host")
        service.until(lambda: is_right(exported / "n1_completions.npy"))
        here = save(root / "deep" / "n2_completions.npy", "from here", "and more")
        service.until(lambda: is_right(here))
        save(exported / "n1_completions.npy", "overwritten there")
        service.until(lambda: is_right(exported / "n1_completions.npy"))
        assert len(service.named("watch.degraded")) == 1
        assert service.named("source.failed") == []
