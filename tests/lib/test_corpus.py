"""The corpus itself: caches from every age of numpy and hostile files, before they test anything."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

import hostile
import numpy as np
import pytest
from make_caches import FILE_BYTES_LIMIT, SUFFIX, encode, encode_array, plain
from support import AGES, DATA, manifest_of

if TYPE_CHECKING:
    from pathlib import Path


def as_latin_1(tagged: list[Any]) -> list[Any]:
    """Turn every Python 2 str into what Python 3 makes of it when it is told ``encoding="latin1"``."""
    tag = tagged[0]
    if tag == "py2str":
        return ["text", bytes.fromhex(tagged[1]).decode("latin-1")]
    if tag in {"list", "tuple"}:
        return [tag, [as_latin_1(item) for item in tagged[1]]]
    if tag == "dict":
        return [tag, [[as_latin_1(k), as_latin_1(v)] for k, v in tagged[1]]]
    return tagged


def in_any_order(tagged: list[Any]) -> list[Any]:
    """Sort every dictionary: those of Python 2 had no order to keep."""
    tag = tagged[0]
    if tag in {"list", "tuple"}:
        return [tag, [in_any_order(item) for item in tagged[1]]]
    if tag == "dict":
        return [tag, sorted(([in_any_order(k), in_any_order(v)] for k, v in tagged[1]), key=json.dumps)]
    return tagged


def test_the_ages_reach_from_python_2_to_numpy_2() -> None:
    """The corpus has every change of format: protocols 2, 3 and 4, and StringDType."""
    assert len(AGES) >= 7
    for start in (
        "numpy-1.16.6-py2",
        "numpy-1.16.6-py3",
        "numpy-1.17",
        "numpy-1.21",
        "numpy-1.26",
        "numpy-2.0",
    ):
        assert any(age.startswith(start) for age in AGES)


@pytest.mark.parametrize("age", AGES)
def test_files_and_manifest_name_each_other(age: str) -> None:
    """Nothing in a directory is untested, nothing promised is missing, and no file is big."""
    names = [entry["file"] for entry in manifest_of(age)]
    files = {path.name: path.stat().st_size for path in (DATA / age).glob("*.npy")}
    assert len(set(names)) == len(names) >= 100
    assert sorted(files) == sorted(names)
    assert all(name.endswith(SUFFIX) for name in names)
    assert max(files.values()) < FILE_BYTES_LIMIT


@pytest.mark.parametrize("age", AGES)
def test_numpy_reads_what_the_manifest_says(age: str) -> None:
    """The numpy of this test reads the same as the numpy that wrote: type, shape and every value."""
    if age.startswith("numpy-2") and np.__version__.startswith("1."):
        pytest.skip("numpy 1 cannot unpickle what numpy 2 wrote")
    for entry in manifest_of(age):
        array = np.load(DATA / age / entry["file"], allow_pickle=True, encoding="latin1")
        assert list(array.shape) == entry["shape"], entry["file"]
        assert entry["read"] == (array.dtype.kind in "OUST")
        if entry["read"]:
            got, wanted = encode_array(array), as_latin_1(entry["value"])
            if age.endswith("py2.7"):
                got, wanted = in_any_order(got), in_any_order(wanted)
            assert got == wanted, entry["file"]


def test_the_ages_agree_where_they_hold_the_same() -> None:
    """A case means the same text in every age, however it was pickled."""
    seen: dict[str, Any] = {}
    for age in AGES:
        for entry in manifest_of(age):
            if entry["read"] and not entry["file"].startswith("object_surrogate_pair"):
                value = in_any_order(encode(plain(entry["value"], lambda raw: raw.decode("latin-1"))))
                assert seen.setdefault(entry["file"], value) == value, (age, entry["file"])
    assert len(seen) >= 110


def test_hostile_cases_are_many_and_named_apart() -> None:
    """No case hides another one, and each says what must come of it."""
    cases = hostile.hostile_files() + hostile.truncated_files()
    names = [name for name, _, _ in cases]
    assert len(set(names)) == len(names) >= 1000
    assert {expected for _, _, expected in cases} <= set(hostile.ACCEPTED)


def test_hostile_files_are_different_from_each_other_and_quick_to_make() -> None:
    """Each case is a file of its own, at most some megabytes long."""
    seen: dict[bytes, str] = {}
    for name, make, _ in hostile.hostile_files():
        data = make()
        assert len(data) < 20_000_000, name
        assert seen.setdefault(hashlib.sha256(data).digest(), name) == name


def test_what_hostile_files_are_built_from_is_sound() -> None:
    """A case is refused for what is wrong with it: without that, numpy reads the file."""
    objects = [hostile.good_object_file()]
    if not np.__version__.startswith("1."):
        objects.append(hostile.good_object_file(protocol=4))
    inner = hostile.nested(b"](" + b"".join(map(hostile.text, hostile.TEXTS)) + b"e")
    for data in [hostile.good_u_file(), *objects, hostile.npy(b"\x80\x03" + inner + b".")]:
        assert np.load(io.BytesIO(data), allow_pickle=True).tolist() == list(hostile.TEXTS)
    array = np.load(io.BytesIO(hostile.inside(inner)), allow_pickle=True)
    assert [array[0], array[1].tolist(), array[2]] == ["a", list(hostile.TEXTS), "c"]


PLACES = [
    f"{way}_{place}"
    for way in ("os_system", "inst", "obj", "newobj_ex", "build")
    for place in ("bare", "inside")
]


@pytest.mark.parametrize("case", [*PLACES, "newobj_bare", "dotted_bare", "stack_global_bare", "eval_bare"])
def test_code_in_hostile_files_is_live(case: str, tmp_path: Path) -> None:
    """The canary proves something: numpy's own loader runs the code and makes the file."""
    canary = tmp_path / "canary"
    makers = {name: make for name, make, _ in hostile.hostile_files(str(canary))}
    with contextlib.suppress(AttributeError):  # what the pickle gives is no array
        np.load(io.BytesIO(makers[f"code_{case}"]()), allow_pickle=True)
    assert canary.exists()
