"""Long texts, shown in pieces: memory holds one piece at a time, whatever a text is made of.

A text is cut where a paragraph or a heading begins after an empty line, outside any fence: all blocks are
closed there, so that each part can be looked at by itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from lib.json_writer import encoded
from lib.markdown.batch import shown_safely
from lib.markdown.blocks import leaves_fence_open
from lib.markdown.fences import fenced_pieces, pictured
from lib.markdown.inert import is_inert

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lib.options import Style

PART_CHARACTERS: Final = 1 << 18
_LONGEST_PART: Final = 4
"""How many times as long a part may become."""
_TRIES: Final = 4
_PARAGRAPH_BEGINS: Final = re.compile(r"\r?\n\r?\n(?=[^\W\d_]|#)")
_FENCE: Final = re.compile(r"\n {0,3}(?:```|~~~)")


def long_text_pieces(text: str, style: Style, size: int = PART_CHARACTERS) -> Iterator[bytes]:
    """Yield what is shown of a long text, in pieces of about ``size`` characters.

    Where a text cannot be cut into parts, it stands as it is if it is inert, else in a fence.
    """
    cuts = _cuts(text, size) if style == "auto" else None
    if cuts is not None and all(is_inert(part) for _, part in _parts(text, cuts)):
        yield from (space + shown_safely([part])[0] for space, part in _parts(text, cuts))
    elif cuts is not None and all(_quoted(part)[:1] == b">" for _, part in _parts(text, cuts)):
        for space, part in _parts(text, cuts):
            yield space.replace(b"\n", b"\n>", 1) + _quoted(part)
    elif style == "plain" or (style == "auto" and cuts is None and _is_harmless(text, size)):
        yield from map(encoded, _pieces(text, size))
    else:
        yield from fenced_pieces(lambda: (encoded(pictured(piece)) for piece in _pieces(text, size)), b"text")


def _quoted(part: bytes) -> bytes:
    """Return a part in a quote, in a fence where that is not safe."""
    return shown_safely([part], in_quotes=True)[0]


def _cuts(text: str, size: int) -> list[tuple[int, int]] | None:
    """Return where the empty line before each part begins and ends; None if there are too few of them."""
    cuts = [(0, 0)]
    while len(text) - cuts[-1][1] > size:
        start = cuts[-1][1]
        cut = _cut(text, start, start + size, start + _LONGEST_PART * size)
        if cut is None:
            return cuts if len(text) - start <= _LONGEST_PART * size else None
        cuts.append(cut)
    return cuts


def _cut(text: str, start: int, stop: int, end: int) -> tuple[int, int] | None:
    """Find an empty line between ``stop`` and ``end`` where the part that begins at ``start`` may end."""
    for _ in range(_TRIES):
        found = _PARAGRAPH_BEGINS.search(text, stop, end)
        if found is None:
            return None
        if not leaves_fence_open(encoded(text[start : found.start()])):
            return found.span()
        fence = _FENCE.search(text, found.end(), end)
        if fence is None:
            return None
        stop = fence.end()
    return None


def _parts(text: str, cuts: list[tuple[int, int]]) -> Iterator[tuple[bytes, bytes]]:
    """Yield each part, with the empty line before it."""
    ends = [start for start, _ in cuts[1:]] + [len(text)]
    for (start, stop), end in zip(cuts, ends, strict=True):
        yield text[start:stop].encode(), encoded(text[stop:end])


def _is_harmless(text: str, size: int) -> bool:
    """Tell whether each piece of a text is inert, whatever stands in the others, and no danger spans two."""
    is_cut_well = "]:" not in text  # what defines something begins as far before as one likes
    for piece in _pieces(text, size):
        if not is_cut_well or not is_inert(encoded(piece)):
            return False
        is_cut_well = piece.endswith(("\n", " "))
    return True


def _pieces(text: str, size: int) -> Iterator[str]:
    """Cut a text behind a line break, in a very long line behind a space, else anywhere."""
    start = 0
    while start < len(text):
        stop = start + size
        if stop < len(text):
            stop = (text.rfind("\n", start, stop) + 1) or (text.rfind(" ", start, stop) + 1) or stop
            stop += text[stop - 1] == "\r"
        yield text[start:stop]
        start = stop
