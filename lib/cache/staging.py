"""The hidden files of one save, written and flushed before any of them is renamed."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from lib.errors import Interrupted, SidecarError, Unsafe
from lib.files.atomic import ANY_NEW_FILE, AtomicFile
from lib.files.permissions import permission_bits
from lib.files.reader import open_file
from lib.names import FORMATS, Format
from lib.npy.array_reader import read_items
from lib.options import Options
from lib.render.statistics import Statistics
from lib.render.stream import rendered
from lib.sync.plan import stamp_of

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

    def __init__(self, directory: int, stack: ExitStack, stopped: Callable[[], bool]) -> None:
        self._directory = directory
        self._stack = stack
        self._stopped = stopped

    def write(self, file: AtomicFile, data: bytes) -> None:
        """Write to a file, unless the save was stopped.

        :raises Interrupted: it was.
        """
        if self._stopped():
            raise Interrupted("the save was stopped")
        file.write(data)

    def data(self, name: str, data: bytes) -> AtomicFile:
        """Make the file that is to replace ``name``, with these bytes."""
        file = self._new(name)
        self.write(file, data)
        file.flush()
        return file

    def array(self, name: str, array: Array) -> AtomicFile:
        """Make the ``.npy`` file that is to replace ``name``."""
        file = self._new(name)
        write_array(array, _Stoppable(self, file))
        file.flush()
        return file

    def sidecars(
        self, items: Array, array: AtomicFile, metadata: AtomicFile | None, page: Page
    ) -> dict[Format, AtomicFile]:
        """Make an array's sidecars, as a sweep would make them: of what is not text from its staged file.

        :raises SidecarError: they cannot be made; what was made of them is gone.
        """
        mode = permission_bits(array.as_source())
        files = {fmt: self._registered(AtomicFile(self._directory, mode)) for fmt in FORMATS}
        try:
            self._render(files, _blocks(items, array), page)
            source, shown = array.as_source(), [] if metadata is None else [metadata.as_source()]
            for fmt, file in files.items():
                stamp_ns = stamp_of(fmt, source.status, *(file.status for file in shown))
                file.seal(source, stamp_ns, shown if fmt == "md" else ())
                file.flush()
        except BaseException:
            for file in files.values():
                file.discard()
            raise
        return files

    def _render(self, files: dict[Format, AtomicFile], blocks: Iterable[list[Any]], page: Page) -> None:
        taken = dict.fromkeys(files, 0)
        for pieces in rendered(page, blocks, FORMATS, Statistics()):
            for (fmt, file), piece in zip(files.items(), pieces, strict=True):
                self.write(file, piece or b"")
                taken[fmt] += len(piece or b"")
            if max(taken.values()) > Options().max_output_bytes:
                raise Unsafe("one of them would take more than max_output_bytes")

    def _new(self, name: str) -> AtomicFile:
        """Make a file with the permissions of the one that it is to replace, as writing in place keeps."""
        with ExitStack() as stack:
            old = None
            with suppress(SidecarError):
                old = stack.enter_context(open_file(self._directory, name, follow=True))
            # asked for at once: a mount may refuse to change them later
            mode = ANY_NEW_FILE if old is None else permission_bits(old)
            file = self._registered(AtomicFile(self._directory, mode))
            file.seal(old, None)
            return file

    def _registered(self, file: AtomicFile) -> AtomicFile:
        self._stack.callback(file.discard)
        return file


def _blocks(items: Array, array: AtomicFile) -> Iterable[list[Any]]:
    if all(type(item) is str for item in items):
        return (items[start : start + _BLOCK_TEXTS].tolist() for start in range(0, len(items), _BLOCK_TEXTS))
    return read_items(array.as_source())


class _Stoppable:
    """A file to which numpy writes as long as the save is not stopped."""

    def __init__(self, stage: Stage, file: AtomicFile) -> None:
        self._stage = stage
        self._file = file

    def write(self, data: Any) -> int:
        self._stage.write(self._file, data)
        return len(data)
