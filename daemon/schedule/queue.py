"""The queue: every source that waits for a turn or for a change, once, however many hints name it.

Times are monotonic seconds; nothing here reads a clock or a file.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.schedule.readiness import Version
    from lib.outcome import Outcome
    from lib.sync.walk import Task

State = Literal["waiting", "working", "put off", "settled"]

CAPACITY: Final = 50_000
SETTLED_LIMIT: Final = 100_000


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
class Source:
    """What is known of one source.

    ``state``: it waits for its turn, is being worked on, had its turn and waits for another, or waits for a
    change.  ``closed``: its writer closed it, so it need not be seen unchanged first.  ``again``: a hint came
    during the work.  ``failures``: the failed attempts since it was last settled.  ``version``: the one last
    seen, since ``seen``, and its ``outcome``, unless it has none or is simply done.  ``logged``: the failure
    last logged, and when.
    """

    task: Task
    state: State = "waiting"
    due: float = inf
    closed: bool = False
    again: bool = False
    failures: int = 0
    version: Version | None = None
    seen: float = 0.0
    outcome: Outcome | None = None
    logged: tuple[str, float] | None = None

    @property
    def is_known(self) -> bool:
        """Tell whether work on this version would come to the same outcome."""
        return self.outcome is not None and not self.failures

    def see(self, version: Version | None, now: float) -> None:
        """Record which version was seen; the outcome of another one no longer counts."""
        if self.version != version:
            self.version, self.seen, self.outcome = version, now, None


class Queue:
    """All methods are cheap; use from one thread.  Settled sources are remembered, and are not queued."""

    def __init__(
        self, retries: Retries = ENDLESS, capacity: int = CAPACITY, settled_limit: int = SETTLED_LIMIT
    ) -> None:
        self.retries = retries
        self._capacity = capacity
        self._settled_limit = settled_limit
        self._sources: dict[Task, Source] = {}
        self._states: Counter[State] = Counter()
        self._order: list[tuple[float, int, Source]] = []
        self._count = itertools.count()

    def __len__(self) -> int:
        return len(self._sources) - self._states["settled"]

    def __contains__(self, task: Task) -> bool:
        source = self._sources.get(task)
        return source is not None and source.state != "settled"

    @property
    def backlog(self) -> int:
        """The number of sources that are in progress or have not had a turn yet."""
        return self._states["waiting"] + self._states["working"]

    @property
    def settled(self) -> Iterator[Task]:
        """The sources that wait for a change."""
        return (task for task, source in self._sources.items() if source.state == "settled")

    def __getitem__(self, task: Task) -> Source:
        return self._sources[task]

    def get(self, task: Task) -> Source | None:
        """Return what is known of a source, None if nothing is."""
        return self._sources.get(task)

    def add(self, task: Task, due: float, *, closed: bool = False) -> bool:
        """Add a source, or bring it forward; one in progress gets another turn afterwards.

        False when the queue is full: a sweep must find the source.
        """
        if task not in self and len(self) >= self._capacity:
            return False
        source = self._sources.get(task)
        if source is None:
            source = self._sources[task] = Source(task)
            self._states["waiting"] += 1
        if source.state == "working":
            source.again = True
        elif due < source.due:
            self._move(source, "waiting" if source.state == "settled" else source.state, due)
        source.closed = source.closed or closed
        return True

    def postpone(self, source: Source, due: float) -> None:
        """Put a source off."""
        self._move(source, "put off", due)

    def next_due(self) -> float:
        """Return when the next source is due; infinity when no source waits."""
        while self._order:
            due, _, source = self._order[0]
            if source.due == due:
                return due
            heapq.heappop(self._order)  # it was brought forward, put off or removed
        return inf

    def take_due(self, now: float) -> Source | None:
        """Return one source that is due, and which stays in the queue; None when there is none."""
        return None if self.next_due() > now else heapq.heappop(self._order)[2]

    def start(self, source: Source) -> None:
        """Mark a source as in progress, until it is put off, settled or removed."""
        self._move(source, "working", inf)
        source.again = source.closed = False

    def retry(self, source: Source, now: float) -> float:
        """Plan the next attempt; return the seconds until then."""
        source.failures += 1
        seconds = self.retries.seconds(source.failures)
        self.postpone(source, now + seconds)
        return seconds

    def settle(self, source: Source) -> bool:
        """Remember a source, which waits for a change; False when too many do."""
        if self._states["settled"] >= self._settled_limit:
            return False
        self._move(source, "settled", inf)
        source.failures, source.logged, source.closed = 0, None, False
        return True

    def remove(self, source: Source) -> None:
        """Remove a source."""
        del self._sources[source.task]
        self._states[source.state] -= 1
        source.due = inf

    def _move(self, source: Source, state: State, due: float) -> None:
        self._states[source.state] -= 1
        self._states[state] += 1
        source.state, source.due = state, due
        if due < inf:
            heapq.heappush(self._order, (due, next(self._count), source))
