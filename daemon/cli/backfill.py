"""Sweeping once from a command line: checks its paths, sweeps or shows the plan, minds Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

from daemon.cli.flags import refuse
from daemon.config.validation import ALL_IS_WELL, SOMETHING_FAILED, WRONG_USAGE
from lib.names import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from types import FrameType

    from daemon.cli.progress import Bar
    from daemon.cli.sweep import Scope
    from daemon.config.model import Config
    from daemon.report.index import Catalogue
    from daemon.workers.pool import Crew
    from lib.options import Options


def backfill(
    paths: Sequence[str],
    config: Config,
    *,
    force: bool,
    dry_run: bool,
    progress: bool = True,
    scheduler: str | None = None,
) -> int:
    """Sweep once, with the workers of a Dask ``scheduler`` if one is given; return the exit status."""
    from daemon.cli.sweep import Scope, missing, not_sources

    if wrong := not_sources(paths):
        endings = " or ".join(f"_{kind}.npy" for kind in KINDS)
        refuse(wrong, f"is not a source, whose name ends in {endings}; give a directory for all below it")
        return WRONG_USAGE
    if gone := missing(paths):
        refuse(gone, "is not there; check the path, or from where it is meant")
        return SOMETHING_FAILED
    ignore, options = frozenset(config.watch.ignore), config.options(force=force)
    if dry_run:
        from daemon.cli.sweep import dry_run as show_plans

        _configure(config, None)
        failed = show_plans(Scope(tuple(paths), ignore), options, sys.stdout)
        return SOMETHING_FAILED if failed else ALL_IS_WELL
    if scheduler is not None:  # its workers were started elsewhere
        paths = [os.path.abspath(path) for path in paths]
    scope = Scope(tuple(paths), ignore)
    return _sweep(scope, options, config, scheduler, _bar(config) if progress else None)


def _sweep(scope: Scope, options: Options, config: Config, scheduler: str | None, bar: Bar | None) -> int:
    from daemon.cli.sweep import Sweep, count_sources
    from daemon.report.logging import get_logger

    _configure(config, bar)
    catalogue = _catalogue(scope, options, config)
    with _interruptible() as interrupted, _crew(config, scheduler) as crew:
        sweep = Sweep(scope, options, crew, get_logger(), interrupted, progress=bar, catalogue=catalogue)
        if bar is not None:
            bar.begin(None)
            bar.begin(count_sources(scope, bar, interrupted))
        sums = sweep.run()
        if bar is not None:
            bar.end()
    if _wants_to_know(config):
        print(sweep.summary.text(sweep.seconds), end="", file=sys.stderr)
    if sweep.stopped:
        print("Stopped. What was done is whole; the same command does the rest.", file=sys.stderr)
        return SOMETHING_FAILED
    return SOMETHING_FAILED if sums.failed else ALL_IS_WELL


def _catalogue(scope: Scope, options: Options, config: Config) -> Catalogue | None:
    """Make the indexes of the directories that are swept; a part of a configured root has none of its own."""
    if not config.index.enabled:
        return None
    from daemon.report.index import Catalogue
    from daemon.report.logging import get_logger

    roots = [os.path.realpath(root) + os.sep for root in config.roots]
    trees = [path for path in scope.paths if os.path.isdir(path)]
    whole = [tree for tree in trees if not any(os.path.realpath(tree).startswith(root) for root in roots)]
    return Catalogue(whole, options, get_logger())


def _wants_to_know(config: Config) -> bool:
    """Tell whether a person waits at a terminal, and did not ask for lines for machines or for fewer."""
    from daemon.cli.progress import on_terminal

    return on_terminal() and config.log.format == "auto" and config.log.level in {"debug", "info"}


def _bar(config: Config) -> Bar | None:
    """Make a bar where one can be drawn, and nobody asked to read along."""
    from daemon.cli.progress import Bar, can_draw

    return Bar() if can_draw() and _wants_to_know(config) and config.log.level == "info" else None


def _configure(config: Config, bar: Bar | None) -> None:
    """Send the log to stderr; beside a bar, only what needs attention."""
    from daemon.report.logging import configure

    if bar is None:
        configure(config.log.level, config.log.format)
    else:
        configure("warning", "auto", aside=bar.aside)


def _crew(config: Config, scheduler: str | None) -> AbstractContextManager[Crew]:
    from daemon.workers.pool import Crew, local_processes

    if scheduler is None:
        jobs = config.work.jobs or 1
        return contextlib.closing(Crew(lambda: local_processes(jobs), jobs))
    from daemon.workers.dask import cluster_crew

    return cluster_crew(scheduler)


class _Interrupted:
    """Whether SIGINT or SIGTERM came; the second one ends the program at once."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> bool:
        return self.count > 0

    def on_signal(self, _signal: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 1:
            os._exit(130)


@contextlib.contextmanager
def _interruptible() -> Iterator[_Interrupted]:
    interrupted = _Interrupted()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, interrupted.on_signal) for number in numbers]
    try:
        yield interrupted
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
