"""The directories that are watched: which one stands at a root's path right now, and the lock on it."""

from __future__ import annotations

import fcntl
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.files.atomic import make_directories

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Lock:
    """A locked directory: its descriptor, and its device and inode."""

    descriptor: int
    identity: tuple[int, int]


class Root:
    """One root.  :meth:`look` finds the directory at its path and locks it against a second service.

    ``identity``: the directory's device and inode, or None.  ``is_taken``: another service holds its lock.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.identity: tuple[int, int] | None = None
        self.is_taken = False
        self.lock: Lock | None = None

    @property
    def is_usable(self) -> bool:
        """Tell whether the root was there, and not another service's, when last looked at."""
        return self.identity is not None and not self.is_taken

    def look(self, others: Iterable[Root] = ()) -> None:
        """Look at the path.

        A lock that is held is kept while the directory is the same; one that another service holds is tried
        again; one that one of ``others`` holds is taken over from it.  The lock (flock on the directory
        itself) leaves no file, and ends with the process.
        """
        self.identity = _directory_at(self.path)
        if self.identity is None:
            self.is_taken = False
            self.unlock()
        elif self.lock is None or self.identity != self.lock.identity:
            holder = next(
                (root for root in others if root.lock and root.lock.identity == self.identity), None
            )
            if holder is None:
                self.is_taken = not self._take_lock()
            else:
                self.unlock()
                self.lock, holder.lock, self.is_taken = holder.lock, None, False

    def make(self) -> None:
        """Create the directory.

        :raises Storage: the system refuses.
        """
        make_directories(self.path)

    def unlock(self) -> None:
        """Release the lock; may be called twice."""
        if self.lock is not None:
            os.close(self.lock.descriptor)
        self.lock = None

    def overlap(self, others: Iterable[Root]) -> str:
        """Say which of the other roots has the same directory or contains it, through links too; "" if none.

        Names alone are compared when the configuration is checked.
        """
        place, identity = os.path.realpath(self.path), _directory_at(self.path)
        for other in others:
            if other is self:
                continue
            if identity is not None and _directory_at(other.path) == identity:
                return f"{self.path} is the same directory as {other.path}"
            if place.startswith(os.path.join(os.path.realpath(other.path), "")):
                return f"{self.path} lies inside {other.path}"
        return ""

    def parts_of(self, path: str) -> tuple[str, ...] | None:
        """Split a path below this root into names; None when it is not below it.

        By name alone, without a look at any file: the working directory may be gone.
        """
        here, root = os.path.normpath(path), os.path.normpath(self.path)
        if here == root:
            return ()
        base = "" if root == os.curdir else os.path.join(root, "")
        parts = tuple(here[len(base) :].split(os.sep))
        is_below = here.startswith(base) and parts[0] not in {"", os.pardir}
        return parts if is_below else None

    def _take_lock(self) -> bool:
        """Lock the directory at the path, then release the old lock; False when another service has it."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:  # not readable, or gone since: nothing to lock
            self.unlock()
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            self.unlock()
            return False
        except OSError:
            pass  # no locks on directories here (NFS): sidecars are whole with two services as well
        status = os.fstat(descriptor)
        self.unlock()
        self.identity = status.st_dev, status.st_ino
        self.lock = Lock(descriptor, self.identity)
        return True


def _directory_at(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    # a bind mount, as in the service's sandbox, holds on to a directory that was removed
    is_there = stat.S_ISDIR(status.st_mode) and status.st_nlink > 0
    return (status.st_dev, status.st_ino) if is_there else None
