"""Where the bytes of a sidecar go: into a new file, or against a file that somebody else wrote.

A page may have several parts, ``…_completions.md``, ``…_completions.2.md`` and so on.  Each further part
appears as soon as it is written, the page itself last: its time says what is fresh, so that interrupted work
is done again.
"""

from __future__ import annotations

import errno
import itertools
import stat
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Final

from lib.errors import Changed, SidecarError, Storage, Unsafe
from lib.files.atomic import AtomicFile, narrow, remove_file, set_stamp
from lib.files.reader import FileBytes, open_file, same_version, status_of
from lib.names import PART_LABEL, Format, part_name
from lib.outcome import Verdict
from lib.sync.plan import WIDE, Plan, plan_sidecar

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from lib.options import Options

_HEADER_BYTES: Final = 1 << 14
_COMPARED_BYTES: Final = 1 << 20
_EDITED: Final = "edited after it was written"
_EDITED_OR_LATER: Final = "edited, or made from a newer version than the one that is there"
_REFUSED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_SAME: Final = "the same as what would be written"
_UNSTAMPED: Final = f"{_SAME}; its file system does not keep its time"


class Sink:
    """Takes the bytes of one sidecar: write, seal, flush, publish, and in any case close.

    ``bytes_taken``: the number of bytes that went into new files, of all parts.  ``check`` returns the files
    that a sidecar of a format is made from, the source first.  It raises if they are no longer what was read:
    nothing of the sidecar may appear then.
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
        self.bytes_taken = 0
        self._directory, self._name = directory, name
        self._options = options
        self._check = check
        self._number = 1
        self._first = self._part(plan, name)
        self._present: _Draft | _Comparison | None = self._first
        self._kept: Verdict | None = None

    def write(self, data: bytes) -> None:
        """Take the next bytes of the present part."""
        if self._present is not None:
            self.bytes_taken += self._present.write(data)

    def next_part(self) -> None:
        """Finish a part of a page, which appears unless it is the first, and begin the next.

        A dry run has only the first, as has a page that stays because it was edited.
        """
        self._finish_part()
        self._number += 1
        if self._options.dry_run or not self._first.is_same():
            return
        name = part_name(self._name, self._number)
        seen = status_of(self._directory, name)
        plan = plan_sidecar("md", self.plan.inputs, seen, force=self._options.force)
        if plan.action == "blocked":
            raise Unsafe(f"{name}: {plan.reason}", hint="Move it away: the part is made in its place.")
        self._present = self._part(plan, name)

    def seal(self) -> None:
        """End the writing."""
        self._finish_part()
        self._first.seal(self._check(self.plan.fmt))

    def flush(self) -> None:
        """Wait until what was written is on disk."""
        self._first.flush()

    def publish(self) -> Verdict:
        """Remove the parts that a page no longer has, then let it appear."""
        if self.plan.fmt == "md" and self.plan.action == "render":
            seen = self.plan.seen
            old_stamp_ns = self.plan.stamp_ns if seen is None else seen.st_mtime_ns
            for name, part in parts_made_with(self._directory, self._name, old_stamp_ns, self._number + 1):
                remove_file(self._directory, name, part)
        verdict = self._first.publish()
        return self._kept or verdict

    def close(self) -> None:
        """Remove what was not published."""
        for part in (self._first, self._present):
            if part is not None:
                part.close()

    def _part(self, plan: Plan, name: str) -> _Draft | _Comparison:
        if plan.action == "compare":
            return _Comparison(plan, self._directory, name, adopt=not self._options.dry_run)
        return _Draft(plan, self._directory, name, force=self._options.force)

    def _finish_part(self) -> None:
        part, self._present = self._present, None
        if part is None or part is self._first:
            return
        with closing(part):
            part.seal(self._check("md"))
            part.flush()
            verdict = part.publish()
        if verdict.result == "kept" and self._kept is None:
            name = part_name(self._name, self._number)
            self._kept = Verdict("md", "kept", f"{name}: {verdict.reason}", verdict.hint)


class _Draft:
    """Writes a file that is to be rendered."""

    def __init__(self, plan: Plan, directory: int, name: str, *, force: bool) -> None:
        self._plan = plan
        self._force = force
        self._directory, self._name = directory, name
        self._file = AtomicFile(directory)
        self.flush, self.close = self._file.flush, self._file.discard

    def write(self, data: bytes) -> int:
        self._file.write(data)
        return len(data)

    def is_same(self) -> bool:
        """Tell whether what was written is what will be there."""
        return True

    def seal(self, inputs: Sequence[FileBytes]) -> None:
        self._file.seal(inputs, self._plan.stamp_ns)

    def publish(self) -> Verdict:
        """Rename the draft into place, unless the same sidecar is there already.

        Another sweep may have made it meanwhile; or no sidecar keeps its stamp in this file system.
        """
        plan = self._plan
        if plan.seen is not None and not self._force and self._is_there_without_stamp(plan.seen):
            is_stamped = plan.seen.st_mtime_ns == plan.stamp_ns  # then it is more open than an input
            return Verdict(plan.fmt, "fresh", _SAME if is_stamped else _UNSTAMPED, unstamped=True)
        there = status_of(self._directory, self._name)
        if same_version(there, plan.seen):
            self._file.publish(self._name)
            return Verdict(plan.fmt, "rendered", plan.reason, is_new=plan.seen is None)
        if _is_fresh(plan, there):
            return Verdict(plan.fmt, "fresh", "made meanwhile by another sweep")
        raise Changed("somebody wrote the sidecar meanwhile")

    def _is_there_without_stamp(self, seen: os.stat_result) -> bool:
        """Tell whether a draft does not keep its stamp, and the file in its place is the same otherwise."""
        draft = self._file.as_source()
        if _is_fresh(self._plan, draft.status) or seen.st_size != draft.size:
            return False
        offsets = range(0, draft.size, _COMPARED_BYTES)
        with open_file(self._directory, self._name) as there:
            return same_version(there.status, seen) and all(
                there.read_at(at, _COMPARED_BYTES) == draft.read_at(at, _COMPARED_BYTES) for at in offsets
            )


class _Comparison:
    """Compares what would be written with a file that somebody else wrote."""

    def __init__(self, plan: Plan, directory: int, name: str, *, adopt: bool) -> None:
        self._plan = plan
        self._adopt = adopt
        self._directory, self._name = directory, name
        self._stack = ExitStack()
        self._file = self._stack.enter_context(open_file(directory, name))
        self._inputs: Sequence[FileBytes] = ()
        self._same = True
        self._offset = 0
        self.close = self._stack.close

    def write(self, data: bytes) -> int:
        if self._same:
            self._same = self._file.read_at(self._offset, len(data)) == data
            self._offset += len(data)
        return 0

    def is_same(self) -> bool:
        """Tell whether the file is what was written, and nothing more."""
        return self._same and self._file.size == self._offset

    def seal(self, inputs: Sequence[FileBytes]) -> None:
        self._inputs = inputs

    def flush(self) -> None:
        """Nothing was written."""

    def publish(self) -> Verdict:
        """Adopt a file of the same bytes by setting its time; keep any other.  Either is narrowed first."""
        plan = self._plan
        if self._adopt and plan.is_wide:
            try:
                narrow(self._file, self._file.status, self._inputs)
            except Storage:
                return Verdict(plan.fmt, "failed", WIDE, "Delete it: a new one is made in its place.")
        if self.is_same():
            return self._adopted() if self._adopt else Verdict(plan.fmt, "adopted", _SAME)
        hint = "Delete it, or run --backfill --force on its source, to have it made again."
        changed_ns = max(file.st_ctime_ns for file in plan.inputs)
        was_last = plan.seen is None or plan.seen.st_ctime_ns >= changed_ns
        return Verdict(plan.fmt, "kept", _EDITED if was_last else _EDITED_OR_LATER, hint)

    def _adopted(self) -> Verdict:
        """Set the time of a sidecar, which may be another user's or in a file system that keeps no times."""
        plan = self._plan
        try:
            set_stamp(self._file, plan.stamp_ns)
        except Storage as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in _REFUSED:
                raise
            return Verdict(plan.fmt, "fresh", f"{_SAME}; {error.reason}", unstamped=True)
        now = status_of(self._directory, self._name)
        if now is None:
            raise Changed("somebody removed the sidecar meanwhile")
        if _is_fresh(plan, now):
            return Verdict(plan.fmt, "adopted", _SAME)
        return Verdict(plan.fmt, "fresh", _UNSTAMPED, unstamped=True)


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


def parts_made_with(
    directory: int, page: str, stamp_ns: int, first: int = 2
) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the parts of a page that have the page's own time: nobody wrote them after us."""
    return (
        (name, seen) for name, seen in parts_of_page(directory, page, first) if seen.st_mtime_ns == stamp_ns
    )


def _is_part(directory: int, name: str, number: int) -> bool:
    try:
        with open_file(directory, name) as file:
            return f"\n{PART_LABEL} {number} of ".encode() in file.read_at(0, _HEADER_BYTES)
    except SidecarError:
        return False


def _is_fresh(plan: Plan, status: os.stat_result | None) -> bool:
    """Tell whether a file has the time that the planned sidecar is to have."""
    return status is not None and plan_sidecar(plan.fmt, plan.inputs, status).action == "fresh"
