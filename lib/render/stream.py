"""Rendering a source in one pass for all formats: blocks of items in, blocks of bytes out."""

from __future__ import annotations

import math
import sys
from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from lib.encoded_text import LONG_TEXT, Texts
from lib.errors import TooLarge
from lib.json_writer import JsonWriter, dumps, encoded
from lib.json_writer import pieces as json_pieces
from lib.npy.values import measured
from lib.render.page_writer import PageWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lib.names import Format
    from lib.render.page import Page
    from lib.render.statistics import Statistics

_BLOCK_CHARACTERS: Final = 1 << 16
"""Texts are written once they have as many: what is made of them stays in the processor's cache."""
_LOOKED_AT_CHARACTERS: Final = 5 << 17
"""The same where numpy looks for Markdown in all of them at once, which takes its time for each block."""
_PIECE_CHARACTERS: Final = 3 << 18
_TEXT_CHARACTERS: Final = 32
"""Added for each text, so that millions of empty ones do not become one block."""
_PIECE_BYTES: Final = 1 << 18
NEXT_PART: Final = None
"""Stands for a page's bytes where its next part begins."""


class _ScalarWriter:
    """JSON of an array without dimensions."""

    def block(self, values: list[Any]) -> bytes:
        return encoded(dumps(values[0]))

    def item(self, value: Any) -> Iterator[bytes]:
        return map(encoded, json_pieces(value))

    def end(self) -> bytes:
        return b""


def rendered(
    page: Page,
    blocks: Iterable[list[Any]],
    formats: tuple[Format, ...],
    statistics: Statistics,
    full_texts: Iterable[Any] = (),
) -> Iterator[tuple[bytes | None, ...]]:
    """Yield the bytes of every format in ``formats``, block by block, counting the items in ``statistics``.

    A page of several parts comes one part after the other, with :data:`NEXT_PART` between them.

    :raises SourceFault: an item cannot be rendered.
    """
    page_writer = PageWriter(page, iter(full_texts))
    json_writer = _ScalarWriter() if page.scalar else JsonWriter()
    writers = tuple(page_writer if fmt == "md" else json_writer for fmt in formats)
    yield tuple(page_writer.start() if fmt == "md" else b"" for fmt in formats)
    number = 1
    enough = _LOOKED_AT_CHARACTERS if page.style == "auto" else _BLOCK_CHARACTERS
    for values in pieces_of(blocks, page.at_once, enough):
        statistics.add(values)
        for chunk in _cut(values, number, page.firsts):
            if number > 1 and page.range_of(page.part_of(number)).start == number:
                yield tuple(NEXT_PART if fmt == "md" else b"" for fmt in formats)
                yield tuple(page_writer.start() if fmt == "md" else b"" for fmt in formats)
            number += len(chunk)
            if isinstance(chunk, Texts) or len(chunk) > 1:
                yield tuple(writer.block(chunk) for writer in writers)
                continue
            for place, writer in enumerate(writers):  # an item may be large: one format at a time, in pieces
                before, after = (b"",) * place, (b"",) * (len(writers) - place - 1)
                for piece in writer.item(chunk[0]):
                    yield (*before, piece, *after)
            del chunk
        del values  # they may be large, and the next ones too
    yield tuple(b"" if fmt == "md" else json_writer.end() for fmt in formats)


def pieces_of(
    blocks: Iterable[list[Any]], most: int = sys.maxsize, enough: int = _BLOCK_CHARACTERS
) -> Iterator[list[Any]]:
    """Yield at most ``most`` plain values at a time; :class:`Texts` where all of them are ordinary texts.

    Texts are gathered until they have ``enough`` characters.
    """
    texts: list[str] = []
    size = 0
    number = 1
    for block in blocks:
        is_text = set(map(type, block)) == {str} and max(lengths := list(map(len, block))) < LONG_TEXT
        if is_text:
            texts = texts + block if texts else block
            size += sum(lengths) + len(block) * _TEXT_CHARACTERS
        if not is_text or size >= enough:
            yield from _text_pieces(texts, size, most)
            texts, size = [], 0
        if not is_text:
            yield from _plain_pieces(block, number, most)
        number += len(block)
        del block  # as above
    yield from _text_pieces(texts, size, most)


def _plain_pieces(block: list[Any], number: int, most: int) -> Iterator[list[Any]]:
    """Yield plain values: small ones together, a large one alone."""
    values: list[Any] = []
    size = 0
    try:
        for value in block:
            made, made_size = measured(value)
            size += made_size
            if values and (size > _PIECE_BYTES or len(values) == most):
                yield values
                values, size = [], made_size
            values.append(made)
            number += 1
    except TooLarge as error:
        raise error.of_item(number) from None
    if values:
        yield values


def _cut(values: list[Any], number: int, firsts: tuple[int, ...]) -> Iterator[list[Any]]:
    """Cut a block, whose first item has this number, at the ends of parts."""
    kind, start = type(values), 0
    for first in firsts[bisect_right(firsts, number) : bisect_left(firsts, number + len(values))]:
        yield kind(values[start : first - number])
        start = first - number
    yield kind(values[start:]) if start else values


def _text_pieces(texts: list[str], size: int, most: int) -> Iterator[Texts]:
    """Cut texts of ``size`` characters in all into equal shares of limited size.

    Repeated texts can be many times larger than their file.
    """
    if len(texts) <= most and size <= _PIECE_CHARACTERS:
        if texts:
            yield Texts(texts)
        return
    ends = list(accumulate(len(text) + _TEXT_CHARACTERS for text in texts))
    share = size / math.ceil(size / _PIECE_CHARACTERS)
    start = done = 0
    while start < len(texts):
        stop = min(bisect_right(ends, done + share, start) + 1, start + most, len(texts))
        yield Texts(texts[start:stop])
        start, done = stop, ends[stop - 1]
