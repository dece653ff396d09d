"""What stands around the items of an object array's pickle, and the quick way to read items that are texts.

The shape of every file that ``numpy.save`` writes is

    an empty array to be filled,  MARK 1 shape dtype order  LIST,  TUPLE BUILD STOP

and the items stand in LIST, which is filled in batches of up to 1,000.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Final

from lib.errors import Corrupt
from lib.npy.buffer import Cursor
from lib.npy.pickle_globals import Array, DType, check_shape
from lib.npy.pickle_memo import CYCLE, Memo
from lib.npy.pickle_opcodes import (
    BUILD,
    FRAME,
    GETS,
    LIST,
    PUTS,
    STOP,
    Limits,
    Machine,
)

if TYPE_CHECKING:
    from lib.npy.buffer import Bytes

_START_LIMIT: Final = 64 << 10
_U32: Final = struct.Struct("<I").unpack_from


class Envelope:
    """What stands around the items: read up to their list, and from its end."""

    def __init__(self, source: Bytes, start: int, shape: tuple[int, ...], limits: Limits) -> None:
        self.count = math.prod(shape)
        self._shape = shape
        cursor = Cursor(source, start, source.size, limits.text_bytes)
        self.machine = Machine(cursor, Memo(), limits)

    def read_start(self) -> None:
        """Read up to the list of items; the machine's stack is then that of the items, and empty."""
        machine, cursor = self.machine, self.machine.cursor
        start = cursor.position
        if cursor.take(1) != b"\x80" or not 2 <= cursor.byte() <= 4:
            raise Corrupt("its data is not a pickle that numpy writes")
        opcode = cursor.byte()
        while opcode != LIST or not self._is_before_items():
            if opcode == STOP or cursor.position > start + _START_LIMIT:
                raise Corrupt("its pickle is not that of one array")
            machine.step(opcode)
            opcode = cursor.byte()
        outer = machine.marks[0][0]
        machine.memo.near = [CYCLE if value is outer else value for value in machine.memo.near]
        machine.stack, machine.marks = [], []
        window, at = cursor.window()
        if window[at : at + 1] and window[at] in PUTS:  # Python 2 numbers only what something refers to
            machine.stack.append(CYCLE)
            machine.step(cursor.byte())
            machine.stack = []
        machine.release()

    def read_end(self) -> None:
        """Read what follows the items, from the TUPLE on that holds them."""
        machine, cursor = self.machine, self.machine.cursor
        opcode = self.next_opcode()
        if opcode in PUTS:
            machine.stack.append(CYCLE)
            machine.step(opcode)
            opcode = self.next_opcode()
        if opcode != BUILD or self.next_opcode() != STOP:
            raise Corrupt("its pickle is not that of one array")
        if cursor.position != cursor.end:
            raise Corrupt("it has bytes after its end")

    def next_opcode(self) -> int:
        """Return the next opcode that is not the beginning of a frame."""
        cursor = self.machine.cursor
        opcode = cursor.byte()
        while opcode == FRAME:
            self.machine.step(opcode)
            opcode = cursor.byte()
        return opcode

    def _is_before_items(self) -> bool:
        """Recognise the list of items by where it stands."""
        match self.machine.marks, self.machine.stack:
            case [[Array(shape=None)]], [1, tuple() as shape, DType(letter="O" | "T"), (bool() | 0 | 1)]:
                check_shape(shape)
                if shape != self._shape:
                    raise Corrupt("its pickle holds an array of another shape than its header says")
                return True
        return False


def read_texts(machine: Machine) -> None:
    """Read texts and references, one after another, straight from the window: the bulk of every real file."""
    window, at = machine.cursor.window()
    at = _texts(machine, window, at)
    while at < len(window) - 10 and (width := GETS.get(window[at])):
        number = int.from_bytes(window[at + 1 : at + 1 + width], "little")
        machine.stack.append(machine.memo.get(number))
        at += 1 + width
        if window[at] not in GETS:
            at = _texts(machine, window, at)
    machine.cursor.advance(at)


def _texts(machine: Machine, window: bytes, at: int) -> int:
    """Read texts, each with its number; return where they end."""
    raws: list[bytes] = []
    number = machine.memo.next_number
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
            at = stop + 1
        elif put == 0x72 and _U32(window, stop + 1)[0] == number:
            at = stop + 5
        elif put == 0x71 and window[stop + 1] == number:
            at = stop + 2
        else:  # not how texts usually stand: the opcodes are taken one by one
            break
        raws.append(window[start:stop])
        number += 1
    texts = machine.texts(raws)
    machine.stack += texts
    machine.memo.near += texts
    return at
