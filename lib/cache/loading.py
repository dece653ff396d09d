"""Loading a cache: its three files opened so that they are of one save, and read as data."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from lib.cache.metadata import LIMIT_BYTES
from lib.errors import Changed, SidecarError, Unsafe
from lib.files.lock import SetLock
from lib.files.reader import FileBytes, open_file, same_version, status_of
from lib.names import METADATA_SUFFIX, source_name
from lib.npy.array_reader import read_whole
from lib.sync.inputs import parse_metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

Cache = tuple[Any, Any, dict[str, Any]]

_TRIES: Final = 400
_PAUSE_SECONDS: Final = 0.005


def load(directory: int, stem: str) -> Cache | None:
    """Load ``(full_texts, completions, metadata)`` from an open directory; None without completions.

    :raises SidecarError: a file is missing, broken or not plain data; its ``path`` is the file's name.
    """
    # the completions first: a save removes them before it replaces the others
    completions = source_name(stem, "completions")
    names = (completions, source_name(stem, "full_texts"), stem + METADATA_SUFFIX)
    with _named(completions):
        for _ in range(_TRIES):
            before = status_of(directory, completions)
            opened = ExitStack()
            try:
                files = _open(directory, stem, names, opened)
                cache = _read(files) if files else None
                if cache is not None and not any(file.has_changed() for file in files.values()):
                    return cache
            except FileNotFoundError:
                return None
            except SidecarError:
                if before is not None and same_version(status_of(directory, completions), before):
                    raise
            finally:
                with suppress(SidecarError):  # files that were only read need not be closed without a fault
                    opened.close()
            time.sleep(_PAUSE_SECONDS)
        if status_of(directory, completions) is None:  # a save was killed, or hangs
            return None
        raise Changed("it is being written all the time")


def _open(directory: int, stem: str, names: tuple[str, ...], stack: ExitStack) -> dict[str, FileBytes]:
    """Open the three files of one save; return none of them while one is being saved.

    :raises FileNotFoundError: nothing is saved.
    """
    lock = SetLock(directory, stem)
    with lock.for_loader() as is_held:
        if status_of(directory, names[0]) is None:
            if is_held or (not lock.exists() and status_of(directory, names[0]) is None):
                raise FileNotFoundError
            return {}
        files = {}
        for name in names:
            with _named(name):
                files[name] = stack.enter_context(open_file(directory, name, follow=True))
        return files if is_held or _belong_together(directory, files) else {}


def _belong_together(directory: int, files: dict[str, FileBytes]) -> bool:
    """Tell whether files that were opened one after the other, without the lock, are of one save.

    A saver removes the completions before it replaces the others: if the completions are still those that
    were opened first, nothing was replaced.
    """
    return all(
        same_version(status_of(directory, name, follow=True), file.status)
        for name, file in reversed(files.items())
    )


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Give an error the name of the file that it is about, unless it has one."""
    try:
        yield
    except SidecarError as error:
        error.path = error.path or name
        raise


def _read(files: dict[str, FileBytes]) -> Cache:
    values = []
    for (name, file), read in zip(files.items(), (read_whole, read_whole, _read_metadata), strict=True):
        with _named(name):
            values.append(read(file))
    completions, full_texts, metadata = values
    return full_texts, completions, metadata


def _read_metadata(source: FileBytes) -> dict[str, Any]:
    """Read a metadata file.

    :raises Corrupt: it is not a JSON object.
    :raises Unsafe: it is larger than 512 MiB.
    """
    if source.size > LIMIT_BYTES:
        raise Unsafe(f"it has more than {LIMIT_BYTES >> 20} MiB", hint="Move what is large out of it.")
    return parse_metadata(source.read_at(0, source.size))
