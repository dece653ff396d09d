"""The full texts beside a set's completions, read in step with them: they begin with the prompts."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from lib.errors import SidecarError, SourceFault, Storage, Unfinished, Vanished
from lib.files.reader import FileBytes, check_same, open_file
from lib.npy.array_reader import read_items
from lib.npy.header import Header, read_header

if TYPE_CHECKING:
    from collections.abc import Iterator


class FullTexts:
    """The full texts of a set, if there are as many as completions; close it at the end.

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
            if isinstance(error, Storage) and not isinstance(error.__cause__, PermissionError):
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
