"""Keeps the index of a root, ``generations.md``, up to date.

An entry is valid while its source has the same stamp; only sources without a valid entry are read for the
index.
"""

from __future__ import annotations

import math
import os
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from daemon.report.events import INDEX_FAILED, INDEX_WRITTEN
from daemon.report.outcomes import Done, Event, Walk
from lib.errors import SidecarError, Unsafe, Vanished
from lib.files.atomic import ANY_NEW_FILE, AtomicFile, flush_directory
from lib.files.permissions import narrowed_to_any_group
from lib.files.reader import open_directory, open_file, status_of
from lib.files.temporary import check_renaming
from lib.names import metadata_name
from lib.render.index import INDEX_NAME, MARK, Entry, parse, render
from lib.sync.inputs import read_metadata
from lib.sync.walk import Found, PathFailure, Task, look

if TYPE_CHECKING:
    from collections.abc import Collection

    from daemon.report.status import TroubleTable
    from lib.options import Options
    from lib.outcome import Outcome

_DELAY_SECONDS: Final = 1.0
_PERIOD_SECONDS: Final = 3.0
_SHARE: Final = 20
"""Writing takes at most one part in this many of the time."""
_LIMIT_BYTES: Final = 16 << 20
"""A larger index is not read back: its sources are read again."""
_VALUE_CHARACTERS: Final = 200
_READERS: Final = 0o044


class IndexWriter:
    """An observer that writes the index of one root.  ``now`` is monotonic seconds.

    ``troubles``: where an index that cannot be written is listed.  ``due``: when to write.
    """

    def __init__(self, root: str, options: Options, log: Any, troubles: TroubleTable) -> None:
        self._root = root
        self._options = options
        self._log = log
        self._troubles = troubles
        self._entries = _read(root)
        self._shown: Collection[str] = self._entries.keys()
        self._has_changed = False
        self._seen: set[str] = set()
        self.due = math.inf
        self._rest_until = 0.0

    def wants(self, found: Found) -> bool:
        """Record that a source exists; return whether it must be read for the index."""
        if found.task.root != self._root:
            return False
        path = _path(found.task)
        self._seen.add(path)
        entry = self._entries.get(path)
        return entry is None or entry.stamp_ns != _stamp(found)

    def notice(self, event: Event, now: float) -> None:
        """Update the entry of a source that was converted; after a sweep, drop those that it did not see."""
        if event is Walk.BEGUN:
            self._seen.clear()
            return
        if event is Walk.ENDED:
            self._drop(self._entries.keys() - self._seen)
        elif isinstance(event, Done) and event.outcome is not None and event.task.root == self._root:
            self._record(event.task, event.outcome)
        else:
            return
        self.due = min(self.due, max(now + _DELAY_SECONDS, self._rest_until))

    def write_if_due(self, now: float) -> None:
        """Write the index if that is due; the longer it takes, the less often it is written."""
        if now < self.due:
            return
        failure = self.write()
        self._rest_until = now + max(_PERIOD_SECONDS, _SHARE * (time.monotonic() - now))
        self.due = math.inf if failure is None else self._rest_until

    def write(self) -> PathFailure | None:
        """Write the index if it has changed or is missing; a failure is logged and returned."""
        path = os.path.join(self._root, INDEX_NAME)
        try:
            is_written = self._write()
        except Vanished:  # the root is missing, which is reported elsewhere
            is_written = False
        except SidecarError as error:
            failure = PathFailure(path, error)
            if self._troubles.put_failure(failure):
                self._log.error(INDEX_FAILED, path=path, reason=error.reason, hint=error.hint)
            return failure
        self._troubles.drop(path)
        if is_written:
            self._log.info(INDEX_WRITTEN, path=path, sources=len(self._entries))
        return None

    def _record(self, task: Task, outcome: Outcome) -> None:
        path, figures, found = _path(task), outcome.figures, look(task, self._options)
        if isinstance(found, Found) and figures is not None:
            about = _about(task)
            entry = Entry(path, _stamp(found), figures.records, figures.blank, figures.distinct, *about)
            self._has_changed |= self._entries.get(path) != entry
            self._entries[path] = entry
        elif outcome.result in {"skipped", "failed"}:
            self._drop({path})

    def _drop(self, paths: set[str]) -> None:
        for path in paths & self._entries.keys():
            del self._entries[path]
            self._has_changed = True

    def _write(self) -> bool:
        """Write the index unless it is current; return whether it was written.

        :raises SidecarError: it cannot be written, or another program's file has its name.
        """
        with open_directory(self._root) as directory:
            if self._is_current(directory):
                return False
            check_renaming(directory)
            draft = AtomicFile(directory, ANY_NEW_FILE)
            try:
                visible = self._visible(directory, draft.as_source().status)
                draft.write(render(visible.values(), self._options.formats))
                draft.flush()
                _check_own(directory)
                draft.publish(INDEX_NAME)
            finally:
                draft.discard()
            flush_directory(directory)
        self._has_changed, self._shown = False, visible.keys()
        return True

    def _is_current(self, directory: int) -> bool:
        there = status_of(directory, INDEX_NAME)
        if there is None:
            return not self._entries
        return not self._has_changed and self._visible(directory, there).keys() == self._shown

    def _visible(self, directory: int, index: os.stat_result) -> dict[str, Entry]:
        """Return the entries of the sources that everybody who can read the index can read too."""
        readers = _Readers(self._root, os.fstat(directory), index)
        return {path: entry for path, entry in self._entries.items() if readers.may_see(path)}


class _Readers:
    """The users who can read an index, which shows only sources that all of them can find and read."""

    def __init__(self, path: str, root: os.stat_result, index: os.stat_result) -> None:
        self._path = path
        self._gid = index.st_gid
        self._folders: dict[str, int] = {"": _READERS}
        # only users who can enter the root can read its index
        self._who = index.st_mode & (root.st_mode & 0o011) << 2

    def may_see(self, path: str) -> bool:
        """Tell whether all of them can read a source and its metadata, and list the directories above."""
        if not self._who:
            return True
        folder, _, name = path.rpartition("/")
        metadata = os.path.join(folder, metadata_name(name))
        allowed = self._folder(folder) & self._mode(path)
        if os.path.lexists(os.path.join(self._path, metadata)):
            allowed &= self._mode(metadata)
        return not self._who & ~allowed

    def _folder(self, folder: str) -> int:
        """Return the read bits of those who can list and enter a directory and all above it."""
        if folder not in self._folders:
            mode = self._mode(folder)
            self._folders[folder] = mode & (mode & 0o011) << 2 & self._folder(folder.rpartition("/")[0])
        return self._folders[folder]

    def _mode(self, path: str) -> int:
        """Return the permission bits of a path for the index's group and for others."""
        try:
            status = os.lstat(os.path.join(self._path, path))
        except OSError:
            return 0
        mode = stat.S_IMODE(status.st_mode)
        return mode if status.st_gid == self._gid else narrowed_to_any_group(mode)


def _read(root: str) -> dict[str, Entry]:
    try:
        with open_directory(root) as directory, open_file(directory, INDEX_NAME) as file:
            page = file.read_at(0, _LIMIT_BYTES + 1)
            return parse(page) if page.startswith(MARK) and len(page) <= _LIMIT_BYTES else {}
    except SidecarError:
        return {}


def _check_own(directory: int) -> None:
    with suppress(Vanished), open_file(directory, INDEX_NAME) as file:
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
    """Return the model and the time in the set's metadata, "" where it has none."""
    try:
        with open_directory(task.root, task.parts) as directory:
            known = read_metadata(directory, metadata_name(task.name))
    except SidecarError:
        known = {}
    values = [known.get(key) for key in ("model_name", "timestamp")]
    model, when = (value[:_VALUE_CHARACTERS] if isinstance(value, str) else "" for value in values)
    return model, when
