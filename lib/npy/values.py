"""Converting items to values that JSON has: the one conversion that both formats share."""

from __future__ import annotations

import json
import math
from json.encoder import encode_basestring
from operator import is_
from typing import Any, Final

from lib.encoded_text import (
    GREAT_BYTES,
    LONG_TEXT,
    SHORT_TEXT,
    Text,
    compact,
    decoded,
    is_text,
    pieces_of,
    utf8,
)
from lib.errors import Corrupt, TooLarge
from lib.npy.header import ITEM_BYTES_LIMIT, TEXT_BYTES_LIMIT, VALUE_BYTES
from lib.npy.pickle_memo import Reference

DEPTH_LIMIT: Final = 100
ATOMS: Final = frozenset({str, bytes, bool, int, float, type(None)})
"""The types of plain data that hold no other values."""
_COPY_BYTES: Final = 48
_PIECE: Final = 1 << 16
_COUNTS: Final = frozenset({int, bool, type(None)})
"""Values that need no conversion, and count the same."""


def plain(value: Any) -> Any:
    """Convert one item: bytes to text, tuples and arrays to lists, NaN and infinities to None.

    Bytes are UTF-8 if they can be read so, Latin-1 otherwise.

    :raises TooLarge: it nests deeper than 100, or takes more than 128 MiB as it is rendered.
    :raises Corrupt: it holds something that is not data.
    """
    return measured(value)[0]


def measured(value: Any) -> tuple[Any, int]:
    """Convert one item as :func:`plain` does; return it with its size in bytes."""
    kind = type(value)
    if kind is str and len(value) < LONG_TEXT:
        return value, 4 * len(value) + VALUE_BYTES
    if value is None or kind is int or kind is bool:
        return value, VALUE_BYTES
    conversion = _Conversion()
    return conversion.convert(value, 0), conversion.size


def bytes_of(value: Any) -> int:
    """Return the size in bytes of a value that is not a container."""
    return VALUE_BYTES + (rendered_bytes(value) if is_text(value) else 0)


def rendered_bytes(text: Text) -> int:
    """Return the size of a text in JSON; escapes count only in a long one.

    :raises TooLarge: it takes more than 64 MiB without them.
    """
    if len(text) < LONG_TEXT:
        return len(text) if text.isascii() else len(utf8(text))
    size = written = 0
    for piece in pieces_of(text, _PIECE):
        size += len(utf8(piece))
        written += len(utf8(encode_basestring(piece)))
    if size > TEXT_BYTES_LIMIT:
        raise TooLarge(f"a text takes {size:,} bytes; {TEXT_BYTES_LIMIT:,} are allowed")
    return written


class _Conversion:
    """The conversion of one item; ``size`` is what was converted so far, in bytes."""

    def __init__(self) -> None:
        self.size = 0

    def convert(self, value: Any, depth: int) -> Any:
        if type(value) is Reference:
            value = value.load(keep_encoded=self.size > GREAT_BYTES)
            if type(value) is Reference:  # the object was an array without dimensions, which is its value
                return self.convert(value, depth + 1)
        kind = type(value)
        self._count(VALUE_BYTES, depth)
        if value is None or kind is bool or kind is int:
            return value
        if kind is float:
            return value if math.isfinite(value) else None
        if is_text(value):
            return self._text(value, depth)
        if kind is list or kind is tuple:
            return self._list(value, depth)
        if kind is dict:
            return self._dict(value, depth)
        raise Corrupt("its pickle holds a part of an array where an item should be")

    def _text(self, text: Text, depth: int) -> Text:
        """Convert a text; a long one, and in a great item any but a short one, stays encoded."""
        is_great = self.size > GREAT_BYTES
        self._count(rendered_bytes(text), depth)
        if len(text) < (SHORT_TEXT if is_great else LONG_TEXT):
            return decoded(text)
        return compact(text) if is_great else text

    def _list(self, values: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        if type(values) is list and _COUNTS.issuperset(map(type, values)):
            self._count(VALUE_BYTES * len(values), depth + bool(values))
            return values
        made = [self.convert(item, depth + 1) for item in values]
        if type(values) is list and all(map(is_, made, values)):
            return values
        self._count(_COPY_BYTES, depth)
        return made

    def _dict(self, values: dict[Any, Any], depth: int) -> dict[Any, Any]:
        made = {self._key(key, depth): self.convert(item, depth + 1) for key, item in values.items()}
        if all(map(is_, made, values)) and all(map(is_, made.values(), values.values())):
            return values
        self._count(_COPY_BYTES, depth)
        return made

    def _key(self, key: Any, depth: int) -> Any:
        if type(key) is float and not math.isfinite(key):  # as json.dump writes it
            key = json.dumps(key)
        return self._text(key, depth) if is_text(key) else key

    def _count(self, amount: int, depth: int) -> None:
        self.size += amount
        if depth > DEPTH_LIMIT:
            raise TooLarge(f"an item nests deeper than {DEPTH_LIMIT}")
        if self.size > ITEM_BYTES_LIMIT:
            raise TooLarge(f"an item takes more than {ITEM_BYTES_LIMIT >> 20} MiB as it is rendered")
