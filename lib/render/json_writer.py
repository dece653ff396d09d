"""JSON, byte for byte as ``json.dump(value, f, indent=2, ensure_ascii=False)`` writes it, block by block.

orjson writes texts several times faster and, for texts, the same bytes; everything else is left to the
standard library, whose floats orjson would write otherwise.  Surrogates become U+FFFD: no strict reader takes
them, paired or not.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import orjson

from lib.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Sequence

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def dumps(value: Any) -> str:
    """Write one plain value as :func:`json.dump` would, indented by 2.

    :raises Corrupt: it cannot be said in JSON (an integer of thousands of digits).
    """
    try:
        return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise Corrupt(f"an item cannot be written as JSON: {error}") from error


def encoded(text: str) -> bytes:
    r"""Encode any text as UTF-8, each surrogate as U+FFFD.

    >>> encoded("\ud83d\ude00").decode() == "\ufffd\ufffd"
    True
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text).encode()


class JsonWriter:
    """Turns blocks of plain values into the bytes of one JSON list."""

    def __init__(self) -> None:
        self._separator = b"["

    def block(self, values: Sequence[Any], *, all_text: bool) -> bytes:
        """Return the bytes of the next items; ``all_text`` promises that each is a ``str``."""
        if not values:
            return b""
        separator, self._separator = self._separator, b","
        return separator + (_texts(values) if all_text else _values(values))

    def end(self) -> bytes:
        """Return the bytes that close the list."""
        return b"[]" if self._separator == b"[" else b"\n]"


def _texts(values: Sequence[str]) -> bytes:
    try:
        return orjson.dumps(values, option=orjson.OPT_INDENT_2)[1:-2]
    except orjson.JSONEncodeError:
        return _values(values)


def _values(values: Sequence[Any]) -> bytes:
    # a line break in JSON text is always layout: inside strings it is escaped
    return encoded(",".join("\n  " + dumps(value).replace("\n", "\n  ") for value in values))
