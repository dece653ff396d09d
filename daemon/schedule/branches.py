"""The new and moved directories that are to be walked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lib.sync.walk import Folder, Step


class Branches:
    """Directories that hints name: each is walked at once, and again when no hint has named it for a while.

    ``walk`` starts a walk; ``settle_seconds``: how long the second one waits; ``limit``: how many walks may
    wait.
    """

    def __init__(self, walk: Callable[[Folder], Iterator[Step]], settle_seconds: float, limit: int) -> None:
        self._start = walk
        self._settle_seconds = settle_seconds
        self._limit = limit
        self._new: dict[Folder, None] = {}
        self._settling: dict[Folder, float] = {}
        self._walk: Iterator[Step] | None = None

    def ask(self, folder: Folder, now: float) -> bool:
        """Ask for the walks of a directory; False when too many wait."""
        if len(self._new) + len(self._settling) >= self._limit:
            return False
        self._new[folder] = None
        self._settling.pop(folder, None)  # the one named last comes last
        self._settling[folder] = now + self._settle_seconds
        return True

    def next_due(self) -> float:
        """Return when there is something to walk."""
        if self._new or self._walk is not None:
            return 0.0
        return next(iter(self._settling.values()), math.inf)

    def step(self, now: float) -> Step | None:
        """Take one step in the directories that are due; None when there is none."""
        while self.next_due() <= now:
            if self._walk is None:
                waiting = self._new or self._settling
                folder = next(iter(waiting))
                del waiting[folder]
                self._walk = self._start(folder)
            step = next(self._walk, None)
            if step is not None:
                return step
            self._walk = None
        return None
