"""Two ways to show texts as Markdown: as they are, and in quotes; their lines stay lines in both.

A quote contains what a text opens and does not close; what would act beyond it is escaped.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from lib.markdown.blocks import LENGTH_LIMIT, blocks_of
from lib.markdown.chunks import with_breaks
from lib.markdown.escapes import escape, has_odd_blank

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lib.markdown.blocks import Blocks

_EMPTY: Final = re.compile(rb"^> (?=\r?$)", re.MULTILINE)
_KEPT_APART: Final = re.compile(rb"(?:  |(?<!\\)(?:\\\\)*\\)\r?\Z")
_MANY_TICKS: Final = b"`" * 80
"""More than cmark counts."""
_BETWEEN: Final = b"\n\0\n"
"""What stands between texts that are put in quotes together; they hold no control characters."""


def lines_kept(texts: Sequence[bytes]) -> list[bytes]:
    r"""Return inert texts (UTF-8) with Markdown's line breaks in their paragraphs, so that lines stay lines.

    >>> lines_kept([b"A. eyes\nB. fur\n\n- a brain"])
    [b'A. eyes  \nB. fur\n\n- a brain']
    """
    quick = with_breaks(texts)
    return [_broken(text) if way is None else way for text, way in zip(texts, quick, strict=True)]


def _broken(text: bytes) -> bytes:
    if len(text) > LENGTH_LIMIT:
        return text
    blocks = blocks_of(text)
    return b"\n".join(_lines(blocks)) if blocks.joined else text


def quoted(texts: Sequence[bytes]) -> Iterator[bytes | None]:
    r"""Yield each text (UTF-8) in a quote, or None for one that a quote cannot be trusted with.

    The texts hold neither control characters nor line separators, and no containers nested too deep.

    >>> list(quoted([b"<think>\n# Why"]))
    [b'> \\<think>\n> # Why']
    """
    quick = with_breaks(texts, escape=True)
    ways = [
        _escaped(text) if way is None or has_odd_blank(text) else way
        for text, way in zip(texts, quick, strict=True)
    ]
    quotes = iter(in_quote(_BETWEEN.join([way for way in ways if way is not None])).split(b"\n> \0\n"))
    return (None if way is None else next(quotes) for way in ways)


def _escaped(text: bytes) -> bytes | None:
    """Return what stands in a text's quote, line by line; None where it is not certain what is code."""
    if len(text) > LENGTH_LIMIT or _MANY_TICKS in text:
        return None
    blocks = blocks_of(text)
    return b"\n".join(_lines(blocks)) if blocks.certain and escape(text, blocks) else None


def in_quote(text: bytes) -> bytes:
    r"""Put a quote's mark before every line.

    >>> in_quote(b"a\n\nb")
    b'> a\n>\n> b'
    """
    page = b"\n> %b\n" % text.replace(b"\n", b"\n> ")
    for end in (b"\n", b"\r\n") if b"\r" in text else (b"\n",):
        for _ in range(2):  # an empty line shares its line breaks with the next one
            page = page.replace(b"\n> " + end, b"\n>" + end)
    return page[1:-1]


def _lines(blocks: Blocks) -> list[bytes]:
    """Return a text's lines, those that a paragraph joins kept apart."""
    lines = blocks.lines
    for number in blocks.joined:
        line = lines[number]
        if not _KEPT_APART.search(line):
            lines[number] = line[:-1] + b"  \r" if line.endswith(b"\r") else line + b"  "
    return lines
