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
SOURCE_SUFFIX: Final = ".npy"
METADATA_SUFFIX: Final = "_metadata.json"

TEMPORARY: Final = re.compile(r"\.generation-sidecars-[0-9a-f]{16}\.tmp")
"""What our temporary files are called, whole name.  Nothing else is ever removed."""


def kind_of(name: str) -> Kind | None:
    """Say which kind of source a file name is, or None when it is no source.

    >>> kind_of("n1374_t1.0_maxtok100_completions.npy"), kind_of("completions.npy")
    ('completions', None)
    """
    for kind in KINDS:
        if name.endswith(f"_{kind}{SOURCE_SUFFIX}"):
            return kind
    return None


def stem_of(source_name: str, kind: Kind) -> str:
    """Cut kind and suffix off a source's name: what all files of the set share."""
    return source_name[: -len(f"_{kind}{SOURCE_SUFFIX}")]


def metadata_name(source_name: str, kind: Kind) -> str:
    """Name the set's metadata file.

    >>> metadata_name("n1374_t1.0_maxtok100_completions.npy", "completions")
    'n1374_t1.0_maxtok100_metadata.json'
    """
    return stem_of(source_name, kind) + METADATA_SUFFIX


def sidecar_name(source_name: str, fmt: Format) -> str:
    """Name one sidecar of a source.

    >>> sidecar_name("n1374_completions.npy", "md")
    'n1374_completions.md'
    """
    return f"{source_name[: -len(SOURCE_SUFFIX)]}.{fmt}"


def part_name(sidecar: str, number: int) -> str:
    """Name a part of a page that is split; the first is the page itself.

    >>> part_name("n1_completions.md", 1), part_name("n1_completions.md", 2)
    ('n1_completions.md', 'n1_completions.2.md')
    """
    stem, dot, suffix = sidecar.rpartition(".")
    return sidecar if number == 1 else f"{stem}.{number}{dot}{suffix}"


def partner_name(source_name: str, kind: Kind) -> str | None:
    """Name the full texts that hold the prompts of a set's completions; None for full texts themselves."""
    if kind == "full_texts":
        return None
    return f"{stem_of(source_name, kind)}_full_texts{SOURCE_SUFFIX}"


def sources_of_metadata(name: str) -> tuple[str, ...]:
    """Name the sources whose pages show this metadata file; empty when it is not one.

    >>> sources_of_metadata("n1_metadata.json")
    ('n1_completions.npy', 'n1_full_texts.npy')
    """
    if not name.endswith(METADATA_SUFFIX):
        return ()
    stem = name[: -len(METADATA_SUFFIX)]
    return tuple(f"{stem}_{kind}{SOURCE_SUFFIX}" for kind in KINDS)


def sources_concerned(name: str, *, pairs: bool = False) -> tuple[str, ...]:
    """Name the sources whose sidecars are made from this file; with ``pairs``, pages of prompts too.

    >>> sources_concerned("n1_full_texts.npy", pairs=True)
    ('n1_full_texts.npy', 'n1_completions.npy')
    """
    kind = kind_of(name)
    if kind is None:
        return sources_of_metadata(name)
    if kind == "full_texts" and pairs:
        return name, f"{stem_of(name, kind)}_completions{SOURCE_SUFFIX}"
    return (name,)


def is_temporary(name: str) -> bool:
    """Tell whether a name is one that our publisher gives its temporary files."""
    return TEMPORARY.fullmatch(name) is not None
