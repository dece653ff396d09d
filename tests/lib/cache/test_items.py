"""Items: plain data of exact types, in one dimension, with what is shared shared."""

from __future__ import annotations

import enum
from collections import OrderedDict, namedtuple
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import MemoryBytes, npy

from lib.cache.items import object_array
from lib.npy.array_reader import read_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

Pair = namedtuple("Pair", "first second")  # noqa: PYI024 -- what callers use


class Colour(str, enum.Enum):
    """A text that is more than a text."""

    RED = "red"


class Level(enum.IntEnum):
    """A number that is more than a number."""

    HIGH = 3


def saved(items: list[Any]) -> bytes:
    """Return the file that a save writes."""
    return npy(object_array(items, "items"))


def types_of(value: Any) -> Any:
    """Return a value's type, and those of all in it."""
    if isinstance(value, dict):
        return dict, [(types_of(key), types_of(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [types_of(item) for item in value]
    return type(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.str_("a"), "a"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.longdouble(0.5), 0.5),
        (np.int8(-3), -3),
        (np.bool_(True), True),
        (np.bytes_(b"a"), b"a"),
        (Pair("a", 1), ("a", 1)),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        ({np.int64(1): np.str_("x"), Colour.RED: None, (1, "a"): 2}, {1: "x", "red": None, (1, "a"): 2}),
        (np.array(5), 5),
        (np.array(["a", None], dtype=object), ["a", None]),
        (np.ma.masked_array([1, 2], [False, True]), [1, None]),
        (np.array([0.5], dtype=np.longdouble), [0.5]),
    ],
)
def test_what_is_more_than_plain_becomes_plain(value: Any, expected: Any) -> None:
    """Subclasses, enumerations, numpy's scalars and odd arrays: of exact types, equal to what they were."""
    (item,) = object_array([value], "items")
    assert item == expected
    assert types_of(item) == types_of(expected)


def test_arrays_of_numbers_and_texts_stay_arrays() -> None:
    """Those who open the file with numpy get what they saved."""
    numbers = np.arange(6, dtype=">f4").reshape(2, 3)
    first, second = object_array([numbers, [np.array(["a", "b"])]], "items")
    assert first is numbers
    assert type(second[0]) is np.ndarray
    assert read_whole(MemoryBytes(saved([numbers]))) == [numbers.tolist()]


def test_a_table_gives_its_rows() -> None:
    """Iterating over a pandas DataFrame gives the names of its columns, which were saved instead."""

    class Table:
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
            return np.array([["a", "b"], ["c", "d"]], dtype=dtype)

        def __iter__(self) -> Iterator[str]:
            return iter(["first", "second"])

    assert object_array(Table(), "items").tolist() == [["a", "b"], ["c", "d"]]


def test_what_is_shared_stays_shared() -> None:
    """One conversation in a thousand items is one object, before and in the file."""
    messages = [{"role": "user", "content": "x" * 100_000}]
    array = object_array([messages] * 1000, "items")
    assert len(set(map(id, array))) == 1
    assert len(saved([messages] * 1000)) < 110_000


def nested(depth: int) -> list[Any]:
    """Make a list in a list in a list."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def test_depth_is_limited_before_anything_is_pickled() -> None:
    """A hundred levels are saved and loaded; ten thousand are a TypeError, not a crash of the pickler."""
    assert read_whole(MemoryBytes(saved([nested(99)]))) == [nested(99)]
    with pytest.raises(TypeError, match=r"items\[0\] nests deeper than 100"):
        object_array([nested(10_000)], "items")


KEYS = st.one_of(st.text(max_size=3), st.integers(), st.binary(max_size=3), st.none(), st.booleans())
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=9),
    st.binary(max_size=9),
)


@st.composite
def shared_items(draw: st.DrawFn) -> list[Any]:
    """Make items that are made of each other."""
    pool: list[Any] = draw(st.lists(LEAVES, min_size=1, max_size=6))
    for _ in range(draw(st.integers(0, 8))):
        part = st.sampled_from(pool)
        parts = st.lists(part, max_size=4)
        pool.append(draw(st.one_of(parts, parts.map(tuple), st.dictionaries(KEYS, part, max_size=3))))
    return draw(st.lists(st.sampled_from(pool), max_size=12))


@given(items=shared_items())
def test_what_save_wrote_load_returns(items: list[Any]) -> None:
    """Any plain data, whatever repeats in it: equal, and of the same types."""
    loaded = read_whole(MemoryBytes(saved(items)))
    assert loaded == items
    assert types_of(loaded) == types_of(items)
