"""The table of sources that wait for their turn: each stands in it once, however many hints name it.

Time is passed in, in monotonic seconds; nothing here looks at a file.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from daemon.work import Task

RETRY_FIRST_SECONDS: Final = 1.0
RETRY_LAST_SECONDS: Final = 300.0
FULL: Final = 50_000
"""So many sources may wait; beyond, hints are dropped and a sweep finds what they named."""


@dataclass(slots=True)
class Entry:
    """One waiting source.

    ``closed``: its writer let go of it, so it need not lie still first.  ``again``: it was named once more
    while in work.  ``seen``: the version last looked at and since when it has been that.
    """

    due: float
    closed: bool = False
    working: bool = False
    again: bool = False
    attempts: int = 0
    signature: Any = None
    seen: tuple[Any, float] | None = None
    began: float = 0.0
    logged: tuple[str, float] | None = None


class Pending:
    """The table.  Every method is cheap; use from one thread."""

    def __init__(self) -> None:
        self._entries: dict[Task, Entry] = {}
        self._order: list[tuple[float, int, Task]] = []
        self._count = itertools.count()
        self._working = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, task: Task) -> bool:
        return task in self._entries

    @property
    def working(self) -> int:
        """Number of sources in work."""
        return self._working

    def is_full(self) -> bool:
        """Tell whether hints must be dropped."""
        return len(self._entries) >= FULL

    def add(self, task: Task, due: float, *, closed: bool = False) -> Entry:
        """Put a source in, or bring it forward; one in work is done once more afterwards."""
        entry = self._entries.get(task)
        if entry is None:
            entry = self._entries[task] = Entry(due, closed)
            self._push(task, due)
        elif entry.working:
            entry.again = True
        elif due < entry.due:
            self.postpone(task, due)
        entry.closed = entry.closed or closed
        return entry

    def postpone(self, task: Task, due: float) -> None:
        """Look at a source again at another time."""
        self._entries[task].due = due
        self._push(task, due)

    def next_due(self) -> float | None:
        """Say when the next source is due; None when none waits."""
        while self._order and not self._is_current(self._order[0]):
            heapq.heappop(self._order)
        return self._order[0][0] if self._order else None

    def take_due(self, now: float) -> tuple[Task, Entry] | None:
        """Return one source that is due, which stays in the table; None when none is."""
        due = self.next_due()
        if due is None or due > now:
            return None
        _, _, task = heapq.heappop(self._order)
        return task, self._entries[task]

    def start(self, task: Task, now: float) -> None:
        """Mark a source as in work."""
        entry = self._entries[task]
        entry.working, entry.again, entry.closed = True, False, False
        entry.began = now
        self._working += 1

    def finish(self, task: Task) -> Entry:
        """Mark a source as no longer in work; it stays in the table until :meth:`remove`."""
        entry = self._entries[task]
        entry.working = False
        self._working -= 1
        return entry

    def retry(self, task: Task, now: float) -> float:
        """Plan the next attempt: from 1 s, doubling, up to 5 min; return the seconds until then."""
        entry = self._entries[task]
        seconds = min(RETRY_LAST_SECONDS, RETRY_FIRST_SECONDS * 2.0 ** min(entry.attempts, 20))
        entry.attempts += 1
        self.postpone(task, now + seconds)
        return seconds

    def remove(self, task: Task) -> None:
        """Take a source out of the table."""
        entry = self._entries.pop(task, None)
        if entry is not None and entry.working:
            self._working -= 1

    def _push(self, task: Task, due: float) -> None:
        heapq.heappush(self._order, (due, next(self._count), task))

    def _is_current(self, row: tuple[float, int, Task]) -> bool:
        entry = self._entries.get(row[2])
        return entry is not None and not entry.working and entry.due == row[0]
