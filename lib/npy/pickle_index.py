"""Where the objects of a pickle stand: a pass over its opcodes that makes no values.

:class:`Walk` follows the stack; :class:`Index` records where it passed.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from lib.errors import Corrupt, Unfinished
from lib.npy import pickle_opcodes as op
from lib.npy.pickle_opcodes import FIXED, GETS, MARK, MERGES, PUTS, SIZED

if TYPE_CHECKING:
    from lib.npy.buffer import Cursor

_STARTS_KEPT: Final = 2048
"""More values than nesting of 100 levels can leave unfinished on the stack."""
_LONGEST_OPCODE: Final = 512
_NESTING_LIMIT: Final = 1000
_U32: Final = struct.Struct("<I").unpack_from
Start = tuple[int, int, bool]
"""A value's offset, the memo's next number there, and whether it is a list or dictionary with a number."""
UNKNOWN: Final[Start] = (0, -1, False)
"""The start of a value that begins before the walk does."""


class Walk:
    """Follows opcodes from a cursor; ``starts`` has the start of each value on the stack, as far as known.

    With ``in_batch``, it begins at the first item of a batch of the array, and ends when that is ``closed``.
    """

    def __init__(
        self, cursor: Cursor, number: int, index: Index | None = None, *, in_batch: bool = False
    ) -> None:
        self.number = number
        self.starts: list[Start] = []
        self.closed = False
        self._in_batch = in_batch
        self._cursor = cursor
        self._marks: list[tuple[Start, list[Start]]] = []
        self._index = index
        self._earlier = array("Q")

    def run(self, end: int = sys.maxsize, last: int = sys.maxsize) -> None:
        """Go on to an offset, until the object numbered ``last`` is in the memo, or until the batch closes.

        :raises Corrupt: these are not the opcodes of plain data.
        :raises Unfinished: the file ends before.
        """
        while self._cursor.position < end and self.number <= last and not self.closed:
            before = self._cursor.position
            try:
                self._run_window(end, last)
            except (IndexError, struct.error):
                raise Unfinished("it ends inside its data") from None
            if self._cursor.position == before:
                raise Unfinished("it ends inside its data")
            if len(self.starts) > 2 * _STARTS_KEPT:
                if not self._marks:
                    self._earlier.extend(start[0] for start in self.starts[:-_STARTS_KEPT])
                del self.starts[:-_STARTS_KEPT]

    def offsets(self) -> array[int]:
        """Return the offset of each item of the batch."""
        outermost = self._marks[0][1] if self._marks else self.starts
        return self._earlier + array("Q", (start[0] for start in outermost))

    def _run_window(self, end: int, last: int) -> None:
        cursor = self._cursor
        window, at = cursor.window()
        base, first = cursor.position - at, at
        stop = min(len(window), end - base)
        if base + len(window) < cursor.end:
            stop = min(stop, len(window) - _LONGEST_OPCODE)
        while at < stop and self.number <= last and not self.closed:
            at = self._texts(window, at, stop, base, last)
            if at < stop and self.number <= last:
                at = self._opcode(window, at, base)
        cursor.skip(at - first)

    def _texts(self, window: bytes, at: int, stop: int, base: int, last: int) -> int:
        """Follow numbered texts and references, the bulk of most files; return where they end."""
        starts, index, number = self.starts, self._index, self.number
        next_offset = index.next_offset if index else sys.maxsize
        while at < stop and number <= last:
            opcode = window[at]
            if opcode == 0x58:
                after = at + 5 + _U32(window, at + 1)[0]
            elif opcode == 0x8C:
                after = at + 2 + window[at + 1]
            elif opcode in GETS:
                after = at + 1 + GETS[opcode]
            else:
                break
            is_text = opcode not in GETS
            if is_text and (after >= stop or window[after] not in PUTS):
                break
            if index and base + at >= next_offset:
                index.enter(number, base + at)
                next_offset = index.next_offset
            starts.append((base + at, number, False))
            if is_text:
                number += 1
                after += 1 + PUTS[window[after]]
            at = after
        self.number = number
        return at

    def _opcode(self, window: bytes, at: int, base: int) -> int:
        """Follow one opcode; return where the next one is."""
        opcode = window[at]
        if (width := FIXED.get(opcode)) is not None:
            # Python 2 numbers only what something else refers to
            is_filled = opcode in {op.LIST, op.DICT} and window[at + 1] in PUTS
            self._push(base + at, is_filled=is_filled)
            if self._index and is_filled:
                self._index.made(self.number)
            return at + 1 + width
        if (width := PUTS.get(opcode)) is not None:
            self.number += 1
            return at + 1 + width
        if (width := SIZED.get(opcode)) is not None:
            self._push(base + at)
            return at + 1 + width + int.from_bytes(window[at + 1 : at + 1 + width], "little")
        if opcode in op.LINES:
            self._push(base + at)
            for _ in range(op.LINES[opcode]):
                at = window.find(b"\n", at + 1)
                if at < 0:
                    raise Corrupt("its pickle holds a name or a number that does not end")
            return at + 1
        if opcode == op.FRAME:
            return at + 9
        self._combine(opcode, base + at)
        return at + 1

    def _combine(self, opcode: int, offset: int) -> None:
        """Follow an opcode without an argument: a mark, or one that takes values from the stack."""
        if opcode == MARK:
            if len(self._marks) > _NESTING_LIMIT:
                raise Corrupt("its pickle nests without end")
            self._marks.append(((offset, self.number, False), self.starts))
            self.starts = []
        elif opcode in MERGES:
            self._merge(opcode, MERGES[opcode])
        elif opcode in {op.TUPLE, op.APPENDS, op.SETITEMS}:
            self._close(opcode)
        else:
            raise Corrupt("its pickle has an opcode that plain text never needs")

    def _push(self, offset: int, *, is_filled: bool = False) -> None:
        if self._index and offset >= self._index.next_offset:
            self._index.enter(self.number, offset)
        self.starts.append((offset, self.number, is_filled))

    def _merge(self, opcode: int, above: int) -> None:
        if len(self.starts) <= above:
            self.starts[:] = [UNKNOWN]
            return
        if above:
            del self.starts[-above:]
        if self._index and opcode in {op.APPEND, op.SETITEM} and self.starts[-1][2]:
            self._index.filled(self.starts[-1][1], 1)

    def _close(self, opcode: int) -> None:
        if not self._marks:
            self.closed = self._in_batch
            if not self.closed:  # it was opened before this walk began
                self.starts[:] = [UNKNOWN]
            return
        count = len(self.starts)
        start, self.starts = self._marks.pop()
        if opcode == op.TUPLE:
            self.starts.append(start)
        elif self._index and self.starts and self.starts[-1][2]:
            self._index.filled(self.starts[-1][1], count if opcode == op.APPENDS else count // 2)


class Index:
    """Where values begin: one entry for each ``step`` bytes, an offset with the memo's next number there."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.next_offset = 0
        self._numbers, self._offsets = array("Q"), array("Q")
        self._empty = bytearray()
        self._whole_batches: dict[int, int] = {}

    def enter(self, number: int, offset: int) -> None:
        """Record the offset at which a value begins, and the memo's next number there."""
        self._numbers.append(number)
        self._offsets.append(offset)
        self.next_offset = offset + self.step

    def before(self, number: int, steps: int = 0) -> tuple[int, int]:
        """Return the last entry before an object got its number, or the entry ``steps`` before that one."""
        place = bisect_right(self._numbers, number) - 1
        if place < 0:
            raise Corrupt("its pickle refers to something that it does not hold")
        place = max(place - steps, 0)
        return self._offsets[place], self._numbers[place]

    def made(self, number: int) -> None:
        """Record a list or dictionary, which is empty so far."""
        byte = number >> 3
        if byte >= len(self._empty):
            self._empty.extend(bytes(byte + 1 - len(self._empty)))
        self._empty[byte] |= 1 << (number & 7)

    def filled(self, number: int, count: int) -> None:
        """Record that a list or dictionary was filled with a batch of ``count``."""
        self._empty[number >> 3] &= ~(1 << (number & 7))
        if count == op.BATCH:
            self._whole_batches[number] = self._whole_batches.get(number, 0) + 1
        else:
            self._whole_batches.pop(number, None)

    def batches(self, number: int) -> int | None:
        """Return how many batches fill a list or dictionary; None: all up to the first that is not whole."""
        byte = number >> 3
        is_empty = 0 <= byte < len(self._empty) and self._empty[byte] & 1 << (number & 7)
        return 0 if is_empty else self._whole_batches.get(number)
