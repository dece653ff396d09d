"""Saving a cache: everything is staged under hidden names, then renamed into place under the cache's lock."""

from __future__ import annotations

import errno
import stat
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from lib.cache.staging import Stage, Writable, write_array
from lib.errors import SidecarError, Storage, Unsafe
from lib.files.lock import SetLock
from lib.files.reader import status_of, storage_error
from lib.files.replacing import Replacement, empty_in_place, replace_together, write_in_place
from lib.names import KINDS, METADATA_SUFFIX, SOURCE_SUFFIX, Kind, sidecar_name
from lib.render.page import Page
from lib.sync.inputs import metadata_of_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.cache.items import Array
    from lib.files.atomic import AtomicFile

_FULL_OR_FAULTY: Final = frozenset({errno.EIO, errno.ENOSPC, errno.EDQUOT})
_ORDER: Final[tuple[Kind, ...]] = ("full_texts", "completions")
_NO_SIDECARS: Final = "its sidecars were"


class Save:
    """One save of one cache into an open directory.

    ``check_stop`` raises in the middle of the work when the save is to stop; the old cache is as it was then.
    """

    def __init__(
        self,
        directory: int,
        stem: str,
        arrays: dict[Kind, Array],
        metadata: bytes,
        check_stop: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._stem = stem
        self._metadata_name = stem + METADATA_SUFFIX
        self._array_names = {kind: f"{stem}_{kind}{SOURCE_SUFFIX}" for kind in KINDS}
        self._arrays = arrays
        self._metadata = metadata
        self._check_stop = check_stop
        self._warnings: list[str] = []

    def run(self) -> list[str]:
        """Save all files; return a warning for each that could not be, when both arrays are saved.

        :raises SidecarError: an array cannot be written, and its cause is an ``OSError``.
        :raises OSError: it cannot be written in place either.
        """
        with self._lock() as lock:
            can_rename = lock.release()  # what cannot be removed cannot be renamed
        if not can_rename or not self._saved_by_renaming():
            self._warnings = []
            self._save_in_place()
        return self._warnings

    def _lock(self) -> SetLock:
        return SetLock(self._directory, self._stem, exclusive=True, check_stop=self._check_stop)

    def _saved_by_renaming(self) -> bool:
        """Stage and rename all files; False when the system does not allow it here."""
        try:
            with ExitStack() as stack:
                self._stage_and_rename(Stage(self._directory, stack, self._check_stop))
        except SidecarError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL_OR_FAULTY:
                raise
            return False
        return True

    def _stage_and_rename(self, stage: Stage) -> None:
        metadata = self._staged_metadata(stage)
        arrays = {
            kind: stage.file(self._array_names[kind], partial(write_array, self._arrays[kind]))
            for kind in _ORDER
        }
        replacements = [Replacement(self._metadata_name, metadata, needed=True)]
        for kind, array in arrays.items():
            replacements += self._staged_sidecars(stage, kind, array, metadata)
            replacements.append(Replacement(self._array_names[kind], array, needed=True))
        with self._lock():
            failures = replace_together(self._directory, replacements)
        for name, error in failures:
            self._warn(name, error)

    def _staged_metadata(self, stage: Stage) -> AtomicFile | None:
        try:
            there = status_of(self._directory, self._metadata_name)
            if there is not None and stat.S_ISDIR(there.st_mode):
                raise Unsafe("a directory has its name")
            return stage.file(self._metadata_name, self._write_metadata)
        except SidecarError as error:
            self._warn(self._metadata_name, error)
            return None

    def _staged_sidecars(
        self, stage: Stage, kind: Kind, array: AtomicFile, metadata: AtomicFile | None
    ) -> list[Replacement]:
        name, items = self._array_names[kind], self._arrays[kind]
        shown = None
        with suppress(SidecarError):
            shown = metadata_of_page(self._metadata)
        try:
            sidecars = stage.sidecars(items, array, metadata, Page(kind, shown, len(items), len(items)))
        except SidecarError as error:
            self._warn(name, error, _NO_SIDECARS)
            return []
        except (MemoryError, RecursionError) as error:
            self._warn(name, Storage(type(error).__name__), _NO_SIDECARS)
            return []
        return [Replacement(sidecar_name(name, fmt), file, needed=False) for fmt, file in sidecars.items()]

    def _save_in_place(self) -> None:
        """Write as numpy does, onto the files themselves; the completions have no bytes until the end."""
        with self._lock():
            empty_in_place(self._directory, self._array_names["completions"])
            try:
                write_in_place(self._directory, self._metadata_name, self._write_metadata)
            except OSError as error:
                self._warn(self._metadata_name, storage_error(error, "cannot be written"))
            for kind in _ORDER:
                name = self._array_names[kind]
                write_in_place(self._directory, name, partial(write_array, self._arrays[kind]))
                self._warn(name, Storage("the directory does not let files be renamed"), _NO_SIDECARS)

    def _write_metadata(self, file: Writable) -> None:
        file.write(self._metadata)

    def _warn(self, name: str, error: SidecarError, what: str = "it was") -> None:
        self._warnings.append(
            f"{name}: the texts are saved, but {what} not made: {error.reason}"
            if name
            else f"everything is saved, but may not survive a power cut: {error.reason}"
        )
