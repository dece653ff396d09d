"""What is to be done, is being done, and could not be done: hints and sweeps in, tasks for the crew out.

A source is handed to the crew when it is ready: closed or renamed into place and old enough for its time to
tell a later write apart, or unchanged for a while.  What time can mend is retried, what it cannot waits for
a change.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from daemon.pending import Entry, Pending
from daemon.report import log_outcome, log_trouble
from daemon.walk import Found, Trouble, look
from daemon.work import TICK_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.crew import Crew
    from daemon.work import Task
    from lib.outcome import Options, Outcome

YOUNG_SECONDS: Final = 60.0
"""A file shorter than its header says is being written while it is younger; later it is truncated."""
_QUICK_ATTEMPTS: Final = 3
_LOG_AGAIN_SECONDS: Final = 300.0
_SETTLED_LIMIT: Final = 100_000


@dataclass(frozen=True, slots=True)
class Settled:
    """A source that stays as it is until it changes: what became of it, and since when (epoch, seconds)."""

    signature: Any
    outcome: Outcome
    since: float


class Desk:
    """Owns the pending table; use from one thread.  ``now`` is always monotonic seconds."""

    def __init__(self, crew: Crew, options: Options, settle_seconds: float, log: Any) -> None:
        self.crew = crew
        self.options = options
        self.settle_seconds = settle_seconds
        self.pending = Pending()
        self.settled: dict[Task, Settled] = {}
        self.retrying: dict[Task, Settled] = {}
        self.on_finished: Callable[[Task, Outcome], None] = lambda _task, _outcome: None
        self._log = log

    def hint(self, task: Task, now: float, *, closed: bool) -> bool:
        """Take a hint that a source may have changed; False when the table is full and only a sweep helps."""
        if self.pending.is_full() and task not in self.pending:
            return False
        self.pending.add(task, now + TICK_SECONDS, closed=closed)
        return True

    def take(self, found: Found, now: float) -> Outcome | None:
        """Take what a sweep found; the outcome when it is settled already, None when it will be worked on."""
        settled = self.settled.get(found.task)
        if settled is not None and settled.signature == _signature(found):
            return settled.outcome
        if found.task not in self.pending:
            self.pending.add(found.task, now)
        return None

    def work(self, now: float, until: float) -> None:
        """Hand what is due and ready to the crew, as long as it has room and time is left."""
        while len(self.crew) < 3 * self.crew.width and time.monotonic() < until:
            due = self.pending.take_due(now)
            if due is None:
                return
            self._consider(*due, now)

    def finish(self, now: float) -> int:
        """Take finished tasks from the crew; return how many there were."""
        done = self.crew.done()
        for task, outcome in done:
            self._finish(task, outcome, now)
        return len(done)

    def forget(self, root: str) -> None:
        """Forget a root that is gone."""
        for table in (self.settled, self.retrying):
            for task in [task for task in table if task.root == root]:
                del table[task]

    def _consider(self, task: Task, entry: Entry, now: float) -> None:
        seen = look(task, self.options)
        if isinstance(seen, Trouble):
            self._cannot_look(task, seen, now)
            return
        signature = _signature(seen)
        settled = self.settled.get(task)
        if seen.is_fresh or (settled is not None and settled.signature == signature):
            self._drop(task)
            return
        wait = self._seconds_to_wait(seen, entry, signature, now)
        if wait > 0:
            self.pending.postpone(task, now + wait)
            return
        entry.signature = signature
        self.pending.start(task, now)
        self.crew.submit(task, self.options)

    def _seconds_to_wait(self, found: Found, entry: Entry, signature: Any, now: float) -> float:
        """Say how long a source, or an edit of its sidecar, must still lie still; 0 when it is ready."""
        clock = time.time()
        for plan in found.plans:
            if plan.action == "compare" and plan.seen is not None:
                age = clock - plan.seen.st_mtime
                if 0 <= age < self.settle_seconds:
                    return self.settle_seconds - age
        age = clock - found.status.st_mtime
        if entry.closed:
            return TICK_SECONDS - age if 0 <= age < TICK_SECONDS else 0.0
        if age >= self.settle_seconds:
            return 0.0
        # a time in the future, or just now: only watching it tells
        if entry.seen is None or entry.seen[0] != signature:
            entry.seen = (signature, now)
        return max(0.0, entry.seen[1] + self.settle_seconds - now)

    def _cannot_look(self, task: Task, trouble: Trouble, now: float) -> None:
        if type(trouble.error).__name__ == "Vanished":
            self._drop(task)
            self.settled.pop(task, None)
            return
        if self.pending.retry(task, now) <= 1.0:
            log_trouble(self._log, trouble.path, trouble.error)

    def _finish(self, task: Task, outcome: Outcome, now: float) -> None:
        entry = self.pending.finish(task)
        seconds = now - entry.began
        if outcome.result == "failed" and outcome.passing and not self._is_final(task, outcome):
            self._retry(task, entry, outcome, now, seconds)
        else:
            self._settle(task, entry, outcome, seconds)
        self.on_finished(task, outcome)
        if entry.again:
            entry.again = False
            self.pending.add(task, now + TICK_SECONDS)
            self.pending.postpone(task, now + TICK_SECONDS)

    def _settle(self, task: Task, entry: Entry, outcome: Outcome, seconds: float) -> None:
        failed_before = self.retrying.pop(task, None) or self._failed(task)
        log_outcome(self._log, task, outcome, seconds)
        if outcome.result in {"failed", "skipped", "kept"}:
            if len(self.settled) < _SETTLED_LIMIT:
                self.settled[task] = Settled(entry.signature, outcome, time.time())
        else:
            self.settled.pop(task, None)
            if failed_before and outcome.result != "failed":
                self._log.info("source.recovered", source=task.path, attempts=entry.attempts + 1)
        if not entry.again:
            self.pending.remove(task)

    def _retry(self, task: Task, entry: Entry, outcome: Outcome, now: float, seconds: float) -> None:
        if outcome.error in {"Vanished", "Interrupted"}:
            self._drop(task)
            return
        if outcome.error == "Changed" and entry.attempts < _QUICK_ATTEMPTS:
            entry.attempts += 1
            self.pending.postpone(task, now + self.settle_seconds)
            return
        wait = self.pending.retry(task, now)
        if (
            entry.logged is None
            or entry.logged[0] != outcome.trouble
            or now - entry.logged[1] >= _LOG_AGAIN_SECONDS
        ):
            entry.logged = (outcome.trouble, now)
            log_outcome(self._log, task, outcome, seconds, attempt=entry.attempts, retry_seconds=wait)
        since = self.retrying[task].since if task in self.retrying else time.time()
        self.retrying[task] = Settled(entry.signature, outcome, since)

    def _is_final(self, task: Task, outcome: Outcome) -> bool:
        """Tell whether a file that is too short is truncated rather than still being written."""
        if outcome.error != "Unfinished":
            return False
        seen = look(task, self.options)
        return isinstance(seen, Found) and time.time() - seen.status.st_mtime > YOUNG_SECONDS

    def _failed(self, task: Task) -> Settled | None:
        settled = self.settled.get(task)
        return settled if settled is not None and settled.outcome.result == "failed" else None

    def _drop(self, task: Task) -> None:
        self.pending.remove(task)
        self.retrying.pop(task, None)


def _signature(found: Found) -> Any:
    """Return what a later look must find the same for a settled source to stay settled."""
    status = found.status
    sidecars = tuple(
        (
            plan.action,
            plan.stamp_ns,
            plan.seen and (plan.seen.st_ino, plan.seen.st_size, plan.seen.st_mtime_ns),
        )
        for plan in found.plans
    )
    return (status.st_ino, status.st_size, status.st_mtime_ns, sidecars)
