"""The reading edge: directories and sources are opened here, by descriptor, and nowhere else.

No symbolic link is followed below a root: a directory is reached from its root's descriptor one name at a
time, so that a directory swapped for a link on the way leads nowhere.  A file is read, never mapped:
truncating a mapped file kills the process that reads it.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from lib.errors import Changed, SidecarError, Storage, Unsafe, Vanished

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# without O_NONBLOCK, opening a FIFO would wait for its writer for ever
_FILE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_GONE: Final = frozenset({errno.ENOENT, errno.ESTALE})
LOST: Final = frozenset({
    *_GONE, errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM, errno.EBADF, errno.ENXIO,
    errno.ENODEV, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EREMOTEIO,
})  # fmt: skip
"""What says that data or the file itself is lost, whatever was asked for."""
_HINTS: Final = {
    errno.EACCES: "Give the user that runs this read and write permission there.",
    errno.EPERM: "Give the user that runs this read and write permission there.",
    errno.EROFS: "The file system is mounted read-only; mount it read-write, or leave this tree out.",
    errno.ENOSPC: "The disk (or its inodes) is full; make room on it.",
    errno.EDQUOT: "The disk quota is used up; remove files, or have it raised.",
    errno.EIO: "The disk or the network file system reports a fault; look at the kernel's log.",
    errno.EEXIST: "A file, or a link to nothing, has its name; move it away.",
    errno.EMFILE: "Raise the limit on open files (ulimit -n).",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f); the file system may have one as well.",
    errno.ENFILE: "The machine has too many open files.",
    errno.ENAMETOOLONG: "The sidecar's name is too long for the file system; shorten the source's name.",
}
_TYPES: Final = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFREG: "a file",
}
_HINT: Final = "The operating system refuses; its log (dmesg) may say more."


class FileBytes:
    """An open regular file, as long as it was when it was opened.

    :raises Storage: the system refuses to look at it.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.status = self.current_status()

    @property
    def size(self) -> int:
        """Length in bytes when it was opened."""
        return self.status.st_size

    def has_changed(self) -> bool:
        """Tell whether it was written, or cut, since it was opened."""
        return not same_version(self.current_status(), self.status)

    def current_status(self) -> os.stat_result:
        """Look at it again."""
        with storage_errors("cannot be looked at"):
            return os.fstat(self.descriptor)

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``, reading on after a short read.

        :raises Storage: the system refuses.
        """
        try:
            data = os.pread(self.descriptor, length, offset)
            while data and len(data) < length and offset + len(data) < self.size:
                more = os.pread(self.descriptor, length - len(data), offset + len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise storage_error(error, "cannot be read") from error
        return data


def advise(descriptor: int, advice: int) -> None:
    """Spare the page cache of the jobs that this machine is for; advice that is not taken does no harm."""
    with suppress(OSError):
        os.posix_fadvise(descriptor, 0, 0, advice)


def close_quietly(descriptor: int) -> None:
    """Close a descriptor through which nothing was written, or whose file is on disk or given up."""
    with suppress(OSError):
        os.close(descriptor)


@contextmanager
def where_offered() -> Iterator[None]:
    """Do without what a mount does not offer (permissions, times, flushing).

    Mounts say it with any of a dozen errors: so what is known to mean a loss is an error, the rest is not.

    :raises OSError: the disk loses data.
    """
    try:
        yield
    except OSError as error:
        if error.errno in LOST:
            raise


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn the operating system's errors into a :class:`SidecarError`; ``what`` is "cannot be written", say.

    :raises SidecarError: the system refuses.
    """
    try:
        yield
    except OSError as error:
        raise storage_error(error, what) from error


def storage_error(error: OSError, what: str) -> SidecarError:
    """Turn a refusal of the operating system into one of our errors, with its reason and a way out."""
    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
        return Unsafe(
            f"{what}: a symbolic link or a file stands in the way", hint="Links are never followed."
        )
    words = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _GONE:
        return Vanished(f"{what}: {words}")
    return Storage(f"{what}: {words}", hint=_HINTS.get(error.errno or 0, _HINT))


@contextmanager
def open_directory(root: str, parts: Sequence[str] = (), *, is_listed: bool = True) -> Iterator[int]:
    """Open a directory below ``root``, following links on the way to the root but none below it.

    Yields its descriptor, closed at the end.  A root that is not to be listed may be one that can only be
    entered (mode ``-wx``).

    :raises Vanished: it is not there (any more).
    :raises Unsafe: a link or a file stands in the way.
    :raises Storage: the system refuses.
    """
    try:
        try:
            descriptor = os.open(root, _DIRECTORY)
        except PermissionError:
            if is_listed:
                raise
            descriptor = os.open(root, os.O_PATH | _DIRECTORY)
        for part in parts:
            above = descriptor
            try:
                descriptor = os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
            finally:
                close_quietly(above)
    except OSError as error:  # a sweep does this for every directory: quicker than `storage_errors`
        raise storage_error(error, "the directory cannot be opened") from error
    try:
        yield descriptor
    finally:
        close_quietly(descriptor)


@contextmanager
def open_file(directory: int, name: str, *, follow: bool = False) -> Iterator[FileBytes]:
    """Open one regular file for reading, never a device, FIFO or directory, and never waiting.

    A symbolic link is refused, unless it is to be followed.

    :raises Vanished: it is not there.
    :raises Unsafe: it is something else than a regular file.
    :raises Storage: the system refuses, to close it at the end perhaps.
    """
    with storage_errors("cannot be opened"):
        _check_regular(os.stat(name, dir_fd=directory, follow_symlinks=follow))
        descriptor = os.open(name, _FILE if follow else _FILE | os.O_NOFOLLOW, dir_fd=directory)
    try:
        file = FileBytes(descriptor)
        advise(descriptor, os.POSIX_FADV_NOREUSE)
        _check_regular(file.status)
        yield file
    finally:
        # a network file system may report a fault as late as this
        with storage_errors("cannot be closed"), where_offered():
            os.close(descriptor)


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        hint = "Move it out of the tree."
        if stat.S_ISLNK(status.st_mode):
            hint = "Links are never followed; remove it, or put the file itself in its place."
        raise Unsafe(f"it is {file_type(status.st_mode)}, not a file", hint=hint)


def status_of(directory: int, name: str, *, follow: bool = False) -> os.stat_result | None:
    """Look a name up, without following a link unless asked to; None when there is none.

    :raises Storage: the system refuses.
    """
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=follow)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(error, "cannot be looked up") from error


def same_version(one: os.stat_result | None, other: os.stat_result | None) -> bool:
    """Tell whether two looks saw no file, or the same one with the same content, as far as they can tell."""
    if one is None or other is None:
        return one is other
    return file_version(one) == file_version(other)


def file_version(status: os.stat_result) -> tuple[int, ...]:
    """Return what stays the same as long as a file and its content do, as far as a look can tell."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def check_same(directory: int, name: str, file: FileBytes, what: str = "it") -> None:
    """Check that a file, ``what`` in a sentence, is still the one that was opened, as it was.

    :raises Changed: it is not.
    """
    if not same_version(status_of(directory, name), file.status) or file.has_changed():
        raise Changed(f"{what} changed while it was read")


def file_type(mode: int) -> str:
    """Name what a path is, for a sentence."""
    return _TYPES.get(stat.S_IFMT(mode), "something unknown")
