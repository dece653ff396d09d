"""What the sidecars of one source are made from: the source, the set's metadata, and its full texts."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from lib.errors import Corrupt, SidecarError, SourceFault, Storage, Unfinished, Unsafe, Vanished
from lib.files.permissions import access_list_of, may_show
from lib.files.reader import FileBytes, check_same, open_file
from lib.names import Format, metadata_name, partner_name
from lib.npy.array_reader import read_items
from lib.npy.header import Header, read_header

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIMIT: Final = 16 << 20
"""Bytes of a metadata file that is shown, and of memory for what it holds."""
_VALUE_BYTES: Final = 64
_OBJECT_BYTES: Final = 192
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def parse_metadata(data: bytes) -> dict[str, Any]:
    """Parse a metadata file's bytes.

    :raises Corrupt: they are not a JSON object.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Corrupt("it is not a JSON object")
    return value


def metadata_of_page(data: bytes) -> dict[str, Any]:
    """Parse the metadata that a page shows.

    :raises Unsafe: it is too large for a page, in the file or in memory.
    :raises Corrupt: it is not a JSON object.
    """
    if len(data) > _LIMIT or (_memory_of(data) > _LIMIT and _memory_of(_STRING.sub(b'""', data)) > _LIMIT):
        raise Unsafe(f"it takes more than {_LIMIT >> 20} MiB")
    return parse_metadata(data)


def _memory_of(data: bytes) -> int:
    """Return how large JSON becomes in memory at most, from its brackets, commas and colons."""
    values = sum(map(data.count, (b",", b":", b"[", b"{")))
    return values * _VALUE_BYTES + data.count(b"{") * _OBJECT_BYTES


def read_metadata(directory: int, name: str) -> dict[str, Any]:
    """Read a set's metadata as its page shows it.

    :raises SidecarError: there is none to show.
    """
    with open_file(directory, name) as file:
        return metadata_of_page(file.read_at(0, _LIMIT + 1))


class Inputs:
    """The files behind one source's sidecars, open until ``stack`` is closed.

    A page does without a file beside its source that cannot be used; ``warnings`` says why, by the file's
    name.  When the disk or the system fails for the moment, every method raises Storage: a page made without
    the file would pass for fresh.
    """

    def __init__(self, stack: ExitStack, directory: int, name: str, source: FileBytes) -> None:
        self.source = source
        self._stack = stack
        self._directory = directory
        self._name = name
        self._metadata_name = metadata_name(name)
        self._partner_name = partner_name(name)
        self._metadata: FileBytes | None = None
        self._full_texts: tuple[str, FileBytes, Header] | None = None
        self.warnings: dict[str, str] = {}

    def metadata(self) -> dict[str, Any] | None:
        """Read the set's metadata; None when there is none to show."""
        with self._optional(self._metadata_name, "the page says unknown"):
            self._metadata = self._open(self._metadata_name)
            return metadata_of_page(self._metadata.read_at(0, _LIMIT + 1))
        return None

    def open_full_texts(self, count: int) -> None:
        """Open the full texts that hold the prompts of ``count`` completions, if the set has them."""
        name = self._partner_name
        if name is None:
            return
        with self._optional(name, "the page shows no prompts"):
            file = self._open(name)
            header = read_header(file)
            if header.count != count:
                raise Unsafe(f"it has {header.count} items, not {count}")
            self._full_texts = name, file, header

    def prompts(self) -> Iterator[Any]:
        """Yield the full texts from the first, as far as they can be read; may be called again."""
        if self._full_texts is None:
            return
        name, file, header = self._full_texts
        try:
            for block in read_items(file, header):
                yield from block
        except (SourceFault, Unfinished) as error:  # any other fault of an open file may pass
            self.warnings[name] = f"{name}: {error.reason}; the page lacks prompts"

    def open_all(self, *, pairs: bool) -> list[FileBytes]:
        """Open what a page shows, the source first, to look at the permissions.

        :raises SidecarError: a file is there and cannot be shown.
        """
        files = [self.source]
        for name in (self._metadata_name, self._partner_name if pairs else None):
            with suppress(Vanished):
                files += [self._open(name)] if name is not None else []
        return files

    def check(self, fmt: Format) -> list[FileBytes]:
        """Return what a sidecar shows, the source first, if all files are still what was read.

        :raises Changed: one of them is not.
        """
        shown = [("it", self._name, self.source)]
        if self._metadata is not None:
            shown.append(("its metadata", self._metadata_name, self._metadata))
        if self._full_texts is not None:
            shown.append(("the file of its prompts", *self._full_texts[:2]))
        for what, name, file in shown:
            check_same(self._directory, name, file, what)
        return [file for _, _, file in shown] if fmt == "md" else [self.source]

    def _open(self, name: str) -> FileBytes:
        """Open a file beside the source.

        :raises Unsafe: it is not one that a page may show.
        """
        file = self._stack.enter_context(open_file(self._directory, name))
        source, other = self.source.status, file.status
        # an access list can exclude users whom the permission bits admit
        is_listed = source.st_uid != other.st_uid and access_list_of(file.descriptor) is not None
        if is_listed or not may_show(source, other):
            raise Unsafe("it belongs to another user, and not everybody may read it")
        return file

    @contextmanager
    def _optional(self, name: str, lack: str) -> Iterator[None]:
        """Turn what is wrong with a file beside the source into a warning, unless it may pass."""
        try:
            yield
        except Vanished:
            pass
        except SidecarError as error:
            if isinstance(error, Storage) and not isinstance(error.__cause__, PermissionError):
                raise
            self.warnings[name] = f"{name}: {error.reason}; {lack}"
