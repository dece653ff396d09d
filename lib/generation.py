"""Saving and loading the generations of one run: what a generation script imports.

A cache is a set of files that share a stem, ``cache_path``: ``…_completions.npy`` and ``…_full_texts.npy``
(object arrays, shape ``(n,)``), ``…_metadata.json``, and the sidecars beside the arrays.
"""

from __future__ import annotations

import errno
import os
import warnings
from typing import TYPE_CHECKING, Any

from lib.errors import SidecarError
from lib.files.atomic import make_directories
from lib.files.reader import open_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lib.cache.items import Array
    from lib.names import Kind


def get_generation_cache_path(  # noqa: PLR0917 -- callers pass these by position
    model_short_name: str,
    prompt_name: str,
    subject_type: str,
    num_samples: int,
    max_new_tokens: int,
    temperature: float,
    base_dir: str | os.PathLike[str] = "experiments",
) -> str:
    """Return the stem of a run's cache; its directory is made.

    >>> get_generation_cache_path("gemma", "base", "animals", 1374, 100, 1.0)  # doctest: +SKIP
    'experiments/gemma/generations/base/animals/n1374_t1.0_maxtok100'

    :raises OSError: the directory cannot be made.
    """
    directory = os.path.join(os.fspath(base_dir), model_short_name, "generations", prompt_name, subject_type)
    _make_directory(directory)
    return os.path.join(directory, f"n{num_samples}_t{temperature}_maxtok{max_new_tokens}")


def save_generations_to_cache(
    cache_path: str | os.PathLike[str],
    full_texts: Iterable[Any],
    completions: Iterable[Any],
    metadata: Mapping[str, Any],
) -> None:
    """Save one run: both arrays, their sidecars and the metadata; directories are made.

    Items are texts or other plain data: None, numbers, bytes, lists, tuples, dictionaries, numpy's scalars
    and arrays.  A cache that was there is replaced as a whole: an exception or a signal leaves the old one or
    completes the new one.  The metadata appears first and the completions last.

    A ``RuntimeWarning``, after the last file is in place, reports what went wrong: lists of different
    lengths, metadata that had to be converted to JSON, a sidecar that was not made.

    :raises TypeError: an item is not plain data, contains itself, or nests deeper than 100; nothing is
        written.
    :raises OSError: an array cannot be saved.
    """
    # numpy is slow to import, and a script that only asks for a path does not need it
    from lib.cache.items import object_array

    full = object_array(full_texts, "full_texts")
    short = object_array(completions, "completions")
    directory, stem = os.path.split(os.fsdecode(cache_path))
    try:
        arrays: dict[Kind, Array] = {"full_texts": full, "completions": short}
        failures = _save(directory or ".", stem, arrays, metadata)
    except SidecarError as error:
        raise _os_error(error, cache_path) from error
    if len(full) != len(short):
        failures.append(f"{stem}: it is saved, but has {len(full)} full_texts and {len(short)} completions")
    for failure in failures:
        warnings.warn(os.path.join(directory, failure), RuntimeWarning, stacklevel=2)


def _save(directory: str, stem: str, arrays: dict[Kind, Array], metadata: Mapping[str, Any]) -> list[str]:
    """Save in a thread that no signal interrupts; return what failed beside the arrays."""
    from lib.cache.metadata import metadata_json  # as above
    from lib.cache.saving import Save
    from lib.cache.uninterrupted import run_uninterrupted

    def work(check_stop: Callable[[], None]) -> list[str]:
        # in this thread, an exception is the metadata's own, not that of a signal's handler
        data, conversions = metadata_json(metadata)
        _make_directory(directory)
        with open_directory(directory, is_listed=False) as descriptor:
            try:
                failures = Save(descriptor, stem, arrays, data, check_stop).run()
            except OSError as error:  # it names the file without its directory, or not at all
                error.filename = os.path.join(directory, error.filename or stem)
                raise
        return failures + [f"{stem}_metadata.json: {reason}" for reason in conversions]

    return run_uninterrupted(work)


def load_generations_from_cache(
    cache_path: str | os.PathLike[str],
) -> tuple[list[Any], list[Any], dict[str, Any]] | None:
    """Load ``(full_texts, completions, metadata)`` as they were saved, or None when the run is not cached.

    Any cache of plain data is read, whatever wrote it: as ``np.load(…, allow_pickle=True).tolist()`` would
    read its arrays, but no code in a file runs.  A cache that is broken, or holds other objects, gives a
    ``RuntimeWarning`` that names the file and the reason, and None, so that the caller generates anew.
    """
    directory, stem = os.path.split(os.fsdecode(cache_path))
    if not os.path.isdir(directory or "."):
        return None
    from lib.cache.loading import load

    try:
        with open_directory(directory or ".", is_listed=False) as descriptor:
            return load(descriptor, stem)
    except SidecarError as error:
        path = os.path.join(directory, error.path)
        warnings.warn(f"{path}: {error.reason}; the cache is not used", RuntimeWarning, stacklevel=2)
        return None


def _make_directory(path: str) -> None:
    try:
        make_directories(path)
    except SidecarError as error:
        raise _os_error(error, path) from error


def _os_error(error: SidecarError, path: str | os.PathLike[str]) -> OSError:
    """Return the error of the system, which is what callers of numpy expect."""
    cause = error.__cause__
    number = cause.errno if isinstance(cause, OSError) else None
    return OSError(number or errno.EIO, error.reason, os.fspath(path))
