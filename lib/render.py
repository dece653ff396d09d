"""One pass over a source's items feeds every format: blocks of items in, blocks of bytes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lib.jsontext import JsonWriter, dumps, encode
from lib.markdown import PageWriter
from lib.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lib.names import Format, Kind
    from lib.outcome import Style
    from lib.tally import Tally


_PIECE_CHARACTERS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says above its items.

    ``count`` is the number of items in the source, ``shown`` how many of them are rendered; ``scalar`` says
    that the array has no dimensions, so that its JSON is the one value itself.
    """

    kind: Kind
    metadata: Mapping[str, Any] | None
    count: int
    shown: int
    scalar: bool = False
    style: Style = "auto"


class _ScalarWriter:
    """JSON of an array without dimensions."""

    def block(self, values: list[Any], *, all_text: bool) -> bytes:  # noqa: ARG002 (as all writers)
        return encode(dumps(values[0]))

    def end(self) -> bytes:
        return b""


def rendered(
    page: Page, blocks: Iterable[list[Any]], formats: tuple[Format, ...], tally: Tally
) -> Iterator[tuple[bytes, ...]]:
    """Yield the bytes of every format in ``formats``, block by block, counting the items in ``tally``.

    :raises SourceFault: an item cannot be rendered.
    """
    page_writer = PageWriter(page.kind, page.style, page.metadata, count=page.count, shown=page.shown)
    json_writer = _ScalarWriter() if page.scalar else JsonWriter()
    writers = tuple(page_writer if fmt == "md" else json_writer for fmt in formats)
    yield tuple(page_writer.start() if fmt == "md" else b"" for fmt in formats)
    for block in blocks:
        all_text = set(map(type, block)) == {str}
        for values in _pieces(block) if all_text else ([plain(value)] for value in block):
            tally.add(values, all_text=all_text)
            yield tuple(writer.block(values, all_text=all_text) for writer in writers)
    yield tuple(b"" if fmt == "md" else json_writer.end() for fmt in formats)


def _pieces(texts: list[str]) -> Iterator[list[str]]:
    """Cut a block whose texts are many times larger than their file: a few, referenced again and again."""
    if sum(map(len, texts)) <= _PIECE_CHARACTERS:
        yield texts
        return
    start = size = 0
    for position, text in enumerate(texts):
        size += len(text)
        if size > _PIECE_CHARACTERS:
            yield texts[start : position + 1]
            start, size = position + 1, 0
    if start < len(texts):
        yield texts[start:]
