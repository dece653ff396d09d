"""``--backfill`` and ``decode-generations``: one sweep by the service's scheduler, without a watch."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from daemon.cli.flags import refuse
from daemon.config.validation import ALL_IS_WELL, SOMETHING_FAILED, WRONG_USAGE
from daemon.schedule.queue import FEW
from daemon.schedule.scheduler import Scheduler
from daemon.schedule.sweeper import Sweeper
from daemon.signals import Signals
from lib.names import KINDS, kind_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from daemon.cli.progress import Bar
    from daemon.config.model import Config
    from daemon.report.index import IndexWriter
    from daemon.report.observers import Observer
    from daemon.workers.pool import Pool
    from lib.options import Options

_SLICE_SECONDS: Final = 0.02
_LONGEST_WAIT_SECONDS: Final = 0.5
_NEVER: Final = float("inf")
_INLINE_BYTES: Final = 1 << 20
"""A single source up to this size is not worth a worker process."""


class Sweep:
    """One pass over trees and single sources, until the queue is empty."""

    def __init__(
        self,
        paths: Sequence[str],
        options: Options,
        pool: Pool,
        log: Any,
        *,
        ignore: frozenset[str] = frozenset(),
        observers: Sequence[Observer] = (),
        indexes: Sequence[IndexWriter] = (),
    ) -> None:
        self._pool = pool
        self._scheduler = Scheduler(pool, options, 0.0, log, retries=FEW)
        self._sweeper = Sweeper(list(paths), self._scheduler, ignore, log, is_only_one=True)
        self._scheduler.indexes = indexes
        # the sweeper logs the end, so it is told last
        self._scheduler.observers = [*observers, *indexes, self._sweeper]

    @property
    def sums(self) -> dict[str, int | float]:
        """The fields of ``sweep.finished``, once :meth:`run` has returned."""
        return self._sweeper.last or {}

    def run(self, signals: Signals) -> None:
        """Sweep to the end, or until SIGINT or SIGTERM; a second signal ends the work at once."""
        while not signals.stops and not (self._sweeper.last and not len(self._scheduler.queue)):
            now = time.monotonic()
            until = now + _SLICE_SECONDS
            self._sweeper.step(now, until, _NEVER)
            self._scheduler.work(now, until)
            self._scheduler.collect(now)
            signals.wait(self._seconds_to_wait(), self._pool)
        if signals.stops:
            self._scheduler.stop(signals)
            self._sweeper.finish_early(time.monotonic())

    def _seconds_to_wait(self) -> float:
        now = time.monotonic()
        if self._sweeper.is_busy(now) and self._sweeper.last is None:
            return 0.0
        due = self._scheduler.queue.next_due()
        if due is None or not self._pool.has_room():
            return _LONGEST_WAIT_SECONDS if len(self._pool) else 0.0
        return min(max(0.0, due - now), _LONGEST_WAIT_SECONDS)


def backfill(paths: Sequence[str], config: Config, flags: argparse.Namespace) -> int:
    """Sweep once, as the flags of a sweep say; return the exit status.

    Paths that cannot be swept are printed.  A command line with one is corrected first; of the roots in a
    configuration, all others are swept.
    """
    refused = _refused(paths)
    paths = [path for path in paths if _is_sweepable(path)]
    if refused and (flags.paths or not paths):
        return refused
    return max(refused, _backfill(paths, config, flags))


def _backfill(paths: Sequence[str], config: Config, flags: argparse.Namespace) -> int:
    options = config.options(force=flags.force)
    if flags.dry_run:
        from daemon.cli.dry_run import dry_run

        _configure(config, None)
        failed = dry_run(paths, frozenset(config.watch.ignore), options, sys.stdout)
        return SOMETHING_FAILED if failed else ALL_IS_WELL
    if flags.scheduler is not None:  # its workers have other working directories
        paths = [os.path.abspath(path) for path in paths]
    bar = None if flags.no_progress else _bar(config)
    return _sweep(paths, options, config, scheduler=flags.scheduler, bar=bar)


def _refused(paths: Sequence[str]) -> int:
    """Print the paths that cannot be swept; return the exit status for them, 0 when there are none."""
    missing = [path for path in paths if not os.path.lexists(path)]
    wrong = [path for path in paths if path not in missing and not _is_sweepable(path)]
    endings = " or ".join(f"_{kind}.npy" for kind in KINDS)
    refuse(
        wrong,
        f"is not a source: its name does not end in {endings}; a directory stands for all sources below it",
    )
    for path in missing:
        where = "" if os.path.isabs(path) else " (relative to the current directory)"
        refuse([path], f"no such file or directory{where}")
    if wrong:
        return WRONG_USAGE
    return SOMETHING_FAILED if missing else ALL_IS_WELL


def _is_sweepable(path: str) -> bool:
    """Tell whether a path is a directory, or has the name of a source."""
    return os.path.isdir(path) or (os.path.lexists(path) and kind_of(os.path.basename(path)) is not None)


def _sweep(
    paths: Sequence[str], options: Options, config: Config, *, scheduler: str | None, bar: Bar | None
) -> int:
    from daemon.cli.summary import Summary
    from daemon.report.logging import get_logger

    _configure(config, bar)
    summary, log, ignore = Summary(), get_logger(), frozenset(config.watch.ignore)
    observers: list[Observer] = [summary, *([bar] if bar else [])]
    indexes = _indexes(paths, options, config, log)
    with contextlib.closing(_pool(config, scheduler)) as pool, Signals() as signals:
        sweep = Sweep(paths, options, pool, log, ignore=ignore, observers=observers, indexes=indexes)
        if bar is not None:
            bar.count(paths, ignore, lambda: signals.stops > 0)
        sweep.run(signals)
    if bar is not None:
        bar.close()
    if _reports_to_person(config):
        _say(summary.text(float(sweep.sums["seconds"])))
    if signals.stops:
        _say("Stopped. Finished sidecars are complete; run the same command again for the rest.\n")
        return 128 + signals.last_stop
    return SOMETHING_FAILED if sweep.sums["failed"] else ALL_IS_WELL


def _pool(config: Config, scheduler: str | None) -> Pool:
    if scheduler is not None:
        from daemon.workers.dask import DaskPool

        return DaskPool(scheduler)
    from daemon.workers.capacity import default_jobs, lower_priority
    from daemon.workers.pool import ProcessPool
    from daemon.workers.worker import serve_in_background, use_one_thread

    lower_priority()
    use_one_thread()
    jobs = config.work.jobs or default_jobs()
    return ProcessPool(jobs, serve=serve_in_background, inline_bytes=_INLINE_BYTES)


def _indexes(paths: Sequence[str], options: Options, config: Config, log: Any) -> list[IndexWriter]:
    """Return the writer of the indexes, without a directory inside a root, which has the index."""
    if not config.index.enabled:
        return []
    from daemon.report.index import IndexWriter
    from daemon.report.troubles import TroubleTable

    roots = [os.path.realpath(root) + os.sep for root in config.roots]
    trees = [path for path in paths if os.path.isdir(path)]
    whole = [tree for tree in trees if not any(os.path.realpath(tree).startswith(root) for root in roots)]
    return [IndexWriter(whole, options, log, TroubleTable())]


def _say(text: str) -> None:
    """Print to standard error; if nobody reads it, the exit status stays the same."""
    with contextlib.suppress(OSError, ValueError):
        print(text, end="", file=sys.stderr, flush=True)


def _reports_to_person(config: Config) -> bool:
    """Tell whether to print a summary: on a terminal, unless another format or fewer lines were asked for."""
    from daemon.cli.progress import on_terminal

    return on_terminal() and config.log.format == "auto" and config.log.level in {"debug", "info"}


def _bar(config: Config) -> Bar | None:
    """Return a progress bar if the terminal can draw one and no other level was asked for."""
    from daemon.cli.progress import Bar, can_draw

    return Bar() if can_draw() and _reports_to_person(config) and config.log.level == "info" else None


def _configure(config: Config, bar: Bar | None) -> None:
    """Send the log to stderr; beside a bar, warnings and errors only."""
    from daemon.report.logging import configure

    if bar is None:
        configure(config.log.level, config.log.format)
    else:
        configure("warning", "auto", aside=bar.aside)
