"""The writing edge: files are written here, and get their names here.

Every file is written under a hidden temporary name in its own directory, flushed to disk and renamed into
place, so that a reader sees the whole old file, the whole new one, or none: at every instant, after ``kill
-9``, after a power cut.  Of several files, all are sealed, then all flushed, then all renamed: flushing the
first takes most of the others along.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Final

from lib.errors import Passing
from lib.files.permissions import copy_permissions, narrowed_to_any_group
from lib.files.reader import (
    FileBytes,
    advise,
    close_quietly,
    same_version,
    status_of,
    storage_error,
    storage_errors,
    where_offered,
)
from lib.files.temporary import check_append_only, make_held, remove_temporary, temporary_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ATTEMPTS: Final = 100
_LARGE_BYTES: Final = 16 << 20
"""A sidecar this large leaves the page cache once it is on disk: training jobs need the room more."""
_PRIVATE: Final = 0o600
ANY_NEW_FILE: Final = 0o666
"""The mode that numpy asks for: the kernel narrows it by the umask, or by the directory's default list."""


class AtomicFile:
    """A hidden file that gets its name when it is complete: write, :meth:`seal`, then :meth:`publish`.

    :meth:`discard` removes it if it has none.  ``mode`` is the mode that it is created with;
    ``check_stop`` raises when no more is to be written.
    """

    def __init__(
        self, directory: int, mode: int = _PRIVATE, check_stop: Callable[[], None] = lambda: None
    ) -> None:
        self._directory = directory
        self._check_stop = check_stop
        self.size = 0
        self._unsent = 0
        self._is_flushed = False
        self.name, self._descriptor = _create(directory, mode)

    def write(self, data: bytes) -> None:
        """Append bytes.

        :raises Storage: the disk is full or faulty; the file can only be discarded.
        """
        self._check_stop()
        view = memoryview(data).cast("B")
        with storage_errors("cannot be written"):
            while view:
                view = view[os.write(self._descriptor, view) :]
        self.size += len(data)
        self._unsent += len(data)
        if self._unsent >= _LARGE_BYTES:
            self._send()

    def _send(self) -> None:
        """Start writing to the disk, and drop what is on it already from the page cache."""
        advise(self._descriptor, os.POSIX_FADV_DONTNEED)
        self._unsent = 0

    def as_source(self) -> FileBytes:
        """Return it as an open file, to be read or to have its permissions copied."""
        return FileBytes(self._descriptor)

    def seal(self, inputs: Sequence[FileBytes], stamp_ns: int | None) -> None:
        """Copy the permissions and owner of the first input, if any; set the modification time, if any.

        Only users who can read all inputs can read the file.  A mount without permissions or times keeps its
        own, unless that lets more people read the file than its first input.

        :raises Storage: the system refuses.
        """
        with storage_errors("cannot be written"):
            if inputs:
                has_group = os.fstat(self._descriptor).st_gid == inputs[0].status.st_gid
                mode = copy_permissions(self._descriptor, inputs)
                if mode & ~os.fstat(self._descriptor).st_mode:
                    self._make_again(mode if has_group else narrowed_to_any_group(mode))
                    copy_permissions(self._descriptor, inputs)
            if stamp_ns is not None:
                with where_offered():
                    os.utime(self._descriptor, ns=(stamp_ns, stamp_ns))
        self._send()

    def _make_again(self, mode: int) -> None:
        """Copy the file to a new one: some mounts set permissions only when a file is created."""
        old = self.name, self._descriptor
        self.name, self._descriptor = _create(self._directory, mode)
        try:
            offset = 0
            while sent := os.sendfile(self._descriptor, old[1], offset, _LARGE_BYTES):
                offset += sent
        finally:
            _remove(self._directory, *old)

    def flush(self) -> None:
        """Wait until the file is on disk, where the mount offers that; may be called twice.

        :raises Storage: the disk is full or faulty, which it reports once; the file can only be discarded.
        """
        if not self._is_flushed:
            with storage_errors("cannot be written"):
                flush_file(self._descriptor)
            self._is_flushed = True
            if self.size >= _LARGE_BYTES:
                self._send()

    def publish(self, name: str) -> None:
        """Flush the file and rename it to ``name``, replacing any file of that name.

        :raises Storage: the system refuses (a directory of that name, no permission), or the disk does.
        """
        self.flush()
        with storage_errors("cannot be renamed into place"):
            _rename(self._directory, self.name, name)
        descriptor, self._descriptor = self._descriptor, -1
        close_quietly(descriptor)

    def discard(self) -> None:
        """Remove the file unless it has its name; may be called twice."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        _remove(self._directory, self.name, descriptor)


def _remove(directory: int, name: str, descriptor: int) -> None:
    """Close a temporary file, then remove it: some mounts rename an open file that is removed."""
    close_quietly(descriptor)
    remove_temporary(directory, name)


def flush_file(descriptor: int) -> None:
    """Wait until an open file is on disk, where the mount offers that.

    :raises OSError: the disk is full or faulty.
    """
    with where_offered():
        os.fsync(descriptor)


def _rename(directory: int, old: str, new: str) -> None:
    try:
        os.rename(old, new, src_dir_fd=directory, dst_dir_fd=directory)
    except FileExistsError:  # a mount that renames, but never onto a file
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new, dir_fd=directory)
        os.rename(old, new, src_dir_fd=directory, dst_dir_fd=directory)


def flush_directory(directory: int) -> None:
    """Make the renames in a directory durable, where the mount offers that.

    :raises Storage: the disk is faulty.
    """
    try:
        flush_file(directory)
    except OSError as error:
        if error.errno == errno.EBADF:  # opened without the right to list it (O_PATH)
            return
        raise storage_error(error, "the directory cannot be flushed") from error


def set_stamp(file: FileBytes, stamp_ns: int) -> None:
    """Adopt a sidecar: give it the stamp as its time, unless it was written since it was opened.

    :raises Storage: the system refuses (the file is another user's).
    """
    with storage_errors("its time cannot be set"):
        if not file.has_changed():
            os.utime(file.descriptor, ns=(stamp_ns, stamp_ns))


def narrow(file: FileBytes, seen: os.stat_result, inputs: Sequence[FileBytes]) -> None:
    """Give a sidecar the permissions of a new one, if it is still the file that was looked at.

    ``inputs`` are what it shows, the source first.

    :raises Storage: the system refuses (the file is another user's).
    """
    with storage_errors("its permissions cannot be narrowed"):
        if same_version(os.fstat(file.descriptor), seen):
            copy_permissions(file.descriptor, inputs)


def remove_file(directory: int, name: str, seen: os.stat_result) -> None:
    """Remove a file, if it is still the one that was looked at; one that cannot be removed stays."""
    if same_version(status_of(directory, name), seen):
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=directory)


def make_directories(path: str) -> None:
    """Create a directory and its parents; one that exists is fine.

    :raises Storage: the system refuses.
    """
    with storage_errors("the directory cannot be made"):
        os.makedirs(path, exist_ok=True)


def _create(directory: int, mode: int) -> tuple[str, int]:
    check_append_only(directory)
    with storage_errors("no file can be made in its directory"):
        for _ in range(_ATTEMPTS):
            name = temporary_name()
            descriptor = make_held(directory, name, mode)
            if descriptor is not None:
                return name, descriptor
    raise Passing(
        "each temporary file in its directory is removed at once", hint="Look for a program that does that."
    )
