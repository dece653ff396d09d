"""The engine: brings the sidecars of sources up to date.

The library, the sweep, the script and the daemon all use it.  A source is planned from file times alone; one
that needs work is read once, and what is read is rendered into every sidecar that needs it.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from lib.errors import (
    Changed,
    Corrupt,
    Interrupted,
    Passing,
    ProgramFault,
    SidecarError,
    SourceFault,
    Unfinished,
    Unsafe,
    Vanished,
)
from lib.files.atomic import flush_directory, narrow
from lib.files.permissions import is_wider
from lib.files.reader import FileBytes, check_same, open_file, status_of, storage_error
from lib.files.temporary import check_renaming
from lib.names import Format, sidecar_name, source_kind
from lib.npy.array_reader import read_items
from lib.npy.header import Header, read_header
from lib.outcome import Outcome, Verdict, failure
from lib.sync.inputs import Inputs
from lib.sync.plan import Plan, plan_source
from lib.sync.sinks import Sink, parts_of_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lib.options import Options
    from lib.render.page import Page

Block = TypeVar("Block")
_TOO_MUCH: Final = "Raise max_output_bytes if it is meant."
_SMALLEST_ITEM: Final[dict[Format, int]] = {"json": 3, "md": 26}


def sync_source(
    directory: int, name: str, options: Options, stop: Callable[[], bool] = lambda: False
) -> Outcome:
    """Bring the sidecars of the source ``name`` in an open directory up to date.

    Nothing is raised for what can be wrong with a file: the outcome has the reason.  May be called any
    number of times, by any number of processes: each sidecar is always whole.  ``stop`` is asked between two
    blocks.
    """
    (outcome,) = publish_sources(write_sources([(directory, name)], options, stop))
    return outcome


def write_sources(
    sources: Sequence[tuple[int, str]], options: Options, stop: Callable[[], bool]
) -> list[Conversion]:
    """Write what the sidecars of several sources, each ``(directory, name)``, need, under temporary names.

    Call :func:`publish_sources` with the result while the directories are open.
    """
    check = cache(check_renaming)  # once a directory
    conversions = [Conversion(directory, name, options, stop, check) for directory, name in sources]
    with ExitStack() as undo:
        for conversion in conversions:
            undo.callback(conversion.close)
            conversion.attempt(Conversion.write)
        undo.pop_all()
    return conversions


def publish_sources(conversions: Sequence[Conversion]) -> list[Outcome]:
    """Flush what was written to disk, then let all of it appear, and last flush each directory.

    So the disk is waited for a few times, not a few times a source.
    """
    try:
        for phase in (Conversion.flush, Conversion.publish):
            for conversion in conversions:
                conversion.attempt(phase)
        published = [conversion for conversion in conversions if conversion.has_published]
        for directory in {conversion.directory for conversion in published}:
            _flush_directory([each for each in published if each.directory == directory])
    finally:  # temporary files are removed while their directories are open
        for conversion in conversions:
            conversion.close()
    return [conversion.outcome for conversion in conversions]


def _flush_directory(published: Sequence[Conversion]) -> None:
    """Flush the directory in which these appeared, once: the system reports a lost write only once."""
    try:
        flush_directory(published[0].directory)
    except SidecarError as error:
        for conversion in published:
            conversion.fail(error)


class Conversion:
    """One source being converted.  Each phase is attempted once; after a failure, none is attempted.

    ``check_directory`` refuses a directory in which nothing can be written safely.  ``has_published``: a
    sidecar appeared.
    """

    def __init__(
        self,
        directory: int,
        name: str,
        options: Options,
        stop: Callable[[], bool],
        check_directory: Callable[[int], None],
    ) -> None:
        self.directory = directory
        self.outcome = Outcome(name, source_kind(name), ())
        self.has_published = False
        self._name = name
        self._options = options
        self._stop = stop
        self._check_directory = check_directory
        self._stack = ExitStack()
        self._source: FileBytes | None = None
        self._plans: list[Plan] = []
        self._sinks: list[Sink] = []

    def attempt(self, phase: Callable[[Conversion], None]) -> None:
        """Carry out one phase, unless an earlier one failed; what goes wrong becomes the outcome."""
        if self.outcome.error is not None:
            return
        try:
            phase(self)
        except Exception as error:  # noqa: BLE001 (one bad file never stops the work on others)
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Make an error the outcome, and remove what was not published: a full disk has its room back."""
        explained = self._explained(error)
        self.close()
        self.outcome = failure(self._name, self._options, explained)

    def write(self) -> None:
        """Plan the sidecars, and write those that need it under temporary names."""
        options = self._options
        self._source = source = self._stack.enter_context(open_file(self.directory, self._name))
        plans = plan_source(self.directory, self._name, source.status, options)
        if not options.dry_run:
            plans = [self._narrowed(plan, source) for plan in plans]
        self._plans = plans
        if all(plan.action in {"fresh", "narrow"} for plan in plans):
            if options.count:
                from lib.render.pagination import count  # for an index that meets a source for the first time

                figures = count(read_items(source, None, options.limit)).figures()
                self.outcome = replace(self.outcome, figures=figures)
            return
        header = read_header(source)
        _check_output(header, options)
        worked_on = {"compare"} if options.dry_run else {"compare", "render"}
        if plans := [plan for plan in plans if plan.action in worked_on]:
            self._render(plans, header, Inputs(self._stack, self.directory, self._name, source))

    def flush(self) -> None:
        """Wait until what was written is on disk."""
        for sink in self._sinks:
            sink.flush()

    def publish(self) -> None:
        """Let the sidecars appear; their directory is not flushed yet."""
        done = {sink.plan.fmt: sink.publish() for sink in self._sinks}
        self.has_published = any(verdict.result == "rendered" for verdict in done.values())
        verdicts = tuple(done.get(plan.fmt) or _untouched(plan) for plan in self._plans)
        written = sum(sink.bytes_taken for sink in self._sinks)
        self.outcome = replace(self.outcome, verdicts=verdicts, bytes=written)

    def close(self) -> None:
        """Remove what was not published, and close all files; may be called twice."""
        try:
            self._stack.close()
        except SidecarError as error:  # a network file system reports a fault
            self.fail(error)

    def _narrowed(self, plan: Plan, source: FileBytes) -> Plan:
        """Narrow a sidecar that is right but too wide; one that cannot be narrowed is rendered again."""
        if plan.action != "narrow" or plan.seen is None:
            return plan
        sidecar = sidecar_name(self._name, plan.fmt)
        try:
            with ExitStack() as stack:
                shown, files = [source], [(sidecar, plan.seen)]
                if plan.fmt == "md":
                    inputs = Inputs(stack, self.directory, self._name, source)
                    shown = inputs.open_all(pairs=self._options.extras.pairs)
                    files = [*parts_of_page(self.directory, sidecar), *files]
                for name, seen in files:
                    if is_wider(seen, plan.inputs):
                        with open_file(self.directory, name) as file:
                            narrow(file, seen, shown)
        except SidecarError:
            return replace(plan, action="render")
        return replace(plan, action="fresh", reason="up to date; its permissions were narrowed")

    def _render(self, plans: list[Plan], header: Header, inputs: Inputs) -> None:
        """Feed every sidecar that needs it from one pass over the source."""
        # numpy and all of rendering: time that a sweep over fresh sidecars does without
        from lib.render.statistics import Statistics
        from lib.render.stream import rendered

        self._open_sinks(plans, header, inputs)
        page = self._page(header, inputs)
        statistics = Statistics()
        formats = tuple(sink.plan.fmt for sink in self._sinks)
        blocks = read_items(inputs.source, header, self._options.limit)
        for pieces in self._until_stopped(rendered(page, blocks, formats, statistics, inputs.prompts())):
            self._feed(pieces)
        figures = statistics.figures()
        if figures.records != page.shown:
            raise Corrupt("it holds another number of items than its header says")
        for sink in self._sinks:
            sink.seal()
        self.outcome = replace(self.outcome, figures=figures, warnings=tuple(inputs.warnings.values()))

    def _open_sinks(self, plans: list[Plan], header: Header, inputs: Inputs) -> None:
        for plan in plans:
            if plan.action == "render":
                self._check_directory(self.directory)
            name = sidecar_name(self._name, plan.fmt)
            sink = Sink(plan, self.directory, name, self._options, inputs.check)
            self._sinks.append(self._stack.enter_context(closing(sink)))
            if plan.fmt == "md" and self._options.extras.pairs:
                inputs.open_full_texts(header.count)

    def _page(self, header: Header, inputs: Inputs) -> Page:
        """Gather what a page shows besides its items, from all items where its first lines need them."""
        from lib.render.page import Page  # as for the rest of rendering

        options, extras = self._options, self._options.extras
        is_written = any(sink.plan.fmt == "md" for sink in self._sinks)
        page = Page(
            kind=source_kind(self._name),
            metadata=inputs.metadata() if is_written else None,
            count=header.count,
            shown=min(header.count, options.limit or header.count),
            scalar=not header.shape,
            style=options.markdown,
            extras=extras,
            name=sidecar_name(self._name, "md"),
        )
        if not is_written or not (extras.look_ahead or extras.pairs):
            return page
        from lib.render.pagination import find_shared_prompt, paginate  # as for the rest of rendering

        def blocks() -> Iterator[list[Any]]:
            return self._until_stopped(read_items(inputs.source, header, options.limit))

        if extras.pairs:
            page = replace(page, prompt=find_shared_prompt(blocks(), inputs.prompts()))
        return paginate(page, blocks(), inputs.prompts()) if extras.look_ahead else page

    def _feed(self, pieces: tuple[bytes | None, ...]) -> None:
        for sink, piece in zip(self._sinks, pieces, strict=True):
            if piece is None:
                sink.next_part()
            else:
                sink.write(piece)
        if any(sink.bytes_taken > self._options.max_output_bytes for sink in self._sinks):
            raise Unsafe("one of its sidecars would take more than max_output_bytes", hint=_TOO_MUCH)

    def _until_stopped(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Pass blocks on until the work is stopped."""
        for block in blocks:
            if self._stop():
                raise Interrupted("the work was stopped")
            yield block

    def _explained(self, error: Exception) -> SidecarError:
        """Return the reason of a failure, which may lie in a change during the work."""
        reason = _as_sidecar_error(error)
        try:
            if isinstance(reason, (SourceFault, Unfinished)) and self._source is not None:
                # the file may have been replaced while it was read
                check_same(self.directory, self._name, self._source)
            elif isinstance(reason, Vanished) and status_of(self.directory, self._name) is not None:
                return Changed("a file beside it was removed while it was converted")
        except SidecarError as cause:
            return cause
        return reason


def _as_sidecar_error(error: Exception) -> SidecarError:
    if isinstance(error, SidecarError):
        return error
    if isinstance(error, OSError):
        return storage_error(error, "cannot be handled")
    if isinstance(error, MemoryError):
        return Passing("there is not enough memory for it")
    if isinstance(error, RecursionError):
        return Unsafe("it nests too deep")
    of_a_module = isinstance(getattr(error, "obj", None), ModuleType)  # "module … has no attribute …"
    if isinstance(error, (ImportError, SyntaxError)) or of_a_module:
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        return ProgramFault(f"a part of the program could not be loaded: {reason}")
    return Corrupt(f"internal error: {error!r}", hint="Please report it, with the file if you can.")


def _untouched(plan: Plan) -> Verdict:
    """Return the verdict for a plan that needs no rendering, or whose rendering a dry run leaves out."""
    if plan.action == "blocked":
        return Verdict(plan.fmt, "failed", plan.reason, "Move it away: the sidecar is made in its place.")
    if plan.action == "render":
        return Verdict(plan.fmt, "rendered", plan.reason, is_new=plan.seen is None)
    return Verdict(plan.fmt, "fresh", plan.reason)


def _check_output(header: Header, options: Options) -> None:
    """Check that as many items as the header says can be rendered within ``max_output_bytes``.

    :raises Unsafe: they cannot.
    """
    count = min(header.count, options.limit or header.count)
    if max(_SMALLEST_ITEM[fmt] for fmt in options.formats) * count > options.max_output_bytes:
        raise Unsafe(f"its {count:,} items would make more than max_output_bytes", hint=_TOO_MUCH)
