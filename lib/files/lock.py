"""The lock by which savers and loaders of one cache agree: a hidden file that its holder removes.

A waiting process may hold a lock on a file that its last holder has removed meanwhile, so it checks, once it
has the lock, that the file still has its name.  The name is one that sweeps know, so they remove the file of
a killed process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import time
from typing import TYPE_CHECKING, Final

from lib.errors import Interrupted
from lib.files.reader import status_of

if TYPE_CHECKING:
    from collections.abc import Callable

_FLAGS: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOT_NOW: Final = frozenset({errno.EWOULDBLOCK, errno.EACCES, errno.ENOENT, errno.ESTALE})
_ANY_NEW_FILE: Final = 0o666
WAIT_SECONDS: Final = 60.0
"""A holder keeps the lock for milliseconds; after this long it hangs, and the others go on without it."""
_PAUSE_SECONDS: Final = 0.005


def lock_name(stem: str) -> str:
    """Name the lock of a cache after its stem."""
    return f".generation-sidecars-{hashlib.blake2b(os.fsencode(stem), digest_size=8).hexdigest()}.tmp"


def never() -> bool:
    """Tell that nobody asks to stop."""
    return False


def has_locks(descriptor: int) -> bool:
    """Tell whether an open file can be locked where it is."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except OSError as error:
        return error.errno in _NOT_NOW
    return True


class SetLock:
    """The lock of one cache, shared by loaders or exclusive for a saver; use it in a ``with`` statement.

    ``is_held`` is False where there are no locks, where the lock cannot be made or opened, after a minute of
    waiting, and for a loader while there is no saver.
    """

    def __init__(
        self,
        directory: int,
        stem: str,
        *,
        exclusive: bool,
        stopped: Callable[[], bool] = never,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._directory = directory
        self._name = lock_name(stem)
        self._exclusive = exclusive
        self._stopped = stopped
        self._tries = max(1, int(wait_seconds / _PAUSE_SECONDS))
        self._descriptor = -1

    @property
    def is_held(self) -> bool:
        """Tell whether no other process can hold it."""
        return self._descriptor >= 0

    def exists(self) -> bool:
        """Tell whether its file is there: another process holds it, or was killed."""
        return status_of(self._directory, self._name) is not None

    def __enter__(self) -> SetLock:  # noqa: PYI034 -- typing.Self is newer than Python 3.10
        for _ in range(self._tries):
            if self._attempt():
                break
            if self._stopped():
                raise Interrupted("the save was stopped")
            time.sleep(_PAUSE_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> bool:
        """Give it back; a saver removes its file.  False when the directory does not let files be removed."""
        if self._descriptor < 0:
            return True
        removed = True
        if self._exclusive:
            try:
                os.unlink(self._name, dir_fd=self._directory)
            except FileNotFoundError:
                pass
            except OSError:
                removed = False
        descriptor, self._descriptor = self._descriptor, -1
        with contextlib.suppress(OSError):  # a child process may have inherited the descriptor
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)
        return removed

    def _attempt(self) -> bool:
        """Try once; False when it is worth trying again."""
        try:
            descriptor = self._open()
        except FileNotFoundError:  # removed between two looks; for a loader: nobody saves
            return not self._exclusive
        except OSError:
            return True
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if self._exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            mine = os.fstat(descriptor)
            named = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
            if stat.S_ISREG(mine.st_mode) and os.path.samestat(mine, named):
                self._descriptor, descriptor = descriptor, -1
                return True
        except OSError as error:
            return self._is_hopeless(error)
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        return False

    def _open(self) -> int:
        if not self._exclusive:
            return os.open(self._name, os.O_RDONLY | _FLAGS, dir_fd=self._directory)
        with contextlib.suppress(FileExistsError):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS
            return os.open(self._name, flags, _ANY_NEW_FILE, dir_fd=self._directory)
        try:  # NFS wants a writable descriptor for an exclusive lock
            return os.open(self._name, os.O_RDWR | _FLAGS, dir_fd=self._directory)
        except PermissionError:
            return os.open(self._name, os.O_RDONLY | _FLAGS, dir_fd=self._directory)

    def _is_hopeless(self, error: OSError) -> bool:
        """Tell a file system without locks from a lock that another process holds, or has just removed."""
        if error.errno in _NOT_NOW:
            return False
        if self._exclusive:
            with contextlib.suppress(OSError):
                os.unlink(self._name, dir_fd=self._directory)
        return True
