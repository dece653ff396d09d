"""JSON, byte for byte as the standard library writes it."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import as_json

from lib.encoded_text import EncodedText, Texts, utf8
from lib.errors import Corrupt
from lib.json_writer import JsonWriter, dumps, encoded, pieces
from lib.npy.values import plain

ANY_TEXT = st.text(st.characters(codec=None))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda inner: (
        st.lists(inner) | st.dictionaries(ANY_TEXT | st.integers() | st.none() | st.booleans(), inner)
    ),
    max_leaves=20,
)


def written(*blocks: list[Any]) -> bytes:
    """Write blocks as the engine does."""
    writer = JsonWriter()
    shaped = (Texts(block) if set(map(type, block)) == {str} else block for block in blocks)
    return b"".join(map(writer.block, shaped)) + writer.end()


@given(st.lists(st.lists(ANY_TEXT, max_size=6), max_size=5))
def test_texts_in_any_blocks_are_as_json_dump_writes_them(blocks: list[list[str]]) -> None:
    """However the items are cut into blocks, the bytes are those of one list."""
    assert written(*blocks) == as_json([text for block in blocks for text in block])


@given(st.lists(st.lists(VALUES, max_size=4), max_size=4))
def test_values_in_any_blocks_are_as_json_dump_writes_them(blocks: list[list[Any]]) -> None:
    """Nested values, floats, big integers and odd keys too."""
    assert written(*blocks) == as_json([value for block in blocks for value in block])


def test_every_character_is_written_as_json_dump_writes_it() -> None:
    """All of Unicode, controls, quotes and separators included."""
    texts = ["".join(map(chr, range(first, first + 0x1000))) for first in range(0, 0x110000, 0x1000)]
    assert written(texts) == as_json(texts)


@pytest.mark.parametrize("text", ["\ud800", "a\udfff\ud800", "\ud83d\ude00", "\\ud800", "\U0001f600"])
def test_fault_61_every_surrogate_is_replaced_so_that_strict_readers_open_the_file(text: str) -> None:
    """One text must not make the whole file unreadable; a pair of surrogates is no character either."""
    shown = re.sub("[\ud800-\udfff]", "\ufffd", text)
    assert orjson.loads(written([text, "a"])) == [shown, "a"]
    assert orjson.loads(written([{text: [text]}])) == [{shown: [shown]}]


def test_no_items_make_an_empty_list() -> None:
    """An empty array is an empty list."""
    assert written() == written([], []) == b"[]"


def test_nothing_stands_after_the_last_bracket() -> None:
    """There is no newline at the end."""
    assert written(["a"]).endswith(b'"a"\n]')


def test_what_is_not_a_number_is_null_after_plain() -> None:
    """NaN and infinities become null; the writer itself refuses them."""
    assert written([plain([math.nan, -math.inf, 1.5])]) == b"[\n  [\n    null,\n    null,\n    1.5\n  ]\n]"
    with pytest.raises(Corrupt, match="cannot be written as JSON"):
        dumps(math.nan)


@pytest.mark.parametrize("value", [10**5000, {(1,): 2}, object()], ids=["digits", "key", "object"])
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    """Integers of thousands of digits and odd keys are refused, with the reason."""
    with pytest.raises(Corrupt, match=r"cannot be written as JSON: [^;]+$"):
        dumps(value)


def test_keys_are_written_as_json_dump_writes_them() -> None:
    """Numbers, None and booleans as their JSON, NaN too, which is text as a key; bytes as text."""
    keys = {1: 1, 1.5: 2, None: 3, False: 4, "a": 5, math.nan: 6, -math.inf: 7}
    assert written([plain(keys)]) == as_json([{**keys}])
    assert json.loads(written([plain({b"\xe9": 1})])) == [{"\u00e9": 1}]


def test_surrogates_are_replaced_in_any_json_text() -> None:
    """A scalar's JSON goes the same way."""
    assert encoded(dumps("é\udc80")) == '"é\ufffd"'.encode()


GREAT: list[Any] = [
    'long "text"\n' * 60_000,
    ["x" * 300_000, {"k" * 300_000: ["y" * 300_000], "n": None}],
    [[number, [str(number)] * 3] for number in range(40_000)],
    {str(number): {"a": [number, None], "b": {}} for number in range(30_000)},
    [[[["deep " * 60_000], []], {}], 1.5],
]


@given(VALUES)
def test_pieces_are_together_what_is_written_at_once(value: Any) -> None:
    """The plain way is the standard library's."""
    assert "".join(pieces(value)) == json.dumps(value, indent=2, ensure_ascii=False)


@pytest.mark.parametrize("value", GREAT, ids=range(len(GREAT)))
def test_great_values_are_written_in_pieces_of_limited_size(value: Any) -> None:
    """Together they are what the standard library writes, as one value and as an item of a list."""
    parts = list(pieces(value))
    assert "".join(parts) == json.dumps(value, indent=2, ensure_ascii=False)
    assert max(map(len, parts)) < 2_000_000
    assert len(parts) > 1
    writer = JsonWriter()
    shown = b"".join([*writer.item(value), *writer.item("next"), writer.end()])
    assert shown == as_json([value, "next"])


@given(st.lists(ANY_TEXT, max_size=4))
def test_texts_that_are_not_decoded_are_written_as_others(texts: list[str]) -> None:
    """Pickled texts with lone surrogates, and bytes in UTF-8 or Latin-1."""
    kept: list[Any] = [EncodedText(utf8(text)) for text in texts]
    keyed = {EncodedText(utf8(text)): text for text in texts}
    assert "".join(pieces([kept, keyed])) == dumps([texts, dict(zip(texts, texts, strict=True))])
    assert "".join(pieces([b"caf\xe9", "caf\xe9".encode()])) == dumps(["caf\xe9"] * 2)
