"""The directories that are watched: which one stands at a root's path right now, and the lock on it."""

from __future__ import annotations

import fcntl
import os
import stat

from lib.files.atomic import make_directories


class Root:
    """One root.  :meth:`look` says whether another directory stands at its path than before."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.identity: tuple[int, int] | None = None
        self._looked = False
        self._lock = -1

    def look(self) -> bool:
        """Look at the path; True when what is there changed (came, went, was replaced), and at first."""
        try:
            status = os.stat(self.path)
            # a bind mount, as in the service's sandbox, holds on to a directory that was removed
            is_there = stat.S_ISDIR(status.st_mode) and status.st_nlink > 0
            now = (status.st_dev, status.st_ino) if is_there else None
        except OSError:
            now = None
        changed = now != self.identity or not self._looked
        self.identity, self._looked = now, True
        return changed

    @property
    def is_there(self) -> bool:
        """Tell whether the root was there when last looked at."""
        return self.identity is not None

    def make(self) -> None:
        """Create the directory.

        :raises Storage: the system refuses.
        """
        make_directories(self.path)

    def lock(self) -> bool:
        """Lock the directory against a second service; False when another one holds it.

        The lock (flock on the directory itself) leaves no file, and ends with the process.
        """
        self.unlock()
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return True  # not there (any more): nothing to share
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:
            pass  # a file system without locks on directories: sidecars are whole with two services as well
        self._lock = descriptor
        return True

    def unlock(self) -> None:
        """Release the lock; may be called twice."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def parts_of(self, path: str) -> tuple[str, ...] | None:
        """Split a path below this root into names; None when it is not below it.

        Names only, no file: not even the working directory, which may be gone.
        """
        here, root = os.path.normpath(path), os.path.normpath(self.path)
        if here == root:
            return ()
        base = "" if root == os.curdir else os.path.join(root, "")
        parts = tuple(here[len(base) :].split(os.sep))
        is_below = here.startswith(base) and parts[0] not in {"", os.pardir}
        return parts if is_below else None
