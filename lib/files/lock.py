"""The lock by which savers and loaders of one cache agree: a hidden file that its holder removes.

A waiting process may hold a lock on a file that its last holder has removed meanwhile, so it checks, once it
has the lock, that the file still has its name.  The name is one that sweeps know, so they remove the file of
a killed process.  Where there are no locks, the process that made the file is its holder.
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

from lib.files.atomic import ANY_NEW_FILE
from lib.files.reader import close_quietly, status_of
from lib.files.temporary import open_to_lock, temporary_name

if TYPE_CHECKING:
    from collections.abc import Callable

_FLAGS: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOT_NOW: Final = frozenset({errno.EWOULDBLOCK, errno.EACCES, errno.ENOENT, errno.ESTALE})
_PAUSE_SECONDS: Final = 0.005
_TRIES: Final = 4000
"""A holder keeps the lock for milliseconds; after 20 s it hangs or is dead, and a saver takes over."""


class SetLock:
    """The lock of one cache, shared by loaders or exclusive for a saver; use it in a ``with`` statement.

    ``is_held`` is False where the lock cannot be made or opened, after 20 s of waiting, and for a loader
    while there is no saver, or no lock.
    """

    def __init__(
        self,
        directory: int,
        stem: str,
        *,
        exclusive: bool,
        check_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._directory = directory
        self._name = temporary_name(hashlib.blake2b(os.fsencode(stem), digest_size=8).digest())
        self._exclusive = exclusive
        self._check_stop = check_stop
        self._descriptor = -1

    @property
    def is_held(self) -> bool:
        """Tell whether no other process can hold it."""
        return self._descriptor >= 0

    def exists(self) -> bool:
        """Tell whether its file is there: another process holds it, or was killed."""
        return status_of(self._directory, self._name) is not None

    def __enter__(self) -> SetLock:  # noqa: PYI034 -- typing.Self is newer than Python 3.10
        for _ in range(_TRIES):
            if self._attempt():
                return self
            self._check_stop()
            time.sleep(_PAUSE_SECONDS)
        if self._exclusive:  # its holder hangs, or was killed where there are no locks
            with contextlib.suppress(OSError):
                os.unlink(self._name, dir_fd=self._directory)
            self._attempt()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> bool:
        """Give it back; a saver removes its file.  False when the directory does not let files be removed."""
        if self._descriptor < 0:
            return True
        descriptor, self._descriptor = self._descriptor, -1
        removed = False
        try:
            removed = not self._exclusive or self._removed()
        finally:
            try:
                with contextlib.suppress(OSError):  # a child process may have inherited the descriptor
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
            finally:
                close_quietly(descriptor)
            if not removed:  # some mounts rename an open file that is removed, and others rename none
                self._removed()
        return removed

    def _removed(self) -> bool:
        try:
            os.unlink(self._name, dir_fd=self._directory)
        except OSError as error:
            return error.errno == errno.ENOENT
        return True

    def _attempt(self) -> bool:
        """Try once; False when it is worth trying again."""
        try:
            descriptor, is_new = self._open()
        except FileNotFoundError:  # removed meanwhile; a loader needs no lock then
            return not self._exclusive
        except OSError:
            return True
        try:
            if self._locked(descriptor, is_new=is_new):
                self._descriptor, descriptor = descriptor, -1
                return True
        except OSError as error:
            return not self._exclusive and error.errno not in _NOT_NOW
        except BaseException:
            if is_new:
                self._removed()
            raise
        finally:
            if descriptor >= 0:
                close_quietly(descriptor)
        return False

    def _locked(self, descriptor: int, *, is_new: bool) -> bool:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if self._exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NOT_NOW or not is_new:
                raise
        mine = os.fstat(descriptor)
        named = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
        return stat.S_ISREG(mine.st_mode) and os.path.samestat(mine, named)

    def _open(self) -> tuple[int, bool]:
        """Return a descriptor, and whether the file was made now."""
        if not self._exclusive:
            return os.open(self._name, os.O_RDONLY | _FLAGS, dir_fd=self._directory), False
        with contextlib.suppress(FileExistsError):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS
            return os.open(self._name, flags, ANY_NEW_FILE, dir_fd=self._directory), True
        return open_to_lock(self._directory, self._name), False
