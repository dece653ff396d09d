"""File systems that others write to unseen: recognised by type, at a root or below it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from daemon.watch.mounts import MOUNTINFO, shared_with_others

if TYPE_CHECKING:
    from pathlib import Path


def mountinfo(directory: Path, *mounts: tuple[str, str, str]) -> Path:
    """Write a table of mounts: device as major:minor, where, and of which type."""
    table = directory / "mountinfo"
    rows = [
        f"{30 + number} 1 {device} / {where} rw,relatime shared:{number} - {kind} server:/export rw\n"
        for number, (device, where, kind) in enumerate(mounts)
    ]
    table.write_text("".join(rows))
    return table


def device_of(path: Path) -> str:
    """Word a directory's device as the kernel does."""
    device = path.stat().st_dev
    return f"{os.major(device)}:{os.minor(device)}"


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "lustre", "fuse", "fuse.sshfs", "fuse.glusterfs"]
)
def test_a_root_on_a_network_file_system_is_known(tmp_path: Path, kind: str) -> None:
    """By the device of what stands there, however it is reached."""
    table = mountinfo(tmp_path, ("0:1", "/", "ext4"), (device_of(tmp_path), "/elsewhere", kind))
    assert shared_with_others(str(tmp_path), table) == kind


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "zfs", "fuseblk", "fuse.fuse-overlayfs"])
def test_a_root_on_a_disk_of_this_machine_is_watched_like_any(tmp_path: Path, kind: str) -> None:
    """Whatever goes into it goes through this kernel."""
    assert shared_with_others(str(tmp_path), mountinfo(tmp_path, (device_of(tmp_path), "/", kind))) == ""


def test_a_network_file_system_below_a_root_is_known(tmp_path: Path) -> None:
    """Its path has octal escapes; the root may be a link; a sibling with the same start is not below."""
    (tmp_path / "real root").mkdir()
    (tmp_path / "link").symlink_to("real root")
    escaped = str(tmp_path / "real root").replace(" ", "\\040")
    assert (
        shared_with_others(
            str(tmp_path / "link"), mountinfo(tmp_path, ("0:1", f"{escaped}/team\\134a", "nfs4"))
        )
        == "nfs4"
    )
    sibling = mountinfo(tmp_path, ("0:1", f"{escaped}-2", "nfs4"))
    assert shared_with_others(str(tmp_path / "link"), sibling) == ""


def test_what_cannot_be_known_is_taken_for_a_disk(tmp_path: Path) -> None:
    """No root, no table: sweeps run as configured."""
    assert shared_with_others(str(tmp_path / "absent"), MOUNTINFO) == ""
    assert shared_with_others(str(tmp_path), tmp_path / "absent") == ""


def test_the_table_of_this_machine_can_be_read() -> None:
    """Every line of it."""
    assert shared_with_others("/proc", MOUNTINFO) == ""
