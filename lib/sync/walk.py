"""Walking a tree in small steps.

Directories are opened by descriptor, links are never followed, hidden names are passed over, and temporary
files of crashed writers are removed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lib.errors import SidecarError, Vanished
from lib.files.reader import open_directory, status_of, storage_error
from lib.files.temporary import remove_litter
from lib.names import kind_of
from lib.sync.plan import Plan, plan_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lib.options import Options

_DEPTH_LIMIT: Final = 2000
_LOST_AND_FOUND: Final = "lost+found"


@dataclass(frozen=True, slots=True)
class Task:
    """One source to bring up to date: ``name`` in the directory ``parts`` below ``root``."""

    root: str
    parts: tuple[str, ...]
    name: str

    @property
    def path(self) -> str:
        """The source's path, to be shown."""
        return os.path.join(self.root, *self.parts, self.name)


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory that was walked through: its root, and its names from there."""

    root: str
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A source, what was seen of it, and what its sidecars need."""

    task: Task
    status: os.stat_result
    plans: tuple[Plan, ...]

    @property
    def is_fresh(self) -> bool:
        """Tell whether there is nothing to do."""
        return all(plan.action == "fresh" for plan in self.plans)


@dataclass(frozen=True, slots=True)
class PathFailure:
    """A path that could not be looked at or written, and why."""

    path: str
    error: SidecarError


Step = Folder | Found | PathFailure


def walk_all(paths: Sequence[str], options: Options, ignore: frozenset[str]) -> Iterator[Step]:
    """Yield every directory and source below the paths, each of which may be a source; never raises."""
    for path in paths:
        if _is_source(path):
            directory, name = os.path.split(path)
            yield look(Task(directory or ".", (), name), options)
        else:
            yield from walk(path, options, ignore)


def walk(root: str, options: Options, ignore: frozenset[str], below: tuple[str, ...] = ()) -> Iterator[Step]:
    """Yield every directory and every source of a tree, or of its part ``below``; never raises.

    Memory is bounded by the number of directories that wait, not by the tree.
    """
    waiting = [below]
    while waiting:
        parts = waiting.pop()
        try:
            with open_directory(root, parts) as directory:
                yield Folder(root, parts)
                names, deeper, hidden = _list(directory, ignore)
                if not options.dry_run:
                    remove_litter(directory, hidden)
                if len(parts) < _DEPTH_LIMIT:
                    waiting += [(*parts, name) for name in deeper]
                found = (_look(directory, Task(root, parts, name), options) for name in names)
                yield from (step for step in found if step is not None)
        except Vanished as error:
            if not parts:
                yield PathFailure(root, error)
        except SidecarError as error:
            if parts[-1:] != (_LOST_AND_FOUND,):  # root's own; not everybody may open it
                yield PathFailure(os.path.join(root, *parts), error)


def source_names(paths: Sequence[str], ignore: frozenset[str]) -> Iterator[str]:
    """Yield the name of every source below the paths, without a look at the files; never raises."""
    yield from filter(_is_source, paths)
    waiting: list[tuple[str, tuple[str, ...]]] = [(path, ()) for path in paths if not _is_source(path)]
    while waiting:
        root, parts = waiting.pop()
        with suppress(SidecarError), open_directory(root, parts) as directory:
            names, deeper, _ = _list(directory, ignore)
            waiting += [(root, (*parts, name)) for name in deeper if len(parts) < _DEPTH_LIMIT]
            yield from names


def look(task: Task, options: Options) -> Found | PathFailure:
    """Look at one source that was named; :func:`walk` would yield the same."""
    try:
        with open_directory(task.root, task.parts) as directory:
            return _look(directory, task, options) or PathFailure(task.path, Vanished("it is not there"))
    except SidecarError as error:
        return PathFailure(task.path, error)


def _is_source(path: str) -> bool:
    """Tell whether a path names a source, and not a directory of that name."""
    return kind_of(os.path.basename(path)) is not None and not os.path.isdir(path)


def _look(directory: int, task: Task, options: Options) -> Found | PathFailure | None:
    """Look at one source in an open directory; None if it is no longer there."""
    try:
        status = status_of(directory, task.name)
        if status is None:
            return None
        return Found(task, status, tuple(plan_source(directory, task.name, status, options)))
    except SidecarError as error:
        return PathFailure(task.path, error)


def _list(directory: int, ignore: frozenset[str]) -> tuple[list[str], list[str], list[str]]:
    """List a directory: the names of sources, of directories to go into, and hidden names."""
    names, deeper, hidden = [], [], []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    hidden.append(entry.name)
                elif kind_of(entry.name):
                    names.append(entry.name)
                elif entry.name not in ignore and entry.is_dir(follow_symlinks=False):
                    deeper.append(entry.name)
    except OSError as error:
        raise storage_error(error, "the directory cannot be read") from error
    return sorted(names), sorted(deeper, reverse=True), hidden
