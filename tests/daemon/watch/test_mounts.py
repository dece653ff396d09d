"""File systems at a root and below it: found by path, and by type shared with others or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon.watch.mounts import UNKNOWN, Mount, mounts_of, parse_table, read_table, shared_kind

if TYPE_CHECKING:
    from pathlib import Path


def table_of(*mounts: tuple[str, str]) -> list[Mount]:
    """Write and parse a table of mounts: where, and of which type; the devices are numbered."""
    rows = [
        f"{30 + number} 1 0:{number} / {where} rw,relatime shared:{number} - {kind} server:/export rw\n"
        for number, (where, kind) in enumerate(mounts)
    ]
    return parse_table("".join(rows))


LOCAL = ["ext4", "xfs", "btrfs", "tmpfs", "zfs", "vfat", "overlay", "fuseblk", "fuse.fuse-overlayfs"]
SHARED = ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "lustre", "fuse", "fuse.sshfs", "fuse.glusterfs"]
LITTLE_KNOWN = ["wekafs", "fuse.grpcfuse", "fakeowner", "pvfs2", "beegfs", "next-years-fs"]


@pytest.mark.parametrize("kind", LOCAL)
def test_a_disk_of_this_machine_is_relied_on(tmp_path: Path, kind: str) -> None:
    """All that goes into it goes through this kernel."""
    assert shared_kind(mounts_of(str(tmp_path), table_of(("/", kind)))) == ""


@pytest.mark.parametrize("kind", SHARED + LITTLE_KNOWN)
def test_fault_52_a_type_that_is_not_known_to_be_local_is_shared(tmp_path: Path, kind: str) -> None:
    """Network file systems, FUSE, and what nobody has heard of."""
    table = table_of(("/", "ext4"), (str(tmp_path), kind))
    assert shared_kind(mounts_of(str(tmp_path), table)) == kind


def test_the_mount_of_a_directory_is_the_deepest_above_it_and_the_last_at_its_place(tmp_path: Path) -> None:
    """What is mounted beside it, or on the way and covered, does not count."""
    path = str(tmp_path)
    rows = [("/", "nfs"), (path, "ext4"), (path, "xfs"), (f"{path}-2", "nfs4")]
    assert mounts_of(path, table_of(*rows)) == (Mount(path, "xfs", "0:2"),)


def test_what_is_mounted_below_a_root_is_found(tmp_path: Path) -> None:
    """Its path has octal escapes; the root may be a link; a sibling with the same start is not below."""
    (tmp_path / "real root").mkdir()
    (tmp_path / "link").symlink_to("real root")
    escaped = str(tmp_path / "real root").replace(" ", "\\040")
    rows = [("/", "ext4"), (f"{escaped}/team\\134a", "nfs4"), (f"{escaped}-2", "cifs")]
    found = mounts_of(str(tmp_path / "link"), table_of(*rows))
    assert found == (Mount("/", "ext4", "0:0"), Mount(f"{tmp_path}/real root/team\\a", "nfs4", "0:1"))


def test_what_cannot_be_known_is_taken_for_shared(tmp_path: Path) -> None:
    """More sweeps than needed harm nobody."""
    assert shared_kind(mounts_of(str(tmp_path), parse_table(read_table(tmp_path / "absent")))) == UNKNOWN


def test_the_table_of_this_machine_can_be_read() -> None:
    """Every line of it."""
    own, *below = mounts_of("/", parse_table(read_table()))
    assert own.path == "/"
    assert all(mount.kind and mount.path.startswith("/") for mount in below)
