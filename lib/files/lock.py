"""The lock by which savers and loaders of one cache agree: a hidden file that a saver makes and removes.

Where there are no locks, the process that made the file is the one that holds it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from lib.files.atomic import ANY_NEW_FILE
from lib.files.reader import close_quietly, status_of
from lib.files.temporary import hold, make_held, temporary_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NOT_OPENED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP})
_PAUSE_SECONDS: Final = 0.005
_TRIES: Final = 4000
"""A holder keeps the lock for milliseconds; after 20 s it hangs or is dead, and a saver takes over."""


class SetLock:
    """The lock of one cache: loaders hold it together, a saver holds it alone.

    ``stays``: the directory did not let the last saver remove its file.
    """

    def __init__(self, directory: int, stem: str) -> None:
        self._directory = directory
        # sweeps know the name as a temporary file's, so they remove what a killed saver left
        self._name = temporary_name(hashlib.blake2b(os.fsencode(stem), digest_size=8).digest())
        self.stays = False

    def exists(self) -> bool:
        """Tell whether its file is there: a saver holds it, or was killed."""
        return status_of(self._directory, self._name) is not None

    @contextmanager
    def for_loader(self) -> Iterator[bool]:
        """Share the lock with other loaders; yield whether it is held.

        It is not held while there is no saver, where there are no locks, and after 20 s of waiting.
        """
        with ExitStack() as held:
            yield _retried(lambda: self._share(held)) is True

    @contextmanager
    def for_saver(self, check_stop: Callable[[], None]) -> Iterator[None]:
        """Hold the lock alone, unless its file can be neither made nor opened.

        ``check_stop`` raises when a save that waits for the lock is to stop.
        """
        with ExitStack() as held:
            if _retried(lambda: self._own(held), check_stop) is None:
                self._removed()  # the holder hangs, or was killed where there are no locks
                self._own(held)
            yield

    def _share(self, held: ExitStack) -> bool | None:
        """Try once to hold the lock as a loader; return None when it is worth trying again."""
        try:
            descriptor = hold(self._directory, self._name, fcntl.LOCK_SH)
        except BlockingIOError:
            return None
        except OSError:
            return False
        held.callback(_release, descriptor)
        return True

    def _own(self, held: ExitStack) -> bool | None:
        """Try once to hold the lock as a saver; return None when it is worth trying again."""
        try:
            descriptor = make_held(self._directory, self._name, ANY_NEW_FILE)
        except FileExistsError:
            descriptor = None
        except OSError:
            return False
        try:
            if descriptor is None:  # another process made it
                descriptor = hold(self._directory, self._name, fcntl.LOCK_EX)
        except OSError as error:
            return False if error.errno in _NOT_OPENED else None
        held.callback(self._give_back, descriptor)
        return True

    def _give_back(self, descriptor: int) -> None:
        """Remove the file, then release it, so that a process that waits for it finds it without its name."""
        self.stays = True
        try:
            self.stays = not self._removed()
        finally:
            _release(descriptor)
        if self.stays:  # some mounts do not remove an open file
            self._removed()

    def _removed(self) -> bool:
        try:
            os.unlink(self._name, dir_fd=self._directory)
        except OSError as error:
            return error.errno == errno.ENOENT
        return True


def _retried(
    attempt: Callable[[], bool | None], check_stop: Callable[[], None] = lambda: None
) -> bool | None:
    """Try until an attempt tells whether the lock is held; return None after 20 s."""
    for _ in range(_TRIES):
        is_held = attempt()
        if is_held is not None:
            return is_held
        check_stop()
        time.sleep(_PAUSE_SECONDS)
    return None


def _release(descriptor: int) -> None:
    try:
        with suppress(OSError):  # a child process may have inherited the descriptor
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        close_quietly(descriptor)
