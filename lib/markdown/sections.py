"""The sections of a page, one an item: values in, bytes out.

The format is this project's own; in which of three ways a text is shown, :mod:`lib.markdown.batch` decides.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from lib.json_writer import dumps, dumps_numbers, encoded, pieces
from lib.markdown.batch import shown_safely
from lib.markdown.chat import is_chat, rest_of, texts_of
from lib.markdown.fences import fenced, fenced_pieces, fenced_text, pictured
from lib.markdown.header import header_value
from lib.markdown.long_texts import PART_CHARACTERS, long_text_pieces
from lib.markdown.quoted import in_quote, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lib.names import Kind
    from lib.options import Style

_HEADINGS: Final[dict[Kind, str]] = {"completions": "## Completion", "full_texts": "## Generation"}
_NUMBERS: Final = frozenset({int, float, bool, type(None)})
_NUMBER: Final = b"```json\n%b\n```"
_BLANK: Final = b"*(blank)*"
_WORDS: Final = re.compile(r"\w(?:.*\w)?")


def items(
    kind: Kind,
    values: Sequence[Any],
    first_number: int,
    *,
    style: Style = "auto",
    all_text: bool,
) -> bytes:
    """Return the sections of some items; the page is the same however its items are cut into blocks.

    ``all_text`` promises that each is a ``str``.

    :raises Corrupt: an item cannot be said in JSON.
    """
    return sections(kind, bodies(values, style, all_text=all_text), first_number)


def bodies(values: Sequence[Any], style: Style, *, all_text: bool) -> Sequence[bytes]:
    """Return what is shown of each item; see :func:`items`."""
    if all_text:
        return _texts(values, style)
    kinds = list(map(type, values))
    texts = [value for value, kind in zip(values, kinds, strict=True) if kind is str]
    numbers = [value for value, kind in zip(values, kinds, strict=True) if kind in _NUMBERS]
    shown_texts, shown_numbers = iter(_texts(texts, style)), iter(dumps_numbers(numbers))
    return [
        next(shown_texts)
        if kind is str
        else _NUMBER % next(shown_numbers).encode()
        if kind in _NUMBERS
        else _body(value, style)
        for value, kind in zip(values, kinds, strict=True)
    ]


def sections(kind: Kind, shown: Sequence[bytes], first_number: int) -> bytes:
    """Return heading, what is shown and rule of each item in turn, formatted in one go."""
    section = f"{_HEADINGS[kind]} %d\n\n%b\n\n---\n\n".encode()
    fields: list[int | bytes] = [0] * (2 * len(shown))
    fields[0::2] = range(first_number, first_number + len(shown))
    fields[1::2] = shown
    return (section * len(shown)) % tuple(fields)


def _texts(texts: Sequence[str], style: Style) -> Sequence[bytes]:
    """Return what is shown of each text."""
    if style == "auto" and max(map(len, texts), default=0) > PART_CHARACTERS:
        return [
            b"".join(long_text_pieces(text, style))
            if len(text) > PART_CHARACTERS
            else _texts([text], style)[0]
            for text in texts
        ]
    shown = _utf8(texts)
    if style == "plain" or not texts:
        return shown
    if style == "fenced":
        return list(map(fenced_text, shown))
    safe = shown_safely(shown)
    if "" in texts or any(map(str.isspace, texts)):
        return [_BLANK if not text or text.isspace() else way for text, way in zip(texts, safe, strict=True)]
    return safe


def _utf8(texts: Sequence[str]) -> list[bytes]:
    try:
        return list(map(str.encode, texts))
    except UnicodeEncodeError:
        return list(map(encoded, texts))


def _body(value: Any, style: Style) -> bytes:
    if style != "plain" and is_chat(value):
        return b"\n\n".join([_message(message, style) for message in value])
    return _json(value, pictures=style != "plain")


def _json(value: Any, *, pictures: bool = True) -> bytes:
    written = dumps(value)
    return fenced(encoded(pictured(written) if pictures else written), b"json")


def json_pieces(value: Any, style: Style) -> Iterator[bytes]:
    """Return what is shown of an item that is neither text nor chat, in pieces of limited size."""

    def written() -> Iterator[bytes]:
        return (encoded(piece if style == "plain" else pictured(piece)) for piece in pieces(value))

    return fenced_pieces(written, b"json")


def _message(message: Mapping[str, Any], style: Style) -> bytes:
    """Return a message's role, and in quotes its content and whatever else it has."""
    shown = [encoded(f"**{_role(message['role'])}**")]
    shown += [_quoted_text(text, style) for text in texts_of(message["content"])]
    if rest := rest_of(message):
        shown.append(in_quote(_json(rest)))
    return b"\n\n".join(shown)


def _role(role: str) -> str:
    """Show a role so that it can stand in bold: stars around a star would be a rule."""
    value = header_value(role)
    return value if value.startswith("`") or _WORDS.fullmatch(value) else f"`{value}`"


def _quoted_text(text: str, style: Style) -> bytes:
    """Show a text in a quote: as Markdown if a quote contains what it does, else in a fence."""
    if style == "auto" and (not text or text.isspace()):
        return in_quote(_BLANK)
    data = encoded(text)
    quote = quoted(data) if style == "auto" else None
    return in_quote(fenced_text(data)) if quote is None else quote
