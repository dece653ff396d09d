"""The writing edge: the only module that creates, renames or removes files.

Every file is written under a hidden temporary name in its own directory, flushed to disk and renamed into
place, so that a reader sees the whole old file, the whole new one, or none: at every instant, after ``kill
-9``, after a power cut.  Of several files, all are sealed, then all flushed, then all renamed: flushing the
first takes most of the others along.  A live writer holds a lock (flock) on its temporary file; one without a
lock was left by a crash.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
from typing import TYPE_CHECKING, Any, Final

from lib.errors import Changed, Passing
from lib.files.permissions import take_after, take_defaults
from lib.files.reader import FileBytes, advise, same_version, status_of, storage_error
from lib.names import is_temporary

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lib.errors import SidecarError

_EXCLUSIVE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ATTEMPTS: Final = 100
_LARGE_BYTES: Final = 16 << 20
"""A sidecar this large leaves the page cache once it is on disk: training jobs need the room more."""


class Draft:
    """A file that nobody sees yet: :meth:`seal`, then :meth:`publish` or :meth:`discard`, one of the two."""

    def __init__(self, directory: int) -> None:
        self._directory = directory
        self._unsent = 0
        self._is_flushed = False
        self._lost: SidecarError | None = None
        self.name, self._descriptor = _create(directory)

    def write(self, data: bytes) -> None:
        """Append bytes.

        :raises Storage: the disk is full or faulty; the draft is of no more use.
        """
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise storage_error(error, "cannot be written") from error
        self._unsent += len(data)
        if self._unsent >= _LARGE_BYTES:
            self._send()

    def _send(self) -> None:
        """Have what was written so far begin its way to the disk, and what is there leave the page cache."""
        advise(self._descriptor, os.POSIX_FADV_DONTNEED)
        self._unsent = 0

    def file(self) -> Any:
        """Open the draft as a binary file object for a library that wants one (numpy)."""
        return os.fdopen(os.dup(self._descriptor), "wb")

    def as_source(self) -> FileBytes:
        """Return the draft as a file that others take after."""
        return FileBytes(self._descriptor)

    def seal(self, like: FileBytes | None, stamp_ns: int | None) -> None:
        """Give the draft a source's permissions and owner, and its stamp as modification time.

        Without a source to be ``like``, its permissions are those of any new file.

        :raises Storage: the system refuses.
        """
        try:
            if like is None:
                take_defaults(self._descriptor)
            else:
                take_after(self._descriptor, like)
            if stamp_ns is not None:
                os.utime(self._descriptor, ns=(stamp_ns, stamp_ns))
        except OSError as error:
            raise storage_error(error, "cannot be written") from error
        self._send()

    def flush(self) -> None:
        """Wait until the sealed draft is on disk; once is enough.

        :raises Storage: the disk is full or faulty.
        """
        if self._lost is not None:  # the system tells of a lost write only once
            raise self._lost
        if self._is_flushed:
            return
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            self._lost = storage_error(error, "cannot be written")
            raise self._lost from error
        self._is_flushed = True
        if os.fstat(self._descriptor).st_size >= _LARGE_BYTES:
            self._send()

    def publish(self, name: str, planned: os.stat_result | None) -> None:
        """Rename the sealed draft to ``name``, if that still is what it was when the work was planned.

        :raises Changed: somebody wrote the file meanwhile; theirs stays.
        :raises Storage: the system refuses.
        """
        now = status_of(self._directory, name)
        if (now is None) != (planned is None) or (now and planned and not same_version(now, planned)):
            raise Changed("somebody wrote the sidecar meanwhile")
        self.replace(name)

    def replace(self, name: str) -> None:
        """Rename the sealed draft to ``name``, whatever is there, once it is on disk.

        :raises Storage: the system refuses (a directory of that name, no permission), or the disk does.
        """
        self.flush()
        try:
            os.rename(self.name, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError as error:
            raise storage_error(error, "cannot be renamed into place") from error
        self._close()

    def discard(self) -> None:
        """Remove the draft unless it was published; may be called twice."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(OSError):
            os.unlink(self.name, dir_fd=self._directory)
        self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        with contextlib.suppress(OSError):
            os.close(descriptor)


def flush_directory(directory: int) -> None:
    """Make the renames in a directory durable.

    :raises Storage: the disk is faulty.
    """
    try:
        os.fsync(directory)
    except OSError as error:
        raise storage_error(error, "the directory cannot be flushed") from error


def set_stamp(directory: int, name: str, seen: os.stat_result, stamp_ns: int) -> None:
    """Adopt a sidecar: give it the stamp as its time, if it is still the file that was compared.

    :raises Storage: the system refuses (the file is another user's).
    """
    try:
        descriptor = os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory
        )
        try:
            if same_version(os.fstat(descriptor), seen):
                os.utime(descriptor, ns=(stamp_ns, stamp_ns))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise storage_error(error, "its time cannot be set") from error


def remove_file(directory: int, name: str, seen: os.stat_result) -> None:
    """Remove a file of ours, if it is still the one that was looked at; one that cannot be removed stays."""
    now = status_of(directory, name)
    if now is not None and same_version(now, seen):
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=directory)


def remove_litter(directory: int, names: Iterable[str]) -> int:
    """Remove the temporary files among ``names`` that no live writer holds; return how many went."""
    return sum(_remove_abandoned(directory, name) for name in names if is_temporary(name))


def make_directories(path: str) -> None:
    """Create a directory and its parents; one that exists is fine.

    :raises Storage: the system refuses.
    """
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise storage_error(error, "the directory cannot be made") from error


def _create(directory: int) -> tuple[str, int]:
    for _ in range(_ATTEMPTS):
        name = f".generation-sidecars-{secrets.token_hex(8)}.tmp"
        with contextlib.suppress(FileExistsError):
            try:
                descriptor = os.open(name, _EXCLUSIVE, 0o600, dir_fd=directory)
            except FileExistsError:
                raise
            except OSError as error:
                raise storage_error(error, "no file can be made in its directory") from error
            if _lock(descriptor):
                return name, descriptor
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=directory)
            os.close(descriptor)
    raise Passing(
        "no temporary name is free in its directory", hint="Look for thousands of .generation-sidecars files."
    )


def _lock(descriptor: int) -> bool:
    """Lock a new temporary file; False when a sweep took it for litter before, or nothing can be told."""
    with contextlib.suppress(OSError):  # a file system without locks has no sweeps that trust them
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    with contextlib.suppress(OSError):
        return os.fstat(descriptor).st_nlink > 0
    return False


def _remove_abandoned(directory: int, name: str) -> bool:
    try:
        descriptor = os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory
        )
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=directory)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
