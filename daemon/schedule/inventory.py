"""How many directories and sources there are below the roots, for the status."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lib.names import kind_of
from lib.sync.walk import Folder, Found, Step, Task, look

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from lib.options import Options
    from lib.outcome import Outcome


class Inventory:
    """What the last sweep found, with what has come and gone since.

    ``sources``: their number.  A source that goes is counted until the next sweep.  ``gone``: the paths of
    directories that have gone, which are counted until they are forgotten.
    """

    def __init__(self) -> None:
        self.sources = 0
        self._sweep = 0
        self._found = 0
        self._counted: set[Task] = set()
        self._folders: dict[tuple[str, ...], int] = {}
        self.gone: set[tuple[str, ...]] = set()

    @property
    def directories(self) -> int:
        """The number of directories."""
        return len(self._folders)

    def begin_sweep(self) -> None:
        """Begin to count everything anew; the old numbers stay until the end."""
        self._sweep += 1
        self._found = 0
        self._counted.clear()

    def count(self, step: Step) -> None:
        """Count what a sweep has found."""
        if isinstance(step, Folder):
            self.add(step)
        elif isinstance(step, Found):
            self._found += 1
            if not step.is_fresh:
                self._counted.add(step.task)
        else:
            self._found += kind_of(os.path.basename(step.path)) is not None

    def end_sweep(self) -> None:
        """Keep only what was counted since :meth:`begin_sweep`."""
        self.sources = self._found
        self._folders = {path: sweep for path, sweep in self._folders.items() if sweep == self._sweep}

    def add(self, folder: Folder) -> None:
        """Add a directory, known or not."""
        path = (folder.root, *folder.parts)
        self.gone.discard(path)
        self._folders[path] = self._sweep

    def remove(self, folder: Folder) -> None:
        """Mark a directory, known or not, as gone with those below it."""
        self.gone.add((folder.root, *folder.parts))

    def forget_gone(self) -> AbstractSet[tuple[str, ...]]:
        """Forget the directories that have gone, with those below them; return their paths."""
        gone, self.gone = self.gone, set()
        for path in [path for path in self._folders if is_below(path, gone)]:
            del self._folders[path]
        return gone

    def count_new(self, task: Task, outcome: Outcome, options: Options) -> None:
        """Count a source that has had its turn, if it appeared since the last sweep: it had no sidecars."""
        if task in self._counted:
            return
        is_new, has_failed = outcome.is_new, outcome.result in {"failed", "skipped"}
        if has_failed:
            seen = look(task, options)
            is_new = isinstance(seen, Found) and all(plan.seen is None for plan in seen.plans)
        if is_new or has_failed:
            self._counted.add(task)
        self.sources += is_new


def is_below(path: tuple[str, ...], folders: AbstractSet[tuple[str, ...]]) -> bool:
    """Tell whether a path, a root with the names from there, is one of the folders or lies in one."""
    return any(path[:length] in folders for length in range(1, len(path) + 1))
