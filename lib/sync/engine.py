"""Bringing the sidecars of sources up to date: look, decide, convert.

The one engine behind the library's save, the sweep, the script and the daemon.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from lib.errors import Passing, SidecarError, SourceFault, Unfinished, Unsafe
from lib.files.atomic import flush_directory
from lib.files.reader import FileBytes, check_same, open_file, status_of, storage_error
from lib.names import metadata_name, partner_name, sidecar_name
from lib.npy.array_reader import read_items
from lib.npy.header import read_header
from lib.outcome import Outcome, Verdict, failure, source_kind
from lib.sync.conversion import Conversion, check_output, untouched
from lib.sync.plan import Plan, follow_json, plan_sidecar

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator, Sequence

    from lib.options import Options
    from lib.outcome import Figures


def never() -> bool:
    """Say that nobody asks to stop."""
    return False


def plan_source(directory: int, name: str, source: os.stat_result, options: Options) -> list[Plan]:
    """Decide about every sidecar of a source, from file times alone.

    :raises Storage: the system refuses to say.
    """
    kind = source_kind(name)
    metadata = full_texts = None
    if "md" in options.formats:
        metadata = status_of(directory, metadata_name(name, kind))
        partner = partner_name(name, kind) if options.extras.pairs else None
        full_texts = status_of(directory, partner) if partner else None
    plans = []
    for fmt in options.formats:
        sidecar = status_of(directory, sidecar_name(name, fmt))
        plans.append(plan_sidecar(fmt, source, metadata, sidecar, full_texts=full_texts, force=options.force))
    return follow_json(plans, source)


def sync_source(directory: int, name: str, options: Options, stop: Callable[[], bool] = never) -> Outcome:
    """Bring the sidecars of the source ``name`` in an open directory up to date.

    Nothing is raised for what can be wrong with a file: the outcome says it.  May be called any number of
    times, by any number of processes: each sidecar is always whole.  ``stop`` is asked between two blocks.
    """
    (outcome,) = sync_sources([(directory, name)], options, stop)
    return outcome


def sync_sources(
    sources: Sequence[tuple[int, str]], options: Options, stop: Callable[[], bool] = never
) -> list[Outcome]:
    """Bring the sidecars of several sources, each ``(directory, name)``, up to date in step.

    The sidecars of all are written, then those of all are flushed to disk, then all appear, and last each
    directory is flushed: so the disk is waited for a few times, not a few times a source.
    """
    folders = _Folders()
    runs = [_run(source, options, stop, folders) for source in sources]
    outcomes: list[Outcome | None] = [None] * len(runs)
    try:
        while None in outcomes:
            for place, run in enumerate(runs):
                outcomes[place] = outcomes[place] or _next(run)
    finally:  # whatever happens, drafts go while their directories are open
        for run in runs:
            run.close()
    return [outcome for outcome in outcomes if outcome is not None]


def _next(run: Generator[None, None, Outcome]) -> Outcome | None:
    """Let one source take its next step; its outcome when that was the last."""
    try:
        next(run)
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome
    return None


class _Folders:
    """Flushes each directory once for all whose sidecars appeared in it."""

    def __init__(self) -> None:
        self._results: dict[int, SidecarError | None] = {}

    def flush(self, directory: int) -> None:
        if directory not in self._results:
            self._results[directory] = None
            try:
                flush_directory(directory)
            except SidecarError as error:  # the system tells of a lost write only once
                self._results[directory] = error
        lost = self._results[directory]
        if lost is not None:
            raise lost


def _run(
    place: tuple[int, str], options: Options, stop: Callable[[], bool], folders: _Folders
) -> Generator[None, None, Outcome]:
    """Bring one source up to date; yields where it waits until the others have come as far."""
    directory, name = place
    try:
        with open_file(directory, name) as source:
            try:
                outcome = yield from _sync(directory, name, source, options, stop)
            except (SourceFault, Unfinished):
                # half of one version and half of another is nobody's fault
                check_same(directory, name, source)
                raise
            if any(verdict.result == "rendered" for verdict in outcome.verdicts) and not options.dry_run:
                folders.flush(directory)
            return outcome
    except SidecarError as error:
        return failure(name, options, error)
    except OSError as error:
        return failure(name, options, storage_error(error, "cannot be handled"))
    except MemoryError:
        return failure(
            name, options, Passing("there is not enough memory for it", hint="It is tried again later.")
        )
    except RecursionError:
        return failure(name, options, Unsafe("it nests too deep"))


def _sync(
    directory: int, name: str, source: FileBytes, options: Options, stop: Callable[[], bool]
) -> Generator[None, None, Outcome]:
    plans = plan_source(directory, name, source.status, options)
    if all(plan.action == "fresh" for plan in plans):
        verdicts = tuple(Verdict(plan.fmt, "fresh", plan.reason) for plan in plans)
        figures = _counted(source, options) if options.count else None
        return Outcome(name, source_kind(name), verdicts, figures=figures)
    header = read_header(source)
    check_output(header, options)
    if options.dry_run and not any(plan.action == "compare" for plan in plans):
        return Outcome(name, source_kind(name), tuple(untouched(plan) for plan in plans))
    with closing(Conversion(directory, name, source, options)) as conversion:
        conversion.write(plans, header, stop)
        yield
        conversion.flush()
        yield
        outcome = conversion.publish(plans)
        yield
        return outcome


def _counted(source: FileBytes, options: Options) -> Figures:
    from lib.render.pagination import count  # for an index that meets a source for the first time

    return count(read_items(source, None, options.limit))
