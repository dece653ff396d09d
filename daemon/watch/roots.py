"""The roots: which directory is at each path right now, what is mounted below it, and the lock on it.

inotify(7) reports what goes through this machine's own kernel: not what another host writes to a network file
system, nor what the program behind a FUSE file system changes, nor that something was mounted.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Identity = tuple[int, int]

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
    """A line of ``/proc/self/mountinfo``, proc_pid_mountinfo(5): path, type and device.

    ``shown``: the directory of its file system that it shows, under its present name.
    """

    path: str
    kind: str
    device: str
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Root:
    """What a look found at a root's path.

    ``identity``: the directory's device and inode.  ``obstacle``: why it cannot be watched; "" when it can.
    ``is_taken``: another service holds its lock.  ``is_readable``: this user may list and enter it; sweeps
    report one that is not, and a change asks for a new watch, as the kernel watches no unreadable directory.
    ``moved_to``: its new name, if it is mounted at its path, as in the service's sandbox, and was renamed.
    """

    path: str
    identity: Identity | None = None
    mounts: tuple[Mount, ...] = ()
    obstacle: str = ""
    hint: str = "Sweeps run more often instead: sidecars are made, only later."
    is_taken: bool = False
    is_readable: bool = True
    moved_to: str = ""

    @property
    def shared(self) -> str:
        """Why changes below it, or below its path, may give no event; "" when every change does."""
        if self.moved_to:
            return f"{self.path} was renamed to {self.moved_to}; restart the service to watch a new one"
        kind = next((mount.kind for mount in self.mounts if mount.kind not in _LOCAL), "")
        return f"changes by other hosts give no events: {kind} is mounted in {self.path}" if kind else ""


class Roots:
    """All roots, locked against a second service, as the last look ``found`` them.

    A lock (flock on the directory itself) leaves no file, and ends with the process.  It belongs to the
    directory, so it stays when the directory becomes a root by another path.
    """

    def __init__(self, mounts: Callable[[], list[Mount]] | None = None) -> None:
        self.found: tuple[Root, ...] = ()
        self._mounts = mounts or read_mounts
        self._locks: dict[Identity, int] = {}
        self._first: dict[Identity, Mount] = {}  # the mount on which a directory was first seen

    @property
    def usable(self) -> list[Root]:
        """The roots that can be watched."""
        return [root for root in self.found if not root.obstacle]

    @property
    def to_sweep(self) -> list[str]:
        """The roots, except those that another one or another service covers; one may be missing."""
        return [root.path for root in self.found if root.identity is None or not root.obstacle]

    def use(self, paths: Sequence[str]) -> Root | None:
        """Replace the present roots, whose locks the next look releases, by these, which may be missing.

        Return the first that overlaps another or that another service watches; the present ones stay then.
        """
        found = self._look(paths)
        refused = next((root for root in found if root.identity is not None and root.obstacle), None)
        if refused is None:
            self.found = found
        else:
            self._release()
        return refused

    def look(self) -> bool:
        """Look again, lock what came, and release what went; return whether anything has changed."""
        before, self.found = self.found, self._look([root.path for root in self.found])
        self._release()
        return self.found != before

    def close(self) -> None:
        """Forget all roots and release their locks; may be called twice."""
        self.found = ()
        self._release()

    def _look(self, paths: Sequence[str]) -> tuple[Root, ...]:
        mounts = self._mounts()
        there = {path: _directory_at(path) for path in paths}
        return tuple(self._root(path, there, mounts) for path in paths)

    def _root(self, path: str, there: Mapping[str, Identity | None], mounts: Sequence[Mount]) -> Root:
        identity = there[path]
        if identity is None and os.path.isdir(path):
            hint = "Create it again, and restart the service, whose sandbox still shows the old one."
            return Root(path, obstacle="it was removed; a restart watches a new one", hint=hint)
        if identity is None:
            hint = "It is watched as soon as it exists: create it, or correct the root."
            return Root(path, obstacle="no such directory", hint=hint)
        if overlap := self._overlap(path, there):
            return Root(path, identity, obstacle=overlap, hint="Name only one of the two.")
        if not self._lock(path, identity):
            obstacle, hint = f"another service watches {path} already", "Stop one of the two services."
            return Root(path, identity, obstacle=obstacle, hint=hint, is_taken=True)
        is_readable = os.access(path, os.R_OK | os.X_OK, effective_ids=True)
        own, *below = mounts_of(path, mounts)
        first = self._first.setdefault(identity, own)
        is_mounted_here = own.path == first.path == os.path.realpath(path)
        moved_to = own.shown if is_mounted_here and own.shown != first.shown else ""
        return Root(path, identity, (own, *below), is_readable=is_readable, moved_to=moved_to)

    def _overlap(self, path: str, there: Mapping[str, Identity | None]) -> str:
        """Return which root is the same directory or contains it, through links too, else "".

        Of two paths of one directory, the one that was used before stays in use.  The check of the
        configuration compares names alone.
        """
        owners = {identity: path for path, identity in there.items()}
        owners |= {root.identity: root.path for root in self.usable if there.get(root.path) == root.identity}
        if (owner := owners[there[path]]) != path:
            return f"{path} is the same directory as {owner}"
        place = os.path.realpath(path)
        outer = [other for other in there if place.startswith(os.path.join(os.path.realpath(other), ""))]
        return f"{path} lies inside {outer[0]}" if outer else ""

    def _lock(self, path: str, identity: Identity) -> bool:
        """Lock the directory at a path, unless it is; return whether no other service has locked it."""
        if identity in self._locks:
            return True
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:  # not readable, or gone since: nothing to lock
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:  # NFS has no locks on directories; two services are harmless there
            if isinstance(error, BlockingIOError):
                os.close(descriptor)
                return False
        status = os.fstat(descriptor)
        self._locks[status.st_dev, status.st_ino] = descriptor
        return True

    def _release(self) -> None:
        """Release the locks of directories that are no root any more."""
        for identity in self._locks.keys() - {root.identity for root in self.usable}:
            descriptor = self._locks.pop(identity)
            with suppress(OSError):  # it could not be locked
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing it is not enough: workers inherited it
            os.close(descriptor)


def _directory_at(path: str) -> Identity | None:
    with suppress(OSError):
        status = os.stat(path)
        # a bind mount, as in the service's sandbox, holds on to a directory that was removed
        if stat.S_ISDIR(status.st_mode) and status.st_nlink > 0:
            return status.st_dev, status.st_ino
    return None


def read_mounts(mountinfo: Path = Path("/proc/self/mountinfo")) -> list[Mount]:
    """Return all mounts in the order of their table; none where it is hidden."""
    text = os.fsdecode(mountinfo.read_bytes()) if os.access(mountinfo, os.R_OK) else ""
    rows = (line.split(" ") for line in text.split("\n") if line)
    unescaped = partial(re.sub, r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)))
    return [Mount(unescaped(row[4]), row[row.index("-") + 1], row[2], unescaped(row[3])) for row in rows]


def mounts_of(directory: str, mounts: Sequence[Mount]) -> tuple[Mount, ...]:
    """Return the mount that a directory lies on, then those below it.

    Paths decide: the device that stat(2) reports is not the mount's on btrfs.
    """
    here = os.path.join(os.path.realpath(directory), "")
    above = [mount for mount in mounts if here.startswith(os.path.join(mount.path, ""))]
    # of two at one place the later one covers the earlier
    own = max(reversed(above), key=lambda mount: len(mount.path), default=Mount(here, UNKNOWN, ""))
    return (own, *(mount for mount in mounts if mount.path.startswith(here) and mount not in above))
