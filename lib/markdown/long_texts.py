"""Long texts, shown in pieces: memory holds one piece at a time, whatever a text is made of.

A text is cut where a paragraph or a heading begins below an empty line, outside any fence.  All blocks are
closed there, so each part can be looked at by itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from lib.encoded_text import Text, end_of_character
from lib.json_writer import encoded
from lib.markdown.batch import shown_safely
from lib.markdown.blocks import leaves_fence_open
from lib.markdown.fences import fenced_pieces, pictured, quote_pieces
from lib.markdown.inert import is_inert

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lib.options import Style

PART_CHARACTERS: Final = 1 << 18
_LONGEST_PART: Final = 4
"""How many times the usual length a part may have."""
_TRIES: Final = 4
_MAY_BEGIN: Final = re.compile(rb"\r?\n\r?\n(?=[A-Za-z#\x80-\xff])")
_BEGINS: Final = re.compile(r"[^\W\d_]|#")
_FENCE: Final = re.compile(rb"\n {0,3}(?:```|~~~)")


def long_text_pieces(
    text: Text, style: Style, size: int = PART_CHARACTERS, *, in_quotes: bool = False
) -> Iterator[bytes]:
    """Yield what is shown of a long text, in pieces of about ``size`` bytes.

    A text that cannot be cut into parts stands as it is if it is inert, else in a fence.  With ``in_quotes``,
    all of it stands in a quote.
    """
    data = encoded(text)
    cuts = _cuts(data, size) if style == "auto" else None
    if cuts is not None and not in_quotes and all(is_inert(part) for _, part in _parts(data, cuts)):
        yield from (space + shown_safely([part])[0] for space, part in _parts(data, cuts))
    elif cuts is not None and all(_quoted(part)[:1] == b">" for _, part in _parts(data, cuts)):
        for space, part in _parts(data, cuts):
            yield space.replace(b"\n", b"\n>", 1) + _quoted(part)
    elif in_quotes:
        yield from quote_pieces(_fenced(data, size))
    elif style == "plain" or (style == "auto" and cuts is None and _is_harmless(data, size)):
        yield from _pieces(data, size)
    else:
        yield from _fenced(data, size)


def _fenced(data: bytes, size: int) -> Iterator[bytes]:
    return fenced_pieces(
        lambda: (pictured(piece.decode()).encode() for piece in _pieces(data, size)), b"text"
    )


def _quoted(part: bytes) -> bytes:
    """Return a part in a quote, or in a fence where a quote is not safe."""
    return shown_safely([part], in_quotes=True)[0]


def _cuts(data: bytes, size: int) -> list[tuple[int, int]] | None:
    """Return where the empty line before each part begins and ends; None if a part would be too long."""
    cuts = [(0, 0)]
    while len(data) - cuts[-1][1] > size:
        start = cuts[-1][1]
        cut = _cut(data, start, start + size, start + _LONGEST_PART * size)
        if cut is None:
            return cuts if len(data) - start <= _LONGEST_PART * size else None
        cuts.append(cut)
    return cuts


def _cut(data: bytes, start: int, stop: int, end: int) -> tuple[int, int] | None:
    """Find an empty line between ``stop`` and ``end`` where the part that begins at ``start`` may end."""
    for _ in range(_TRIES):
        found = _paragraph(data, stop, end)
        if found is None:
            return None
        if not leaves_fence_open(data[start : found.start()]):
            return found.span()
        fence = _FENCE.search(data, found.end(), end)
        if fence is None:
            return None
        stop = fence.end()
    return None


def _paragraph(data: bytes, start: int, end: int) -> re.Match[bytes] | None:
    """Find an empty line before a letter or a heading."""
    for found in _MAY_BEGIN.finditer(data, start, end):
        if _BEGINS.match(data[found.end() : found.end() + 4].decode(errors="ignore")):
            return found
    return None


def _parts(data: bytes, cuts: list[tuple[int, int]]) -> Iterator[tuple[bytes, bytes]]:
    """Yield each part, with the empty line before it."""
    ends = [start for start, _ in cuts[1:]] + [len(data)]
    for (start, stop), end in zip(cuts, ends, strict=True):
        yield data[start:stop], data[stop:end]


def _is_harmless(data: bytes, size: int) -> bool:
    """Tell whether each piece of a text is inert, and no danger can span two of them."""
    is_cut_well = b"]:" not in data  # a definition may begin in any earlier piece
    for piece in _pieces(data, size):
        if not is_cut_well or not is_inert(piece):
            return False
        is_cut_well = piece.endswith((b"\n", b" "))
    return True


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Cut a text after a line break, in a very long line after a space, else after any character."""
    start = 0
    while start < len(data):
        stop = start + size
        if stop < len(data):
            stop = (data.rfind(b"\n", start, stop) + 1) or (data.rfind(b" ", start, stop) + 1) or stop
            stop += data[stop - 1 : stop] == b"\r"
            stop = end_of_character(data, stop)
        yield data[start:stop]
        start = stop
