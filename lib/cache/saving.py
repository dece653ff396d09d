"""Saving a cache: everything is staged under hidden names, then renamed into place under the cache's lock."""

from __future__ import annotations

import errno
import stat
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Final

from lib.cache.staging import Stage, write_array
from lib.errors import Interrupted, SidecarError, Storage, Unsafe
from lib.files.lock import SetLock
from lib.files.reader import status_of, storage_error
from lib.files.replacing import Replacement, empty_in_place, replace_together, write_in_place
from lib.names import KINDS, METADATA_SUFFIX, SOURCE_SUFFIX, Kind, sidecar_name
from lib.render.page import Page
from lib.sync.inputs import parse_metadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.cache.items import Array
    from lib.files.atomic import AtomicFile

_FULL_OR_FAULTY: Final = frozenset({errno.EIO, errno.ENOSPC, errno.EDQUOT})
_ORDER: Final[tuple[Kind, ...]] = ("full_texts", "completions")
_PAGE_METADATA_LIMIT: Final = 16 << 20
_NOT_RENAMED: Final = "the directory does not let files be renamed"


class Save:
    """One save of one cache into an open directory."""

    def __init__(
        self,
        directory: int,
        stem: str,
        arrays: dict[Kind, Array],
        metadata: bytes,
        stopped: Callable[[], bool],
    ) -> None:
        self._directory = directory
        self._metadata_name = stem + METADATA_SUFFIX
        self._array_names = {kind: f"{stem}_{kind}{SOURCE_SUFFIX}" for kind in KINDS}
        self._stem = stem
        self._arrays = arrays
        self._metadata = metadata
        self._stopped = stopped
        self._warnings: list[str] = []

    def run(self) -> list[str]:
        """Save all files; return a warning for each that could not be, when both arrays are saved.

        :raises SidecarError: an array cannot be written, and its cause is an ``OSError``.
        :raises OSError: it cannot be written in place either.
        :raises Interrupted: the save was stopped; the old cache is as it was.
        """
        with self._lock() as lock:
            can_rename = lock.release()  # what cannot be removed cannot be renamed
        if can_rename and self._saved_by_renaming():
            return self._warnings
        self._warnings = []
        self._save_in_place()
        return self._warnings

    def _lock(self) -> SetLock:
        return SetLock(self._directory, self._stem, exclusive=True, stopped=self._stopped)

    def _saved_by_renaming(self) -> bool:
        """Stage and rename all files; False when the system does not allow it here."""
        try:
            with ExitStack() as stack:
                self._stage_and_rename(Stage(self._directory, stack, self._stopped))
        except Interrupted:
            raise
        except SidecarError as error:
            if _is_full_or_faulty(error):
                raise
            return False
        return True

    def _stage_and_rename(self, stage: Stage) -> None:
        metadata = self._staged_metadata(stage)
        arrays = {kind: stage.array(self._array_names[kind], self._arrays[kind]) for kind in _ORDER}
        replacements = [Replacement(self._metadata_name, metadata, needed=True)]
        for kind, array in arrays.items():
            replacements += self._staged_sidecars(stage, kind, array, metadata)
            replacements.append(Replacement(self._array_names[kind], array, needed=True))
        with self._lock():
            failures = replace_together(self._directory, replacements)
        self._warnings += [_warning(name, error) for name, error in failures]

    def _staged_metadata(self, stage: Stage) -> AtomicFile | None:
        try:
            there = status_of(self._directory, self._metadata_name)
            if there is not None and stat.S_ISDIR(there.st_mode):
                raise Unsafe("a directory has its name")
            return stage.data(self._metadata_name, self._metadata)
        except Interrupted:
            raise
        except SidecarError as error:
            self._warnings.append(_warning(self._metadata_name, error))
            return None

    def _staged_sidecars(
        self, stage: Stage, kind: Kind, array: AtomicFile, metadata: AtomicFile | None
    ) -> list[Replacement]:
        name = self._array_names[kind]
        count = len(self._arrays[kind])
        shown = parse_metadata(self._metadata) if len(self._metadata) <= _PAGE_METADATA_LIMIT else None
        try:
            sidecars = stage.sidecars(self._arrays[kind], array, metadata, Page(kind, shown, count, count))
        except Interrupted:
            raise
        except (SidecarError, MemoryError, RecursionError) as error:
            known = error if isinstance(error, SidecarError) else Storage(type(error).__name__)
            self._warnings.append(_warning(name, known, "its sidecars were"))
            return []
        return [
            Replacement(sidecar_name(name, fmt), sidecar, needed=False) for fmt, sidecar in sidecars.items()
        ]

    def _save_in_place(self) -> None:
        """Write as numpy does, onto the files themselves; the completions have no bytes until the end."""
        with self._lock():
            empty_in_place(self._directory, self._array_names["completions"])
            try:
                write_in_place(self._directory, self._metadata_name, lambda file: file.write(self._metadata))
            except OSError as error:
                self._warnings.append(
                    _warning(self._metadata_name, storage_error(error, "cannot be written"))
                )
            for kind in _ORDER:
                name, array = self._array_names[kind], self._arrays[kind]
                write_in_place(self._directory, name, partial(write_array, array))
                self._warnings.append(_warning(name, Storage(_NOT_RENAMED), "its sidecars were"))


def _is_full_or_faulty(error: SidecarError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL_OR_FAULTY


def _warning(name: str, error: SidecarError, what: str = "it was") -> str:
    if not name:
        return f"everything is saved, but may not survive a power cut: {error.reason}"
    return f"{name}: the texts are saved, but {what} not made: {error.reason}"
