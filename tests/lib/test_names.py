"""Names of files, and the examples in the library's docstrings."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import lib
from lib.names import (
    is_temporary,
    kind_of,
    metadata_name,
    sidecar_name,
    source_kind,
    sources_concerned,
    stem_of,
)

MODULES = sorted(module.name for module in pkgutil.walk_packages(lib.__path__, "lib."))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("n1374_t1.0_maxtok100_completions.npy", "completions"),
        ("n1374_t1.0_maxtok100_full_texts.npy", "full_texts"),
        ("_completions.npy", "completions"),
        ("a_completions_completions.npy", "completions"),
        ("a_full_texts_completions.npy", "completions"),
        ("a\n\x1b\udcff_completions.npy", "completions"),
        ("completions.npy", None),
        ("a-completions.npy", None),
        ("a_Completions.npy", None),
        ("a_completions.NPY", None),
        ("a_completions.npy.tmp", None),
        ("a_completions.npz", None),
        ("a_completions.json", None),
        ("a_metadata.json", None),
        ("", None),
    ],
)
def test_kind_comes_from_the_end_of_the_name_alone(name: str, kind: str | None) -> None:
    """A source ends in one of two suffixes, to the letter."""
    assert kind_of(name) == kind


def test_names_of_a_set_share_their_stem() -> None:
    """From a source's name follow the names of its metadata and of its sidecars, and back."""
    source = "n1.5_full_texts.npy"
    assert stem_of(source) == "n1.5"
    assert metadata_name(source) == "n1.5_metadata.json"
    assert sidecar_name(source, "json") == "n1.5_full_texts.json"
    assert sidecar_name(source, "md") == "n1.5_full_texts.md"
    assert source in sources_concerned("n1.5_metadata.json")


@pytest.mark.parametrize(
    "name", ["metadata.json", "a_metadata.yaml", "a_metadata.json.tmp", "a_completions.json"]
)
def test_other_files_concern_no_source(name: str) -> None:
    """Only sources and the metadata of a set do."""
    assert sources_concerned(name) == ()
    with pytest.raises(ValueError, match="is not the name of a source"):
        source_kind(name)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        (".generation-sidecars-0123456789abcdef.tmp", True),
        (".generation-sidecars-0123456789ABCDEF.tmp", False),
        (".generation-sidecars-0123456789abcde.tmp", False),
        (".generation-sidecars-0123456789abcdef0.tmp", False),
        (".generation-sidecars-0123456789abcdef.tmp\n", False),
        ("generation-sidecars-0123456789abcdef.tmp", False),
        (".generation-sidecars-0123456789abcdef.tmp.json", False),
        ("x.generation-sidecars-0123456789abcdef.tmp", False),
        (".generation-sidecars-.tmp", False),
    ],
)
def test_only_our_own_pattern_is_temporary(name: str, ours: bool) -> None:
    """The whole name says what may be removed, to the letter."""
    assert is_temporary(name) is ours


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_hold(module: str) -> None:
    """Every example of the library's documentation is run."""
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_there_are_examples_to_run() -> None:
    """The test above is not empty."""
    attempted = [doctest.testmod(importlib.import_module(module)).attempted for module in MODULES]
    assert len(MODULES) >= 20
    assert sum(attempted) >= 6
