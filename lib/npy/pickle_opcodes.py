"""The opcodes of plain data: their numbers, their arguments, and what they take from the stack.

Format: the comments of CPython's ``pickletools``; of all opcodes only those that ``numpy.save`` produces for
arrays of plain data are known here (protocols 2 to 4, and what Python 2's cPickle wrote).
"""

from __future__ import annotations

from typing import Final

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
SIZED: Final = {
    ord("X"): 4,
    0x8C: 1,
    0x8D: 8,
    ord("C"): 1,
    ord("B"): 4,
    0x8E: 8,
    ord("U"): 1,
    ord("T"): 4,
    0x8A: 1,
    0x8B: 4,
}
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
    GET: 1,
    LONG_GET: 4,
}
"""Opcodes that push a value, with the bytes of their argument."""
LINES: Final = {ord("I"): 1, ord("c"): 2}
"""Opcodes that push a value, with the lines of their argument."""
MERGES: Final = {0x93: 1, ord("R"): 1, BUILD: 1, 0x85: 0, 0x86: 1, 0x87: 2, APPEND: 1, SETITEM: 2}
"""Opcodes that put values into the one below them, or make one of all, with the number of those above."""
