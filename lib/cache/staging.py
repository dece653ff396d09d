"""The hidden files of one save, written and flushed before any of them is renamed."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from lib.errors import SidecarError, Unsafe
from lib.files.atomic import ANY_NEW_FILE, AtomicFile
from lib.files.permissions import permission_bits
from lib.files.reader import open_file
from lib.names import FORMATS, Format
from lib.npy.array_reader import read_items
from lib.options import Options
from lib.render.statistics import Statistics
from lib.render.stream import rendered
from lib.sync.plan import inputs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lib.cache.items import Array
    from lib.render.page import Page

_BLOCK_TEXTS: Final = 256


class Writable(Protocol):
    """What an array can be written to."""

    def write(self, data: Any, /) -> Any:
        """Append bytes."""


def write_array(array: Array, file: Writable) -> None:
    """Write an array as numpy does, in the ``.npy`` format."""
    np.save(file, array, allow_pickle=True)


class Stage:
    """Makes the files of one save; those that are not renamed go when the stack is closed."""

    def __init__(self, directory: int, stack: ExitStack, check_stop: Callable[[], None]) -> None:
        self._directory = directory
        self._stack = stack
        self._check_stop = check_stop

    def file(self, name: str, write: Callable[[Writable], object]) -> AtomicFile:
        """Make the file that is to replace ``name``, with its permissions, as writing in place keeps them."""
        with ExitStack() as stack:
            old = None
            with suppress(SidecarError):
                old = stack.enter_context(open_file(self._directory, name, follow=True))
            # asked for at once: a mount may refuse to change them later
            file = self._new(ANY_NEW_FILE if old is None else permission_bits(old))
            file.seal(old, None)
        write(file)
        file.flush()
        return file

    def sidecars(
        self, items: Array, array: AtomicFile, metadata: AtomicFile | None, page: Page
    ) -> dict[Format, AtomicFile]:
        """Make an array's sidecars, as a sweep would make them: of what is not text from its staged file.

        :raises SidecarError: they cannot be made; what was made of them is gone.
        """
        source, *others = [file.as_source() for file in (array, metadata) if file is not None]
        files = {fmt: self._new(permission_bits(source)) for fmt in FORMATS}
        try:
            self._render(tuple(files.values()), _blocks(items, array), page)
            for fmt, file in files.items():
                inputs = inputs_of(fmt, source.status, *(other.status for other in others))
                stamp_ns = max(status.st_mtime_ns for status in inputs)
                file.seal(source, stamp_ns, others if fmt == "md" else ())
                file.flush()
        except BaseException:
            for file in files.values():
                file.discard()
            raise
        return files

    def _render(self, files: tuple[AtomicFile, ...], blocks: Iterable[list[Any]], page: Page) -> None:
        for pieces in rendered(page, blocks, FORMATS, Statistics()):
            for file, piece in zip(files, pieces, strict=True):
                file.write(piece or b"")
            if max(file.size for file in files) > Options().max_output_bytes:
                raise Unsafe("one of them would take more than max_output_bytes")

    def _new(self, mode: int) -> AtomicFile:
        file = _StoppableFile(self._directory, mode, self._check_stop)
        self._stack.callback(file.discard)
        return file


class _StoppableFile(AtomicFile):
    """A file that is written as long as the save is not stopped."""

    def __init__(self, directory: int, mode: int, check_stop: Callable[[], None]) -> None:
        super().__init__(directory, mode)
        self._check_stop = check_stop

    def write(self, data: bytes) -> None:
        self._check_stop()
        super().write(data)


def _blocks(items: Array, array: AtomicFile) -> Iterable[list[Any]]:
    if all(type(item) is str for item in items):
        return (items[start : start + _BLOCK_TEXTS].tolist() for start in range(0, len(items), _BLOCK_TEXTS))
    return read_items(array.as_source())
