"""Where the bytes of a sidecar go: into a new file, or against a file that somebody else wrote.

A sink takes bytes (``write``), is told the files that they were made from (``seal``), waits for the disk
(``flush``) and lets the sidecar appear (``publish``); ``close`` removes what was not published.

A page may have several parts, ``…_completions.md``, ``…_completions.2.md`` and so on.  Each further part
appears as soon as it is written, the page itself last: its time says what is fresh, so that interrupted work
is done again.
"""

from __future__ import annotations

import errno
import itertools
import stat
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Final, TypeAlias

from lib.errors import Changed, SidecarError, Storage, Unsafe
from lib.files.atomic import AtomicFile, narrow, remove_file, set_stamp
from lib.files.reader import FileBytes, open_file, same_version, status_of
from lib.names import part_name
from lib.outcome import Verdict
from lib.render.page import PART_LABEL
from lib.sync.plan import WIDE, plan_sidecar

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from lib.names import Format
    from lib.options import Options
    from lib.sync.plan import Plan

_HEADER_BYTES: Final = 1 << 14
_COMPARED_BYTES: Final = 1 << 20
_REFUSED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_SAME: Final = "the same as what would be written"
_UNSTAMPED: Final = f"{_SAME}; its file system does not keep its time"


class DraftSink:
    """Writes a sidecar that is to be rendered."""

    def __init__(self, plan: Plan, directory: int, name: str, *, force: bool) -> None:
        self.plan = plan
        self._force = force
        self._directory, self._name = directory, name
        self._draft = AtomicFile(directory)

    @property
    def bytes_taken(self) -> int:
        """Number of bytes written to it."""
        return self._draft.size

    def write(self, data: bytes) -> None:
        """Append the next bytes to the draft."""
        self._draft.write(data)

    def seal(self, inputs: Sequence[FileBytes]) -> None:
        """Give the draft its stamp, and permissions for its inputs, the source first."""
        self._draft.seal(inputs[0], self.plan.stamp_ns, inputs[1:])

    def flush(self) -> None:
        """Wait until the draft is on disk."""
        self._draft.flush()

    def close(self) -> None:
        """Remove the draft unless it was published."""
        self._draft.discard()

    def publish(self) -> Verdict:
        """Rename the draft into place, unless the same sidecar is there already.

        Another sweep may have made it meanwhile; or no sidecar keeps its stamp in this file system.
        """
        plan = self.plan
        if plan.seen is not None and not self._force and self._is_there_without_stamp(plan.seen):
            return Verdict(plan.fmt, "fresh", _UNSTAMPED, unstamped=True)
        try:
            self._draft.publish(self._name, plan.seen)
        except Changed:
            if not _is_fresh(plan, status_of(self._directory, self._name)):
                raise
            return Verdict(plan.fmt, "fresh", "made meanwhile by another sweep")
        return Verdict(plan.fmt, "rendered", plan.reason, is_new=plan.seen is None)

    def _is_there_without_stamp(self, seen: os.stat_result) -> bool:
        """Tell whether a draft does not keep its stamp, and the file in its place is the same otherwise."""
        draft = self._draft.as_source()
        if _is_fresh(self.plan, draft.status) or seen.st_size != draft.size:
            return False
        with open_file(self._directory, self._name) as there:
            return same_version(there.status, seen) and _same_bytes(there, draft)


class CompareSink:
    """Compares what would be written with a sidecar that somebody else wrote."""

    def __init__(self, plan: Plan, directory: int, name: str, *, adopt: bool) -> None:
        self.plan = plan
        self.bytes_taken = 0
        self._adopt = adopt
        self._directory, self._name = directory, name
        self._stack = ExitStack()
        self._file = self._stack.enter_context(open_file(directory, name))
        self._inputs: Sequence[FileBytes] = ()
        self._same = True
        self._offset = 0

    def write(self, data: bytes) -> None:
        """Compare the next bytes, until some differ."""
        if self._same:
            self._same = self._file.read_at(self._offset, len(data)) == data
            self._offset += len(data)

    def seal(self, inputs: Sequence[FileBytes]) -> None:
        """Keep what a page shows, whose permissions it takes if it is wider."""
        self._inputs = inputs

    def flush(self) -> None:
        """Nothing was written."""

    def publish(self) -> Verdict:
        """Adopt a file of the same bytes by setting its time; keep any other.  Either is narrowed first."""
        if self._adopt and self.plan.is_wide:
            try:
                narrow(self._directory, self._name, self._file.status, self._inputs)
            except Storage:
                return Verdict(self.plan.fmt, "failed", WIDE, "Delete it: a new one is made in its place.")
        if self._same and self._file.size == self._offset:
            return self._adopted() if self._adopt else Verdict(self.plan.fmt, "adopted", _SAME)
        hint = "Delete it, or run --backfill --force on its source, to have it made again."
        return Verdict(self.plan.fmt, "kept", "edited after it was written", hint)

    def _adopted(self) -> Verdict:
        """Set the time of a sidecar, which may be another user's or in a file system that keeps no times."""
        plan = self.plan
        try:
            set_stamp(self._directory, self._name, self._file.status, plan.stamp_ns)
        except Storage as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in _REFUSED:
                raise
            return Verdict(plan.fmt, "fresh", f"{_SAME}; {error.reason}", unstamped=True)
        if _is_fresh(plan, status_of(self._directory, self._name)):
            return Verdict(plan.fmt, "adopted", _SAME)
        return Verdict(plan.fmt, "fresh", _UNSTAMPED, unstamped=True)

    def close(self) -> None:
        """Close the file."""
        self._stack.close()


class PageSink:
    """Takes a page, part by part; :meth:`next_part` between them.

    ``check`` raises when the source is no longer what was read: no part of it may appear then.
    """

    def __init__(
        self,
        plan: Plan,
        directory: int,
        name: str,
        options: Options,
        check: Callable[[Format], Sequence[FileBytes]],
    ) -> None:
        self.plan = plan
        self._directory, self._name = directory, name
        self._options = options
        self._check = check
        self._number = 1
        self._page = make_sink(plan, directory, name, options)
        self._part: DraftSink | CompareSink | None = self._page
        self._kept: Verdict | None = None
        self._earlier_bytes = 0

    @property
    def bytes_taken(self) -> int:
        """Number of bytes written to all parts."""
        return self._earlier_bytes + (0 if self._part is None else self._part.bytes_taken)

    def write(self, data: bytes) -> None:
        """Take the next bytes of the present part."""
        if self._part is not None:
            self._part.write(data)

    def next_part(self) -> None:
        """Finish a part, which appears unless it is the first, and begin the next; a dry run has only one."""
        self._finish_part()
        self._number += 1
        if self._options.dry_run:
            return
        name = part_name(self._name, self._number)
        seen = status_of(self._directory, name)
        plan = plan_sidecar("md", self.plan.inputs, seen, force=self._options.force)
        if plan.action == "blocked":
            raise Unsafe(f"{name}: {plan.reason}", hint="Move it away: the part is made in its place.")
        self._part = make_sink(plan, self._directory, name, self._options)

    def seal(self, inputs: Sequence[FileBytes]) -> None:
        """End the writing of a page that shows these files, the source first."""
        self._finish_part()
        self._page.seal(inputs)

    def flush(self) -> None:
        """Wait until the page is on disk."""
        self._page.flush()

    def publish(self) -> Verdict:
        """Remove the parts that the page no longer has, then let it appear."""
        if self.plan.action == "render":
            seen = self.plan.seen
            old_stamp_ns = self.plan.stamp_ns if seen is None else seen.st_mtime_ns
            for name, part in parts_of_page(self._directory, self._name, self._number + 1):
                if part.st_mtime_ns == old_stamp_ns:  # the page's own time: nobody wrote it after us
                    remove_file(self._directory, name, part)
        verdict = self._page.publish()
        return self._kept or verdict

    def close(self) -> None:
        """Remove what was not published."""
        for sink in (self._page, self._part):
            if sink is not None:
                sink.close()

    def _finish_part(self) -> None:
        part, self._part = self._part, None
        if part is None:
            return
        self._earlier_bytes += part.bytes_taken
        if part is self._page:
            return
        with closing(part):
            part.seal(self._check("md"))
            part.flush()
            verdict = part.publish()
        if verdict.result == "kept" and self._kept is None:
            name = part_name(self._name, self._number)
            self._kept = Verdict("md", "kept", f"{name}: {verdict.reason}", verdict.hint)


Sink: TypeAlias = DraftSink | CompareSink | PageSink


def make_sink(plan: Plan, directory: int, name: str, options: Options) -> DraftSink | CompareSink:
    """Make the sink for a sidecar, or for a part of a page, that is to be rendered or compared."""
    if plan.action == "compare":
        return CompareSink(plan, directory, name, adopt=not options.dry_run)
    return DraftSink(plan, directory, name, force=options.force)


def parts_of_page(directory: int, page: str, first: int = 2) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the parts of a page that are there, from a number on: files that say so themselves."""
    for number in itertools.count(first):
        name = part_name(page, number)
        try:
            seen = status_of(directory, name)
        except SidecarError:  # its name is too long for the file system
            return
        if seen is None:
            return
        if stat.S_ISREG(seen.st_mode) and _is_part(directory, name, number):
            yield name, seen


def _is_part(directory: int, name: str, number: int) -> bool:
    try:
        with open_file(directory, name) as file:
            return f"\n{PART_LABEL} {number} of ".encode() in file.read_at(0, _HEADER_BYTES)
    except SidecarError:
        return False


def _is_fresh(plan: Plan, status: os.stat_result | None) -> bool:
    """Tell whether a file has the time that the planned sidecar is to have."""
    return status is not None and plan_sidecar(plan.fmt, plan.inputs, status).action == "fresh"


def _same_bytes(one: FileBytes, other: FileBytes) -> bool:
    """Compare two files of one size."""
    offsets = range(0, one.size, _COMPARED_BYTES)
    return all(one.read_at(at, _COMPARED_BYTES) == other.read_at(at, _COMPARED_BYTES) for at in offsets)
