"""Whether a watch is complete: hints must have announced what sweeps find changed.

watchdog can lose a directory in more ways than can be looked for.  A source that has changed since the watch
was ready, that is at rest, and that no hint announced, proves that it did.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.sync.walk import Found

GRACE_SECONDS: Final = 2.0
VERDICT_SECONDS: Final = 600.0
REMEMBERED: Final = 10_000


class Announcements:
    """Remembers the last hints and compares them with what sweeps find.

    ``now``: monotonic seconds; ``clock``: seconds since the epoch, as files have them; ``changed_at`` returns
    a path's change time.
    """

    def __init__(self, changed_at: Callable[[str], float] = lambda path: os.lstat(path).st_ctime) -> None:
        self._changed_at = changed_at
        self._announced: dict[tuple[str, ...], float] = {}
        self._since = math.inf
        self._suspect: tuple[Found, float] | None = None
        self._next_verdict = -math.inf

    def begin(self, clock: float) -> None:
        """Begin anew: a new watch reports all changes from now on."""
        self._announced.clear()
        self._since, self._suspect = clock, None

    def announced(self, root: str, parts: tuple[str, ...], clock: float) -> None:
        """Record a hint; the oldest one is forgotten when there are too many."""
        place = root, *parts
        self._announced.pop(place, None)
        self._announced[place] = clock
        if len(self._announced) > REMEMBERED:
            self._since = max(self._since, self._announced.pop(next(iter(self._announced))))

    def found(self, found: Found, now: float, clock: float) -> None:
        """Record a source that a sweep found out of date, and that was not in the queue."""
        is_new = self._since < found.status.st_ctime <= clock
        if self._suspect is None and is_new and not self._is_announced(found):
            self._suspect = found, now + GRACE_SECONDS

    def verdict(self, now: float) -> str | None:
        """Return why the watch is incomplete; at most once in ten minutes.

        While its writer goes on, a source's event is still to come.  A memory-mapped writer changes its file
        without one, so the proof is not certain.
        """
        if self._suspect is None or now < self._suspect[1]:
            return None
        (found, _), self._suspect = self._suspect, None
        path = found.task.path
        with suppress(OSError):  # it has gone
            is_at_rest = self._changed_at(path) == found.status.st_ctime
            if is_at_rest and now >= self._next_verdict and not self._is_announced(found):
                self._next_verdict = now + VERDICT_SECONDS
                return f"no event announced {path}"
        return None

    def _is_announced(self, found: Found) -> bool:
        key = found.task.root, *found.task.parts, found.task.name
        return self._announced.get(key, -math.inf) >= found.status.st_ctime
