"""Sweeps, in slices between which the loop serves hints, signals and finished work."""

from __future__ import annotations

import math
import os
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from daemon.report.events import SWEEP_FINISHED, SWEEP_STARTED
from daemon.report.observers import Done, Walk
from daemon.report.outcomes import RESULTS, log_failure
from daemon.report.status import Trouble, iso
from daemon.schedule.directories import Directories
from lib.errors import Vanished
from lib.names import kind_of, sources_concerned
from lib.sync.walk import Folder, Found, PathFailure, Step, Task, look, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from daemon.report.observers import Event
    from daemon.schedule.scheduler import Scheduler
    from daemon.watch.client import Hint
    from lib.options import Options
    from lib.outcome import Outcome, Result

_JITTER: Final = 0.1
_PATIENCE_SECONDS: Final = 10.0
"""How long the next sweep waits for the sources of the last one, which is then reported as it is."""


def steps(paths: Sequence[str], options: Options, ignore: frozenset[str]) -> Iterator[Step]:
    """Yield every directory and source below the paths; a path may be a source too."""
    for path in paths:
        directory, name = os.path.split(path)
        if kind_of(name) and not os.path.isdir(path):
            yield look(Task(directory or ".", (), name), options)
        else:
            yield from walk(path, options, ignore)


class Sweeper:
    """An observer that walks all roots when asked, and new directories.  ``now`` is monotonic seconds.

    A sweep is finished when its walk is over and every source it queued has had its turn; one that is put off
    counts with its last outcome, if it has one.  ``roots`` may name single sources.  ``backlog_limit``: how
    many sources may wait before the walk does.  ``branches_limit``: the same for new directories.
    ``is_only_one``: a missing root is a failure, and indexes are written before the sweep is finished; in a
    service the supervisor reports missing roots, and the indexes are written when they are due.
    """

    def __init__(
        self,
        roots: list[str],
        scheduler: Scheduler,
        ignore: frozenset[str],
        log: Any,
        *,
        backlog_limit: int = 1000,
        branches_limit: int = 2000,
        is_only_one: bool = False,
    ) -> None:
        self._backlog_limit = backlog_limit
        self._branches_limit = branches_limit
        self._is_only_one = is_only_one
        self.roots = roots
        self._ignore = ignore
        self._scheduler = scheduler
        self._log = log
        self._next = 0.0
        self._once_more = math.inf
        self._walk: Iterator[Step] | None = None
        self._began: float | None = None
        self._patience_ends = 0.0
        self._sums: Counter[Result] = Counter()
        self._sources = 0
        self._directories = Directories()
        self._waiting: set[Task] = set()
        self._counted: set[Task] = set()
        self._unseen: set[Task] = set()
        self._failing: set[str] = set()
        self._failed_before: set[str] = set()
        self._branches: dict[tuple[Folder, bool], float] = {}
        self._branch: Iterator[Step] | None = None
        self.on_changed: Callable[[Found, float], None] = lambda _found, _now: None
        self.sources = 0
        self.last: dict[str, int | float] | None = None
        self.last_ended = ""

    @property
    def directories(self) -> int:
        """The number of directories known now."""
        return len(self._directories)

    def take_hint(self, hint: Hint, now: float) -> None:
        """Queue the sources that a hint concerns, or ask for a walk of its directory."""
        if self._ignores(hint.parts):
            return
        if hint.kind == "directory":
            self.ask_branch(hint.root, hint.parts, now)
            return
        *folders, name = hint.parts
        for source in sources_concerned(name, pairs=self._scheduler.options.extras.pairs):
            task = Task(hint.root, tuple(folders), source)
            if not self._scheduler.hint(task, now, closed=hint.kind == "closed"):
                self.ask()

    def ask(self) -> None:
        """Ask for a sweep as soon as possible; a running one is followed by another."""
        self._next = 0.0

    def ask_branch(self, root: str, parts: tuple[str, ...], now: float) -> None:
        """Ask for a walk of one new or moved directory, now and once more when it has settled.

        When there are too many of them, two full sweeps take their place.
        """
        settled = now + self._scheduler.settle_seconds
        if len(self._branches) >= self._branches_limit:
            self.ask()
            self._once_more = settled
            return
        folder = Folder(root, parts)
        self._branches.setdefault((folder, False), now)
        self._branches[folder, True] = settled

    def next_due(self) -> float:
        """Return when there is something to walk; never while too many sources wait."""
        if not self._has_room():
            return math.inf
        if self._walk is not None or self._branch is not None:
            return 0.0
        return min([self._sweep_due(), *self._branches.values()])

    def step(self, now: float, until: float, period_seconds: float) -> None:
        """Walk until the time ``until``, or until too many sources wait.

        Always takes at least one step of a running sweep.
        """
        # the period may have become shorter
        self._next = min(self._next, now + period_seconds * (1 + _JITTER))
        while self._has_room() and self._look_into_branches(now) and time.monotonic() < until:
            pass
        if self._walk is None and now >= self._sweep_due():
            self._start(now, period_seconds)
        while self._walk is not None and self._has_room():
            self._sweep_on(self._walk, now)
            if time.monotonic() >= until:
                return

    def finish_early(self, now: float) -> None:
        """End a sweep where it is, and report it, also if it has not begun."""
        self._walk = None
        if self._began is not None or self.last is None:
            self._finish(now)

    def notice(self, event: Event, now: float) -> None:
        """Record that a source had its turn."""
        if not isinstance(event, Done):
            return
        task, outcome = event.task, event.outcome
        if outcome is not None and task not in self._counted:
            self._count_if_new(task, outcome)
        if task in self._waiting:
            self._waiting.discard(task)
            if outcome is not None:
                self._add(outcome)
            self._finish_if_done(now)

    def _ignores(self, parts: Iterable[str]) -> bool:
        """Tell whether one of these names is ignored or hidden: neither a source nor entered."""
        return any(name in self._ignore or name.startswith(".") for name in parts)

    def _add(self, outcome: Outcome) -> None:
        self._sums.update(verdict.result for verdict in outcome.verdicts)

    def _count_if_new(self, task: Task, outcome: Outcome) -> None:
        """Count a source that appeared since the last sweep: it had no sidecars."""
        is_new, is_failure = outcome.is_new, outcome.result in {"failed", "skipped"}
        if is_failure:
            seen = look(task, self._scheduler.options)
            is_new = isinstance(seen, Found) and all(plan.seen is None for plan in seen.plans)
        if is_new or is_failure:
            self._counted.add(task)
        self.sources += is_new

    def _has_room(self) -> bool:
        return self._scheduler.queue.backlog < self._backlog_limit

    def _sweep_due(self) -> float:
        """Return when the next sweep starts: it waits a while for the last one to finish."""
        due = min(self._next, self._once_more)
        return due if self._began is None else max(due, self._patience_ends)

    def _start(self, now: float, period_seconds: float) -> None:
        if self._began is not None:
            self._finish(now)
        jitter = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 (spreads load)
        self._next = now + period_seconds * jitter
        if self._once_more <= now:
            self._once_more = math.inf
        self._log.info(SWEEP_STARTED, paths=self.roots)
        self._sums, self._began, self._sources = Counter(), now, 0
        self._directories.begin_sweep()
        self._waiting.clear()
        self._counted.clear()
        self._unseen = set(self._scheduler.queue.settled)
        self._failed_before, self._failing = self._failing, set()
        self._scheduler.tell(Walk.BEGUN, now)
        self._walk = steps(self.roots, self._scheduler.options, self._ignore)

    def _sweep_on(self, steps: Iterator[Step], now: float) -> None:
        step = next(steps, None)
        if isinstance(step, Folder):
            self._directories.add(step)
        elif isinstance(step, PathFailure):
            self._sums["failed"] += not self._is_missing_root(step)
            self._sources += kind_of(os.path.basename(step.path)) is not None
            self._take_failure(step, now)
        elif isinstance(step, Found):
            self._sources += 1
            self._take_source(step, now)
        else:
            self._end_walk(now)

    def _take_source(self, found: Found, now: float) -> None:
        self._unseen.discard(found.task)
        wanted = self._scheduler.wants(found)
        if found.is_fresh and not wanted:
            self._sums["fresh"] += len(found.plans)
            self._scheduler.take_fresh(found.task)
            self._scheduler.tell(found, now)
            return
        if not found.is_fresh:
            self._counted.add(found.task)
        is_known = found.is_fresh or found.task in self._scheduler.queue
        outcome = self._scheduler.take(found, now)
        if outcome is None and not is_known:
            self.on_changed(found, now)
        if outcome is not None:
            self._add(outcome)
        elif found.task in self._scheduler.queue:
            self._waiting.add(found.task)

    def _is_missing_root(self, failure: PathFailure) -> bool:
        """Tell whether the supervisor reports this."""
        return isinstance(failure.error, Vanished) and not self._is_only_one

    def _take_failure(self, failure: PathFailure, now: float) -> None:
        """Record a path that cannot be looked at; log it when it is new or its reason changes."""
        if self._is_missing_root(failure):
            return
        self._failing.add(failure.path)
        if self._scheduler.troubles.put(failure.path, Trouble.of(failure, time.time())):
            log_failure(self._log, failure)
        self._scheduler.tell(failure, now)

    def _end_walk(self, now: float) -> None:
        self._walk = None
        self._patience_ends = now + _PATIENCE_SECONDS
        self._scheduler.forget(self._unseen)
        for path in self._failed_before - self._failing:
            self._scheduler.troubles.drop(path)
        self._unseen.clear()
        self._directories.end_sweep()
        self.sources = self._sources
        self._scheduler.tell(Walk.ENDED, now)
        self._finish_if_done(now)

    def _finish_if_done(self, now: float) -> None:
        if self._walk is None and self._began is not None and not self._waiting:
            self._finish(now)

    def _finish(self, now: float) -> None:
        if self._is_only_one:
            self._write_indexes(now)
        seconds = round(now - (self._began or now), 3)
        self._began = None
        self.last = {**{result: self._sums[result] for result in RESULTS}, "seconds": seconds}
        self.last_ended = iso(time.time())
        self._log.info(SWEEP_FINISHED, **self.last)

    def _write_indexes(self, now: float) -> None:
        """Write the indexes; one that cannot be written counts as failed."""
        for index in self._scheduler.indexes:
            failure = index.write()
            if failure is not None:
                self._sums["failed"] += 1
                self._scheduler.tell(failure, now)

    def _look_into_branches(self, now: float) -> bool:
        """Take one step in the new directories; False when there is none."""
        if self._branch is None:
            due = next((branch for branch, moment in self._branches.items() if moment <= now), None)
            if due is None:
                return False
            del self._branches[due]
            folder, _ = due
            self._branch = walk(folder.root, self._scheduler.options, self._ignore, folder.parts)
            self._directories.remove(folder)  # the first step adds it, unless it has gone
        step = next(self._branch, None)
        if step is None:
            self._branch = None
        elif isinstance(step, Folder):
            self._directories.add(step)
        elif isinstance(step, PathFailure):
            self._take_failure(step, now)
        elif self._scheduler.wants(step) or not step.is_fresh:
            self._scheduler.take(step, now)
        return True
