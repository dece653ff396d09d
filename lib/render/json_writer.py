"""JSON, byte for byte as ``json.dump(value, f, indent=2, ensure_ascii=False)`` writes it, block by block.

orjson writes texts several times faster and, for texts, the same bytes; everything else is left to the
standard library, whose floats and lone surrogates orjson would write otherwise or not at all.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson

from lib.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Sequence


def dumps(value: Any) -> str:
    """Write one plain value as :func:`json.dump` would, indented by 2.

    :raises Corrupt: it cannot be said in JSON (an integer of thousands of digits).
    """
    try:
        return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise Corrupt(f"an item cannot be written as JSON: {error}") from error


def encode(text: str) -> bytes:
    r"""Encode JSON text; a lone surrogate, which stands only inside a string, becomes its ``\udXXX``."""
    return text.encode("utf-8", "backslashreplace")


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
    return encode(",".join("\n  " + dumps(value).replace("\n", "\n  ") for value in values))
