"""Reading one source of any dtype: as blocks of items for a page, or whole for the library's load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lib.encoded_text import GREAT_BYTES, PIECE_CHARACTERS, compact
from lib.errors import TooLarge
from lib.npy.header import ITEM_BYTES_LIMIT, Header, nest, read_header
from lib.npy.pickle_memo import Reference
from lib.npy.values import bytes_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lib.npy.buffer import Bytes
    from lib.npy.pickle_reader import ItemStream


def read_items(source: Bytes, header: Header | None = None, limit: int | None = None) -> Iterator[list[Any]]:
    """Yield the items along the first axis in blocks; with ``limit``, only the first ones.

    An item is a ``str``, ``bytes``, number, None, list, tuple or dict; in an array of more dimensions a
    (nested) list of these.  A 0-d array is one item.  Inside an item, a
    :class:`lib.npy.pickle_memo.Reference` stands for an object that :func:`lib.npy.values.plain` reads again.

    :raises SourceFault: NotText, Corrupt or Unsafe say what is wrong with the file.
    :raises Unfinished: it ends too early.
    """
    header = header or read_header(source)
    if header.letter == "O":
        rows = _object_rows(source, header, limit)
        return rows if limit is None else _first(rows, limit)
    from lib.npy.fixed_width import fixed_blocks

    return fixed_blocks(source, header, limit, as_text=True)


def read_whole(source: Bytes) -> Any:
    """Return what ``np.load(..., allow_pickle=True).tolist()`` would: the array as a nested list.

    What is one object in the file is one object in the result.  Bytes stay bytes, tuples stay tuples; numpy's
    scalars and arrays inside items are numbers and lists, and Python 2's ``str`` is text.  Only memory limits
    the size.

    :raises SourceFault: NotText, Corrupt or Unsafe say what is wrong with the file.
    :raises Unfinished: it ends too early.
    """
    from lib.npy.fixed_width import fixed_blocks

    header = read_header(source, whole=True)
    if header.letter != "O":
        rows = [row for block in fixed_blocks(source, header) for row in block]
        return rows if header.shape else rows[0]
    from lib.npy.pickle_reader import read_flat

    return nest(read_flat(source, header.data_offset, header.shape), header.shape)


def _object_rows(source: Bytes, header: Header, limit: int | None) -> Iterator[list[Any]]:
    from lib.npy.pickle_reader import ItemStream

    elements = None if limit is None else limit * header.texts_per_item
    stream = ItemStream(source, header.data_offset, header.shape, elements)
    if len(header.shape) < 2:
        yield from _loaded(stream.blocks())
    elif 0 in header.shape:
        yield from stream.blocks()
        yield nest([], header.shape)
    else:
        yield from _regrouped(stream, header)


def _loaded(blocks: Iterator[list[Any]]) -> Iterator[list[Any]]:
    """Replace items that are references by their objects, a few at a time."""
    for block in blocks:
        if Reference not in set(map(type, block)):
            yield block
            del block  # it may be large, and the next one too
            continue
        start = size = 0
        for position, item in enumerate(block):
            if type(item) is Reference:
                value = block[position] = item.load()
                size += len(value) if type(value) is str else PIECE_CHARACTERS
            if size >= PIECE_CHARACTERS:
                yield block[start : position + 1]
                block[start : position + 1] = [None] * (position + 1 - start)
                start, size = position + 1, 0
        if start < len(block):
            yield block[start:]
        del block, item


def _regrouped(stream: ItemStream, header: Header) -> Iterator[list[Any]]:
    """Gather flat elements into rows, each nested as the shape says."""
    per_row, number = header.texts_per_item, 1
    pending: list[Any] = []
    size = 0
    for block in stream.blocks():
        size += sum(map(bytes_of, block))
        pending += map(compact, block) if size > GREAT_BYTES else block
        whole = len(pending) // per_row
        if whole:
            yield nest(pending[: whole * per_row], (whole, *header.shape[1:]))
            del pending[: whole * per_row]
            number += whole
            size = sum(map(bytes_of, pending))
        stream.expect_great_item(is_great=size > GREAT_BYTES)
        if size > ITEM_BYTES_LIMIT:
            error = TooLarge(f"it takes more than {ITEM_BYTES_LIMIT >> 20} MiB as it is rendered")
            raise error.of_item(number)


def _first(blocks: Iterator[list[Any]], limit: int) -> Iterator[list[Any]]:
    for block in blocks:
        count = len(block)
        yield block[:limit] if count > limit else block
        del block  # as above
        limit -= count
        if limit <= 0:
            return
