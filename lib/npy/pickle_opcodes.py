"""The part of pickle that is read: opcodes, how much one item may take, and runs of texts.

Format: the comments of CPython's ``pickletools``; of all opcodes only those that ``numpy.save`` produces for
arrays of plain data are known here (protocols 2 to 4, and what Python 2's cPickle wrote).
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from typing import Any, Final

from lib.encoded_text import GREAT_BYTES
from lib.npy.header import TEXT_BYTES_LIMIT

MARK: Final = ord("(")
STOP: Final = ord(".")
TUPLE: Final = ord("t")
LIST: Final = ord("]")
DICT: Final = ord("}")
APPEND: Final = ord("a")
APPENDS: Final = ord("e")
SETITEM: Final = ord("s")
SETITEMS: Final = ord("u")
FILLS: Final = frozenset({APPEND, APPENDS, SETITEM, SETITEMS})
BUILD: Final = ord("b")
FRAME: Final = 0x95
GET: Final = ord("h")
LONG_GET: Final = ord("j")
GETS: Final = {GET: 1, LONG_GET: 4}
"""Opcodes that push what was remembered, with the bytes of its number."""
PUTS: Final = {ord("q"): 1, ord("r"): 4, 0x94: 0}
"""Opcodes that remember the top of the stack, with the bytes of their argument."""
BATCH: Final = 1000
"""Pickle fills lists and dictionaries in batches of this many."""
TEXTS: Final = {ord("X"): 4, 0x8C: 1, 0x8D: 8}
BYTES: Final = {ord("C"): 1, ord("B"): 4, 0x8E: 8}
PYTHON_2_TEXTS: Final = {ord("U"): 1, ord("T"): 4}
LONGS: Final = {0x8A: 1, 0x8B: 4}
SIZED: Final = {**TEXTS, **BYTES, **PYTHON_2_TEXTS, **LONGS}
"""Opcodes that push what follows them, with the bytes of its length."""
FIXED: Final = {
    ord("J"): 4,
    ord("K"): 1,
    ord("M"): 2,
    ord("G"): 8,
    ord("N"): 0,
    0x88: 0,
    0x89: 0,
    ord(")"): 0,
    LIST: 0,
    DICT: 0,
    **GETS,
}
"""Opcodes that push a value, with the bytes of their argument."""
LINES: Final = {ord("I"): 1, ord("c"): 2}
"""Opcodes that push a value, with the lines of their argument."""
MERGES: Final = {0x93: 1, ord("R"): 1, BUILD: 1, 0x85: 0, 0x86: 1, 0x87: 2, APPEND: 1, SETITEM: 2}
"""Opcodes that put values into the one below them, or make one of all, with the number of those above."""
LONGEST_REFERENCE: Final = 10
"""More bytes than an opcode takes, with its argument, that refers to an object or remembers one."""
_U32: Final = struct.Struct("<I").unpack_from
_KEYS: Final = (str, bytes, int, float, type(None))
_KEY_DEPTH: Final = 200


@dataclass(frozen=True, slots=True)
class Limits:
    """What one item may take, by default on a page."""

    text_bytes: int = TEXT_BYTES_LIMIT
    item_bytes: int = 168 << 20
    """Of the item as it is read, and of a few before it."""
    decoded_bytes: int = GREAT_BYTES
    """Beyond these, what is not ASCII stays encoded: a ``str`` may take four times its bytes."""
    integer_bytes: int = 1786
    """Just more than the 4,300 digits that ``json.dump`` writes."""
    nesting: int = 200
    key_values: int = 0
    """How many values a tuple may hold that is the key of a dictionary; JSON has no such keys."""

    def allow_key(self, key: Any) -> bool:
        """Tell whether a dictionary may have a key: a text, number or None, or a tuple of these.

        A tuple is followed without recursion, as hashing a deep one would crash.
        """
        waiting, count = [(key, 0)], 0
        while waiting:
            value, depth = waiting.pop()
            if isinstance(value, _KEYS):
                continue
            count += 1 + len(value) if type(value) is tuple else sys.maxsize
            if count > self.key_values or depth > _KEY_DEPTH:
                return False
            waiting += [(part, depth + 1) for part in value]
        return True


PAGE_LIMITS: Final = Limits()
UNLIMITED: Final = Limits(
    text_bytes=sys.maxsize,
    item_bytes=sys.maxsize,
    decoded_bytes=sys.maxsize,
    integer_bytes=sys.maxsize,
    nesting=100_000,
    key_values=1 << 20,
)
"""What the library's load allows: as much as memory holds."""


def text_run(window: bytes, at: int, last: int, end: int, number: int) -> tuple[list[bytes], int]:
    """Return the bytes of texts that follow one another, each remembered, and the place after the last one.

    The first begins at ``at`` and gets ``number``.  Each begins before ``last`` and ends before ``end``:
    :data:`LONGEST_REFERENCE` bytes before the window does.
    """
    raws: list[bytes] = []
    while at < last:
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
    return raws, at
