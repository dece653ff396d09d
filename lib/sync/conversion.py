"""One source's conversion: read once, rendered into a draft of every sidecar that needs it, published."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lib.errors import Changed, Corrupt, Interrupted, Unsafe
from lib.files.reader import FileBytes, check_same, same_version, status_of
from lib.names import Format, metadata_name, partner_name, sidecar_name
from lib.npy.array_reader import read_items
from lib.outcome import Outcome, Verdict, source_kind
from lib.render.statistics import Tally
from lib.sync.inputs import read_metadata
from lib.sync.parts import PageSink
from lib.sync.prompts import FullTexts
from lib.sync.sinks import CompareSink, DraftSink, Sink

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

    from lib.npy.header import Header
    from lib.options import Options
    from lib.outcome import Figures
    from lib.render.page import Page
    from lib.sync.plan import Plan

_SMALLEST_ITEM: Final[dict[Format, int]] = {"json": 3, "md": 26}


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
        self._page_sink: PageSink | None = None
        self._full_texts: FullTexts | None = None
        self._metadata_seen: os.stat_result | None = None
        self._warnings: tuple[str, ...] = ()
        self._figures: Figures | None = None

    def write(self, plans: list[Plan], header: Header, stop: Callable[[], bool]) -> None:
        """Write what is planned: one pass over the source feeds every sidecar that needs it."""
        metadata = self._metadata(plans)
        self._open_sinks(plans, header)
        # rendering is imported only when there is something to render
        from lib.render.page import Page
        from lib.render.stream import rendered

        options = self._options
        shown = min(header.count, options.limit or header.count)
        scalar, name = not header.shape, sidecar_name(self._name, "md")
        page = Page(self._kind, metadata, header.count, shown, scalar, options.markdown, options.extras, name)
        if self._page_sink is not None and options.extras.look_ahead:
            page = self._surveyed(page, header, stop)
        blocks = read_items(self._source, header, options.limit)
        formats = tuple(sink.plan.fmt for sink in self._sinks)
        tally = Tally()
        for pieces in rendered(page, blocks, formats, tally, self._prompts()):
            _heed(stop)
            self._feed(pieces)
        self._figures = tally.figures()
        if self._figures.records != shown:
            raise Corrupt("it holds another number of items than its header says")
        for sink in self._sinks:
            sink.seal(self._unchanged())

    def flush(self) -> None:
        """Wait until what was written is on disk."""
        for sink in self._sinks:
            sink.flush()

    def publish(self, plans: list[Plan]) -> Outcome:
        """Let the sidecars appear; their directory is not flushed yet."""
        done = {sink.plan.fmt: sink.publish() for sink in self._sinks}
        verdicts = tuple(done.get(plan.fmt) or untouched(plan) for plan in plans)
        partner_warning = self._full_texts.warning if self._full_texts is not None else ""
        return Outcome(
            self._name,
            self._kind,
            verdicts,
            figures=self._figures,
            bytes=sum(sink.bytes_taken for sink in self._sinks),
            trouble=next((verdict.reason for verdict in verdicts if verdict.result == "failed"), ""),
            hint=next((verdict.hint for verdict in verdicts if verdict.result == "failed"), ""),
            warnings=self._warnings if not partner_warning else (*self._warnings, partner_warning),
        )

    def close(self) -> None:
        """Leave nothing behind that was not published."""
        for sink in self._sinks:
            sink.close()
        if self._full_texts is not None:
            self._full_texts.close()

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

    def _open_sinks(self, plans: list[Plan], header: Header) -> None:
        for plan in plans:
            active = plan.action == "compare" or (plan.action == "render" and not self._options.dry_run)
            if active and plan.fmt == "md":
                self._open_page(plan, header)
            elif active:
                self._sinks.append(self._sink(plan))

    def _sink(self, plan: Plan) -> Sink:
        name = sidecar_name(self._name, plan.fmt)
        if plan.action == "compare":
            return CompareSink(plan, self._directory, name, adopt=not self._options.dry_run)
        return DraftSink(plan, self._directory, name)

    def _open_page(self, plan: Plan, header: Header) -> None:
        name = sidecar_name(self._name, "md")
        self._page_sink = PageSink(plan, self._directory, name, self._options, self._unchanged)
        self._sinks.append(self._page_sink)
        partner = partner_name(self._name, self._kind)
        if self._options.extras.pairs and partner is not None:
            self._full_texts = FullTexts(self._directory, partner, header.count)

    def _prompts(self) -> Iterator[Any]:
        return iter(()) if self._full_texts is None else self._full_texts.items()

    def _surveyed(self, page: Page, header: Header, stop: Callable[[], bool]) -> Page:
        """Read everything once before it is rendered, for what the first lines must tell."""
        from lib.render.pagination import survey  # few pages need one

        blocks = read_items(self._source, header, self._options.limit)
        return survey(page, _heeding(stop, blocks), self._prompts())

    def _feed(self, pieces: tuple[bytes | None, ...]) -> None:
        for sink, piece in zip(self._sinks, pieces, strict=True):
            if piece is not None:
                sink.write(piece)
            elif self._page_sink is not None:
                self._page_sink.next_part()
        if sum(sink.bytes_taken for sink in self._sinks) > self._options.max_output_bytes:
            raise Unsafe(
                "its sidecars would take more than max_output_bytes",
                hint="Raise max_output_bytes if it is meant.",
            )

    def _unchanged(self) -> FileBytes:
        """Return the source, which is still what was read, as are its metadata and full texts.

        :raises Changed: one of them is not.
        """
        check_same(self._directory, self._name, self._source)
        if self._metadata_seen is not None:
            metadata = status_of(self._directory, metadata_name(self._name, self._kind))
            if metadata is None or not same_version(metadata, self._metadata_seen):
                raise Changed("its metadata changed while it was read")
        if self._full_texts is not None:
            self._full_texts.check()
        return self._source


def _heed(stop: Callable[[], bool]) -> None:
    if stop():
        raise Interrupted("the work was stopped")


def _heeding(stop: Callable[[], bool], blocks: Iterator[list[Any]]) -> Iterator[list[Any]]:
    for block in blocks:
        _heed(stop)
        yield block
