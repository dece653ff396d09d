"""Names of the files of one set, and which of them is what: pure functions on names without directories.

A set shares a stem: ``n1374_t1.0_maxtok100`` has ``…_completions.npy``, ``…_full_texts.npy`` and
``…_metadata.json``; beside each ``.npy`` stand its sidecars, the same name with ``.json`` and ``.md``.
"""

from __future__ import annotations

import re
from typing import Final, Literal

Kind = Literal["completions", "full_texts"]
Format = Literal["json", "md"]

KINDS: Final[tuple[Kind, ...]] = ("completions", "full_texts")
FORMATS: Final[tuple[Format, ...]] = ("json", "md")
METADATA_SUFFIX: Final = "_metadata.json"
PART_LABEL: Final = "**Part:**"
"""Begins the line that says which part of a page a file is."""
_SOURCE_SUFFIX: Final = ".npy"
_ENDINGS: Final[dict[Kind, str]] = {kind: f"_{kind}{_SOURCE_SUFFIX}" for kind in KINDS}

_TEMPORARY: Final = re.compile(r"\.generation-sidecars-[0-9a-f]{16}\.tmp")


def kind_of(name: str) -> Kind | None:
    """Return the kind of source that has this file name; None when it is not a source's.

    >>> kind_of("n1374_t1.0_maxtok100_completions.npy"), kind_of("completions.npy")
    ('completions', None)
    """
    for kind, ending in _ENDINGS.items():
        if name.endswith(ending):
            return kind
    return None


def source_kind(name: str) -> Kind:
    """Return the kind of a source.

    :raises ValueError: the name is not a source's.
    """
    kind = kind_of(name)
    if kind is None:
        raise ValueError(f"{name!r} is not the name of a source")
    return kind


def stem_of(source: str) -> str:
    """Return what all files of a source's set share: its name without kind and suffix."""
    return source[: -len(_ENDINGS[source_kind(source)])]


def source_name(stem: str, kind: Kind) -> str:
    """Name a source of a set."""
    return stem + _ENDINGS[kind]


def metadata_name(source: str) -> str:
    """Name the metadata file of a source's set.

    >>> metadata_name("n1374_t1.0_maxtok100_completions.npy")
    'n1374_t1.0_maxtok100_metadata.json'
    """
    return stem_of(source) + METADATA_SUFFIX


def sidecar_name(source: str, fmt: Format) -> str:
    """Name one sidecar of a source.

    >>> sidecar_name("n1374_completions.npy", "md")
    'n1374_completions.md'
    """
    return f"{source[: -len(_SOURCE_SUFFIX)]}.{fmt}"


def part_name(sidecar: str, number: int) -> str:
    """Name a part of a page that is split; the first is the page itself.

    >>> part_name("n1_completions.md", 1), part_name("n1_completions.md", 2)
    ('n1_completions.md', 'n1_completions.2.md')
    """
    stem, dot, suffix = sidecar.rpartition(".")
    return sidecar if number == 1 else f"{stem}.{number}{dot}{suffix}"


def partner_name(source: str) -> str | None:
    """Name the full texts that hold the prompts of a set's completions; None for full texts themselves."""
    stem = source.removesuffix(_ENDINGS["completions"])
    return None if stem == source else source_name(stem, "full_texts")


def sources_concerned(name: str, *, pairs: bool = False) -> tuple[str, ...]:
    """Name the sources whose sidecars are made from this file; with ``pairs``, pages of prompts too.

    >>> sources_concerned("n1_metadata.json"), sources_concerned("n1_full_texts.npy", pairs=True)
    (('n1_completions.npy', 'n1_full_texts.npy'), ('n1_full_texts.npy', 'n1_completions.npy'))
    """
    kind = kind_of(name)
    if kind == "full_texts" and pairs:
        return name, source_name(stem_of(name), "completions")
    if kind is not None:
        return (name,)
    stem = name.removesuffix(METADATA_SUFFIX)
    return () if stem == name else tuple(source_name(stem, kind) for kind in KINDS)


def is_temporary(name: str) -> bool:
    """Tell whether a name is one that we give temporary files; nothing of another name is ever removed."""
    return _TEMPORARY.fullmatch(name) is not None
