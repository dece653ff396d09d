"""Temporary files: their names, their removal, and the directories in which they could only pile up.

A live writer holds a lock (flock) on its temporary file; one without a lock was left by a crash, and is
litter.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from typing import TYPE_CHECKING, Final

from lib.errors import Storage
from lib.files.reader import close_quietly, status_of, storage_error, storage_errors
from lib.names import is_temporary

if TYPE_CHECKING:
    from collections.abc import Iterable

_EXCLUSIVE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_UNCHANGED: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_GET_FLAGS: Final = 0x80086601
_APPEND_ONLY: Final = 0x20
"""``FS_IOC_GETFLAGS`` and ``FS_APPEND_FL`` of linux/fs.h."""


def temporary_name(number: bytes = b"") -> str:
    """Return the hidden name of a number of 8 bytes, or a new one.

    Sweeps know such names: nothing of that name is a source, and litter is removed.
    """
    return f".generation-sidecars-{(number or os.urandom(8)).hex()}.tmp"


_PROBE: Final = temporary_name(bytes([0] * 8))
_LEFTOVER: Final = temporary_name(bytes([0] * 7 + [1]))


def make_temporary(directory: int, name: str, mode: int) -> int:
    """Make a file, and return its descriptor, open for writing.

    :raises Storage: it cannot be made, as there is a file of this name perhaps, or could never be renamed.
    """
    _check_append_only(directory)
    with storage_errors("no file can be made in its directory"):
        return os.open(name, _EXCLUSIVE, mode, dir_fd=directory)


def remove_temporary(directory: int, name: str) -> None:
    """Remove a temporary file; where no file can be removed, let it replace the last one that had to stay."""
    with contextlib.suppress(OSError):
        try:
            os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            pass
        except OSError:
            os.rename(name, _LEFTOVER, src_dir_fd=directory, dst_dir_fd=directory)


def open_to_lock(directory: int, name: str) -> int:
    """Open a file to lock it: for writing, as NFS wants for an exclusive lock, or else for reading."""
    try:
        return os.open(name, os.O_RDWR | _UNCHANGED, dir_fd=directory)
    except PermissionError:
        return os.open(name, os.O_RDONLY | _UNCHANGED, dir_fd=directory)


def check_renaming(directory: int) -> None:
    """Refuse a directory in which files can be made but not renamed: each attempt could leave one there.

    :raises Storage: no file in it can be made, or renamed.  One hidden file may stay, however often it is
        tried.
    """
    try:
        close_quietly(make_temporary(directory, _PROBE, 0o600))
    except Storage as error:
        if not isinstance(error.__cause__, FileExistsError):
            raise
        there = status_of(directory, _PROBE)
        if there is not None and not stat.S_ISREG(there.st_mode):  # not ours
            return
    renamed = temporary_name()
    try:
        os.rename(_PROBE, renamed, src_dir_fd=directory, dst_dir_fd=directory)
    except FileNotFoundError:  # another process tries the same
        return
    except OSError as error:
        remove_temporary(directory, _PROBE)
        raise storage_error(error, "no file in its directory can be renamed") from error
    remove_temporary(directory, renamed)


def remove_litter(directory: int, names: Iterable[str]) -> int:
    """Remove the temporary files among ``names`` that no live writer holds; return how many went."""
    return sum(_remove_abandoned(directory, name) for name in names if is_temporary(name))


def _check_append_only(directory: int) -> None:
    flags = bytearray(8)
    try:
        fcntl.ioctl(directory, _GET_FLAGS, flags)
    except OSError:  # not every file system has flags
        return
    if flags[0] & _APPEND_ONLY:
        raise Storage(
            "its directory is append-only: no file in it can be renamed",
            hint="Take the attribute away (chattr -a), or leave this tree out.",
        )


def _remove_abandoned(directory: int, name: str) -> bool:
    with contextlib.suppress(OSError):
        if stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            descriptor = open_to_lock(directory, name)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(name, dir_fd=directory)
            finally:
                os.close(descriptor)
            return True
    return False
