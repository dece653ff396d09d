"""Replacing files that belong together: all or none; and writing in place where nothing can be renamed."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from lib.errors import SidecarError
from lib.files.atomic import ANY_NEW_FILE, AtomicFile, flush_directory, flush_file
from lib.files.reader import close_quietly, storage_error
from lib.files.temporary import hold, remove_temporary, temporary_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Replacement:
    """A sealed file and its name to be; without a file, an older one of that name is removed.

    ``needed``: the others may not be replaced without it.
    """

    name: str
    file: AtomicFile | None
    needed: bool


def replace_together(directory: int, replacements: Sequence[Replacement]) -> list[tuple[str, SidecarError]]:
    """Rename files into place in their order.  Between the first and the last, the last name has no file.

    So a reader who opens the last one first, then the others, never sees files of two sets.  Returns the
    names of those not needed that failed (the directory's flush as ""), with the reason.

    :raises SidecarError: one that is needed cannot be replaced; all that are needed are as they were.
    """
    with ExitStack() as backups, ExitStack() as undo:
        is_old = _back_up(directory, replacements[-1].name, backups, undo, move=True)
        failed = _flushed(directory) if is_old else []
        for replacement in replacements[:-1]:
            if replacement.needed:
                _back_up(directory, replacement.name, backups, undo, move=replacement.file is None)
            failed += _replaced(replacement)
        failed += _flushed(directory)
        failed += _replaced(replacements[-1])
        undo.pop_all()
    return failed + _flushed(directory)


def _replaced(replacement: Replacement) -> list[tuple[str, SidecarError]]:
    try:
        if replacement.file is not None:
            replacement.file.publish(replacement.name)
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


def _back_up(directory: int, name: str, backups: ExitStack, undo: ExitStack, *, move: bool) -> bool:
    """Give a file a second, hidden name, or another one (``move``); return whether there is a file.

    ``backups`` removes the hidden name at the end, and ``undo`` before that gives the file its name again,
    or removes what has it when there was no file.

    :raises Storage: the directory does not let it be renamed.
    """
    hidden = temporary_name()
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):  # it stays, as no file can be renamed onto it
            return False
        with suppress(OSError):  # what cannot be read, or locked, can be renamed all the same
            # a sweep would take a hidden name without a lock for litter
            backups.callback(close_quietly, hold(directory, name, fcntl.LOCK_SH))
        backups.callback(remove_temporary, directory, hidden)
        undo.callback(_restore, directory, hidden, name)
        if not move:
            with suppress(OSError):
                os.link(name, hidden, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
                return True
        os.rename(name, hidden, src_dir_fd=directory, dst_dir_fd=directory)
    except FileNotFoundError:
        undo.callback(remove_temporary, directory, name)
        return False
    except OSError as error:
        raise storage_error(error, "cannot be replaced") from error
    return True


def _restore(directory: int, hidden: str, name: str) -> None:
    with suppress(OSError):
        os.rename(hidden, name, src_dir_fd=directory, dst_dir_fd=directory)


def check_in_place(directory: int, name: str) -> None:
    """Check that a file may be written in place; one that is missing is made, without bytes.

    :raises OSError: the system refuses.
    """
    os.close(_open_in_place(directory, name))


def write_in_place(directory: int, name: str, write: Callable[[BinaryIO], object]) -> None:
    """Write a file as ``open(name, "wb")`` does, following links: where nothing can be renamed.

    :raises OSError: the system refuses; an older file is cut short.
    """
    descriptor = _open_in_place(directory, name, os.O_TRUNC)
    with os.fdopen(descriptor, "wb") as file:
        write(file)
        file.flush()
        flush_file(descriptor)


def _open_in_place(directory: int, name: str, flags: int = 0) -> int:
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, ANY_NEW_FILE, dir_fd=directory)
