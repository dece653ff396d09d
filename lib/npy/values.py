"""From what a source holds to what JSON can say: the one conversion that both formats share."""

from __future__ import annotations

import json
import math
import sys
from json.encoder import encode_basestring
from typing import Any, Final

from lib.errors import Corrupt, Unsafe
from lib.npy.header import ITEM_BYTES_LIMIT, TEXT_BYTES_LIMIT
from lib.npy.pickle_globals import Array
from lib.npy.pickle_memo import Reference
from lib.npy.pickle_opcodes import DICT_VALUES, LIST_VALUES, VALUE_BYTES

DEPTH_LIMIT: Final = 100
LONG_TEXT: Final = 1 << 20
"""Characters of a text that is looked at by itself, in pieces."""
_PIECE: Final = 1 << 16
_COUNTS: Final = frozenset({int, bool, type(None)})
"""What needs no conversion and takes the same anywhere."""


def plain(value: Any) -> Any:
    """Convert one item: bytes to text, tuples and arrays to lists, NaN and infinities to None.

    Bytes are UTF-8 if they can be read so, Latin-1 otherwise.

    :raises Unsafe: it nests deeper than 100.
    :raises Unsafe: it takes more than 128 MiB as it is rendered.
    :raises Corrupt: it holds something that is no data.
    """
    return measured(value)[0]


def measured(value: Any) -> tuple[Any, int]:
    """Do what :func:`plain` does, and return with it what the item takes in bytes."""
    kind = type(value)
    if kind is str and len(value) < LONG_TEXT:
        return value, 4 * len(value) + VALUE_BYTES
    if value is None or kind is int or kind is bool:
        return value, VALUE_BYTES
    conversion = _Plain()
    return conversion.convert(value, 0), conversion.size


def text_of(data: bytes) -> str:
    """Read bytes as text: UTF-8, or Latin-1, which always succeeds."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def rendered_bytes(text: str) -> int:
    """Return what a text takes in memory or, if that is more, in a file of JSON.

    :raises Unsafe: in memory it takes more than 64 MiB.
    """
    size = len(text) if text.isascii() else sys.getsizeof(text)
    if size > TEXT_BYTES_LIMIT:
        raise Unsafe(f"a text takes {size:,} bytes; {TEXT_BYTES_LIMIT:,} are allowed", is_size=True)
    if len(text) < LONG_TEXT:
        return size
    pieces = (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))
    return max(size, sum(map(len, map(encode_basestring, pieces))))


class _Plain:
    """One conversion, with its budget in bytes."""

    def __init__(self) -> None:
        self._budget = ITEM_BYTES_LIMIT

    @property
    def size(self) -> int:
        """What was converted so far takes, in bytes."""
        return ITEM_BYTES_LIMIT - self._budget

    def convert(self, value: Any, depth: int) -> Any:
        if type(value) is Reference:
            value = value.load()
        kind = type(value)
        self._spend(VALUE_BYTES, depth)
        if kind is str:
            self._spend(rendered_bytes(value), depth)
            return value
        if value is None or kind is bool or kind is int:
            return value
        if kind is float:
            return value if math.isfinite(value) else None
        if kind is bytes:
            return self.convert(text_of(value), depth)
        if kind is list or kind is tuple:
            self._spend(LIST_VALUES * VALUE_BYTES, depth)
            if kind is list and _COUNTS.issuperset(map(type, value)):
                self._spend(VALUE_BYTES * len(value), depth + bool(value))
                return value
            return [self.convert(item, depth + 1) for item in value]
        if kind is dict:
            self._spend(DICT_VALUES * VALUE_BYTES, depth)
            return {self._key(key, depth): self.convert(item, depth + 1) for key, item in value.items()}
        if kind is Array and value.shape is not None:
            return self._array(value, depth)
        raise Corrupt("its pickle holds a part of an array where an item should be")

    def _array(self, array: Array, depth: int) -> Any:
        from lib.npy.fixed_width import nest

        items = self.convert(array.items, depth)
        return nest(items, array.shape or ())

    def _key(self, key: Any, depth: int) -> Any:
        if type(key) is bytes:
            key = text_of(key)
        if type(key) is float and not math.isfinite(key):  # JSON has no such number, but any text as a key
            key = json.dumps(key)
        self._spend(VALUE_BYTES + (rendered_bytes(key) if type(key) is str else 0), depth)
        return key

    def _spend(self, amount: int, depth: int) -> None:
        self._budget -= amount
        if depth > DEPTH_LIMIT:
            raise Unsafe(f"an item nests deeper than {DEPTH_LIMIT}")
        if self._budget < 0:
            raise Unsafe(
                f"an item takes more than {ITEM_BYTES_LIMIT >> 20} MiB as it is rendered", is_size=True
            )
