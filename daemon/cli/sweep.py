"""One pass over trees or named sources, then the end: ``--backfill`` and ``decode-generations``."""

from __future__ import annotations

import os
import select
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TextIO

from daemon.cli.progress import Silent
from daemon.cli.summary import Summary
from daemon.report.logging import SWEEP_FINISHED, SWEEP_STARTED
from daemon.report.outcomes import log_outcome, log_trouble
from daemon.report.terminal import escaped
from daemon.workers.worker import convert
from lib.errors import Changed, Passing, Vanished
from lib.names import kind_of, sidecar_name
from lib.outcome import failure
from lib.sync.walk import Folder, Found, Step, Task, Trouble, look, names_below, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from daemon.cli.progress import Progress
    from daemon.report.index import Catalogue
    from daemon.report.outcomes import Sums
    from daemon.workers.pool import Crew
    from lib.options import Options
    from lib.outcome import Outcome

_QUICK_ATTEMPTS: Final = 3
_UNSEEN: Final = Passing(
    "it is there, but not for the worker that was to read it",
    hint="Workers of a cluster must see the same paths as the sweep.",
)


@dataclass(frozen=True, slots=True)
class _Start:
    """When a source was handed over (monotonic seconds), and its size in bytes."""

    moment: float
    size: int


@dataclass(frozen=True, slots=True)
class Scope:
    """Where to sweep: trees, and single sources."""

    paths: tuple[str, ...]
    ignore: frozenset[str] = frozenset()


def not_sources(paths: Sequence[str]) -> list[str]:
    """Name the paths that are there, are no directories, and do not end like a source."""
    names = [path for path in paths if os.path.lexists(path) and not os.path.isdir(path)]
    return [path for path in names if not kind_of(os.path.basename(path))]


def missing(paths: Sequence[str]) -> list[str]:
    """Name the paths that are not there."""
    return [path for path in paths if not os.path.lexists(path)]


def steps(scope: Scope, options: Options) -> Iterator[Step]:
    """Yield what a sweep over the scope meets, a source at a time."""
    for path in scope.paths:
        directory, name = os.path.split(path)
        if kind_of(name) and not os.path.isdir(path):
            yield look(Task(directory or ".", (), name), options)
        else:
            yield from walk(path, options, scope.ignore)


def count_sources(scope: Scope, progress: Progress, stop: Callable[[], bool]) -> int:
    """Count what a sweep over the scope will meet, by names alone."""
    total = 0
    for path in scope.paths:
        single = kind_of(os.path.basename(path)) and not os.path.isdir(path)
        for _ in (path,) if single else names_below(path, scope.ignore):
            if stop():
                return total
            progress.advance()
            total += 1
    return total


class Sweep:
    """Sweeps once.  :meth:`run` returns the sums; ``stop`` is asked all the time.

    ``progress`` hears of every source once it is done; ``summary`` is complete at the end.
    """

    def __init__(
        self,
        scope: Scope,
        options: Options,
        crew: Crew,
        log: Any,
        stop: Callable[[], bool],
        *,
        progress: Progress | None = None,
        catalogue: Catalogue | None = None,
    ) -> None:
        self._scope = scope
        self._options = options
        self._crew = crew
        self._log = log
        self._stop = stop
        self._progress = progress or Silent()
        self._catalogue = catalogue
        self.summary = Summary()
        self.seconds = 0.0
        self._started: dict[Task, _Start] = {}
        self._attempts: Counter[Task] = Counter()
        self.stopped = False

    def run(self) -> Sums:
        """Carry the whole sweep out; no more than a few sources wait in memory at any time."""
        began = time.monotonic()
        self._log.info(SWEEP_STARTED, paths=list(self._scope.paths))
        for step in steps(self._scope, self._options):
            self._take(step)
            while not self._crew.has_room() and not self._stop():
                self._collect()
            if self._stop():
                break
        while len(self._crew) and not self._stop():
            self._collect()
        if self._stop():
            self._end_early()
        if self._catalogue is not None:
            self._write_index(self._catalogue)
        self.seconds = round(time.monotonic() - began, 3)
        sums = self.summary.total()
        self._log.info(SWEEP_FINISHED, **sums.as_fields(), seconds=self.seconds)
        return sums

    def _take(self, step: Step) -> None:
        if isinstance(step, Trouble):
            self.summary.add_trouble(step.path, step.error)
            log_trouble(self._log, step.path, step.error)
        elif isinstance(step, Found):
            uncounted = self._catalogue is not None and self._catalogue.wants(step)
            if step.is_fresh and not uncounted:
                self.summary.add(kind_of(step.task.name), "fresh", len(step.plans))
                self._progress.advance()
            elif step.task not in self._started:  # a path may be given twice
                start = self._started[step.task] = _Start(time.monotonic(), step.status.st_size)
                self._crew.submit(step.task, self._options, start.size)

    def _collect(self) -> None:
        select.select([self._crew], [], [], 0.2)
        for task, outcome in self._crew.done():
            self._count(task, outcome)

    def _count(self, task: Task, outcome: Outcome) -> None:
        if outcome.error is Changed and self._attempts[task] < _QUICK_ATTEMPTS and not self._stop():
            self._attempts[task] += 1  # a writer, or a service that does the same work
            self._crew.submit(task, self._options, self._started[task].size)
            return
        self._progress.advance()
        seconds = time.monotonic() - self._started.pop(task).moment
        if outcome.error is Vanished:
            if isinstance(look(task, self._options), Trouble):
                return  # deleted since it was listed
            outcome = failure(task.name, self._options, _UNSEEN)
        self.summary.add_outcome(task, outcome)
        if self._catalogue is not None:
            self._catalogue.finished(task, outcome, time.monotonic())
        log_outcome(self._log, task, outcome, seconds, attempt=self._attempts[task] + 1)

    def _write_index(self, catalogue: Catalogue) -> None:
        if not self.stopped:  # else not everything was seen
            catalogue.end_walk(time.monotonic())
        for _ in range(catalogue.write()):
            self.summary.add(None, "failed")

    def _end_early(self) -> None:
        self.stopped = True
        self._crew.ask_to_stop()
        while len(self._crew):
            self._collect()


def dry_run(scope: Scope, options: Options, out: TextIO) -> int:
    """Print one line a sidecar — plan, path, reason, separated by tabs — and write nothing.

    Returns how many cannot be made.
    """
    failed = 0
    dry = replace(options, dry_run=True, count=False)
    for step in steps(scope, dry):
        for plan, path, reason in _rows(step, dry):
            failed += plan == "failed"
            print(plan, escaped(path), escaped(reason), sep="\t", file=out)
    return failed


def _rows(step: Step, options: Options) -> list[tuple[str, str, str]]:
    if isinstance(step, Trouble):
        return [("failed", step.path, step.error.reason)]
    if isinstance(step, Folder):
        return []
    (outcome,) = convert([step.task], options)
    words = {"rendered": "render", "adopted": "adopt"}
    directory = os.path.dirname(step.task.path)
    return [
        (
            words.get(verdict.result, verdict.result),
            os.path.join(directory, sidecar_name(step.task.name, verdict.fmt)),
            verdict.reason,
        )
        for verdict in outcome.verdicts
    ]
