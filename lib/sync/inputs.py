"""What the sidecars of one source are made from: the source, the set's metadata, and its full texts."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from lib.errors import Changed, SidecarError, SourceFault, Storage, Unfinished, Vanished
from lib.files.reader import FileBytes, check_same, open_file, same_version, status_of
from lib.names import metadata_name, partner_name
from lib.npy.array_reader import read_items
from lib.npy.header import Header, read_header
from lib.outcome import source_kind

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

_LIMIT: Final = 16 << 20


def parse_metadata(data: bytes) -> dict[str, Any] | None:
    """Parse a metadata file's bytes; None when they are not a JSON object."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_metadata(directory: int, name: str) -> tuple[dict[str, Any] | None, str]:
    """Read a set's metadata for its page.

    Returns the object (None when there is none to show), and a warning or "".

    :raises Storage: the disk or the system is at fault, for now: a page made without would pass for fresh.
    """
    try:
        with open_file(directory, name) as file:
            value = parse_metadata(file.read_at(0, _LIMIT)) if file.size <= _LIMIT else None
    except SidecarError as error:
        if _is_fault_of_the_disk(error):
            raise
        return None, f"{name}: {error.reason}; the page says unknown"
    return value, "" if value is not None else f"{name} is not a JSON object; the page says unknown"


class Inputs:
    """The files behind one source's sidecars; :meth:`check` tells whether they are still what was read."""

    def __init__(self, directory: int, name: str, source: FileBytes) -> None:
        self.source = source
        self._directory = directory
        self._name = name
        self._kind = source_kind(name)
        self._metadata_seen: os.stat_result | None = None
        self._metadata_warning = ""
        self._full_texts: FullTexts | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a page lacks, and why."""
        partner_warning = self._full_texts.warning if self._full_texts is not None else ""
        return tuple(filter(None, (self._metadata_warning, partner_warning)))

    def metadata(self) -> Mapping[str, Any] | None:
        """Read the set's metadata; None when there is none to show.

        :raises Storage: the disk or the system is at fault, for now.
        """
        name = metadata_name(self._name, self._kind)
        self._metadata_seen = status_of(self._directory, name)
        if self._metadata_seen is None:
            return None
        metadata, self._metadata_warning = read_metadata(self._directory, name)
        return metadata

    def open_full_texts(self, count: int) -> None:
        """Open the full texts that hold the prompts of ``count`` completions, if the set has them.

        :raises Storage: the disk or the system is at fault, for now.
        """
        partner = partner_name(self._name, self._kind)
        if partner is not None:
            self._full_texts = FullTexts(self._directory, partner, count)

    def prompts(self) -> Iterator[Any]:
        """Yield the full texts from the first, as far as they are there; may be called again."""
        return iter(()) if self._full_texts is None else self._full_texts.items()

    def check(self) -> FileBytes:
        """Return the source, if it, its metadata and its full texts are still what was read.

        :raises Changed: one of them is not.
        """
        check_same(self._directory, self._name, self.source)
        if self._metadata_seen is not None:
            metadata = status_of(self._directory, metadata_name(self._name, self._kind))
            if metadata is None or not same_version(metadata, self._metadata_seen):
                raise Changed("its metadata changed while it was read")
        if self._full_texts is not None:
            self._full_texts.check()
        return self.source

    def close(self) -> None:
        """Close the full texts; the source belongs to the caller."""
        if self._full_texts is not None:
            self._full_texts.close()


class FullTexts:
    """The full texts of a set, read in step with as many completions; close it at the end.

    What cannot be used gives a page without prompts, and a ``warning``.

    :raises Storage: the disk or the system is at fault, for now: a page made without would pass for fresh.
    """

    def __init__(self, directory: int, name: str, count: int) -> None:
        self._directory, self._name = directory, name
        self._stack = ExitStack()
        self._opened: tuple[FileBytes, Header] | None = None
        self.warning = ""
        try:
            self._open(count)
        except Vanished:
            self.close()
        except SidecarError as error:
            self.close()
            if _is_fault_of_the_disk(error):
                raise
            self.warning = f"{name}: {error.reason}; the page shows no prompts"

    def _open(self, count: int) -> None:
        source = self._stack.enter_context(open_file(self._directory, self._name))
        header = read_header(source)
        if header.count == count:
            self._opened = source, header
        else:
            self.warning = f"{self._name} has {header.count} items, not {count}; the page shows no prompts"

    def items(self) -> Iterator[Any]:
        """Yield the items from the first, as far as they can be read; may be called again."""
        if self._opened is None:
            return
        try:
            for block in read_items(*self._opened):
                yield from block
        except (SourceFault, Unfinished) as error:
            self.warning = f"{self._name}: {error.reason}; the page lacks prompts"

    def check(self) -> None:
        """Check that the file is still as it was.

        :raises Changed: it is not.
        """
        if self._opened is not None:
            check_same(self._directory, self._name, self._opened[0])

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._stack.close()


def _is_fault_of_the_disk(error: SidecarError) -> bool:
    """Tell a fault that may pass from a file that is closed to us for good."""
    return isinstance(error, Storage) and not isinstance(error.__cause__, PermissionError)
