"""Replacing files that belong together: all or none; and writing in place where nothing can be renamed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from lib.errors import SidecarError
from lib.files.atomic import (
    ANY_NEW_FILE,
    AtomicFile,
    flush_directory,
    flush_file,
)
from lib.files.reader import storage_error
from lib.files.temporary import remove_temporary, temporary_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_IN_PLACE: Final = os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Replacement:
    """A sealed file and the name that it is to get; without a file, what has the name is removed.

    ``needed``: the others may not be replaced without it.
    """

    name: str
    file: AtomicFile | None
    needed: bool


def replace_together(directory: int, replacements: Sequence[Replacement]) -> list[tuple[str, SidecarError]]:
    """Rename files into place in their order.  Between the first and the last, the last name has no file.

    So nobody who opens the last one, and after it the others, sees files of two sets.  Returns the names of
    those not needed that failed (the directory's flush as ""), with the reason.

    :raises SidecarError: one that is needed cannot be replaced; all that are needed are as they were.
    """
    with ExitStack() as stack:
        backups: list[Backup] = []
        try:
            _take(directory, replacements[-1].name, backups, stack, move=True)
            failed = _flushed(directory) if backups[0].is_taken else []
            for replacement in replacements[:-1]:
                if replacement.needed:
                    _take(directory, replacement.name, backups, stack, move=replacement.file is None)
                failed += _replaced(replacement)
            failed += _flushed(directory)
            failed += _replaced(replacements[-1])
        except BaseException:
            for backup in reversed(backups):
                backup.restore()
            raise
    return failed + _flushed(directory)


def _take(directory: int, name: str, backups: list[Backup], stack: ExitStack, *, move: bool) -> None:
    backup = Backup(directory, name)
    stack.callback(backup.discard)
    backups.append(backup)
    backup.take(move=move)


def _replaced(replacement: Replacement) -> list[tuple[str, SidecarError]]:
    try:
        if replacement.file is not None:
            replacement.file.replace(replacement.name)
    except SidecarError as error:
        if replacement.needed:
            raise
        return [(replacement.name, error)]
    return []


def _flushed(directory: int) -> list[tuple[str, SidecarError]]:
    try:
        flush_directory(directory)
    except SidecarError as error:
        return [("", error)]
    return []


class Backup:
    """A file that is being replaced, under a hidden name until all the others are replaced too."""

    def __init__(self, directory: int, name: str) -> None:
        self._directory = directory
        self._name = name
        self._kept = temporary_name()
        self._descriptor = -1
        self.is_taken = False
        self._is_absent = False

    def take(self, *, move: bool) -> None:
        """Give the file a second name, or another one; nothing happens when there is no file.

        :raises Storage: the directory does not let it be renamed.
        """
        try:
            status = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):  # it stays, as no file can be renamed onto it
                return
            self._lock()
            if move or not self._linked():
                os.rename(self._name, self._kept, src_dir_fd=self._directory, dst_dir_fd=self._directory)
            self.is_taken = True
        except FileNotFoundError:
            self._is_absent = True
        except OSError as error:
            raise storage_error(error, "cannot be replaced") from error

    def restore(self) -> None:
        """Give the file its name again; remove what has it when there was none."""
        with contextlib.suppress(OSError):
            if self.is_taken:
                os.rename(self._kept, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
            elif self._is_absent:
                os.unlink(self._name, dir_fd=self._directory)

    def discard(self) -> None:
        """Remove the hidden name."""
        descriptor, self._descriptor = self._descriptor, -1
        try:
            if self.is_taken:  # nothing has the name any more if it was restored
                remove_temporary(self._directory, self._kept)
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _lock(self) -> None:
        """Lock the file as a live writer's temporary file: a sweep would take it for litter."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self._name, flags, dir_fd=self._directory)
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            raise
        except OSError:  # what cannot be read, or locked, can be renamed all the same
            return

    def _linked(self) -> bool:
        try:
            os.link(
                self._name,
                self._kept,
                src_dir_fd=self._directory,
                dst_dir_fd=self._directory,
                follow_symlinks=False,
            )
        except FileNotFoundError:
            raise
        except OSError:
            return False
        return True


def write_in_place(directory: int, name: str, write: Callable[[BinaryIO], object]) -> None:
    """Write a file as ``open(name, "wb")`` does, following links: where nothing can be renamed.

    :raises OSError: the system refuses; an older file is cut short.
    """
    descriptor = os.open(name, _IN_PLACE | os.O_CREAT, ANY_NEW_FILE, dir_fd=directory)
    with os.fdopen(descriptor, "wb") as file:
        write(file)
        file.flush()
        flush_file(descriptor)


def empty_in_place(directory: int, name: str) -> None:
    """Cut a file to no bytes; one that is not there is fine.

    :raises OSError: the system refuses.
    """
    with contextlib.suppress(FileNotFoundError):
        os.close(os.open(name, _IN_PLACE, dir_fd=directory))
