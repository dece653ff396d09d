"""Sweeps inside the service, cut into slices so that hints, signals and status are served meanwhile."""

from __future__ import annotations

import random
import time
from array import array
from typing import TYPE_CHECKING, Any, Final

from daemon.report import Sums, log_trouble
from daemon.walk import Folder, Found, Step, Trouble, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.desk import Desk
    from daemon.work import Task
    from lib.outcome import Outcome

_ENOUGH_PENDING: Final = 1000
_BRANCHES_LIMIT: Final = 2000
_JITTER: Final = 0.1


class Rounds:
    """Walks all roots when asked, and new directories as they are named.  ``now`` is monotonic seconds."""

    def __init__(self, roots: list[str], desk: Desk, ignore: frozenset[str], log: Any) -> None:
        self.roots = roots
        self.ignore = ignore
        self._desk = desk
        self._log = log
        self._next = 0.0
        self._again = False
        self._walk: Iterator[Step] | None = None
        self._waiting: set[Task] = set()
        self._sums = Sums()
        self._began = 0.0
        self._inodes = array("Q")
        self._seen: array[int] | None = None
        self._sources = 0
        self._branches: dict[tuple[str, tuple[str, ...], bool], float] = {}
        self._branch: Iterator[Step] | None = None
        self._branch_is_known = False
        self._logged: dict[str, str] = {}
        self.directories = 0
        self.sources = 0
        self.last: dict[str, int | float] | None = None

    def ask(self) -> None:
        """Ask for a sweep of everything as soon as possible; one that is running is followed by another."""
        self._next = 0.0
        self._again = self._walk is not None

    def ask_branch(self, root: str, parts: tuple[str, ...], now: float, settle_seconds: float) -> None:
        """Ask for a look into one directory that came or moved, at once and once more when it has settled."""
        if len(self._branches) >= _BRANCHES_LIMIT:
            self.ask()
            return
        self._branches.setdefault((root, parts, False), now)
        self._branches[root, parts, True] = now + settle_seconds

    def take_directories(self) -> array[int] | None:
        """Return the inodes of all directories that the last sweep saw; None when they were taken."""
        seen, self._seen = self._seen, None
        return seen

    def is_busy(self, now: float) -> bool:
        """Tell whether there is walking to do right now."""
        if self._walk is not None:
            return len(self._desk.pending) < _ENOUGH_PENDING
        return (
            self._branch is not None
            or now >= self._next
            or any(due <= now for due in self._branches.values())
        )

    def next_due(self) -> float:
        """Say when there will be walking to do."""
        return min([self._next, *self._branches.values()])

    def step(self, now: float, until: float, period_seconds: float) -> None:
        """Walk on until the clock says ``until``, or so much is pending that it can wait."""
        self._look_into_branches(now, until)
        if self._walk is None and now >= self._next:
            self._start(now, period_seconds)
        while (
            self._walk is not None and len(self._desk.pending) < _ENOUGH_PENDING and time.monotonic() < until
        ):
            step = next(self._walk, None)
            if step is None:
                self._walk = None
                self.directories = len(self._inodes)
                self._seen = self._inodes
                self.sources = self._sources
                self._finish_if_done(now)
            else:
                self._take(step, now)

    def finished(self, task: Task, outcome: Outcome) -> None:
        """Hear that a source was worked on."""
        if task in self._waiting:
            self._waiting.discard(task)
            self._sums.add_outcome(outcome)
            self._finish_if_done(time.monotonic())
        elif outcome.is_new:
            self.sources += 1

    def _start(self, now: float, period_seconds: float) -> None:
        self._next = now + period_seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 (spreads load)
        self._again = False
        self._log.info("sweep.started", paths=self.roots)
        self._sums, self._began, self._sources = Sums(), now, 0
        self._waiting.clear()
        self._inodes = array("Q")
        self._walk = self._walk_all()

    def _walk_all(self) -> Iterator[Step]:
        for root in self.roots:
            yield from walk(root, self._desk.options, self.ignore)

    def _take(self, step: Step, now: float) -> None:
        if isinstance(step, Folder):
            self._inodes.append(step.inode)
        elif isinstance(step, Trouble):
            self._sums.add("failed")
            self._log_once(step)
        else:
            self._sources += 1
            self._take_source(step, now)

    def _take_source(self, found: Found, now: float) -> None:
        if found.is_fresh:
            self._sums.add("fresh", len(found.plans))
            self._desk.settled.pop(found.task, None)
            return
        outcome = self._desk.take(found, now)
        if outcome is not None:
            self._sums.add_outcome(outcome)
        else:
            self._waiting.add(found.task)

    def _log_once(self, trouble: Trouble) -> None:
        """Log a directory that cannot be read the first time only, or when the reason changes."""
        if (
            self._logged.get(trouble.path) != trouble.error.reason
            and type(trouble.error).__name__ != "Vanished"
        ):
            self._logged[trouble.path] = trouble.error.reason
            log_trouble(self._log, trouble.path, trouble.error)

    def _finish_if_done(self, now: float) -> None:
        if self._walk is not None or not self._began:
            return
        self._waiting = {task for task in self._waiting if task in self._desk.pending}
        if self._waiting:
            return
        seconds = round(now - self._began, 3)
        self._began = 0.0
        self.last = {**self._sums.as_fields(), "seconds": seconds}
        self._log.info("sweep.finished", **self.last)
        if self._again:
            self._next = 0.0

    def _look_into_branches(self, now: float, until: float) -> None:
        while time.monotonic() < until:
            if self._branch is None:
                due = next((branch for branch, moment in self._branches.items() if moment <= now), None)
                if due is None:
                    return
                del self._branches[due]
                self._branch_is_known = due[2]
                self._branch = walk(due[0], self._desk.options, self.ignore, due[1])
            step = next(self._branch, None)
            if step is None:
                self._branch = None
            elif isinstance(step, Folder):
                self.directories += not self._branch_is_known
            elif isinstance(step, Found) and not step.is_fresh:
                self._desk.take(step, now)
