"""Two ways to show a text as Markdown, line by line: as it is, and in a quote; its lines stay lines in both.

A quote contains what a text opens and does not close; what would act beyond it is escaped.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from lib.markdown.blocks import DEPTH_LIMIT, LENGTH_LIMIT, blocks_of
from lib.markdown.escapes import escape
from lib.markdown.inert import CONTROLS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lib.markdown.blocks import Blocks

_KEPT_APART: Final = re.compile(rb"(?:  |(?<!\\)(?:\\\\)*\\)\r?\Z")
_MANY_TICKS: Final = b"`" * 80
"""More than cmark counts."""


def lines_kept(text: bytes) -> bytes:
    r"""Return an inert text (UTF-8) with Markdown's line breaks in its paragraphs, so that lines stay lines.

    >>> lines_kept(b"A. eyes\nB. fur\n\n- a brain")
    b'A. eyes  \nB. fur\n\n- a brain'
    """
    return text if len(text) > LENGTH_LIMIT else b"\n".join(_lines(blocks_of(text)))


def quoted(text: bytes) -> bytes | None:
    r"""Return a text (UTF-8) in a quote; None where that is not safe.

    >>> quoted(b"<think>\n# Why")
    b'> \\<think>\n> # Why'
    """
    if len(text) > LENGTH_LIMIT or _MANY_TICKS in text or any(danger.found_in(text) for danger in CONTROLS):
        return None
    blocks = blocks_of(text)
    if blocks.depth > DEPTH_LIMIT or not blocks.certain or not escape(text, blocks):
        return None
    return in_quote(b"\n".join(_lines(blocks)))


def in_quote(text: bytes) -> bytes:
    r"""Put a quote's mark before every line.

    >>> in_quote(b"a\n\nb")
    b'> a\n>\n> b'
    """
    return b"".join(quote_pieces([text]))


def quote_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Do what :func:`in_quote` does with a text that comes in pieces."""
    held = b"\n"  # a last line break waits until it is known whether an empty line follows
    begin = 1
    for piece in pieces:
        text = held + piece
        held = b"\n" if text.endswith(b"\n") else b"\n\r" if text.endswith(b"\n\r") else b""
        marked = text.replace(b"\n", b"\n> ")
        for end in (b"\n", b"\r\n") if b"\r" in text else (b"\n",):
            for _ in range(2):  # an empty line shares its line breaks with the next one
                marked = marked.replace(b"\n> " + end, b"\n>" + end)
        if shown := marked[begin : len(marked) - len(held) - 2 * bool(held)]:
            yield shown
            begin = 0
    if held:
        yield (b"\n>" + held[1:])[begin:]


def _lines(blocks: Blocks) -> list[bytes]:
    """Return a text's lines, those that a paragraph joins kept apart."""
    lines = blocks.lines
    for number in blocks.joined:
        line = lines[number]
        if not _KEPT_APART.search(line):
            lines[number] = line[:-1] + b"  \r" if line.endswith(b"\r") else line + b"  "
    return lines
