"""The directories that are watched: which one is at a root's path right now, and the lock on it."""

from __future__ import annotations

import fcntl
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from lib.files.atomic import make_directories

if TYPE_CHECKING:
    from collections.abc import Iterable


class Lock(NamedTuple):
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
        """Tell whether the last look found the root, and no other service on it."""
        return self.identity is not None and not self.is_taken

    def look(self, others: Iterable[Root] = ()) -> None:
        """Look at the path.

        A lock is kept while the directory is the same, taken over from one of ``others`` that holds it, and
        tried again while another service does.  It (flock on the directory itself) leaves no file, and ends
        with the process.
        """
        self.identity = _directory_at(self.path)
        if self.identity is None:
            self.unlock()
        elif self.lock is None or self.identity != self.lock.identity:
            for other in others:
                if other.lock is not None and other.lock.identity == self.identity:
                    self._hold(other.lock)
                    other.lock = None
                    return
            self._take_lock()

    def make(self) -> None:
        """Create the directory.

        :raises Storage: the system refuses.
        """
        make_directories(self.path)

    def unlock(self) -> None:
        """Release the lock; may be called twice."""
        self._hold(None)

    def overlap(self, others: Iterable[Root]) -> str:
        """Return which of the other roots is the same directory or contains it, through links too, else "".

        The check of the configuration compares names alone.
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

        By name alone: the working directory may have been deleted.
        """
        here, root = os.path.normpath(path), os.path.normpath(self.path)
        if here == root:
            return ()
        base = "" if root == os.curdir else os.path.join(root, "")
        parts = tuple(here[len(base) :].split(os.sep))
        is_below = here.startswith(base) and parts[0] not in {"", os.pardir}
        return parts if is_below else None

    def _take_lock(self) -> None:
        """Lock the directory at the path, then release the old lock."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:  # not readable, or gone since: nothing to lock
            self._hold(None)
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            self._hold(None, is_taken=True)
            return
        except OSError:
            pass  # NFS has no locks on directories; two services are harmless: every sidecar is whole
        status = os.fstat(descriptor)
        self.identity = status.st_dev, status.st_ino
        self._hold(Lock(descriptor, self.identity))

    def _hold(self, lock: Lock | None, *, is_taken: bool = False) -> None:
        """Put a lock in the place of the one that is held, which is released."""
        before, self.lock, self.is_taken = self.lock, lock, is_taken
        if before is not None:
            os.close(before.descriptor)


def _directory_at(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    # a bind mount, as in the service's sandbox, holds on to a directory that was removed
    is_there = stat.S_ISDIR(status.st_mode) and status.st_nlink > 0
    return (status.st_dev, status.st_ino) if is_there else None
