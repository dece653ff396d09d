"""Which roots lie on a file system that others can write to unseen.

inotify(7) reports what goes through this machine's own kernel.  What another host writes to a network file
system, or a FUSE file system's own program to what it shows, no event tells.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MOUNTINFO: Final = Path("/proc/self/mountinfo")
_SHARED: Final = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse", "gfs2", "gpfs", "lustre", "nfs", "nfs4"}
    | {"ocfs2", "orangefs", "panfs", "smb3", "smbfs", "vboxsf", "virtiofs"}
)
_LOCAL_FUSE: Final = frozenset({"fuse.fuse-overlayfs"})
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of ``/proc/self/mountinfo``, proc_pid_mountinfo(5): where what is mounted, and its device."""

    path: str
    kind: str
    device: int


def shared_with_others(directory: str, mountinfo: Path = MOUNTINFO) -> str:
    """Name the type of a file system at or below a directory that others can write to unseen; "" if none."""
    try:
        device = os.stat(directory).st_dev
        mounts = list(_mounts(mountinfo.read_text(errors="surrogateescape")))
    except OSError:
        return ""
    below = os.path.join(os.path.realpath(directory), "")
    here = (mount for mount in mounts if mount.device == device or mount.path.startswith(below))
    return next((mount.kind for mount in here if _is_shared(mount.kind)), "")


def _is_shared(kind: str) -> bool:
    return kind in _SHARED or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE)


def _mounts(text: str) -> Iterator[Mount]:
    for line in text.splitlines():
        fields = line.split(" ")
        major, _, minor = fields[2].partition(":")
        path = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4])
        yield Mount(path, fields[fields.index("-") + 1], os.makedev(int(major), int(minor)))
