"""The scheduler: hints and sweeps name sources, and the pool converts those that are ready.

A source is ready when it was closed or renamed into place and is old enough for a later write to have another
time, or when it has not changed for a while.  Failures that time can mend are retried; other sources wait for
a change.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from daemon.report.events import SOURCE_RECOVERED
from daemon.report.outcomes import Done, Event, Observer, log_outcome, log_unstamped
from daemon.report.status import TroubleTable
from daemon.schedule.queue import Queue, Source
from daemon.schedule.readiness import seconds_to_wait, version_of
from daemon.workers.worker import TICK_SECONDS
from lib.errors import Changed, Interrupted, Unfinished, Vanished
from lib.outcome import Outcome, failure
from lib.sync.walk import Found, PathFailure, Task, look

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from daemon.report.index import IndexWriter
    from daemon.signals import Signals
    from daemon.workers.pool import Pool
    from lib.options import Options

YOUNG_SECONDS: Final = 60.0
"""A file shorter than its header says is being written while it is younger than this, else truncated."""
_RACES: Final = frozenset({Changed, Vanished})
_FINE: Final = frozenset({"rendered", "adopted", "fresh"})
_QUIET_ATTEMPTS: Final = 3
"""A file that is replaced while it is read has not failed before more attempts than this."""
_LOG_AGAIN_SECONDS: Final = 300.0
_STOP_SECONDS: Final = 10.0
_STOP_LOOK_SECONDS: Final = 0.2


@dataclass(eq=False)
class Scheduler:
    """Owns the queue; use from one thread.  ``now`` is monotonic seconds.

    ``observers``: in the order in which they are notified.  ``troubles``: the sources without fresh sidecars,
    for the status.
    """

    pool: Pool
    options: Options
    settle_seconds: float
    log: Any
    queue: Queue = field(default_factory=Queue)
    indexes: Sequence[IndexWriter] = ()
    observers: list[Observer] = field(default_factory=list)
    troubles: TroubleTable = field(default_factory=TroubleTable)
    _has_reported_unstamped: bool = False

    def hint(self, task: Task, now: float, *, closed: bool) -> bool:
        """Queue a source that may have changed; False when the queue is full and a sweep must find it."""
        return self.queue.add(task, now + TICK_SECONDS, closed=closed)

    def look_again(self, task: Task, now: float) -> None:
        """Queue a source that may have gone, if anything is remembered of it."""
        if self.queue.get(task) is not None:
            self.hint(task, now, closed=False)

    def wants(self, found: Found) -> bool:
        """Tell whether a source must be read for an index, although its sidecars are fresh."""
        return any(index.wants(found) for index in self.indexes)

    def take(self, found: Found, now: float) -> Outcome | None:
        """Queue a source that a sweep found out of date.

        Returns its last outcome instead when that is still valid: the source waits for a change, or for the
        next attempt.
        """
        source = self.queue.get(found.task)
        if source is not None and source.outcome is not None and source.version == version_of(found):
            return source.outcome
        if source is None or source.outcome is not None:
            self.queue.add(found.task, now)
        return None

    def take_fresh(self, task: Task) -> None:
        """Record that a source is up to date."""
        source = self.queue.get(task)
        if source is None:
            return
        self._recover(source)
        self.troubles.drop(task)
        source.outcome = None
        if source.state == "settled":
            self.queue.remove(source)

    def forget(self, tasks: Iterable[Task]) -> None:
        """Forget sources that waited for a change, and that a sweep has not found."""
        for task in tasks:
            source = self.queue.get(task)
            if source is not None and source.state == "settled":
                self._drop(source)

    def notify(self, event: Event, now: float) -> None:
        """Notify every observer."""
        for observer in self.observers:
            observer.notice(event, now)

    def next_due(self) -> float:
        """Return when a source is due for which the pool has room."""
        return self.queue.next_due() if self.pool.has_room() else math.inf

    def work(self, now: float, until: float) -> None:
        """Hand sources that are due and ready to the pool, while it has room and time is left."""
        while self.pool.has_room() and time.monotonic() < until:
            source = self.queue.take_due(now)
            if source is None:
                return
            self._consider(source, now)

    def stop(self, signals: Signals) -> None:
        """End the work at the end of each block, or at once after ten seconds or a second signal."""
        self.pool.stop()
        deadline = time.monotonic() + _STOP_SECONDS
        while len(self.pool) and signals.stops < 2 and time.monotonic() < deadline:
            signals.wait(_STOP_LOOK_SECONDS, self.pool)
            self.collect(time.monotonic())
        self.pool.kill()

    def collect(self, now: float) -> None:
        """Take what the pool has finished, which starts what waits."""
        for task, outcome in self.pool.done():
            source = self.queue[task]
            again, closed = source.again, source.closed
            self._conclude(source, outcome, now)
            if again:
                self.hint(task, now, closed=closed)

    def _consider(self, source: Source, now: float) -> None:
        """Give a source its turn: start it, put it off, or drop it."""
        seen = look(source.task, self.options)
        if isinstance(seen, PathFailure):
            source.see(None, now)
            self._conclude(source, failure(source.task.name, self.options, seen.error), now)
            return
        source.see(version_of(seen), now)
        still, clock = now - source.seen, time.time()
        wait = seconds_to_wait(
            seen, self.settle_seconds, closed=source.closed, still_seconds=still, clock=clock
        )
        if seen.is_fresh and not self.wants(seen):
            self._recover(source)
            self._drop(source)
        elif source.is_known and self.queue.settle(source):
            pass  # it still waits for a change
        elif wait > 0:
            self.queue.postpone(source, now + wait)
        else:
            self.queue.start(source)
            self.pool.submit(source.task, seen.status.st_size)
            return
        self.notify(Done(source.task, None), now)

    def _conclude(self, source: Source, outcome: Outcome, now: float) -> None:
        """Decide what follows an outcome: another attempt, or none before something changes."""
        if outcome.error is Interrupted or (outcome.error is Vanished and self._is_gone(source.task)):
            self._drop(source)
            self.notify(Done(source.task, None), now)
        elif outcome.result == "failed" and outcome.passing and self._is_tried_again(source, outcome):
            self._retry(source, outcome, now)
        else:
            self._finish(source, outcome, now)

    def _finish(self, source: Source, outcome: Outcome, now: float) -> None:
        """Report an outcome, and remember it unless the source is now up to date."""
        log_outcome(self.log, source.task, outcome, attempt=source.failures + 1)
        if outcome.unstamped and not self._has_reported_unstamped:
            self._has_reported_unstamped = True
            log_unstamped(self.log, source.task, outcome)
        if outcome.result != "failed":
            self._recover(source)
        is_done = outcome.result in _FINE and not outcome.unstamped
        if not is_done and self.queue.settle(source):
            self._remember(source, outcome)
        else:
            self._drop(source)
        self.notify(Done(source.task, outcome), now)

    def _retry(self, source: Source, outcome: Outcome, now: float) -> None:
        """Plan the next attempt, and report this one unless it may still be a race with a writer."""
        wait = self.queue.retry(source, now)
        if self.queue.retries.attempts is not None:
            return  # its turn ends with the last attempt
        if outcome.error in _RACES and source.failures <= _QUIET_ATTEMPTS:
            self.notify(Done(source.task, None), now)
            return
        self._remember(source, outcome)
        logged = source.logged
        if logged is None or logged[0] != outcome.reason or now - logged[1] >= _LOG_AGAIN_SECONDS:
            source.logged = (outcome.reason, now)
            log_outcome(self.log, source.task, outcome, attempt=source.failures, retry_seconds=wait)
        self.notify(Done(source.task, outcome), now)

    def _is_tried_again(self, source: Source, outcome: Outcome) -> bool:
        """Tell whether to retry what time can mend: a single sweep does not wait for a full disk."""
        if outcome.error is Unfinished:
            seen = look(source.task, self.options)
            if isinstance(seen, Found) and time.time() - seen.status.st_mtime > YOUNG_SECONDS:
                return False  # it is truncated
        limit = self.queue.retries.attempts
        if limit is None:
            return True
        is_being_written = outcome.error in _RACES or outcome.error is Unfinished
        return is_being_written and source.failures + 1 < limit

    def _is_gone(self, task: Task) -> bool:
        """Tell whether the source itself has gone, rather than a temporary file beside it."""
        seen = look(task, self.options)
        return isinstance(seen, PathFailure) and isinstance(seen.error, Vanished)

    def _remember(self, source: Source, outcome: Outcome) -> None:
        """Keep the outcome of a source without fresh sidecars, and list it."""
        source.outcome, task = outcome, source.task
        if outcome.result in _FINE:  # only a stamp is missing
            self.troubles.drop(task)
        else:
            self.troubles.put(task, task.path, outcome.result, outcome.reason, outcome.hint)

    def _recover(self, source: Source) -> None:
        """Log that a source that had failed no longer does."""
        if self.troubles.state_of(source.task) == "failed":
            self.log.info(SOURCE_RECOVERED, source=source.task.path, attempts=source.failures + 1)

    def _drop(self, source: Source) -> None:
        self.queue.remove(source)
        self.troubles.drop(source.task)
