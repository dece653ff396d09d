"""What the sidecars of one source are made from: the source, the set's metadata, and its full texts."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final

from lib.errors import Changed, SidecarError, SourceFault, Storage, Unfinished, Unsafe, Vanished
from lib.files.permissions import may_show
from lib.files.reader import FileBytes, check_same, open_file, same_version, status_of
from lib.names import metadata_name, partner_name
from lib.npy.array_reader import read_items
from lib.npy.header import Header, read_header
from lib.outcome import source_kind

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from lib.names import Format

_LIMIT: Final = 16 << 20
"""Bytes of a metadata file that is shown, and of memory for what it holds."""
_VALUE_BYTES: Final = 64
_OBJECT_BYTES: Final = 192
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_CLOSED: Final = "belongs to another user, and not everybody may read it"


def parse_metadata(data: bytes) -> dict[str, Any] | None:
    """Parse a metadata file's bytes; None when they are not a JSON object."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _takes_much(data: bytes) -> bool:
    """Tell whether JSON becomes too large in memory, from its brackets, commas and colons."""
    if _memory_of(data) <= _LIMIT:  # even with those inside
        return False
    return _memory_of(_STRING.sub(b'""', data)) > _LIMIT


def _memory_of(data: bytes) -> int:
    values = sum(map(data.count, (b",", b":", b"[", b"{")))
    return values * _VALUE_BYTES + data.count(b"{") * _OBJECT_BYTES


def read_metadata(directory: int, name: str) -> tuple[dict[str, Any] | None, str]:
    """Read a set's metadata for its page.

    Returns the object (None when there is none to show), and a warning or "".

    :raises Storage: the disk or the system is at fault, for now: a page made without would pass for fresh.
    """
    with ExitStack() as stack:
        _, metadata, warning = _open_metadata(stack, directory, name)
        return metadata, warning


def _open_metadata(
    stack: ExitStack, directory: int, name: str
) -> tuple[FileBytes | None, dict[str, Any] | None, str]:
    try:
        file = stack.enter_context(open_file(directory, name))
        data = file.read_at(0, _LIMIT + 1)
        if len(data) > _LIMIT or _takes_much(data):
            return file, None, f"{name} takes more than {_LIMIT >> 20} MiB; the page says unknown"
        value = parse_metadata(data)
    except SidecarError as error:
        if _is_fault_of_the_disk(error):
            raise
        return None, None, f"{name}: {error.reason}; the page says unknown"
    return file, value, "" if value is not None else f"{name} is not a JSON object; the page says unknown"


def open_inputs(
    stack: ExitStack, directory: int, name: str, source: FileBytes, fmt: Format, *, pairs: bool
) -> list[FileBytes]:
    """Open what a sidecar shows, the source first, to look at its permissions."""
    kind, files = source_kind(name), [source]
    names = (metadata_name(name, kind), partner_name(name, kind) if pairs else None)
    for other in names if fmt == "md" else ():
        if other is not None:
            with suppress(Vanished, Unsafe):  # Not there, or not a file: it is not shown.
                file = stack.enter_context(open_file(directory, other))
                files += [file] * _may_show(source, file)
    return files


class Inputs:
    """The files behind one source's sidecars; :meth:`check` tells whether they are still what was read."""

    def __init__(self, directory: int, name: str, source: FileBytes) -> None:
        self.source = source
        self._directory = directory
        self._name = name
        self._kind = source_kind(name)
        self._stack = ExitStack()
        self._metadata: FileBytes | None = None
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
        file, metadata, self._metadata_warning = _open_metadata(self._stack, self._directory, name)
        if file is not None and not _may_show(self.source, file):
            self._metadata_warning = f"{name} {_CLOSED}; the page says unknown"
            return None
        self._metadata = file
        return metadata

    def open_full_texts(self, count: int) -> None:
        """Open the full texts that hold the prompts of ``count`` completions, if the set has them.

        :raises Storage: the disk or the system is at fault, for now.
        """
        partner = partner_name(self._name, self._kind)
        if partner is not None:
            self._full_texts = FullTexts(self._directory, partner, count, self.source)

    def prompts(self) -> Iterator[Any]:
        """Yield the full texts from the first, as far as they are there; may be called again."""
        return iter(()) if self._full_texts is None else self._full_texts.items()

    def check(self, fmt: Format) -> tuple[FileBytes, ...]:
        """Return what a sidecar shows, the source first, if all files are still what was read.

        :raises Changed: one of them is not.
        """
        check_same(self._directory, self._name, self.source)
        if self._metadata_seen is not None:
            metadata = status_of(self._directory, metadata_name(self._name, self._kind))
            if metadata is None or not same_version(metadata, self._metadata_seen):
                raise Changed("its metadata changed while it was read")
        if self._full_texts is not None:
            self._full_texts.check()
        if fmt != "md":
            return (self.source,)
        full_texts = None if self._full_texts is None else self._full_texts.file
        return tuple(file for file in (self.source, self._metadata, full_texts) if file is not None)

    def close(self) -> None:
        """Close metadata and full texts; the source belongs to the caller."""
        self._stack.close()
        if self._full_texts is not None:
            self._full_texts.close()


class FullTexts:
    """The full texts of a set, read in step with as many completions; close it at the end.

    What cannot be used gives a page without prompts, and a ``warning``.

    :raises Storage: the disk or the system is at fault, for now: a page made without would pass for fresh.
    """

    def __init__(self, directory: int, name: str, count: int, completions: FileBytes) -> None:
        self._directory, self._name = directory, name
        self._stack = ExitStack()
        self._opened: tuple[FileBytes, Header] | None = None
        self.warning = ""
        try:
            self._open(count, completions)
        except Vanished:
            self.close()
        except SidecarError as error:
            self.close()
            if _is_fault_of_the_disk(error):
                raise
            self.warning = f"{name}: {error.reason}; the page shows no prompts"

    @property
    def file(self) -> FileBytes | None:
        """The file, if its prompts are shown."""
        return self._opened[0] if self._opened is not None else None

    def _open(self, count: int, completions: FileBytes) -> None:
        source = self._stack.enter_context(open_file(self._directory, self._name))
        if not _may_show(completions, source):
            self.warning = f"{self._name} {_CLOSED}; the page shows no prompts"
            return
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


def _may_show(source: FileBytes, other: FileBytes) -> bool:
    """Tell whether a page may show another file; an access list may keep out whom the bits let in."""
    return may_show(source.status, other.status) and (
        source.status.st_uid == other.status.st_uid or other.access_list() is None
    )


def _is_fault_of_the_disk(error: SidecarError) -> bool:
    """Tell a fault that may pass from a file that is closed to us for good."""
    return isinstance(error, Storage) and not isinstance(error.__cause__, PermissionError)
