"""One source's conversion: read once, rendered into a draft of every sidecar that needs it, published."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lib.errors import Changed, Corrupt, Interrupted, Unsafe
from lib.metadata import read_metadata
from lib.names import Format, metadata_name, sidecar_name
from lib.outcome import Options, Outcome, Verdict, source_kind
from lib.reading import read_items
from lib.sinks import CompareSink, DraftSink, Sink
from lib.source import FileBytes, same_version, status_of
from lib.tally import Tally

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from lib.header import Header
    from lib.plan import Plan
    from lib.tally import Figures

_SMALLEST_ITEM: Final[dict[Format, int]] = {"json": 3, "md": 26}


def check_same(directory: int, name: str, source: FileBytes) -> None:
    """Check that a source is still the file that was opened, as it was.

    :raises Changed: it is not.
    """
    now = status_of(directory, name)
    same = now is not None and same_version(now, source.status)
    if not same or not same_version(FileBytes(source.descriptor).status, source.status):
        raise Changed("it changed while it was read")


def untouched(plan: Plan) -> Verdict:
    """Say what becomes of a sidecar on which no work is done."""
    if plan.action == "blocked":
        return Verdict(plan.fmt, "failed", plan.reason, "Move it away; the next sweep makes the sidecar.")
    return Verdict(plan.fmt, "rendered" if plan.action == "render" else "fresh", plan.reason)


def check_output(header: Header, options: Options) -> None:
    """Check that as many items as the header says can be rendered within ``max_output_bytes``.

    :raises Unsafe: they cannot.
    """
    count = min(header.count, options.limit or header.count)
    if sum(_SMALLEST_ITEM[fmt] for fmt in options.formats) * count > options.max_output_bytes:
        raise Unsafe(f"its {count:,} items would make more than max_output_bytes")


class Conversion:
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
        self._figures: Figures | None = None

    def write(self, plans: list[Plan], header: Header, stop: Callable[[], bool]) -> None:
        """Write what is planned: one pass over the source feeds every sidecar that needs it."""
        metadata = self._metadata(plans)
        self._open_sinks(plans)
        # rendering is imported only when there is something to render
        from lib.render import Page, rendered

        shown = min(header.count, self._options.limit or header.count)
        page = Page(self._kind, metadata, header.count, shown, not header.shape, self._options.markdown)
        blocks = read_items(self._source, header, self._options.limit)
        tally = Tally()
        for pieces in rendered(page, blocks, tuple(sink.plan.fmt for sink in self._sinks), tally):
            if stop():
                raise Interrupted("the work was stopped")
            self._feed(pieces)
        self._figures = tally.figures()
        if self._figures.records != shown:
            raise Corrupt("it holds another number of items than its header says")
        self._check_unchanged()
        for sink in self._sinks:
            sink.seal(self._source)

    def flush(self) -> None:
        """Wait until what was written is on disk."""
        for sink in self._sinks:
            sink.flush()

    def publish(self, plans: list[Plan]) -> Outcome:
        """Let the sidecars appear; their directory is not flushed yet."""
        done = {sink.plan.fmt: sink.publish() for sink in self._sinks}
        verdicts = tuple(done.get(plan.fmt) or untouched(plan) for plan in plans)
        return Outcome(
            self._name,
            self._kind,
            verdicts,
            figures=self._figures,
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
        check_same(self._directory, self._name, self._source)
        if self._metadata_seen is not None:
            metadata = status_of(self._directory, metadata_name(self._name, self._kind))
            if metadata is None or not same_version(metadata, self._metadata_seen):
                raise Changed("its metadata changed while it was read")
