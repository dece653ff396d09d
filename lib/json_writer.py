"""JSON, byte for byte as ``json.dump(value, f, indent=2, ensure_ascii=False)`` writes it, block by block.

orjson writes the same bytes for texts, several times faster; everything else is left to the standard library,
as orjson writes floats differently.  Surrogates, paired or not, become U+FFFD, as strict readers refuse them.
"""

from __future__ import annotations

import json
import re
from itertools import chain
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, Final

import orjson

from lib.encoded_text import PIECE_CHARACTERS, Text, Texts, is_text, pieces_of, utf8
from lib.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FEW_VALUES: Final = 512
_SURROGATE: Final = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
_FLAT: Final = frozenset({str, int, float, bool, type(None)})


def dumps(value: Any) -> str:
    """Write one plain value as :func:`json.dump` would, indented by 2.

    :raises Corrupt: it cannot be written as JSON (an integer of thousands of digits).
    """
    if type(value) is list and value and _FLAT.issuperset(map(type, value)):
        written = _dumped(value, separators=(",\n  ", ""))  # quicker than with `indent`
        return f"[\n  {written[1:-1]}\n]"
    return _dumped(value, indent=2)


def dumps_numbers(numbers: Sequence[Any]) -> list[str]:
    """Write numbers, booleans and None, each as :func:`dumps` would.

    :raises Corrupt: one cannot be written as JSON.
    """
    return _dumped(numbers, separators=("\n", ""))[1:-1].split("\n") if numbers else []


def _dumped(value: Any, **layout: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, **layout)
    except (ValueError, TypeError, RecursionError) as error:
        reason = str(error).partition(";")[0]  # then comes a hint for programmers
        raise Corrupt(f"an item cannot be written as JSON: {reason}") from error


def pieces(value: Any, line: str = "\n") -> Iterator[str]:
    """Yield what :func:`dumps` returns in pieces of limited size; ``line`` begins each of its lines.

    :raises Corrupt: it cannot be written as JSON.
    """
    waiting: list[str] = []
    size = 0
    for fragment in _fragments(value, line):
        waiting.append(fragment)
        size += len(fragment)
        if size >= PIECE_CHARACTERS:
            yield "".join(waiting)
            waiting.clear()
            size = 0
    yield "".join(waiting)


def encoded(text: Text) -> bytes:
    r"""Return any text as UTF-8, each surrogate as U+FFFD.

    >>> encoded("\ud83d\ude00").decode() == "\ufffd\ufffd"
    True
    """
    data = utf8(text)
    return _SURROGATE.sub(b"\xef\xbf\xbd", data) if b"\xed" in data else data


class JsonWriter:
    """Turns blocks of plain values into the bytes of one JSON list."""

    def __init__(self) -> None:
        self._separator = b"["

    def block(self, values: Sequence[Any]) -> bytes:
        """Return the bytes of the next items; those of :class:`Texts` are written several times faster."""
        if not values:
            return b""
        separator, self._separator = self._separator, b","
        return b"".join((separator, _texts(values) if isinstance(values, Texts) else _values(values)))

    def item(self, value: Any) -> Iterator[bytes]:
        """Yield the bytes of the next item in pieces."""
        separator, self._separator = self._separator, b","
        yield separator + b"\n  "
        yield from map(encoded, pieces(value, "\n  "))

    def end(self) -> bytes:
        """Return the bytes that close the list."""
        return b"[]" if self._separator == b"[" else b"\n]"


def _texts(values: Sequence[str]) -> bytes | memoryview:
    try:
        return memoryview(orjson.dumps(values, option=orjson.OPT_INDENT_2))[1:-2]  # no copy
    except orjson.JSONEncodeError:
        return _values(values)


def _values(values: Sequence[Any]) -> bytes:
    # a line break in JSON text is always layout: inside strings it is escaped
    return encoded(dumps(list(values))[1:-2])


def _fragments(value: Any, line: str) -> Iterator[str]:
    """Yield the JSON of a value in fragments of limited size; ``line`` begins each of its lines."""
    inner, kind = line + "  ", type(value)
    if isinstance(value, bytes) or (kind is str and len(value) > PIECE_CHARACTERS):
        yield '"'
        for piece in pieces_of(value):
            yield encode_basestring(piece)[1:-1]
        yield '"'
    elif kind is list and value:
        separator = "["
        for start in range(0, len(value), _FEW_VALUES):
            few = value[start : start + _FEW_VALUES]
            if _weight(few) <= PIECE_CHARACTERS:
                yield separator + dumps(few)[1:-2].replace("\n  ", inner)
                separator = ","
                continue
            for item in few:
                yield separator + inner
                yield from _fragments(item, inner)
                separator = ","
        yield line + "]"
    elif kind is dict and value:
        separator = "{"
        for key, item in value.items():
            yield separator + inner
            yield from _fragments(key, inner) if is_text(key) else (dumps({key: 0})[4:-5],)
            yield ": "
            yield from _fragments(item, inner)
            separator = ","
        yield line + "}"
    else:
        yield dumps(value)


def _weight(value: Any) -> int:
    """Count values and characters, up to a little more than the size of a piece."""
    kind = type(value)
    if kind is str:
        return len(value)
    if isinstance(value, bytes):
        return PIECE_CHARACTERS + 1  # it is written by itself
    if kind is not list and kind is not dict:
        return 1
    total = len(value)
    for inner in value if kind is list else chain(value, value.values()):
        total += _weight(inner)
        if total > PIECE_CHARACTERS:
            break
    return total
