"""Sweeps, in slices between which the loop serves hints, signals and finished work."""

from __future__ import annotations

import math
import os
import random
import time
from collections import Counter
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from daemon.report.events import SWEEP_FINISHED, SWEEP_STARTED
from daemon.report.outcomes import RESULTS, Done, Event, Walk, log_failure
from daemon.report.status import iso
from daemon.schedule.inventory import Inventory, is_below
from lib.errors import Vanished
from lib.sync.walk import Folder, Found, PathFailure, Step, Task, walk, walk_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from daemon.schedule.scheduler import Scheduler
    from lib.outcome import Outcome, Result

_JITTER: Final = 0.1
_PATIENCE_SECONDS: Final = 10.0
"""How long the next sweep waits for the sources of the last one, which is then reported as it is."""
_GONE_SECONDS: Final = 1.0
"""How often directories that have gone are forgotten, all together: each time goes through all others."""


@dataclass(slots=True)
class _Sweep:
    """One sweep.  A source that is put off counts with its last outcome, if it has one.

    ``steps``: the rest of its walk; None when that is over.  ``unseen``: the sources that waited for a change
    when it began, and that it has not found.  ``mended``: the paths that could not be looked at before, and
    that have not failed again.  ``waiting``: the sources that it queued, and that have not had their turn.
    """

    began: float = math.inf
    steps: Iterator[Step] | None = None
    unseen: set[Task] = field(default_factory=set)
    mended: set[str] = field(default_factory=set)
    waiting: set[Task] = field(default_factory=set)
    sums: Counter[Result] = field(default_factory=Counter)

    @property
    def is_done(self) -> bool:
        """Tell whether the walk is over, and every source that it queued has had its turn."""
        return self.steps is None and not self.waiting

    def add(self, outcome: Outcome) -> None:
        """Add up the results of a source's sidecars."""
        self.sums.update(verdict.result for verdict in outcome.verdicts)


@dataclass(eq=False)
class Sweeper:
    """An observer that walks all roots when asked, and new directories.  ``now`` is monotonic seconds.

    ``roots`` may name single sources.  No walk continues while ``backlog_limit`` sources wait;
    ``branches_limit``: how many walks of new directories may wait.  ``is_only_one``: a missing root is a
    failure, and the indexes are written before the sweep is finished; in a service the supervisor reports
    missing roots, and the indexes are written when they are due.

    ``last``: the fields of ``sweep.finished`` of the last sweep, which ended at ``last_ended`` (ISO).
    ``on_changed`` is called with each source out of date that was not in the queue.
    """

    roots: list[str]
    scheduler: Scheduler
    ignore: frozenset[str]
    log: Any
    _: KW_ONLY
    backlog_limit: int = 1000
    branches_limit: int = 2000
    is_only_one: bool = False
    on_changed: Callable[[Found, float], None] = lambda _found, _now: None

    def __post_init__(self) -> None:
        self.inventory = Inventory()
        self.last: dict[str, int | float] | None = None
        self.last_ended = ""
        self._branches = Branches(self._walk_branch, self.scheduler.settle_seconds, self.branches_limit)
        self._sweep = _Sweep()
        self._failing: set[str] = set()
        self._next_gone = 0.0
        self._patience_ends = 0.0
        self._next = 0.0
        self._once_more = math.inf

    def ask(self) -> None:
        """Ask for a sweep as soon as possible; a running one is followed by another."""
        self._next = 0.0

    def ask_branch(self, root: str, parts: tuple[str, ...], now: float) -> None:
        """Ask for a walk of one new or moved directory, now and once more when it has settled.

        When there are too many of them, two full sweeps take their place.
        """
        if not self._branches.ask(Folder(root, parts), now):
            self.ask()
            self._once_more = now + self.scheduler.settle_seconds

    def next_due(self) -> float:
        """Return when there is something to walk; never while too many sources wait."""
        if not self._has_room():
            return math.inf
        return 0.0 if self._sweep.steps is not None else min(self._sweep_due(), self._branches.next_due())

    def step(self, now: float, until: float, period_seconds: float) -> None:
        """Walk until the time ``until``, or until too many sources wait.

        Always takes at least one step of a running sweep.
        """
        # the period may have become shorter
        self._next = min(self._next, now + period_seconds * (1 + _JITTER))
        while self._has_room() and self._step_in_branch(now) and time.monotonic() < until:
            pass
        if self._sweep.steps is None and now >= self._sweep_due():
            self._begin(now, period_seconds)
        while self._sweep.steps is not None and self._has_room():
            self._step_in_sweep(self._sweep.steps, now)
            if time.monotonic() >= until:
                return

    def finish_early(self, now: float) -> None:
        """End a sweep where it is, and report it, also if it has not begun."""
        if not self._sweep.is_done or self.last is None:
            self._finish(now)

    def notice(self, event: Event, now: float) -> None:
        """Record that a source had its turn."""
        if not isinstance(event, Done):
            return
        if event.outcome is not None:
            self.inventory.count_new(event.task, event.outcome, self.scheduler.options)
        if event.task in self._sweep.waiting:
            self._sweep.waiting.discard(event.task)
            if event.outcome is not None:
                self._sweep.add(event.outcome)
            if self._sweep.is_done:
                self._finish(now)

    def _has_room(self) -> bool:
        return self.scheduler.queue.backlog < self.backlog_limit

    def _sweep_due(self) -> float:
        """Return when the next sweep starts: it waits a while for the last one to finish."""
        due = min(self._next, self._once_more)
        return due if self._sweep.is_done else max(due, self._patience_ends)

    def _begin(self, now: float, period_seconds: float) -> None:
        if not self._sweep.is_done:
            self._finish(now)
        self._next = now + period_seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 (no secret)
        if self._once_more <= now:
            self._once_more = math.inf
        self.log.info(SWEEP_STARTED, paths=self.roots)
        self.inventory.begin_sweep()
        self.scheduler.notify(Walk.BEGUN, now)
        steps = walk_all(self.roots, self.scheduler.options, self.ignore)
        self._sweep = _Sweep(time.monotonic(), steps, set(self.scheduler.queue.settled), set(self._failing))

    def _step_in_sweep(self, walk: Iterator[Step], now: float) -> None:
        step = next(walk, None)
        if step is None:
            self._end_walk(now)
            return
        self.inventory.count(step)
        if isinstance(step, Found):
            self._take_source(step, now)
        elif isinstance(step, PathFailure):
            self._sweep.sums["failed"] += self._take_failure(step, now)

    def _take_source(self, found: Found, now: float) -> None:
        sweep, scheduler = self._sweep, self.scheduler
        sweep.unseen.discard(found.task)
        wanted = scheduler.wants(found)
        if found.is_fresh and not wanted:
            sweep.sums["fresh"] += len(found.plans)
            scheduler.take_fresh(found.task)
            scheduler.notify(found, now)
            return
        is_known = found.is_fresh or found.task in scheduler.queue
        outcome = scheduler.take(found, now)
        if outcome is not None:
            sweep.add(outcome)
            return
        if not is_known:
            self.on_changed(found, now)
        if found.task in scheduler.queue:
            sweep.waiting.add(found.task)

    def _take_failure(self, failure: PathFailure, now: float) -> bool:
        """Record a path that cannot be looked at; log it when it is new or its reason changes.

        False for a missing root that the supervisor reports.
        """
        if isinstance(failure.error, Vanished) and not self.is_only_one:
            return False
        self._failing.add(failure.path)
        self._sweep.mended.discard(failure.path)
        if self.scheduler.troubles.put_failure(failure):
            log_failure(self.log, failure)
        self.scheduler.notify(failure, now)
        return True

    def _end_walk(self, now: float) -> None:
        sweep = self._sweep
        sweep.steps = None
        self._patience_ends = now + _PATIENCE_SECONDS
        self.scheduler.forget(sweep.unseen)
        self._failing -= sweep.mended
        for path in sweep.mended:
            self.scheduler.troubles.drop(path)
        self.inventory.end_sweep()
        self.scheduler.notify(Walk.ENDED, now)
        if sweep.is_done:
            self._finish(now)

    def _finish(self, now: float) -> None:
        sweep = self._sweep
        for index in self.scheduler.indexes if self.is_only_one else ():
            if (failure := index.write()) is not None:
                sweep.sums["failed"] += 1
                self.scheduler.notify(failure, now)
        seconds = round(max(0.0, time.monotonic() - sweep.began), 3)  # ``now`` is before the last conversion
        self.last = {**{result: sweep.sums[result] for result in RESULTS}, "seconds": seconds}
        self.last_ended = iso(time.time())
        self.log.info(SWEEP_FINISHED, **self.last)

    def _walk_branch(self, folder: Folder) -> Iterator[Step]:
        self.inventory.remove(folder)  # the first step adds it, unless it has gone
        return walk(folder.root, self.scheduler.options, self.ignore, folder.parts)

    def _step_in_branch(self, now: float) -> bool:
        """Take one step in the new directories; False when there is none."""
        step = self._branches.step(now)
        if isinstance(step, Folder):
            self.inventory.add(step)
        elif isinstance(step, PathFailure):
            self._take_failure(step, now)
        elif isinstance(step, Found) and (self.scheduler.wants(step) or not step.is_fresh):
            self.scheduler.take(step, now)
        elif step is None and self.inventory.gone and now >= self._next_gone:
            self._forget_gone(now)
        return step is not None

    def _forget_gone(self, now: float) -> None:
        """Forget the directories that have gone; look again at what was known below them."""
        self._next_gone = now + _GONE_SECONDS
        gone = self.inventory.forget_gone()
        settled = self.scheduler.queue.settled
        for task in [task for task in settled if is_below((task.root, *task.parts, task.name), gone)]:
            self.scheduler.look_again(task, now)
        for path in [path for path in self._failing if not os.path.lexists(path)]:
            self._failing.discard(path)
            self.scheduler.troubles.drop(path)


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
