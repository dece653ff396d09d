"""Reading one source as blocks of items, whatever its dtype: the one way to a generation's texts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lib.npy.header import Header, read_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lib.npy.buffer import Bytes


def read_items(source: Bytes, header: Header | None = None, limit: int | None = None) -> Iterator[list[Any]]:
    """Yield the items along the first axis in blocks, the first ``limit`` of them if given.

    An item is a ``str``, ``bytes``, number, None, list, tuple, dict or
    :class:`lib.npy.pickle_globals.Array`; in an array of more dimensions a (nested) list of these.  A 0-d
    array gives its one value as one item.

    :raises SourceFault: NotText, Corrupt or Unsafe say what is wrong with the file.
    :raises Unfinished: it ends too early.
    """
    header = header or read_header(source)
    if header.letter == "O":
        return _first(_object_rows(source, header), limit)
    from lib.npy.fixed_width import fixed_blocks

    return fixed_blocks(source, header, limit)


def _object_rows(source: Bytes, header: Header) -> Iterator[list[Any]]:
    from lib.npy.pickle_reader import PickleStream

    flat = PickleStream(source, header.data_offset, header.shape).blocks()
    if len(header.shape) < 2:
        yield from flat
    elif math.prod(header.shape) == 0:
        yield from _nothing(flat, header)
    else:
        yield from _regrouped(flat, header)


def _nothing(flat: Iterator[list[Any]], header: Header) -> Iterator[list[Any]]:
    from lib.npy.fixed_width import nest

    yield from flat
    yield nest([], header.shape)


def _regrouped(flat: Iterator[list[Any]], header: Header) -> Iterator[list[Any]]:
    """Gather flat elements into rows, each nested as the shape says."""
    from lib.npy.fixed_width import nest

    size = header.texts_per_item
    pending: list[Any] = []
    for block in flat:
        pending += block
        whole = len(pending) // size
        if whole:
            yield nest(pending[: whole * size], (whole, *header.shape[1:]))
            del pending[: whole * size]


def _first(blocks: Iterator[list[Any]], limit: int | None) -> Iterator[list[Any]]:
    left = limit
    for block in blocks:
        if left is None:
            yield block
        else:
            yield block[:left]
            left -= len(block)
            if left <= 0:
                return


def read_whole(source: Bytes, header: Header | None = None) -> Any:
    """Return what ``np.load(..., allow_pickle=True).tolist()`` would: the array as a nested list.

    What is one object in the file is one object in the result.  Bytes stay bytes, tuples stay tuples; numpy's
    scalars and arrays inside items are numbers and lists.  A 0-d array gives its value.  Nothing but memory
    limits the size of what is read.

    :raises SourceFault: NotText, Corrupt or Unsafe say what is wrong with the file.
    :raises Unfinished: it ends too early.
    """
    header = header or read_header(source)
    rows = [_as_lists(item) for block in read_items(source, header) for item in block]
    return rows if header.shape else rows[0]


def _as_lists(value: Any) -> Any:
    from lib.npy.fixed_width import nest
    from lib.npy.pickle_globals import Array

    if type(value) is Array and value.shape is not None:
        return nest([_as_lists(item) for item in value.items], value.shape)
    if type(value) is list or type(value) is tuple:
        return type(value)(_as_lists(item) for item in value)
    if type(value) is dict:
        return {key: _as_lists(item) for key, item in value.items()}
    return value
