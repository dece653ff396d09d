"""From what a source holds to what JSON can say: the one conversion that both formats share."""

from __future__ import annotations

import json
import math
from typing import Any, Final

from lib.errors import Corrupt, Unsafe
from lib.npy.pickle_globals import Array

DEPTH_LIMIT: Final = 100
VALUES_LIMIT: Final = 4_000_000
"""So many values, and 64 times as many characters, may an item hold with its references written out."""


def plain(value: Any) -> Any:
    """Convert one item: bytes to text, tuples and arrays to lists, NaN and infinities to None.

    Bytes are UTF-8 if they can be read so, Latin-1 otherwise.

    :raises Unsafe: it nests deeper than 100, or grows beyond all measure when its references are written out.
    :raises Corrupt: it holds something that is no data.
    """
    if type(value) is str:
        return value
    return _Plain().convert(value, 0)


def text_of(data: bytes) -> str:
    """Read bytes as text: UTF-8, or Latin-1, which always succeeds."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


class _Plain:
    """One conversion, with its budget."""

    def __init__(self) -> None:
        self._budget = VALUES_LIMIT

    def convert(self, value: Any, depth: int) -> Any:
        kind = type(value)
        self._spend(1, depth)
        if kind is str:
            self._spend(len(value) >> 6, depth)
            return value
        if value is None or kind is bool or kind is int:
            return value
        if kind is float:
            return value if math.isfinite(value) else None
        if kind is bytes:
            self._spend(len(value) >> 6, depth)
            return text_of(value)
        if kind is list or kind is tuple:
            return [self.convert(item, depth + 1) for item in value]
        if kind is dict:
            return {self._key(key, depth): self.convert(item, depth + 1) for key, item in value.items()}
        if kind is Array and value.shape is not None:
            return self._array(value, depth)
        raise Corrupt("its pickle holds a part of an array where an item should be")

    def _array(self, array: Array, depth: int) -> Any:
        from lib.npy.fixed_width import nest

        items = [self.convert(item, depth + 1) for item in array.items]
        return nest(items, array.shape or ())

    def _key(self, key: Any, depth: int) -> Any:
        if isinstance(key, (str, bytes)):
            self._spend(len(key) >> 6, depth)
        if type(key) is float and not math.isfinite(key):  # JSON has no such number, but any text as a key
            return json.dumps(key)
        return text_of(key) if type(key) is bytes else key

    def _spend(self, amount: int, depth: int) -> None:
        self._budget -= amount
        if depth > DEPTH_LIMIT:
            raise Unsafe(f"an item nests deeper than {DEPTH_LIMIT}")
        if self._budget < 0:
            raise Unsafe("an item becomes too large when its references are written out")
