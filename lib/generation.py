"""Saving and loading the generations of one run: what a generation script imports.

A cache is a set of files that share a stem, ``cache_path``: ``…_completions.npy`` and ``…_full_texts.npy``
(object arrays of ``str``, shape ``(n,)``), ``…_metadata.json``, and the sidecars beside the arrays.
"""

from __future__ import annotations

import json
import os
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.errors import Corrupt, NotText, SidecarError
from lib.files.atomic import Draft, flush_directory, make_directories
from lib.files.reader import open_directory, open_file, storage_error
from lib.names import FORMATS, METADATA_SUFFIX, SOURCE_SUFFIX, Format, Kind, sidecar_name
from lib.npy.array_reader import read_items
from lib.npy.header import read_header
from lib.render.page import Page
from lib.render.statistics import Tally
from lib.render.stream import rendered
from lib.sync.inputs import parse_metadata
from lib.sync.plan import stamp_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_BLOCK_TEXTS = 256


def get_generation_cache_path(  # noqa: PLR0917 -- callers pass these by position
    model_short_name: str,
    prompt_name: str,
    subject_type: str,
    num_samples: int,
    max_new_tokens: int,
    temperature: float,
    base_dir: str | Path = "experiments",
) -> Path:
    """Return the stem of a run's cache; nothing is created.

    >>> str(get_generation_cache_path("gemma", "base", "animals", 1374, 100, 1.0))
    'experiments/gemma/generations/base/animals/n1374_t1.0_maxtok100'
    """
    stem = f"n{num_samples}_t{temperature}_maxtok{max_new_tokens}"
    return Path(base_dir) / model_short_name / "generations" / prompt_name / subject_type / stem


def save_generations_to_cache(
    cache_path: str | Path,
    full_texts: Sequence[str],
    completions: Sequence[str],
    metadata: Mapping[str, Any],
) -> None:
    """Save one run: both arrays, their sidecars and the metadata; directories are made.

    ``full_texts`` and ``completions`` have the same length ``n`` and hold ``str`` only.  Every file appears
    whole or not at all, the metadata first and the completions array last: who sees that array has
    everything.  A cache that was there is replaced.  When a sidecar cannot be made, the arrays are saved all
    the same, with a ``RuntimeWarning``.

    :raises ValueError: the lists differ in length, or the metadata cannot be written as JSON; nothing is
        written.
    :raises TypeError: an item is not a ``str``, or the metadata holds what JSON cannot say; nothing is
        written.
    :raises lib.errors.SidecarError: the file system refuses (disk full, permission); an older cache may be
        replaced in part, each file of it whole.
    """
    texts: dict[Kind, list[str]] = {"full_texts": _texts(full_texts, "full_texts")}
    texts["completions"] = _texts(completions, "completions")
    if len(texts["full_texts"]) != len(texts["completions"]):
        lengths = f"{len(texts['full_texts'])} full_texts and {len(texts['completions'])} completions"
        raise ValueError(f"{cache_path}: {lengths}: the lists must be of one length")
    metadata_json = json.dumps(dict(metadata), indent=2, ensure_ascii=False).encode(
        "utf-8", "backslashreplace"
    )
    directory, stem = os.path.split(os.fspath(cache_path))
    try:
        make_directories(directory or ".")
        with open_directory(directory or ".") as descriptor:
            _save(descriptor, stem, texts, metadata_json)
    except SidecarError as error:
        error.path = error.path or str(cache_path)
        raise


def load_generations_from_cache(cache_path: str | Path) -> tuple[list[str], list[str], dict[str, Any]] | None:
    """Load ``(full_texts, completions, metadata)`` as they were saved, or None when the run is not cached.

    Only the arrays and the metadata are read, as data: no code in a file runs.  A cache that is there but
    cannot be used (an array or the metadata missing or broken, lists of different lengths) gives a
    ``RuntimeWarning`` that names the file and the reason, and None, so that the caller generates anew.
    """
    directory, stem = os.path.split(os.fspath(cache_path))
    completions_name = f"{stem}_completions{SOURCE_SUFFIX}"
    if not os.path.lexists(os.path.join(directory, completions_name)):
        return None
    name = completions_name
    try:
        with open_directory(directory or ".") as descriptor:
            completions = _load(descriptor, name)
            name = f"{stem}_full_texts{SOURCE_SUFFIX}"
            full_texts = _load(descriptor, name)
            if len(full_texts) != len(completions):
                raise Corrupt(f"it holds {len(full_texts)} texts, the completions are {len(completions)}")
            name = f"{stem}{METADATA_SUFFIX}"
            return full_texts, completions, _load_metadata(descriptor, name)
    except SidecarError as error:
        path = os.path.join(directory, name)
        warnings.warn(f"{path}: {error.reason}; the cache is not used", RuntimeWarning, stacklevel=2)
        return None


def _texts(items: Sequence[str], argument: str) -> list[str]:
    if isinstance(items, (str, bytes)):
        raise TypeError(f"{argument} is one text, not a list of texts")
    texts = list(items)
    for position, item in enumerate(texts):
        if not isinstance(item, str):
            raise TypeError(f"{argument}[{position}] is {type(item).__name__}, not str")
    return [str(text) for text in texts]


def _save(directory: int, stem: str, texts: dict[Kind, list[str]], metadata: bytes) -> None:
    """Write every file under a temporary name, then rename them in the order in which they may be seen."""
    with ExitStack() as stack:
        first = _draft(stack, directory, [metadata])
        arrays = {
            f"{stem}_{kind}{SOURCE_SUFFIX}": _draft_array(stack, directory, texts[kind]) for kind in texts
        }
        in_order = [(stem + METADATA_SUFFIX, first)]
        for (name, array), kind in zip(arrays.items(), texts, strict=True):
            try:
                page = Page(kind, parse_metadata(metadata), len(texts[kind]), len(texts[kind]))
                in_order += _draft_sidecars(
                    stack, directory, name, page, texts[kind], array=array, metadata=first
                )
            except SidecarError as error:
                _not_made(name, error)
            in_order.append((name, array))
        for _, draft in in_order:
            with suppress(SidecarError):  # told again when it is to be renamed
                draft.flush()
        for name, draft in in_order:
            _replace(draft, name, needed=draft is first or name in arrays)
        flush_directory(directory)


def _replace(draft: Draft, name: str, *, needed: bool) -> None:
    try:
        draft.replace(name)
    except SidecarError as error:
        if needed:
            raise
        _not_made(name, error, stacklevel=5)


def _not_made(name: str, error: SidecarError, stacklevel: int = 4) -> None:
    """Warn whoever called save: sidecars can be made again from the array, the array cannot."""
    what = "its sidecars were" if name.endswith(SOURCE_SUFFIX) else "it was"
    message = f"{name}: the texts are saved, but {what} not made: {error.reason}"
    warnings.warn(message, RuntimeWarning, stacklevel=stacklevel)


def _draft(stack: ExitStack, directory: int, pieces: Iterable[bytes]) -> Draft:
    draft = Draft(directory)
    stack.callback(draft.discard)
    for piece in pieces:
        draft.write(piece)
    draft.seal(None, None)
    return draft


def _draft_array(stack: ExitStack, directory: int, texts: list[str]) -> Draft:
    # numpy is slow to import, and who only looks for a path does not need it
    import numpy as np

    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    draft = Draft(directory)
    stack.callback(draft.discard)
    try:
        with draft.file() as file:
            np.save(file, array, allow_pickle=True)
    except OSError as error:
        raise storage_error(error, "cannot be written") from error
    draft.seal(None, None)
    return draft


def _draft_sidecars(
    stack: ExitStack,
    directory: int,
    name: str,
    page: Page,
    texts: list[str],
    *,
    array: Draft,
    metadata: Draft,
) -> list[tuple[str, Draft]]:
    drafts: dict[Format, Draft] = {}
    for fmt in FORMATS:
        drafts[fmt] = Draft(directory)
        stack.callback(drafts[fmt].discard)
    source, known = array.as_source(), metadata.as_source().status
    blocks = (texts[start : start + _BLOCK_TEXTS] for start in range(0, len(texts), _BLOCK_TEXTS))
    for pieces in rendered(page, blocks, FORMATS, Tally()):
        for draft, piece in zip(drafts.values(), pieces, strict=True):
            draft.write(piece or b"")
    for fmt, draft in drafts.items():
        draft.seal(source, stamp_of(fmt, source.status, known))
    return [(sidecar_name(name, fmt), draft) for fmt, draft in drafts.items()]


def _load(directory: int, name: str) -> list[str]:
    with open_file(directory, name) as source:
        header = read_header(source)
        if len(header.shape) != 1:
            raise NotText(f"an array of {len(header.shape)} dimensions, not a list of texts")
        texts = [text for block in read_items(source, header) for text in block]
    if not all(type(text) is str for text in texts):
        raise NotText("it holds items that are not text")
    return texts


def _load_metadata(directory: int, name: str) -> dict[str, Any]:
    with open_file(directory, name) as file:
        metadata = parse_metadata(file.read_at(0, file.size))
    if metadata is None:
        raise Corrupt("it is not a JSON object")
    return metadata
