"""The sections of a page, one for each item: values in, bytes out.

The format is this project's own; :mod:`lib.markdown.batch` decides in which of three ways a text is shown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from lib.encoded_text import Text, Texts, characters_in, is_blank, is_text
from lib.json_writer import dumps, dumps_numbers, encoded, pieces
from lib.markdown.batch import shown_safely
from lib.markdown.chat import is_chat, rest_of, texts_of
from lib.markdown.fences import fenced, fenced_pieces, fenced_text, in_quote, pictured, quote_pieces
from lib.markdown.header import header_value
from lib.markdown.long_texts import PART_CHARACTERS, long_text_pieces

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lib.names import Kind
    from lib.options import Style

_HEADINGS: Final[dict[Kind, str]] = {"completions": "## Completion", "full_texts": "## Generation"}
_NUMBERS: Final = frozenset({int, float, bool, type(None)})
_NUMBER: Final = b"```json\n%b\n```"
_BLANK: Final = b"*(blank)*"
_MESSAGES_AT_ONCE: Final = 64
_SHORT_TEXT: Final = 4096
"""Contents of at most this many characters are looked at together."""
_WORDS: Final = re.compile(r"\w(?:.*\w)?")


def bodies(values: Sequence[Any], style: Style) -> Sequence[bytes]:
    """Return what is shown of each item.

    :raises Corrupt: an item cannot be said in JSON.
    """
    if isinstance(values, Texts):
        return _texts(values, style)
    texts = iter(_texts(Texts(value for value in values if type(value) is str), style))
    numbers = iter(dumps_numbers([value for value in values if type(value) in _NUMBERS]))
    shown = []
    for value in values:
        if type(value) is str:
            shown.append(next(texts))
        elif type(value) in _NUMBERS:
            shown.append(_NUMBER % next(numbers).encode())
        else:
            shown.append(_body(value, style))
    return shown


def sections(kind: Kind, shown: Sequence[bytes], first_number: int) -> bytes:
    """Return the heading, the content and the rule of each item in turn, formatted in one go."""
    section = f"{_HEADINGS[kind]} %d\n\n%b\n\n---\n\n".encode()
    fields: list[int | bytes] = [0] * (2 * len(shown))
    fields[0::2] = range(first_number, first_number + len(shown))
    fields[1::2] = shown
    return (section * len(shown)) % tuple(fields)


def _texts(texts: Texts, style: Style) -> Sequence[bytes]:
    """Return what is shown of each text."""
    if style == "plain":
        return _utf8(texts)
    if style == "fenced":
        return list(map(fenced_text, _utf8(texts)))
    if texts.blank_count:
        texts = Texts(_BLANK.decode() if not text or text.isspace() else text for text in texts)
    if max(texts.lengths, default=0) <= PART_CHARACTERS:
        return shown_safely(_utf8(texts)) if texts else []
    return [b"".join(long_text_pieces(text, style)) for text in texts]


def _utf8(texts: Sequence[str]) -> list[bytes]:
    try:
        return list(map(str.encode, texts))
    except UnicodeEncodeError:
        return list(map(encoded, texts))


def _body(value: Any, style: Style) -> bytes:
    if style != "plain" and is_chat(value):
        return b"".join(item_pieces(value, style))
    written = dumps(value)
    return fenced(encoded(written if style == "plain" else pictured(written)), b"json")


def item_pieces(value: Any, style: Style) -> Iterator[bytes]:
    """Return what is shown of an item (a text, messages or JSON) in pieces of limited size."""
    if is_text(value):
        return iter((_BLANK,)) if style == "auto" and is_blank(value) else long_text_pieces(value, style)
    if style != "plain" and is_chat(value):
        return _chat_pieces(value, style)
    return _json_pieces(value, style)


def _json_pieces(value: Any, style: Style) -> Iterator[bytes]:
    shown = str if style == "plain" else pictured
    return fenced_pieces(lambda: (encoded(shown(piece)) for piece in pieces(value)), b"json")


def _chat_pieces(messages: Sequence[Mapping[str, Any]], style: Style) -> Iterator[bytes]:
    """Yield each message's role, then its content and its other fields in quotes."""
    between = b""
    for start in range(0, len(messages), _MESSAGES_AT_ONCE):
        some = messages[start : start + _MESSAGES_AT_ONCE]
        texts = [texts_of(message["content"]) for message in some]
        quotes = iter(_quotes([text for each in texts for text in each if len(text) <= _SHORT_TEXT], style))
        for message, contents in zip(some, texts, strict=True):
            yield between + encoded(f"**{_role(message['role'])}**")
            between = b"\n\n"
            for text in contents:
                yield between
                short = len(text) <= _SHORT_TEXT
                yield from (next(quotes),) if short else _long_quote(text, style)
            if rest := rest_of(message):
                yield between
                yield from quote_pieces(_json_pieces(rest, style))


def _role(role: str) -> str:
    """Show a role so that it can stand between two pairs of stars: a role of stars would make a rule."""
    value = header_value(role)
    return value if value.startswith("`") or _WORDS.fullmatch(value) else f"`{value}`"


def _long_quote(text: Text, style: Style) -> Iterator[bytes]:
    if len(text) <= PART_CHARACTERS or (isinstance(text, bytes) and characters_in(text) <= PART_CHARACTERS):
        return iter(_quotes([text], style))
    if style == "auto" and is_blank(text):
        return iter((in_quote(_BLANK),))
    return long_text_pieces(text, style, in_quotes=True)


def _quotes(texts: Sequence[Text], style: Style) -> list[bytes]:
    """Show each text in a quote: as Markdown if a quote contains what it does, else in a fence."""
    data = list(map(encoded, texts))
    if style != "auto":
        return [in_quote(fenced_text(text)) for text in data]
    shown = shown_safely(data, in_quotes=True) if data else []
    return [
        in_quote(_BLANK) if is_blank(text) else way if way[:1] == b">" else in_quote(way)
        for text, way in zip(texts, shown, strict=True)
    ]
