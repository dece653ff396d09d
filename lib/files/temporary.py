"""Temporary files: their names, their locks, their removal, and directories in which they would pile up.

The process that works with a temporary file holds a lock (flock) on it; a file that nobody holds was left by
a crash, and is litter.  A file may be removed after it is opened and before it is locked, so a process that
has locked one checks that it still has its name.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

from lib.errors import Storage
from lib.files.reader import close_quietly, status_of, storage_error, storage_errors
from lib.names import is_temporary

if TYPE_CHECKING:
    from collections.abc import Iterable

_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
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


def make_held(directory: int, name: str, mode: int) -> int | None:
    """Make a file and hold it, for writing; return None when another process has held and removed it.

    Where there are no locks, nobody else can hold it.

    :raises OSError: it cannot be made, as there is a file of this name perhaps.
    """
    descriptor = os.open(name, _NEW, mode, dir_fd=directory)
    with ExitStack() as undo:
        undo.callback(close_quietly, descriptor)
        try:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _has_name(directory, name, descriptor):
                undo.pop_all()
                return descriptor
        except BaseException:
            remove_temporary(directory, name)
            raise
    return None


def hold(directory: int, name: str, operation: int) -> int:
    """Open a file that is there and lock it, without waiting; ``operation`` is flock's.

    :raises BlockingIOError: another process holds it.
    :raises FileNotFoundError: it is not there, or was removed before it was locked.
    :raises OSError: it cannot be opened or locked, or is no file.
    """
    # NFS wants a file that is open for writing for an exclusive lock
    access = os.O_RDWR if operation == fcntl.LOCK_EX else os.O_RDONLY
    try:
        descriptor = os.open(name, access | _OLD, dir_fd=directory)
    except PermissionError:
        descriptor = os.open(name, os.O_RDONLY | _OLD, dir_fd=directory)
    with ExitStack() as undo:
        undo.callback(close_quietly, descriptor)
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        if not _has_name(directory, name, descriptor):
            raise FileNotFoundError
        undo.pop_all()
    return descriptor


def _has_name(directory: int, name: str, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        named = os.stat(name, dir_fd=directory, follow_symlinks=False)
        return stat.S_ISREG(named.st_mode) and os.path.samestat(os.fstat(descriptor), named)
    return False


def remove_temporary(directory: int, name: str) -> None:
    """Remove a temporary file; where no file can be removed, let it replace the last one that had to stay."""
    with suppress(OSError):
        try:
            os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            pass
        except OSError:
            os.rename(name, _LEFTOVER, src_dir_fd=directory, dst_dir_fd=directory)


def remove_litter(directory: int, names: Iterable[str]) -> int:
    """Remove the temporary files among ``names`` that nobody holds; return how many were removed."""
    return sum(remove_abandoned(directory, name) for name in names if is_temporary(name))


def remove_abandoned(directory: int, name: str) -> bool:
    """Remove a file that nobody holds; return whether it was removed."""
    with suppress(OSError), ExitStack() as held:
        held.callback(close_quietly, hold(directory, name, fcntl.LOCK_EX))
        os.unlink(name, dir_fd=directory)
        return True
    return False


def check_renaming(directory: int) -> None:
    """Refuse a directory in which files can be made but not renamed: each attempt could leave one there.

    One hidden file may stay, however often it is tried.

    :raises Storage: no file in it can be made, or renamed.
    """
    check_append_only(directory)
    is_new = False
    with storage_errors("no file can be made in its directory"), suppress(FileExistsError):
        close_quietly(os.open(_PROBE, _NEW, 0o600, dir_fd=directory))
        is_new = True
    there = None if is_new else status_of(directory, _PROBE)
    if there is not None and not stat.S_ISREG(there.st_mode):  # somebody else's
        return
    renamed = temporary_name()
    try:
        os.rename(_PROBE, renamed, src_dir_fd=directory, dst_dir_fd=directory)
    except FileNotFoundError:  # another process tries the same
        pass
    except OSError as error:
        raise storage_error(error, "no file in its directory can be renamed") from error
    finally:
        for name in (_PROBE, renamed):
            remove_temporary(directory, name)


def check_append_only(directory: int) -> None:
    """Refuse a directory in which files can be made for ever, but none can be renamed or removed.

    :raises Storage: it is append-only.
    """
    flags = bytearray(8)
    with suppress(OSError):  # not every file system has flags
        fcntl.ioctl(directory, _GET_FLAGS, flags)
    if flags[0] & _APPEND_ONLY:
        raise Storage(
            "its directory is append-only: no file in it can be renamed",
            hint="Take the attribute away (chattr -a), or leave this tree out.",
        )
