"""The directories below the roots, for their number in the status."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lib.sync.walk import Folder


class Directories:
    """A set of directories; removing one removes those below it."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, ...], int] = {}
        self._gone: set[tuple[str, ...]] = set()
        self._sweep = 0

    def __len__(self) -> int:
        """Return their number.  Removals are carried out here, together, because each goes through all."""
        if self._gone:
            for path in [path for path in self._seen if self._is_gone(path)]:
                del self._seen[path]
            self._gone.clear()
        return len(self._seen)

    def begin_sweep(self) -> None:
        """Begin to add every directory that exists."""
        self._sweep += 1

    def end_sweep(self) -> None:
        """Remove what has not been added since :meth:`begin_sweep`."""
        for path in [path for path, sweep in self._seen.items() if sweep != self._sweep]:
            del self._seen[path]
        self._gone.clear()

    def add(self, folder: Folder) -> None:
        """Add a directory, known or not."""
        path = (folder.root, *folder.parts)
        self._gone.discard(path)
        self._seen[path] = self._sweep

    def remove(self, folder: Folder) -> None:
        """Remove a directory that no longer exists, known or not."""
        self._gone.add((folder.root, *folder.parts))

    def _is_gone(self, path: tuple[str, ...]) -> bool:
        return any(path[:length] in self._gone for length in range(1, len(path) + 1))
