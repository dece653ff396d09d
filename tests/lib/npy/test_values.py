"""From what a source holds to what JSON can say."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.encoded_text import decoded
from lib.errors import Corrupt, TooLarge
from lib.npy.header import ITEM_VALUES_LIMIT
from lib.npy.pickle_globals import DType, Role
from lib.npy.values import DEPTH_LIMIT, plain


def deep(levels: int, wrap: Any = lambda inner: [inner]) -> Any:
    """Wrap a text that many times."""
    value: Any = "x"
    for _ in range(levels):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        (None, None),
        (True, True),
        (2**80, 2**80),
        (0.5, 0.5),
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", "café"),
        ((1, (b"a",)), [1, ["a"]]),
        ({b"k": (1,), 2: {None: math.nan}}, {"k": [1], 2: {None: None}}),
    ],
)
def test_values_become_what_json_can_say(value: Any, expected: Any) -> None:
    """Bytes are text, tuples and arrays are lists, what is no number is None."""
    assert plain(value) == expected


def test_a_text_is_handed_on_itself() -> None:
    """The bulk of all items is not copied."""
    text = "x" * 1000
    assert plain(text) is text


@given(st.binary())
def test_any_bytes_are_text(data: bytes) -> None:
    """UTF-8 where it can be, Latin-1 otherwise, and nothing fails."""
    text = decoded(data)
    assert data in {text.encode(errors="replace"), text.encode("latin-1", "replace")}


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: (v,), lambda v: {"k": v}])
def test_depth_has_a_limit(wrap: Any) -> None:
    """A hundred levels are shown, one more is refused; nothing overflows the stack."""
    json.dumps(plain(deep(DEPTH_LIMIT, wrap)))
    for levels in (DEPTH_LIMIT + 1, 100_000):
        with pytest.raises(TooLarge, match="nests deeper than 100"):
            plain(deep(levels, wrap))


def test_cycles_are_refused_by_depth() -> None:
    """A value that holds itself is only very deep."""
    held: list[Any] = []
    held.append({"again": (held,)})
    with pytest.raises(TooLarge, match="nests deeper"):
        plain(held)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(lambda: [None] * (ITEM_VALUES_LIMIT + 1), id="many values"),
        pytest.param(lambda: [["x" * 1000] * 1000] * 200, id="one list in many places"),
        pytest.param(lambda: ["x" * 1_000_000] * 300, id="one text in many places"),
        pytest.param(lambda: [b"x" * 1_000_000] * 300, id="the same bytes in many places"),
        pytest.param(lambda: [{"x" * 1_000_000: None}] * 300, id="one key in many places"),
        pytest.param(lambda: [{b"x" * 1_000_000: None}] * 300, id="the same bytes as a key"),
    ],
)
def test_an_item_written_out_has_a_size(value: Any) -> None:
    """References that multiply are stopped before they are written out."""
    with pytest.raises(TooLarge, match="MiB as it is rendered"):
        plain(value())


@pytest.mark.parametrize("value", [DType("O"), Role.DTYPE, {"k": [DType("O")]}, object(), 1j])
def test_parts_of_arrays_are_not_items(value: Any) -> None:
    """A name, a dtype or an array that was never filled is not shown."""
    with pytest.raises(Corrupt, match="a part of an array"):
        plain(value)
