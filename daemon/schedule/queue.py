"""The table of sources that wait for their turn: each stands in it once, however many hints name it.

Time is passed in, in monotonic seconds; nothing here looks at a file.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from lib.sync.walk import Task

RETRY_FIRST_SECONDS: Final = 1.0
RETRY_LAST_SECONDS: Final = 300.0
FULL: Final = 50_000
"""So many sources may wait; beyond, hints are dropped and a sweep finds what they named."""


@dataclass(slots=True)
class QueueEntry:
    """One waiting source.

    ``closed``: its writer let go of it, so it need not lie still first.  ``again``: it was named once more
    while in work.  ``put_off``: it had its turn, and waits for another.  ``signature``: the version last
    looked at; ``seen``: since when it has been that one.  ``logged``: the failure last logged, and when.
    """

    due: float
    closed: bool = False
    working: bool = False
    again: bool = False
    put_off: bool = False
    attempts: int = 0
    signature: Any = None
    seen: float = 0.0
    began: float = 0.0
    logged: tuple[str, float] | None = None

    def see(self, signature: Any, now: float) -> None:
        """Note which version was looked at."""
        if self.signature != signature:
            self.signature, self.seen = signature, now


class Queue:
    """The table.  Every method is cheap; use from one thread."""

    def __init__(self) -> None:
        self._entries: dict[Task, QueueEntry] = {}
        self._order: list[tuple[float, int, Task]] = []
        self._count = itertools.count()
        self._put_off = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, task: Task) -> bool:
        return task in self._entries

    @property
    def backlog(self) -> int:
        """Number of sources that have not had their turn yet, or are having it."""
        return len(self._entries) - self._put_off

    def is_full(self) -> bool:
        """Tell whether hints must be dropped."""
        return len(self._entries) >= FULL

    def add(self, task: Task, due: float, *, closed: bool = False) -> None:
        """Put a source in, or bring it forward; one in work is done once more afterwards."""
        entry = self._entries.get(task)
        if entry is None:
            entry = self._entries[task] = QueueEntry(due, closed)
            self._move(task, entry, due)
        elif entry.working:
            entry.again = True
        elif due < entry.due:
            self._move(task, entry, due)
        entry.closed = entry.closed or closed

    def postpone(self, task: Task, due: float) -> None:
        """Put off a source that is not in work: look at it again at another time."""
        entry = self._entries[task]
        self._put_off += not entry.put_off
        entry.put_off = True
        self._move(task, entry, due)

    def next_due(self) -> float | None:
        """Say when the next source is due; None when none waits."""
        while self._order and not self._is_current(self._order[0]):
            heapq.heappop(self._order)
        return self._order[0][0] if self._order else None

    def take_due(self, now: float) -> tuple[Task, QueueEntry] | None:
        """Return one source that is due, which stays in the table; None when none is."""
        due = self.next_due()
        if due is None or due > now:
            return None
        _, _, task = heapq.heappop(self._order)
        return task, self._entries[task]

    def start(self, task: Task, now: float) -> None:
        """Mark a source as in work."""
        entry = self._entries[task]
        self._put_off -= entry.put_off
        entry.working, entry.again, entry.closed, entry.put_off = True, False, False, False
        entry.began = now

    def finish(self, task: Task) -> QueueEntry:
        """Mark a source as no longer in work; now :meth:`postpone`, :meth:`retry` or :meth:`remove` it."""
        entry = self._entries[task]
        entry.working = False
        return entry

    def retry(self, task: Task, now: float) -> float:
        """Plan the next attempt: from 1 s, doubling, up to 5 min; return the seconds until then."""
        entry = self._entries[task]
        seconds = min(RETRY_LAST_SECONDS, RETRY_FIRST_SECONDS * 2.0 ** min(entry.attempts, 20))
        entry.attempts += 1
        self.postpone(task, now + seconds)
        return seconds

    def remove(self, task: Task) -> None:
        """Take a source that is not in work out of the table."""
        self._put_off -= self._entries.pop(task).put_off

    def _move(self, task: Task, entry: QueueEntry, due: float) -> None:
        entry.due = due
        heapq.heappush(self._order, (due, next(self._count), task))

    def _is_current(self, row: tuple[float, int, Task]) -> bool:
        entry = self._entries.get(row[2])
        return entry is not None and not entry.working and entry.due == row[0]
