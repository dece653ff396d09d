"""The scheduler: hints and sweeps name sources, and the pool converts those that are ready.

A source is ready when it was closed or renamed into place and is old enough for a later write to have another
time, or when it has not changed for a while.  What time can mend is retried; the rest waits for a change.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from daemon.report.events import SOURCE_RECOVERED
from daemon.report.observers import Done
from daemon.report.outcomes import log_outcome, log_unstamped
from daemon.report.status import SourceReport, iso
from daemon.report.troubles import TroubleTable
from daemon.schedule.queue import CAPACITY, ENDLESS, Queue, QueueEntry, Retries
from daemon.schedule.readiness import seconds_to_wait, signature_of
from daemon.workers.worker import TICK_SECONDS
from lib.errors import Changed, Interrupted, Unfinished, Vanished
from lib.outcome import failure
from lib.sync.walk import Found, Trouble, look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from daemon.report.index import IndexWriter
    from daemon.report.observers import Event, Observer
    from daemon.signals import Signals
    from daemon.workers.pool import Pool
    from lib.options import Options
    from lib.outcome import Outcome
    from lib.sync.walk import Task

YOUNG_SECONDS: Final = 60.0
"""A file shorter than its header says is being written while it is younger than this, else truncated."""
_RACES: Final = frozenset({Changed, Vanished})
"""A file that is replaced while it is read has not failed before more attempts than this."""
_QUIET_ATTEMPTS: Final = 3
_LOG_AGAIN_SECONDS: Final = 300.0
_STOP_SECONDS: Final = 10.0
_STOP_LOOK_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Clock:
    """The monotonic clock, and the wall clock that files have (since the epoch), both in seconds."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Known:
    """The outcome of a source's last turn, for which version, and since when (seconds since the epoch)."""

    signature: Any
    outcome: Outcome
    since: float


class Scheduler:
    """Owns the queue; use from one thread.  ``now`` is monotonic seconds.

    ``settled``: sources that wait for a change, at most ``settled_limit``.  ``retrying``: sources that failed
    and wait for the next attempt.  ``observers`` are told in this order.
    """

    def __init__(
        self,
        pool: Pool,
        options: Options,
        settle_seconds: float,
        log: Any,
        *,
        retries: Retries = ENDLESS,
        capacity: int = CAPACITY,
        settled_limit: int = 100_000,
        clock: Clock = Clock(),
    ) -> None:
        self.pool = pool
        self.options = options
        self.settle_seconds = settle_seconds
        self.clock = clock
        self.queue = Queue(retries, capacity)
        self.troubles = TroubleTable()
        self.settled: dict[Task, Known] = {}
        self.retrying: dict[Task, Known] = {}
        self.observers: list[Observer] = []
        self.indexes: Sequence[IndexWriter] = ()
        self._attempts_limit = retries.attempts
        self._settled_limit = settled_limit
        self._has_reported_unstamped = False
        self._log = log

    def hint(self, task: Task, now: float, *, closed: bool) -> bool:
        """Queue a source that may have changed; False when the queue is full and a sweep must find it."""
        return self._admit(task, now + TICK_SECONDS, closed=closed)

    def wants(self, found: Found) -> bool:
        """Tell whether a source must be read for an index, although its sidecars are fresh."""
        return any(index.wants(found) for index in self.indexes)

    def take(self, found: Found, now: float) -> Outcome | None:
        """Queue a source that a sweep found not fresh.

        Returns its last outcome instead when that is still valid: the source waits for a change, or for the
        next attempt.
        """
        known = self.settled.get(found.task) or self.retrying.get(found.task)
        if known is not None and known.signature == signature_of(found):
            return known.outcome
        if known is not None or found.task not in self.queue:
            self._admit(found.task, now, closed=False)
        return None

    def take_fresh(self, task: Task, attempts: int = 0) -> None:
        """Record that a source is up to date."""
        if self._forget_failure(task):
            self._log_recovered(task, attempts)

    def forget(self, keys: Iterable[Task | str]) -> None:
        """Forget settled sources, and paths with a trouble, that a sweep has not found."""
        for key in keys:
            if isinstance(key, str) or self.settled.pop(key, None) is not None:
                self.troubles.drop(key)

    def tell(self, event: Event, now: float) -> None:
        """Tell every observer."""
        for observer in self.observers:
            observer.notice(event, now)

    def work(self, now: float, until: float) -> None:
        """Hand sources that are due and ready to the pool, while it has room and time is left."""
        while self.pool.has_room() and self.clock.monotonic() < until:
            due = self.queue.take_due(now)
            if due is None:
                return
            self._consider(*due, now)

    def stop(self, signals: Signals) -> None:
        """End the work at the end of each block, or at once after ten seconds or a second signal."""
        self.pool.stop()
        deadline = time.monotonic() + _STOP_SECONDS
        while len(self.pool) and signals.stops < 2 and time.monotonic() < deadline:
            signals.wait(_STOP_LOOK_SECONDS, self.pool)
            self.collect(time.monotonic())
        self.pool.kill()

    def collect(self, now: float) -> int:
        """Take what the pool has finished, which starts what waits; return the number of sources."""
        done = self.pool.done()
        for task, outcome in done:
            self._take_outcome(task, outcome, now)
        return len(done)

    def _admit(self, task: Task, due: float, *, closed: bool) -> bool:
        if self.queue.is_full() and task not in self.queue:
            return False
        self.queue.add(task, due, closed=closed)
        return True

    def _consider(self, task: Task, entry: QueueEntry, now: float) -> None:
        """Give a source its turn: start it, put it off, or drop it."""
        seen = look(task, self.options)
        if isinstance(seen, Trouble):
            entry.see(None, now)
            entry.began = now
            self._conclude(task, entry, failure(task.name, self.options, seen.error), now)
            return
        entry.see(signature_of(seen), now)
        settled = self.settled.get(task)
        if seen.is_fresh and not self.wants(seen):
            self.take_fresh(task, entry.attempts)
            self._pass_over(task, now)
        elif settled is not None and settled.signature == entry.signature:
            self._pass_over(task, now)
        elif (wait := self._seconds_to_wait(seen, entry, now)) > 0:
            self.queue.postpone(task, now + wait)
            self.tell(Done(task, None), now)
        else:
            self.queue.start(task, now)
            self.pool.submit(task, self.options, seen.status.st_size)

    def _seconds_to_wait(self, found: Found, entry: QueueEntry, now: float) -> float:
        still, wall = now - entry.seen, self.clock.wall()
        return seconds_to_wait(
            found, self.settle_seconds, closed=entry.closed, still_seconds=still, clock=wall
        )

    def _take_outcome(self, task: Task, outcome: Outcome, now: float) -> None:
        entry = self.queue.finish(task)
        self._conclude(task, entry, outcome, now)
        if entry.again:
            self.queue.add(task, now + TICK_SECONDS, closed=entry.closed)

    def _conclude(self, task: Task, entry: QueueEntry, outcome: Outcome, now: float) -> None:
        """Decide what follows an outcome: another attempt, or none before something changes."""
        if outcome.error is Interrupted or (outcome.error is Vanished and self._is_gone(task)):
            self._forget_failure(task)
            self._pass_over(task, now)
        elif outcome.result == "failed" and outcome.passing and self._is_tried_again(task, entry, outcome):
            self._retry(task, entry, outcome, now)
        else:
            self._settle(task, entry, outcome, now)

    def _settle(self, task: Task, entry: QueueEntry, outcome: Outcome, now: float) -> None:
        failed = self._forget_failure(task)
        log_outcome(self._log, task, outcome, now - entry.began, attempt=entry.attempts + 1)
        stays = outcome.unstamped or outcome.result in {"failed", "skipped", "kept"}
        if outcome.unstamped and not self._has_reported_unstamped:
            self._has_reported_unstamped = True
            log_unstamped(self._log, task, outcome)
        if stays and len(self.settled) < self._settled_limit:
            self._remember(self.settled, task, entry, outcome, failed)
        if failed and outcome.result != "failed":
            self._log_recovered(task, entry.attempts)
        self.queue.remove(task)
        self.tell(Done(task, outcome), now)

    def _retry(self, task: Task, entry: QueueEntry, outcome: Outcome, now: float) -> None:
        wait = self.queue.retry(task, now)
        if self._attempts_limit is not None:
            return  # its turn ends with the last attempt
        if outcome.error in _RACES and entry.attempts <= _QUIET_ATTEMPTS:
            self.tell(Done(task, None), now)
            return
        self._remember(self.retrying, task, entry, outcome, self._forget_failure(task))
        logged = entry.logged
        if logged is None or logged[0] != outcome.trouble or now - logged[1] >= _LOG_AGAIN_SECONDS:
            entry.logged = (outcome.trouble, now)
            seconds = now - entry.began
            log_outcome(self._log, task, outcome, seconds, attempt=entry.attempts, retry_seconds=wait)
        self.tell(Done(task, outcome), now)

    def _is_tried_again(self, task: Task, entry: QueueEntry, outcome: Outcome) -> bool:
        """Tell whether to retry what time can mend: a single sweep does not wait for a full disk."""
        if outcome.error is Unfinished and not self._is_young(task):
            return False  # it is truncated
        if self._attempts_limit is None:
            return True
        is_being_written = outcome.error in _RACES or outcome.error is Unfinished
        return is_being_written and entry.attempts + 1 < self._attempts_limit

    def _is_gone(self, task: Task) -> bool:
        """Tell whether the source itself has gone, rather than a temporary file beside it."""
        seen = look(task, self.options)
        return isinstance(seen, Trouble) and isinstance(seen.error, Vanished)

    def _is_young(self, task: Task) -> bool:
        seen = look(task, self.options)
        return not isinstance(seen, Found) or self.clock.wall() - seen.status.st_mtime <= YOUNG_SECONDS

    def _pass_over(self, task: Task, now: float) -> None:
        self.queue.remove(task)
        self.tell(Done(task, None), now)

    def _forget_failure(self, task: Task) -> Known | None:
        """Forget the last outcome of a source; return it if it was a failure."""
        known = self.retrying.pop(task, None) or self.settled.pop(task, None)
        self.troubles.drop(task)
        return known if known is not None and known.outcome.result == "failed" else None

    def _remember(
        self,
        known: dict[Task, Known],
        task: Task,
        entry: QueueEntry,
        outcome: Outcome,
        failed: Known | None,
    ) -> None:
        """Keep an outcome; a series of failures began with the first, ``failed``."""
        since = failed.since if failed and outcome.result == "failed" else self.clock.wall()
        known[task] = Known(entry.signature, outcome, since)
        if outcome.result != "fresh":
            reason, hint = outcome.reason_and_hint
            self.troubles.put(task, SourceReport(task.path, outcome.result, reason, hint, iso(since)))

    def _log_recovered(self, task: Task, attempts: int) -> None:
        self._log.info(SOURCE_RECOVERED, source=task.path, attempts=attempts + 1)
