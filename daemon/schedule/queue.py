"""The queue of sources that wait for their turn, each of them once, however many hints name it.

Times are monotonic seconds; nothing here reads a clock or a file.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from lib.sync.walk import Task

CAPACITY: Final = 50_000


@dataclass(frozen=True, slots=True)
class Retries:
    """When to retry what time can mend: after ``first_seconds``, doubling up to ``last_seconds``.

    ``attempts``: only a file that is being written is retried, up to this many attempts; None: no limit.
    """

    first_seconds: float = 1.0
    last_seconds: float = 300.0
    attempts: int | None = None

    def seconds(self, failures: int) -> float:
        """Return the wait after this many failures, from 1."""
        return min(self.last_seconds, self.first_seconds * 2.0 ** min(failures - 1, 20))


ENDLESS: Final = Retries()
FEW: Final = Retries(0.1, 0.4, 4)
"""For a sweep that must end."""


@dataclass(slots=True)
class QueueEntry:
    """One waiting source.

    ``closed``: its writer closed it, so it need not be seen unchanged first.  ``again``: a hint came while it
    was in progress.  ``put_off``: it had its turn and waits for another.  ``signature``: the version last
    seen, since ``seen``.  ``logged``: the failure last logged, and when.
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
        """Record which version was seen."""
        if self.signature != signature:
            self.signature, self.seen = signature, now


class Queue:
    """All methods are cheap; use from one thread.  Beyond ``capacity`` hints must be dropped."""

    def __init__(self, retries: Retries = ENDLESS, capacity: int = CAPACITY) -> None:
        self._retries = retries
        self._capacity = capacity
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
        """The number of sources that are in progress or have not had a turn yet."""
        return len(self._entries) - self._put_off

    def is_full(self) -> bool:
        """Tell whether new hints must be dropped, for a sweep to find what they named."""
        return len(self._entries) >= self._capacity

    def add(self, task: Task, due: float, *, closed: bool = False) -> None:
        """Add a source, or bring it forward; one in progress gets another turn afterwards."""
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
        """Put off a source that is not in progress."""
        entry = self._entries[task]
        self._put_off += not entry.put_off
        entry.put_off = True
        self._move(task, entry, due)

    def next_due(self) -> float | None:
        """Return when the next source is due; None when no source waits."""
        while self._order and not self._is_current(self._order[0]):
            heapq.heappop(self._order)
        return self._order[0][0] if self._order else None

    def take_due(self, now: float) -> tuple[Task, QueueEntry] | None:
        """Return one source that is due, and which stays in the queue; None when there is none."""
        due = self.next_due()
        if due is None or due > now:
            return None
        _, _, task = heapq.heappop(self._order)
        return task, self._entries[task]

    def start(self, task: Task, now: float) -> None:
        """Mark a source as in progress."""
        entry = self._entries[task]
        self._put_off -= entry.put_off
        entry.working, entry.again, entry.closed, entry.put_off = True, False, False, False
        entry.began = now

    def finish(self, task: Task) -> QueueEntry:
        """Mark a source as done for now; next :meth:`postpone`, :meth:`retry` or :meth:`remove` it."""
        entry = self._entries[task]
        entry.working = False
        return entry

    def retry(self, task: Task, now: float) -> float:
        """Plan the next attempt; return the seconds until then."""
        entry = self._entries[task]
        entry.attempts += 1
        seconds = self._retries.seconds(entry.attempts)
        self.postpone(task, now + seconds)
        return seconds

    def remove(self, task: Task) -> None:
        """Remove a source that is not in progress."""
        self._put_off -= self._entries.pop(task).put_off

    def _move(self, task: Task, entry: QueueEntry, due: float) -> None:
        entry.due = due
        heapq.heappush(self._order, (due, next(self._count), task))

    def _is_current(self, row: tuple[float, int, Task]) -> bool:
        entry = self._entries.get(row[2])
        return entry is not None and not entry.working and entry.due == row[0]
