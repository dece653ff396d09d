"""What is to be done, is being done, and could not be done: hints and sweeps in, tasks for the crew out.

A source is handed to the crew when it is ready: closed or renamed into place and old enough for its time to
tell a later write apart, or unchanged for a while.  What time can mend is retried, what it cannot waits for
a change.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from daemon.report.logging import SOURCE_RECOVERED
from daemon.report.outcomes import log_outcome, log_unstamped
from daemon.schedule.queue import Queue, QueueEntry
from daemon.schedule.readiness import seconds_to_wait, signature_of
from daemon.workers.worker import TICK_SECONDS
from lib.errors import Changed, Interrupted, Unfinished, Vanished
from lib.outcome import failure
from lib.sync.walk import Found, Trouble, look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from daemon.workers.lanes import Lanes
    from daemon.workers.pool import Crew
    from lib.options import Options
    from lib.outcome import Outcome
    from lib.sync.walk import Task

YOUNG_SECONDS: Final = 60.0
"""A file shorter than its header says is being written while it is younger; later it is truncated."""
_QUIET_ATTEMPTS: Final = 3
"""A file that changes while it is read is no failure before it has done so more often than this."""
_LOG_AGAIN_SECONDS: Final = 300.0
_SETTLED_LIMIT: Final = 100_000


@dataclass(frozen=True, slots=True)
class Known:
    """What became of a source at its last turn, of which version, and since when (epoch, seconds)."""

    signature: Any
    outcome: Outcome
    since: float


class Scheduler:
    """Owns the pending table; use from one thread.  ``now`` is always monotonic seconds.

    ``settled``: what stays as it is until it changes.  ``retrying``: what failed and is tried again.
    ``on_finished`` hears of every source that had its turn, with the outcome if it was worked on.  ``wants``
    says of a source whose sidecars are fresh whether it is to be read all the same.
    """

    def __init__(self, crew: Crew | Lanes, options: Options, settle_seconds: float, log: Any) -> None:
        self.crew = crew
        self.options = options
        self.settle_seconds = settle_seconds
        self.queue = Queue()
        self.settled: dict[Task, Known] = {}
        self.retrying: dict[Task, Known] = {}
        self._has_reported_unstamped = False
        self.on_finished: Callable[[Task, Outcome | None], None] = lambda _task, _outcome: None
        self.wants: Callable[[Found], bool] = lambda _found: False
        self._log = log

    def hint(self, task: Task, now: float, *, closed: bool) -> bool:
        """Take a hint that a source may have changed; False when the table is full and only a sweep helps."""
        return self._admit(task, now + TICK_SECONDS, closed=closed)

    def take(self, found: Found, now: float) -> Outcome | None:
        """Take what a sweep found and is not fresh.

        The outcome that stands when nothing will be done now: it waits for a change, or for its next attempt.
        """
        known = self.settled.get(found.task) or self.retrying.get(found.task)
        if known is not None and known.signature == signature_of(found):
            return known.outcome
        if known is not None or found.task not in self.queue:
            self._admit(found.task, now, closed=False)
        return None

    def take_fresh(self, task: Task, attempts: int = 0) -> None:
        """Hear that nothing is to be done about a source, whoever did it."""
        if self._forget_failure(task):
            self._log_recovered(task, attempts)

    def forget(self, tasks: Iterable[Task]) -> None:
        """Forget settled sources that are no longer there."""
        for task in tasks:
            self.settled.pop(task, None)

    def work(self, now: float, until: float) -> None:
        """Hand what is due and ready to the crew, as long as it has room and time is left."""
        while self.crew.has_room() and time.monotonic() < until:
            due = self.queue.take_due(now)
            if due is None:
                return
            self._consider(*due, now)

    def finish(self, now: float) -> int:
        """Take finished tasks from the crew; return how many there were."""
        done = self.crew.done()
        for task, outcome in done:
            self._finish(task, outcome, now)
        return len(done)

    def _admit(self, task: Task, due: float, *, closed: bool) -> bool:
        if self.queue.is_full() and task not in self.queue:
            return False
        self.queue.add(task, due, closed=closed)
        return True

    def _consider(self, task: Task, entry: QueueEntry, now: float) -> None:
        """Give a source its turn: work, later, or nothing to be done."""
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
            self._pass_over(task)
        elif settled is not None and settled.signature == entry.signature:
            self._pass_over(task)
        elif (wait := self._seconds_to_wait(seen, entry, now)) > 0:
            self.queue.postpone(task, now + wait)
            self.on_finished(task, None)
        else:
            self.queue.start(task, now)
            self.crew.submit(task, self.options, seen.status.st_size)

    def _seconds_to_wait(self, found: Found, entry: QueueEntry, now: float) -> float:
        still = now - entry.seen
        return seconds_to_wait(
            found, self.settle_seconds, closed=entry.closed, still_seconds=still, clock=time.time()
        )

    def _finish(self, task: Task, outcome: Outcome, now: float) -> None:
        entry = self.queue.finish(task)
        self._conclude(task, entry, outcome, now)
        if entry.again:
            self.queue.add(task, now + TICK_SECONDS, closed=entry.closed)

    def _conclude(self, task: Task, entry: QueueEntry, outcome: Outcome, now: float) -> None:
        """Decide what follows: another attempt, or none before something changes."""
        if outcome.error in {Vanished, Interrupted}:
            self._forget_failure(task)
            self._pass_over(task)
        elif outcome.result == "failed" and outcome.passing and not self._is_final(task, outcome):
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
        if stays and len(self.settled) < _SETTLED_LIMIT:
            since = failed.since if failed and outcome.result == "failed" else time.time()
            self.settled[task] = Known(entry.signature, outcome, since)
        if failed and outcome.result != "failed":
            self._log_recovered(task, entry.attempts)
        self.queue.remove(task)
        self.on_finished(task, outcome)

    def _retry(self, task: Task, entry: QueueEntry, outcome: Outcome, now: float) -> None:
        wait = self.queue.retry(task, now)
        if outcome.error is Changed and entry.attempts <= _QUIET_ATTEMPTS:
            self.on_finished(task, None)
            return
        since = known.since if (known := self._forget_failure(task)) else time.time()
        self.retrying[task] = Known(entry.signature, outcome, since)
        if (
            entry.logged is None
            or entry.logged[0] != outcome.trouble
            or now - entry.logged[1] >= _LOG_AGAIN_SECONDS
        ):
            entry.logged = (outcome.trouble, now)
            seconds = now - entry.began
            log_outcome(self._log, task, outcome, seconds, attempt=entry.attempts, retry_seconds=wait)
        self.on_finished(task, outcome)

    def _pass_over(self, task: Task) -> None:
        self.queue.remove(task)
        self.on_finished(task, None)

    def _is_final(self, task: Task, outcome: Outcome) -> bool:
        """Tell whether a file that is too short is truncated rather than still being written."""
        if outcome.error is not Unfinished:
            return False
        seen = look(task, self.options)
        return isinstance(seen, Found) and time.time() - seen.status.st_mtime > YOUNG_SECONDS

    def _forget_failure(self, task: Task) -> Known | None:
        """Forget what stood about a source; return it if it was a failure."""
        known = self.retrying.pop(task, None) or self.settled.pop(task, None)
        return known if known is not None and known.outcome.result == "failed" else None

    def _log_recovered(self, task: Task, attempts: int) -> None:
        self._log.info(SOURCE_RECOVERED, source=task.path, attempts=attempts + 1)
