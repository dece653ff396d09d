"""``--backfill`` and ``decode-generations``: one sweep by the service's scheduler, without a watch."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from daemon.cli.flags import refuse, say
from daemon.cli.progress import Bar
from daemon.cli.summary import Summary
from daemon.config.validation import ALL_IS_WELL, SOMETHING_FAILED, WRONG_USAGE
from daemon.report.logging import configure, escaped, get_logger
from daemon.schedule.queue import FEW, Queue
from daemon.schedule.scheduler import Scheduler
from daemon.schedule.sweeper import Sweeper
from daemon.signals import Signals
from daemon.workers.capacity import default_jobs, lower_priority
from daemon.workers.process_pool import ProcessPool
from daemon.workers.worker import convert, serve_in_background, tune
from lib.names import KINDS, kind_of, sidecar_name
from lib.sync.walk import Found, PathFailure, Step, walk_all

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from daemon.config.model import Config
    from daemon.report.index import IndexWriter
    from daemon.report.outcomes import Observer
    from daemon.workers.pool import Pool
    from lib.options import Options
    from lib.outcome import Result

_PLANS: Final = {"rendered": "render", "adopted": "adopt"}
_SLICE_SECONDS: Final = 0.02
_LONGEST_WAIT_SECONDS: Final = 0.5
_INLINE_BYTES: Final = 1 << 20
"""A single source up to this size is converted in this process."""


def backfill(paths: Sequence[str], config: Config, flags: argparse.Namespace) -> int:
    """Sweep once, with the flags of a sweep; return the exit status.

    A path that cannot be swept is printed.  If the command line names it, nothing is swept; if it is a root
    in the configuration, the other roots are swept.
    """
    usable, refused = _sorted_out(paths)
    if refused and (flags.paths or not usable):
        return refused
    options = config.options(force=flags.force)
    if flags.dry_run:
        return max(refused, dry_run(usable, options, frozenset(config.watch.ignore)))
    return max(refused, _sweep(usable, options, config, flags))


def dry_run(paths: Sequence[str], options: Options, ignore: frozenset[str]) -> int:
    """Print plan, path and reason of each sidecar, tab-separated; write nothing; return the exit status."""
    status = ALL_IS_WELL
    options = replace(options, dry_run=True, count=False)
    for step in walk_all(paths, options, ignore):
        for result, path, reason in _verdicts(step, options):
            if result == "failed":
                status = SOMETHING_FAILED
            print(_PLANS.get(result, result), escaped(path), escaped(reason), sep="\t")
    return status


def _verdicts(step: Step, options: Options) -> Iterator[tuple[Result, str, str]]:
    if isinstance(step, PathFailure):
        yield "failed", step.path, step.error.reason
    elif isinstance(step, Found):
        (outcome,) = convert([step.task], options)
        directory = os.path.dirname(step.task.path)
        for verdict in outcome.verdicts:
            path = os.path.join(directory, sidecar_name(step.task.name, verdict.fmt))
            yield verdict.result, path, verdict.reason


def sweep(
    paths: Sequence[str],
    options: Options,
    pool: Pool,
    log: Any,
    signals: Signals,
    *,
    ignore: frozenset[str] = frozenset(),
    observers: Sequence[Observer] = (),
    indexes: Sequence[IndexWriter] = (),
) -> dict[str, int | float]:
    """Sweep trees and single sources once; return the fields of ``sweep.finished``.

    SIGINT or SIGTERM ends it early; a second signal ends the work at once.
    """
    scheduler = Scheduler(pool, options, 0.0, log, Queue(FEW))
    sweeper = Sweeper(list(paths), scheduler, ignore, log, is_only_one=True)
    scheduler.indexes = indexes
    scheduler.observers = [*observers, *indexes, sweeper]  # the sweeper is told last: it logs the end
    while not signals.stops:
        now = time.monotonic()
        until = now + _SLICE_SECONDS
        sweeper.step(now, until, math.inf)
        scheduler.work(now, until)
        scheduler.collect(now)
        if sweeper.last and not len(scheduler.queue):
            break
        due = min(sweeper.next_due(), scheduler.next_due())
        signals.wait(min(max(0.0, due - time.monotonic()), _LONGEST_WAIT_SECONDS), pool)
    if signals.stops:
        scheduler.stop(signals)
        sweeper.finish_early(time.monotonic())
    return sweeper.last or {}


def _sorted_out(paths: Sequence[str]) -> tuple[list[str], int]:
    """Return the paths that can be swept, and the exit status for the others, which are printed."""
    endings = " or ".join(f"_{kind}.npy" for kind in KINDS)
    usable, status = [], ALL_IS_WELL
    for path in paths:
        is_named = kind_of(os.path.basename(path)) is not None and os.path.lexists(path)
        if is_named or os.path.isdir(path):
            usable.append(path)
        elif reason := _why_not_found(path):
            refuse(path, reason)
            status = max(status, SOMETHING_FAILED)
        else:
            to_do = "to sweep all sources in a directory, give the directory"
            refuse(path, f"is not a source: its name does not end in {endings}; {to_do}")
            status = WRONG_USAGE
    return usable, status


def _why_not_found(path: str) -> str:
    """Return why there is nothing at a path, such as a link to a disk that is not mounted; else nothing."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        where = "" if os.path.isabs(path) else " (relative to the current directory)"
        return f"no such file or directory{where}"
    except PermissionError:
        return "the user that runs this has no permission to enter its directory"
    except OSError as error:
        return f"cannot be looked up: {error.strerror}"
    return ""


def _sweep(paths: Sequence[str], options: Options, config: Config, flags: argparse.Namespace) -> int:
    """Sweep; on a terminal, show a progress bar and a summary, unless the flags ask for log lines."""
    if flags.scheduler is not None:  # its workers have other working directories
        paths = [os.path.abspath(path) for path in paths]
    is_terminal = sys.stderr.isatty()
    for_person = is_terminal and config.log.format == "auto" and config.log.level in {"debug", "info"}
    can_draw = os.environ.get("TERM", "dumb") != "dumb"
    bar = None
    if for_person and config.log.level == "info" and can_draw and not flags.no_progress:
        bar = Bar()
        configure("warning", "auto", aside=bar.aside)
    else:
        configure(config.log.level, config.log.format)
    summary, log, ignore = Summary(), get_logger(), frozenset(config.watch.ignore)
    observers: list[Observer] = [summary, *([bar] if bar else [])]
    indexes = _indexes(paths, options, config, log)
    with contextlib.closing(_pool(options, config, flags.scheduler)) as pool, Signals() as signals:
        if bar is not None:
            bar.count(paths, ignore, lambda: signals.stops > 0)
        sums = sweep(paths, options, pool, log, signals, ignore=ignore, observers=observers, indexes=indexes)
    if bar is not None:
        bar.close()
    if for_person:
        say(summary.text(sums["seconds"]))
    if signals.stops:
        say("Stopped. Finished sidecars are complete; run the same command again for the rest.\n")
        return 128 + signals.last_stop
    return SOMETHING_FAILED if sums["failed"] else ALL_IS_WELL


def _pool(options: Options, config: Config, scheduler: str | None) -> Pool:
    if scheduler is not None:
        from daemon.workers.dask import DaskPool

        return DaskPool(scheduler, options)
    lower_priority()
    tune()
    jobs = config.work.jobs or default_jobs()
    return ProcessPool(jobs, options, serve=serve_in_background, inline_bytes=_INLINE_BYTES)


def _indexes(paths: Sequence[str], options: Options, config: Config, log: Any) -> list[IndexWriter]:
    """Return a writer for each tree's index; a directory inside a root is in the index of the root."""
    if not config.index.enabled:
        return []
    from daemon.report.index import IndexWriter
    from daemon.report.status import TroubleTable

    roots = [os.path.realpath(root) + os.sep for root in config.roots]
    trees = [path for path in paths if os.path.isdir(path)]
    whole = [tree for tree in trees if not any(os.path.realpath(tree).startswith(root) for root in roots)]
    return [IndexWriter(tree, options, log, TroubleTable()) for tree in whole]
