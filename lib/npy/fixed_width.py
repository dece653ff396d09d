"""``U`` and ``S`` arrays: fixed-size texts, read in blocks that stay in the processor's cache.

Format: ``numpy.lib.format``; a ``U`` text is ``characters`` × 4 bytes of UCS-4, an ``S`` text ``characters``
bytes, both padded with zeros that are not part of the text.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lib.encoded_text import decoded
from lib.errors import Changed, Corrupt
from lib.npy.header import Header, nest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lib.npy.buffer import Bytes

BLOCK_BYTES: Final = 1 << 18
_LAST_CODE_POINT: Final = 0x10FFFF


def fixed_blocks(
    source: Bytes, header: Header, limit: int | None = None, *, as_text: bool = False
) -> Iterator[list[Any]]:
    """Yield the items along the first axis in blocks: texts, or nested lists of them (C order).

    ``S`` texts are ``bytes``, or may be ``str`` with ``as_text``.  With ``limit``, only that many items are
    read.

    :raises Corrupt: a code point above 0x10FFFF, which numpy itself would pass on as invalid text.
    :raises Changed: the file became shorter.
    """
    count = header.count if limit is None else min(header.count, limit)
    row_bytes = header.texts_per_item * header.item_bytes
    step = max(1, BLOCK_BYTES // max(row_bytes, 1, header.texts_per_item))
    for first in range(0, count, step):
        yield _block(source, header, first, min(step, count - first), as_text=as_text)


def _block(source: Bytes, header: Header, first: int, rows: int, *, as_text: bool) -> Any:
    shape = (rows, *header.shape[1:])
    if header.item_bytes == 0 or header.texts_per_item == 0:
        return np.zeros(shape, dtype="S1" if header.letter == "S" else "U1").tolist()
    if rows * header.texts_per_item * header.item_bytes > BLOCK_BYTES:  # then it is one item
        return nest(_great_item(source, header, first, as_text=as_text), shape)
    flat = _decoded(_rows(source, header, first, rows), header)
    return flat.reshape(shape, order="F" if header.fortran_order else "C").tolist()


def _great_item(source: Bytes, header: Header, number: int, *, as_text: bool) -> list[Any]:
    """Read one item a few texts at a time, in C order, so that memory never holds all its bytes as well."""
    size = header.texts_per_item
    step = 1 if header.fortran_order else max(1, BLOCK_BYTES // header.item_bytes)
    places: Sequence[int] = range(number * size, (number + 1) * size, step)
    if header.fortran_order:
        inner = np.arange(size).reshape(header.shape[1:], order="F").ravel()
        places = (number + header.shape[0] * inner).tolist()
    texts: list[Any] = []
    for place in places:
        count = min(step, size - len(texts))
        offset = header.data_offset + place * header.item_bytes
        read = _decoded(_exactly(source, offset, count * header.item_bytes), header).tolist()
        texts += map(decoded, read) if as_text and header.letter == "S" else read
    return texts


def _decoded(data: bytes, header: Header) -> np.ndarray[Any, Any]:
    if header.letter == "U":
        check_code_points(data, big_endian=header.big_endian)
    order = ">" if header.big_endian else "<"
    return np.frombuffer(data, dtype=f"{order}{header.letter}{header.characters}")


def _rows(source: Bytes, header: Header, first: int, rows: int) -> bytes:
    """Read ``rows`` items: one run of bytes in C order, in Fortran order one run for each inner index."""
    if not header.fortran_order or len(header.shape) < 2:
        row_bytes = header.texts_per_item * header.item_bytes
        return _exactly(source, header.data_offset + first * row_bytes, rows * row_bytes)
    runs = range(math.prod(header.shape[1:]))
    starts = ((first + header.shape[0] * run) * header.item_bytes for run in runs)
    return b"".join(_exactly(source, header.data_offset + s, rows * header.item_bytes) for s in starts)


def _exactly(source: Bytes, offset: int, length: int) -> bytes:
    data = source.read_at(offset, length)
    if len(data) != length:
        raise Changed("it became shorter while it was read")
    return data


def check_code_points(data: bytes, *, big_endian: bool) -> None:
    """Check that all numbers in UCS-4 bytes are code points.

    :raises Corrupt: one is above 0x10FFFF.
    """
    points = np.frombuffer(data, dtype=">u4" if big_endian else "<u4")
    if points.size and int(points.max()) > _LAST_CODE_POINT:
        raise Corrupt(f"it holds the number {int(points.max()):#x}, which is not a Unicode character")
