"""Saving a cache: everything is staged under hidden names, then renamed into place under the cache's lock."""

from __future__ import annotations

import stat
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lib.errors import SidecarError, Storage, Unsafe
from lib.files.atomic import ANY_NEW_FILE, AtomicFile, remove_file
from lib.files.lock import SetLock
from lib.files.permissions import permission_bits
from lib.files.reader import LOST, open_file, status_of, storage_error
from lib.files.replacing import Replacement, check_in_place, replace_together, write_in_place
from lib.names import FORMATS, METADATA_SUFFIX, Kind, sidecar_name, source_name
from lib.npy.array_reader import read_items
from lib.options import MAX_OUTPUT_BYTES
from lib.render.page import Page
from lib.render.statistics import Statistics
from lib.render.stream import rendered
from lib.sync.inputs import metadata_of_page
from lib.sync.plan import inputs_of
from lib.sync.sinks import parts_made_with

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from lib.cache.items import Array

_ORDER: Final[tuple[Kind, ...]] = ("full_texts", "completions")
"""The completions come last: who sees them can load the rest."""
_NO_SIDECARS: Final = "its sidecars were"
_BLOCK_TEXTS: Final = 256


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
        self._lock = SetLock(directory, stem)
        self._locked = partial(self._lock.for_saver, check_stop)
        self._metadata_name = stem + METADATA_SUFFIX
        self._array_names = {kind: source_name(stem, kind) for kind in _ORDER}
        self._write: dict[str, Callable[[Any], object]] = {
            name: partial(np.save, arr=arrays[kind]) for kind, name in self._array_names.items()
        }
        self._write[self._metadata_name] = lambda file: file.write(metadata)
        self._arrays = arrays
        self._metadata = metadata
        self._check_stop = check_stop
        self._warnings: list[str] = []

    def run(self) -> list[str]:
        """Save all files; return a warning for each that could not be, when both arrays are saved.

        :raises SidecarError: an array cannot be written, and its cause is an ``OSError``.
        :raises OSError: it cannot be written in place either.
        """
        with self._locked():
            pass
        try:
            if self._lock.stays:
                raise Storage("the directory does not let files be removed or renamed")
            self._save_by_renaming()
        except SidecarError as refusal:
            if isinstance(refusal.__cause__, OSError) and refusal.__cause__.errno in LOST:
                raise
            self._warnings = []
            self._save_in_place(refusal)
        return self._warnings

    def _save_by_renaming(self) -> None:
        """Stage and rename all files.

        :raises SidecarError: the system does not allow it here.
        """
        with ExitStack() as stack:
            replacements = self._staged(stack)
            with self._locked():
                parts = self._parts_of_pages([item.name for item in replacements])
                failures = replace_together(self._directory, replacements)
                for name, part in parts:
                    remove_file(self._directory, name, part)
        for name, failure in failures:
            self._warn(name, failure)

    def _parts_of_pages(self, names: list[str]) -> list[tuple[str, os.stat_result]]:
        """Return the further parts of old pages among these names: a new page has none."""
        parts: list[tuple[str, os.stat_result]] = []
        for page in names:
            seen = status_of(self._directory, page) if page.endswith(".md") else None
            parts += parts_made_with(self._directory, page, seen.st_mtime_ns) if seen is not None else []
        return parts

    def _staged(self, stack: ExitStack) -> list[Replacement]:
        """Write and flush all files under hidden names; those that are not renamed go with the stack."""
        metadata = self._staged_metadata(stack)
        arrays = {kind: self._staged_file(stack, name) for kind, name in self._array_names.items()}
        replacements = [Replacement(self._metadata_name, metadata, needed=True)]
        for kind, array in arrays.items():
            replacements += self._staged_sidecars(stack, kind, array, metadata)
            replacements.append(Replacement(self._array_names[kind], array, needed=True))
        return replacements

    def _staged_file(self, stack: ExitStack, name: str) -> AtomicFile:
        """Make the file that is to replace ``name``, with its permissions, as writing in place keeps them."""
        old, opened = None, ExitStack()
        try:
            with suppress(SidecarError):
                old = opened.enter_context(open_file(self._directory, name, follow=True))
            # asked for at once: a mount may refuse to change them later
            file = self._new_file(stack, ANY_NEW_FILE if old is None else permission_bits(old))
            file.seal([old] if old is not None else [], None)
        finally:
            with suppress(SidecarError):  # the old file was only looked at
                opened.close()
        self._write[name](file)
        file.flush()
        return file

    def _new_file(self, stack: ExitStack, mode: int) -> AtomicFile:
        file = AtomicFile(self._directory, mode, self._check_stop)
        stack.callback(file.discard)
        return file

    def _staged_metadata(self, stack: ExitStack) -> AtomicFile | None:
        try:
            there = status_of(self._directory, self._metadata_name)
            if there is not None and stat.S_ISDIR(there.st_mode):
                raise Unsafe("a directory has its name")
            return self._staged_file(stack, self._metadata_name)
        except SidecarError as error:
            self._warn(self._metadata_name, error)
            return None

    def _staged_sidecars(
        self, stack: ExitStack, kind: Kind, array: AtomicFile, metadata: AtomicFile | None
    ) -> list[Replacement]:
        """Make an array's sidecars; of those that cannot be made, no file is left."""
        name = self._array_names[kind]
        try:
            with ExitStack() as undo:
                replacements = self._rendered(undo, kind, array, metadata)
                stack.push(undo.pop_all())
                return replacements
        except SidecarError as error:
            self._warn(name, error, _NO_SIDECARS)
        except (MemoryError, RecursionError) as error:
            self._warn(name, Storage(type(error).__name__), _NO_SIDECARS)
        return []

    def _rendered(
        self, stack: ExitStack, kind: Kind, array: AtomicFile, metadata: AtomicFile | None
    ) -> list[Replacement]:
        """Render an array's sidecars as a sweep would: of what is not text from its staged file."""
        items, shown = self._arrays[kind], None
        with suppress(SidecarError):
            shown = metadata_of_page(self._metadata)
        source, *others = [file.as_source() for file in (array, metadata) if file is not None]
        files = {fmt: self._new_file(stack, permission_bits(source)) for fmt in FORMATS}
        page = Page(kind, shown, len(items), len(items))
        for pieces in rendered(page, _blocks(items, array), FORMATS, Statistics()):
            for file, piece in zip(files.values(), pieces, strict=True):
                file.write(piece or b"")
            if max(file.size for file in files.values()) > MAX_OUTPUT_BYTES:
                raise Unsafe("one of them would take more than max_output_bytes")
        for fmt, file in files.items():
            inputs = inputs_of(fmt, source.status, *(other.status for other in others))
            stamp_ns = max(status.st_mtime_ns for status in inputs)
            file.seal([source, *others] if fmt == "md" else [source], stamp_ns)
            file.flush()
        name = self._array_names[kind]
        return [Replacement(sidecar_name(name, fmt), file, needed=False) for fmt, file in files.items()]

    def _save_in_place(self, refusal: SidecarError) -> None:
        """Write as numpy does, onto the files themselves; the completions have no bytes until the end.

        An array that may not be written leaves the old cache.
        """
        arrays, metadata = self._array_names.values(), self._metadata_name
        with self._locked():
            for name in arrays:
                check_in_place(self._directory, name)
            write_in_place(self._directory, self._array_names["completions"], lambda file: file.write(b""))
            try:
                write_in_place(self._directory, metadata, self._write[metadata])
            except OSError as error:
                self._warn(metadata, storage_error(error, "cannot be written"))
            for name in arrays:
                write_in_place(self._directory, name, self._write[name])
                self._warn(name, refusal, _NO_SIDECARS)

    def _warn(self, name: str, error: SidecarError, what: str = "it was") -> None:
        self._warnings.append(
            f"{name}: the texts are saved, but {what} not made: {error.reason}"
            if name
            else f"everything is saved, but may not survive a power cut: {error.reason}"
        )


def _blocks(items: Array, array: AtomicFile) -> Iterable[list[Any]]:
    if all(type(item) is str for item in items):
        return (items[start : start + _BLOCK_TEXTS].tolist() for start in range(0, len(items), _BLOCK_TEXTS))
    return read_items(array.as_source())
