"""Object arrays: numpy's pickle read as data, as a stream of blocks, by an interpreter that can run nothing.

The opcodes themselves are in :mod:`lib.npy.pickle_opcodes`.  The shape of every file that ``numpy.save``
writes is

    a scaffold that reconstructs an empty array,  MARK 1 shape dtype order  LIST,  TUPLE BUILD STOP

and LIST, filled in batches of up to 1,000 items, is where the texts are.  Its items are handed out as they
come, so memory holds a block of them, not the array.  A later reference to an item that is gone is answered
by reading the block that it stood in once more: every block begins at a checkpoint (memo index, offset) from
which it can be read.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any, Final

from lib.errors import Corrupt, Unsafe
from lib.npy import pickle_globals as scaffold
from lib.npy.buffer import WINDOW_BYTES, Cursor
from lib.npy.header import ITEM_BYTES_LIMIT
from lib.npy.pickle_globals import Array, DType
from lib.npy.pickle_memo import Memo
from lib.npy.pickle_opcodes import STOP, Machine, decoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lib.npy.buffer import Bytes

_MIXED_BLOCK_BYTES: Final = 1 << 22
_HELD_BACK: Final = 32
"""The last so many items of a batch may still become part of a tuple: they wait for the end of the batch."""
_OBJECTS_LIMIT: Final = 4_000_000
"""So many objects may wait for their item to be complete."""
_SCAFFOLD_LIMIT: Final = 64 << 10
_BATCH: Final = 1000
_UNBUILT_LIMIT: Final = 256
"""So many more values than items may wait in a batch: the parts of a tuple that is not yet built."""

_U32: Final = struct.Struct("<I").unpack_from
_TEXT_OPCODES: Final = frozenset({0x58, 0x8C, 0x8D, 0x95, 0x65, 0x68, 0x6A})


class _Items:
    """The token that stands for the outer array's list of items."""


class PickleStream(Machine):
    """Reads the pickle of one array of ``shape`` between two offsets (bytes) of a file.

    Use once: :meth:`blocks`.
    """

    def __init__(self, source: Bytes, start: int, shape: tuple[int, ...]) -> None:
        super().__init__(Cursor(source, start, source.size), Memo(source))
        self._shape = shape
        self._count = math.prod(shape)
        self._outer = Array()
        self._items: _Items | None = None
        self._in_batch = False
        self._replaying = False
        self._given = 0
        self._only_texts = True
        self._block_start = start
        self._ready: list[Any] = []
        self._ready_start = start

    def blocks(self) -> Iterator[list[Any]]:
        """Yield the array's elements, flat and in C order, in blocks.

        Elements are ``str``, ``bytes`` (also what Python 2 called ``str``), numbers, None, lists, tuples,
        dicts and
        :class:`lib.npy.pickle_globals.Array`.

        :raises SourceFault: the pickle is not one of plain data (Corrupt, Unsafe or NotText say how).
        :raises Unfinished: it ends too early.
        """
        if self._cursor.take(1) != b"\x80" or not 2 <= self._cursor.byte() <= 4:
            raise Corrupt("its data is not a pickle that numpy writes")
        opcode = 0
        while opcode != STOP:
            if self._items is not None:
                self._read_texts()
                if len(self._ready) >= _BATCH or self._cursor.position - self._ready_start >= WINDOW_BYTES:
                    ready, self._ready = self._ready, []
                    self._ready_start = self._cursor.position
                    yield ready
            opcode = self._cursor.byte()
            self._step(opcode)
        self._check_end()
        yield self._ready

    def _read_texts(self) -> None:
        """Take the fast path over texts, and cut the batch when a block is full."""
        if not self._in_batch or len(self._marks) != 2:
            return
        self._only_texts = self._text_run() and self._only_texts
        size = self._cursor.position - self._block_start
        full = size >= (WINDOW_BYTES if self._only_texts else _MIXED_BLOCK_BYTES)
        if full and len(self._stack) > _HELD_BACK and not self._replaying:
            self._give(self._stack[:-_HELD_BACK])
            del self._stack[:-_HELD_BACK]
            self._checkpoint()

    def _give(self, values: list[Any]) -> None:
        self._given += len(values)
        self._held = 0
        if self._replaying:
            return
        if self._given > self._count:
            raise Corrupt("its pickle holds more items than its header says")
        self._ready += values

    def _checkpoint(self) -> None:
        """Forget what was handed out: the file can be read again from here."""
        if not self._replaying:
            self._memo.checkpoint(self._cursor.position)
        self._block_start = self._cursor.position
        self._only_texts = True

    def _text_run(self) -> bool:
        """Read texts one after another straight from the window: the bulk of every real file.

        True when nothing but texts, and references to texts, stands in the batch so far.
        """
        window, at = self._cursor.window()
        raws: list[bytes] = []
        number = self._memo.next_index
        end = len(window) - 10
        while at < end:
            opcode = window[at]
            if opcode == 0x58:
                start = at + 5
                stop = start + _U32(window, at + 1)[0]
            elif opcode == 0x8C:
                start = at + 2
                stop = start + window[at + 1]
            else:
                break
            if stop >= end:
                break
            put = window[stop]
            if put == 0x94:
                after = stop + 1
            elif put == 0x72 and _U32(window, stop + 1)[0] == number:
                after = stop + 5
            elif put == 0x71 and window[stop + 1] == number:
                after = stop + 2
            else:  # not how texts usually stand: the opcodes are taken one by one
                break
            raws.append(window[start:stop])
            number += 1
            at = after
        texts = decoded(raws)
        self._stack += texts
        self._memo.near += texts
        self._cursor.advance(at)
        return at < len(window) and window[at] in _TEXT_OPCODES

    def _step(self, opcode: int) -> None:
        super()._step(opcode)
        waiting = len(self._stack)
        if waiting + self._held > _OBJECTS_LIMIT:
            raise Unsafe("its pickle piles up millions of objects in one item")
        if self._in_batch:
            if waiting > self._count + _UNBUILT_LIMIT and len(self._marks) == 2:
                raise Corrupt("its pickle holds more items than its header says")
        elif self._items is None and self._cursor.position > self._block_start + _SCAFFOLD_LIMIT:
            raise Corrupt("its pickle is not that of an array")

    def _check_end(self) -> None:
        if self._marks or self._stack != [self._outer] or self._outer.shape is None:
            raise Corrupt("its pickle is not that of one array")
        if self._given != self._count:
            raise Corrupt(f"its pickle holds {self._given:,} items, not as many as its header says")
        if self._cursor.position != self._cursor.end:
            raise Corrupt("it has bytes after its end")

    # What the opcodes do otherwise where the array's own items are concerned

    def _at_items(self) -> bool:
        return self._items is not None and len(self._marks) == 1 and self._stack[-1:] == [self._items]

    def _to_mark(self) -> list[Any]:
        values = super()._to_mark()
        if len(self._marks) == 1:
            self._in_batch = False
        return values

    def _mark(self) -> None:
        at_items = self._at_items()
        super()._mark()
        if at_items:
            self._in_batch = True
            self._checkpoint()

    def _list(self) -> None:
        self._push(self._outer_items() if len(self._marks) == 1 and self._items is None else [])

    def _outer_items(self) -> Any:
        """Recognise the outer array's list by where it stands, or give an ordinary list."""
        match self._stack:
            case [1, tuple() as shape, DType(letter="O" | "T"), (bool() | 0 | 1)] if self._marks[0] == [
                self._outer
            ]:
                if scaffold.elements(shape) != self._count or shape != self._shape:
                    raise Corrupt("its pickle holds an array of another shape than its header says")
                self._items = _Items()
                self._cursor.length_limit = ITEM_BYTES_LIMIT
                return self._items
        return []

    def _append(self) -> None:
        if self._stack[-2:-1] == [self._items] and self._given + 1 != self._count:
            # only a last batch of one item is written so
            raise Corrupt("its pickle fills the array in a way that numpy never does")
        super()._append()

    def _extend(self, values: list[Any]) -> None:
        if self._at_items():
            self._give(values)
        else:
            super()._extend(values)

    def _reduce(self) -> None:
        super()._reduce()
        if type(self._stack[-1]) is Array and len(self._stack) == 1 and not self._marks:
            self._outer = self._stack[-1]

    def _build_array(self, target: Array, state: Any) -> None:
        if target is self._outer:
            self._build_outer(state)
        else:
            super()._build_array(target, state)

    def _build_outer(self, state: Any) -> None:
        if self._items is None or self._marks or type(state) is not tuple or state[4:] != (self._items,):
            raise Corrupt("its pickle is not that of an array of objects")
        self._outer.shape = self._shape

    def _recall(self, index: int) -> None:
        value = self._memo.recall(index, self._replay)
        if value is self._items or value is self._outer:
            raise Corrupt("its pickle holds an array that contains itself")
        self._push(value)

    def _replay(self, memo: Memo, start: int, end: int) -> list[Any]:
        """Read the block between two offsets again; return what it put into the memo."""
        again = PickleStream(self._cursor.source, start, self._shape)
        again._cursor.length_limit = ITEM_BYTES_LIMIT
        again._outer, again._items, again._memo = self._outer, self._items, memo
        again._in_batch = again._replaying = True
        again._marks = [[self._outer], [self._items]]
        steps = 0
        while again._cursor.position < end:
            again._read_texts()
            if again._cursor.position < end:
                again._step(again._cursor.byte())
                steps += 1
        memo.charge(steps)
        return memo.near
