"""Texts of many megabytes, kept as the bytes of their file and decoded a piece at a time.

A ``str`` takes four bytes a character as soon as one of them is an emoji.  In a great item a text may be
``bytes`` instead: an :class:`EncodedText`, or bytes that the file itself holds, which are UTF-8 if they can
be decoded as such, else Latin-1.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from lib.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG_TEXT: Final = 1 << 22
"""A text of this many characters or more is rendered in pieces."""
GREAT_BYTES: Final = 4 << 20
"""Beyond this size, the texts of an item stay encoded unless they are short."""
SHORT_TEXT: Final = 32
PIECE_CHARACTERS: Final = 1 << 18
_MANY_BYTES: Final = 1 << 24

Text: TypeAlias = "str | bytes"


class EncodedText(bytes):
    """A text as pickle writes it: UTF-8, with surrogates."""

    __slots__ = ()


class Texts(list[str]):
    """Texts shorter than :data:`LONG_TEXT`, all ``str``, that are rendered together; not to be changed."""

    @cached_property
    def lengths(self) -> list[int]:
        """The number of characters of each."""
        return list(map(len, self))

    @cached_property
    def blank_count(self) -> int:
        """The number of texts that are empty, or nothing but white space."""
        return self.lengths.count(0) + sum(map(str.isspace, self))


def text_from_pickle(raw: bytes, *, is_great: bool) -> Text:
    """Return a text from the bytes that pickle writes: UTF-8, with surrogates.

    In a great item it stays encoded unless it is short: a ``str`` may take four times as much.

    :raises Corrupt: it is not UTF-8.
    """
    try:
        if not is_great or len(raw) <= SHORT_TEXT or (len(raw) <= LONG_TEXT and raw.isascii()):
            return raw.decode("utf-8", "surrogatepass")
        text = EncodedText(raw)
        for _ in pieces_of(text):
            pass
    except UnicodeDecodeError:
        raise Corrupt("its pickle holds a text that is not UTF-8") from None
    return text


def is_text(value: object) -> bool:
    """Tell whether a value is a text, decoded or not."""
    return isinstance(value, (str, bytes))


def pieces_of(text: Text, size: int = PIECE_CHARACTERS) -> Iterator[str]:
    """Yield a text in pieces of at most ``size`` characters.

    :raises UnicodeDecodeError: an :class:`EncodedText` is not UTF-8.
    """
    if isinstance(text, str):
        return (text[start : start + size] for start in range(0, len(text), size))
    if isinstance(text, EncodedText):
        return _utf8_pieces(text, size, "surrogatepass")
    if _is_utf8(text):
        return _utf8_pieces(text, size, "strict")
    return (text[start : start + size].decode("latin-1") for start in range(0, len(text), size))


def decoded(text: Text) -> str:
    """Return a text as a ``str``."""
    if isinstance(text, str):
        return text
    if isinstance(text, EncodedText):
        return text.decode("utf-8", "surrogatepass")
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def utf8(text: Text) -> bytes:
    """Return a text as UTF-8, surrogates included."""
    if isinstance(text, str):
        return text.encode("utf-8", "surrogatepass")
    return text if isinstance(text, EncodedText) or _is_utf8(text) else text.decode("latin-1").encode()


def compact(value: Any) -> Any:
    """Return a text as an :class:`EncodedText` if that takes less than a ``str``, else the value itself."""
    if type(value) is not str or len(value) < SHORT_TEXT or value.isascii():
        return value
    return EncodedText(utf8(value))


def characters_in(text: Text) -> int:
    """Count the characters of a text."""
    return len(text) if isinstance(text, str) else sum(map(len, pieces_of(text)))


def is_blank(text: Text) -> bool:
    """Tell whether a text is empty, or nothing but white space."""
    if isinstance(text, str):
        return not text or text.isspace()
    return all(map(str.isspace, pieces_of(text)))


def hash_of(text: Text) -> int:
    """Return the hash of a text; unless it has many megabytes, it does not depend on the encoding."""
    return hash(text) if len(text) > _MANY_BYTES else hash(decoded(text))


def _is_utf8(data: bytes) -> bool:
    try:
        return all(True for _ in _utf8_pieces(data, PIECE_CHARACTERS, "strict"))
    except UnicodeDecodeError:
        return False


def _utf8_pieces(data: bytes, size: int, errors: str) -> Iterator[str]:
    start = 0
    while start < len(data):
        stop = end_of_character(data, start + size)
        yield data[start:stop].decode("utf-8", errors)
        start = stop


def end_of_character(data: bytes, stop: int) -> int:
    """Return ``stop``, or up to three bytes before it, where a character of UTF-8 ends."""
    for place in range(stop, stop - 4, -1):
        if place >= len(data) or data[place] >> 6 != 2:
            return place
    return stop
