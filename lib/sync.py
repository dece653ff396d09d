"""Bringing the sidecars of one source up to date: look, decide, read once, render, publish.

The one engine behind the library's save, the sweep, the script and the daemon.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from lib.errors import Changed, Corrupt, Interrupted, Passing, SidecarError, SourceFault, Unfinished, Unsafe
from lib.header import Header, read_header
from lib.metadata import read_metadata
from lib.names import Format, metadata_name, sidecar_name
from lib.outcome import Options, Outcome, Verdict, failure, source_kind
from lib.plan import Plan, follow_json, plan_sidecar
from lib.publish import flush_directory
from lib.reading import read_items
from lib.sinks import CompareSink, DraftSink, Sink
from lib.source import FileBytes, open_file, same_version, status_of, storage_error
from lib.tally import Tally

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

_SMALLEST_ITEM: Final[dict[Format, int]] = {"json": 3, "md": 26}


def never() -> bool:
    """Say that nobody asks to stop."""
    return False


def plan_source(directory: int, name: str, source: os.stat_result, options: Options) -> list[Plan]:
    """Decide about every sidecar of a source, from file times alone.

    :raises Storage: the system refuses to say.
    """
    kind = source_kind(name)
    metadata = status_of(directory, metadata_name(name, kind)) if "md" in options.formats else None
    plans = [
        plan_sidecar(
            fmt, source, metadata, status_of(directory, sidecar_name(name, fmt)), force=options.force
        )
        for fmt in options.formats
    ]
    return follow_json(plans, source)


def sync_source(directory: int, name: str, options: Options, stop: Callable[[], bool] = never) -> Outcome:
    """Bring the sidecars of the source ``name`` in an open directory up to date.

    Nothing is raised for what can be wrong with a file: the outcome says it.  May be called any number of
    times, by any number of processes: each sidecar is always whole.  ``stop`` is asked between two blocks.
    """
    try:
        with open_file(directory, name) as source:
            try:
                return _sync(directory, name, source, options, stop)
            except (SourceFault, Unfinished):
                # half of one version and half of another is nobody's fault
                _check_same(directory, name, source)
                raise
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
) -> Outcome:
    plans = plan_source(directory, name, source.status, options)
    if all(plan.action == "fresh" for plan in plans):
        return Outcome(
            name, source_kind(name), tuple(Verdict(plan.fmt, "fresh", plan.reason) for plan in plans)
        )
    header = read_header(source)
    _check_output(header, options)
    if options.dry_run and not any(plan.action == "compare" for plan in plans):
        return Outcome(name, source_kind(name), tuple(_untouched(plan) for plan in plans))
    with closing(_Work(directory, name, source, options)) as work:
        return work.run(plans, header, stop)


def _check_same(directory: int, name: str, source: FileBytes) -> None:
    now = status_of(directory, name)
    same = now is not None and same_version(now, source.status)
    if not same or not same_version(FileBytes(source.descriptor).status, source.status):
        raise Changed("it changed while it was read")


def _check_output(header: Header, options: Options) -> None:
    count = min(header.count, options.limit or header.count)
    if sum(_SMALLEST_ITEM[fmt] for fmt in options.formats) * count > options.max_output_bytes:
        raise Unsafe(f"its {count:,} items would make more than max_output_bytes")


class _Work:
    """One source in work: its sinks, from planning to publishing."""

    def __init__(self, directory: int, name: str, source: FileBytes, options: Options) -> None:
        self._directory = directory
        self._name = name
        self._kind = source_kind(name)
        self._source = source
        self._options = options
        self._sinks: list[Sink] = []
        self._metadata_seen: os.stat_result | None = None
        self._warnings: tuple[str, ...] = ()

    def run(self, plans: list[Plan], header: Header, stop: Callable[[], bool]) -> Outcome:
        """Carry the plans out: one pass over the source feeds every sidecar that needs it."""
        metadata = self._metadata(plans)
        self._open_sinks(plans)
        # rendering is imported only when there is something to render
        from lib.render import Page, rendered

        tally = Tally()
        shown = min(header.count, self._options.limit or header.count)
        page = Page(self._kind, metadata, header.count, shown, not header.shape, self._options.markdown)
        blocks = read_items(self._source, header, self._options.limit)
        for pieces in rendered(page, blocks, tuple(sink.plan.fmt for sink in self._sinks), tally):
            if stop():
                raise Interrupted("the work was stopped")
            self._feed(pieces)
        if tally.figures().records != shown:
            raise Corrupt("it holds another number of items than its header says")
        self._check_unchanged()
        verdicts = self._publish(plans)
        return Outcome(
            self._name,
            self._kind,
            verdicts,
            figures=tally.figures(),
            bytes=sum(sink.bytes_taken for sink in self._sinks),
            trouble=next((verdict.reason for verdict in verdicts if verdict.result == "failed"), ""),
            hint=next((verdict.hint for verdict in verdicts if verdict.result == "failed"), ""),
            warnings=self._warnings,
        )

    def close(self) -> None:
        """Leave nothing behind that was not published."""
        for sink in self._sinks:
            sink.close()

    def _metadata(self, plans: list[Plan]) -> Mapping[str, Any] | None:
        if not any(plan.fmt == "md" and plan.action in {"render", "compare"} for plan in plans):
            return None
        name = metadata_name(self._name, self._kind)
        self._metadata_seen = status_of(self._directory, name)
        if self._metadata_seen is None:
            return None
        metadata, _, warning = read_metadata(self._directory, name)
        self._warnings = (warning,) if warning else ()
        return metadata

    def _open_sinks(self, plans: list[Plan]) -> None:
        for plan in plans:
            if plan.action == "render" and not self._options.dry_run:
                self._sinks.append(DraftSink(plan, self._directory, sidecar_name(self._name, plan.fmt)))
            elif plan.action == "compare":
                sidecar = sidecar_name(self._name, plan.fmt)
                self._sinks.append(
                    CompareSink(plan, self._directory, sidecar, adopt=not self._options.dry_run)
                )

    def _feed(self, pieces: tuple[bytes, ...]) -> None:
        for sink, piece in zip(self._sinks, pieces, strict=True):
            sink.write(piece)
        if sum(sink.bytes_taken for sink in self._sinks) > self._options.max_output_bytes:
            raise Unsafe(
                "its sidecars would take more than max_output_bytes",
                hint="Raise max_output_bytes if it is meant.",
            )

    def _check_unchanged(self) -> None:
        _check_same(self._directory, self._name, self._source)
        if self._metadata_seen is not None:
            metadata = status_of(self._directory, metadata_name(self._name, self._kind))
            if metadata is None or not same_version(metadata, self._metadata_seen):
                raise Changed("its metadata changed while it was read")

    def _publish(self, plans: list[Plan]) -> tuple[Verdict, ...]:
        done: dict[Format, Verdict] = {}
        for sink in self._sinks:
            sink.seal(self._source)
        for sink in self._sinks:
            done[sink.plan.fmt] = sink.publish()
        if any(verdict.result == "rendered" for verdict in done.values()):
            flush_directory(self._directory)
        return tuple(done.get(plan.fmt) or _untouched(plan) for plan in plans)


def _untouched(plan: Plan) -> Verdict:
    if plan.action == "blocked":
        return Verdict(plan.fmt, "failed", plan.reason, "Move it away; the next sweep makes the sidecar.")
    return Verdict(plan.fmt, "rendered" if plan.action == "render" else "fresh", plan.reason)
