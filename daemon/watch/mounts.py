"""Which file systems a root lies on and contains, and which of them can change without an event.

inotify(7) reports what goes through this machine's own kernel: not what another host writes to a network file
system, nor what the program behind a FUSE file system changes, nor that something was mounted.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

UNKNOWN: Final = "an unknown file system"
_LOCAL: Final = frozenset(
    # disks of this machine, and of its virtual machine's host
    {"bcachefs", "btrfs", "ecryptfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "hfs"}
    | {"hfsplus", "iso9660", "jfs", "msdos", "nilfs2", "ntfs", "ntfs3", "reiserfs", "squashfs", "udf", "ufs"}
    | {"vfat", "xfs", "zfs"}
    # memory, and layers over those
    | {"aufs", "devtmpfs", "fuse.fuse-overlayfs", "hugetlbfs", "overlay", "ramfs", "rootfs", "tmpfs"}
    # the kernel's own, which no experiment lies on, but which are below the root "/"
    | {"autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "efivarfs"}
    | {"fusectl", "fuse.lxcfs", "mqueue", "nsfs", "proc", "pstore", "securityfs", "sysfs", "tracefs"}
)


class Mount(NamedTuple):
    """A line of ``/proc/self/mountinfo``, proc_pid_mountinfo(5): path, type and device."""

    path: str
    kind: str
    device: str


def read_table(mountinfo: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the table of all mounts; "" where it is hidden."""
    try:
        return mountinfo.read_text(errors="surrogateescape")
    except OSError:
        return ""


def parse_table(text: str) -> list[Mount]:
    """Return the mounts of a table, in its order."""
    rows = (line.split(" ") for line in text.splitlines())
    return [Mount(_unescaped(row[4]), row[row.index("-") + 1], row[2]) for row in rows]


def mounts_of(directory: str, mounts: Sequence[Mount]) -> tuple[Mount, ...]:
    """Return the mount that a directory lies on, then those below it.

    Paths decide: the device that stat(2) reports is not the mount's on btrfs.
    """
    here = os.path.join(os.path.realpath(directory), "")
    above = [mount for mount in mounts if here.startswith(os.path.join(mount.path, ""))]
    # of two at one place the later one covers the earlier
    own = max(reversed(above), key=lambda mount: len(mount.path), default=Mount(here, UNKNOWN, ""))
    return (own, *(mount for mount in mounts if mount.path.startswith(here) and mount not in above))


def shared_kind(mounts: Iterable[Mount]) -> str:
    """Return the type of the first mount that is not known to be local; "" if all are."""
    return next((mount.kind for mount in mounts if mount.kind not in _LOCAL), "")


def _unescaped(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)
