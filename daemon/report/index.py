"""Keeps each root's index, ``generations.md``, up to date with what sweeps find and the service makes.

An entry is valid as long as its source's stamp; only a source without one is read for the index.
"""

from __future__ import annotations

import math
import os
import stat
import time
from typing import TYPE_CHECKING, Any, Final

from daemon.report.events import INDEX_FAILED, INDEX_WRITTEN
from daemon.report.observers import Done, Walk
from daemon.report.status import Trouble
from lib.errors import SidecarError, Unsafe, Vanished
from lib.files.atomic import ANY_NEW_FILE, AtomicFile, flush_directory
from lib.files.reader import open_directory, open_file, status_of
from lib.files.temporary import check_renaming
from lib.names import metadata_name
from lib.outcome import source_kind
from lib.render.index import INDEX_NAME, MARK, Entry, parse, render
from lib.sync.inputs import read_metadata
from lib.sync.walk import Found, PathFailure, look

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from daemon.report.observers import Event
    from daemon.report.status import TroubleTable
    from lib.names import Format
    from lib.options import Options
    from lib.outcome import Outcome
    from lib.sync.walk import Task

_DELAY_SECONDS: Final = 1.0
_PERIOD_SECONDS: Final = 3.0
_SHARE: Final = 20
_LIMIT_BYTES: Final = 16 << 20
"""A larger index is not read back: its sources are counted again."""
_VALUE_CHARACTERS: Final = 200
_READERS: Final = 0o044


class IndexWriter:
    """An observer that writes the indexes of some roots.  ``now`` is monotonic seconds.

    ``troubles``: where an index that cannot be written is listed.
    """

    def __init__(self, roots: Iterable[str], options: Options, log: Any, troubles: TroubleTable) -> None:
        self._options = options
        self._troubles = troubles
        self._books = {root: _Book(root, options.formats) for root in roots}
        self._log = log
        self._due = math.inf
        self._rest_until = 0.0

    def wants(self, found: Found) -> bool:
        """Tell whether a source must be read for the index; record that it exists."""
        book = self._books.get(found.task.root)
        if book is None:
            return False
        path = _path(found.task)
        book.seen.add(path)
        entry = book.entries.get(path)
        return path not in book.unreadable and (entry is None or entry.stamp_ns != _stamp(found))

    def notice(self, event: Event, now: float) -> None:
        """Record the outcome of a source, and which sources a sweep has seen."""
        if isinstance(event, Done) and event.outcome is not None:
            self._record(event.task, event.outcome, now)
        elif event is Walk.BEGUN:
            for book in self._books.values():
                book.seen.clear()
        elif event is Walk.ENDED:
            for book in self._books.values():
                book.drop(book.entries.keys() - book.seen)
                book.unreadable.clear()
            self._ask(now)

    def _record(self, task: Task, outcome: Outcome, now: float) -> None:
        book = self._books.get(task.root)
        if book is None:
            return
        path = _path(task)
        found = look(task, self._options)
        if isinstance(found, Found) and outcome.figures is not None:
            figures = outcome.figures
            model, when = _about(task)
            book.put(
                Entry(path, _stamp(found), figures.records, figures.blank, figures.distinct, model, when)
            )
        elif outcome.result in {"skipped", "failed"}:
            book.unreadable.add(path)
            book.drop({path})
        self._ask(now)

    def next_due(self) -> float:
        """Return when there may be something to write."""
        return self._due

    def write_all(self) -> list[PathFailure]:
        """Write every index that changed, and those that are missing; return those that could not be."""
        return [failure for book in self._books.values() if (failure := self._write(book)) is not None]

    def write_if_due(self, now: float) -> None:
        """Write what is due; a large index, which takes long, is written less often."""
        if now < self._due:
            return
        failed = self.write_all()
        took = time.monotonic() - now
        self._rest_until = now + max(_PERIOD_SECONDS, _SHARE * took)
        self._due = self._rest_until if failed else math.inf

    def _ask(self, now: float) -> None:
        self._due = min(self._due, max(now + _DELAY_SECONDS, self._rest_until))

    def _write(self, book: _Book) -> PathFailure | None:
        path = os.path.join(book.root, INDEX_NAME)
        try:
            written = book.write()
        except Vanished:  # with its root, which is reported
            written = False
        except SidecarError as error:
            failure = PathFailure(path, error)
            if self._troubles.put(path, Trouble.of(failure, time.time())):
                self._log.error(INDEX_FAILED, path=path, reason=error.reason, hint=error.hint)
            return failure
        self._troubles.drop(path)
        if written:
            self._log.info(INDEX_WRITTEN, path=path, sources=len(book.entries))
        return None


class _Book:
    """One root's index in memory, and on disk."""

    def __init__(self, root: str, formats: tuple[Format, ...]) -> None:
        self.root = root
        self._formats = formats
        self.entries = _read(root)
        self.seen: set[str] = set()
        self.unreadable: set[str] = set()
        self._changed = False
        self._shown: Collection[str] = self.entries.keys()

    def put(self, entry: Entry) -> None:
        self._changed |= self.entries.get(entry.path) != entry
        self.entries[entry.path] = entry

    def drop(self, paths: set[str]) -> None:
        for path in paths & self.entries.keys():
            del self.entries[path]
            self._changed = True

    def write(self) -> bool:
        """Write the index if it changed or is missing; False when there was nothing to do.

        :raises SidecarError: it cannot be written, or another program's file has its name.
        """
        with open_directory(self.root) as directory:
            there = status_of(directory, INDEX_NAME)
            if (
                there is not None
                and not self._changed
                and self._visible(directory, there).keys() == self._shown
            ):
                return False
            if there is None and not self.entries:
                return False
            check_renaming(directory)
            draft = AtomicFile(directory, ANY_NEW_FILE)
            try:
                visible = self._visible(directory, draft.as_source().status)
                draft.write(render(visible.values(), self._formats))
                draft.seal(None, None)
                draft.flush()
                _check_own(directory)
                draft.replace(INDEX_NAME)
            finally:
                draft.discard()
            flush_directory(directory)
        self._changed, self._shown = False, visible.keys()
        return True

    def _visible(self, directory: int, index: os.stat_result) -> dict[str, Entry]:
        """Return the entries of the sources that every reader of the index can read too."""
        readers = _Readers(self.root, os.fstat(directory), index)
        return {path: entry for path, entry in self.entries.items() if readers.may_see(path)}


class _Readers:
    """The users who can read an index: it shows them only what they could find and read themselves."""

    def __init__(self, path: str, root: os.stat_result, index: os.stat_result) -> None:
        self._path = path
        self._gid = index.st_gid
        self._folders: dict[str, int] = {"": _READERS}
        # only users who can enter the root can read its index
        self._who = index.st_mode & (root.st_mode & 0o011) << 2

    def may_see(self, path: str) -> bool:
        """Tell whether each of them can read a source, its metadata, and the directories above it."""
        if not self._who:
            return True
        folder, _, name = path.rpartition("/")
        metadata = os.path.join(folder, metadata_name(name, source_kind(name)))
        allowed = self._folder(folder) & self._mode(path)
        if os.path.lexists(os.path.join(self._path, metadata)):
            allowed &= self._mode(metadata)
        return not self._who & ~allowed

    def _folder(self, folder: str) -> int:
        """Return who besides the owner can list and enter a directory and those above it."""
        if folder not in self._folders:
            mode = self._mode(folder)
            self._folders[folder] = mode & (mode & 0o011) << 2 & self._folder(folder.rpartition("/")[0])
        return self._folders[folder]

    def _mode(self, path: str) -> int:
        """Return the permission bits; where the group differs, its bits are what both it and others have."""
        try:
            status = os.lstat(os.path.join(self._path, path))
        except OSError:
            return 0
        if status.st_gid == self._gid:
            return stat.S_IMODE(status.st_mode)
        both = status.st_mode >> 3 & status.st_mode & stat.S_IRWXO
        return both << 3 | both


def _read(root: str) -> dict[str, Entry]:
    try:
        with open_directory(root) as directory, open_file(directory, INDEX_NAME) as file:
            page = file.read_at(0, _LIMIT_BYTES + 1)
            return parse(page) if page.startswith(MARK) and len(page) <= _LIMIT_BYTES else {}
    except SidecarError:
        return {}


def _check_own(directory: int) -> None:
    if status_of(directory, INDEX_NAME) is None:
        return
    with open_file(directory, INDEX_NAME) as file:
        if file.read_at(0, len(MARK)) != MARK:
            raise Unsafe(
                "a file of this name exists, and generation-sidecars did not write it",
                hint="Move it away, or set index.enabled to false.",
            )


def _stamp(found: Found) -> int:
    return max([found.status.st_mtime_ns, *(plan.stamp_ns for plan in found.plans)])


def _path(task: Task) -> str:
    return "/".join((*task.parts, task.name))


def _about(task: Task) -> tuple[str, str]:
    """Return the model and time in a set's metadata, "" for what it lacks."""
    try:
        with open_directory(task.root, task.parts) as directory:
            known = read_metadata(directory, metadata_name(task.name, source_kind(task.name)))
    except SidecarError:
        known = {}
    values = [known.get(key) for key in ("model_name", "timestamp")]
    model, when = (value[:_VALUE_CHARACTERS] if isinstance(value, str) else "" for value in values)
    return model, when
