"""The opcodes of data: a stack machine that interprets pickles and can run nothing.

Format: the comments of CPython's ``pickletools``; of all opcodes only those that ``numpy.save`` produces for
arrays of plain data are known here (protocols 2 to 4, and what Python 2's cPickle wrote).  Any other is
refused by name.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

from lib.errors import Corrupt, Unfinished, Unsafe
from lib.npy import pickle_globals as scaffold
from lib.npy.pickle_globals import Array, DType

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.npy.buffer import Cursor
    from lib.npy.pickle_memo import Memo

STOP: Final = ord(".")
_MARKS_LIMIT: Final = 200
_INTEGER_BYTES_LIMIT: Final = 1024

_U16: Final = struct.Struct("<H").unpack_from
_U32: Final = struct.Struct("<I").unpack_from
_I32: Final = struct.Struct("<i").unpack_from
_U64: Final = struct.Struct("<Q").unpack_from
_F64: Final = struct.Struct(">d").unpack_from


class Machine(ABC):
    """Takes one opcode after another from a cursor; ``_held`` counts objects inside lists, tuples, dicts."""

    def __init__(self, cursor: Cursor, memo: Memo) -> None:
        self._cursor = cursor
        self._memo = memo
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._held = 0
        self._wrapped: tuple[Any, ...] = ()
        self._wraps = 0

    def _step(self, opcode: int) -> None:
        handler = _HANDLERS.get(opcode)
        if handler is None:
            raise Unsafe(f"its pickle has the opcode {bytes([opcode])!r}, which plain text never needs")
        handler(self)

    # Opcodes, in the order of pickletools.  Each takes its argument from the cursor.

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise Corrupt("its pickle takes more than it holds")
        values = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return values

    def _to_mark(self) -> list[Any]:
        if not self._marks:
            raise Corrupt("its pickle closes what it never opened")
        values = self._stack
        self._stack = self._marks.pop()
        return values

    def _mark(self) -> None:
        if len(self._marks) >= _MARKS_LIMIT:
            raise Unsafe(f"its pickle nests deeper than {_MARKS_LIMIT}")
        self._marks.append(self._stack)
        self._stack = []

    def _decimal(self) -> None:
        # Python 2 wrote integers of more than 32 bits as decimal digits
        digits = self._cursor.line(24)
        if not digits.removeprefix(b"-").isdigit():
            raise Corrupt("its pickle holds a number that is none")
        self._push(int(digits))

    def _long(self, width: int) -> None:
        length = int.from_bytes(self._cursor.take(width), "little")
        if length > _INTEGER_BYTES_LIMIT:
            raise Unsafe(f"its pickle holds an integer of {length:,} bytes")
        self._push(int.from_bytes(self._cursor.take(length), "little", signed=True))

    def _bytes(self, width: int) -> None:
        self._push(self._cursor.take(int.from_bytes(self._cursor.take(width), "little")))

    def _unicode(self, width: int) -> None:
        self._push(_text(self._cursor.take(int.from_bytes(self._cursor.take(width), "little"))))

    def _list(self) -> None:
        self._push([])

    def _tuple(self) -> None:
        values = tuple(self._to_mark())
        self._held += len(values)
        self._push(values)

    def _small_tuple(self, count: int) -> None:
        values = tuple(self._pop(count))
        # each wraps the one before: a million levels are a million bytes, and a crash for who follows them
        self._wraps = self._wraps + 1 if any(value is self._wrapped for value in values) else 0
        if self._wraps > _MARKS_LIMIT:
            raise Unsafe(f"its pickle nests deeper than {_MARKS_LIMIT}")
        self._wrapped = values
        self._push(values)

    def _append(self) -> None:
        self._extend(self._pop(1))

    def _appends(self) -> None:
        self._extend(self._to_mark())

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1] if self._stack else None
        if type(target) is not list:
            raise Corrupt("its pickle appends to something that is no list")
        target.extend(values)
        self._held += len(values)

    def _setitems(self, pairs: list[Any]) -> None:
        target = self._stack[-1] if self._stack else None
        if type(target) is not dict or len(pairs) % 2:
            raise Corrupt("its pickle fills something that is no dictionary")
        self._held += len(pairs)
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            # a nested key would be hashed recursively
            if not isinstance(key, (str, bytes, int, float, type(None))):
                raise Corrupt("it holds a dictionary whose key is neither text nor a number")
            target[key] = value

    def _global(self) -> None:
        module = self._cursor.line(200).decode("latin-1")
        self._push(scaffold.recognise(module, self._cursor.line(200).decode("latin-1")))

    def _stack_global(self) -> None:
        self._push(scaffold.recognise(*self._pop(2)))

    def _reduce(self) -> None:
        self._push(scaffold.reduced(*self._pop(2)))

    def _build(self) -> None:
        target, state = self._pop(2)
        if type(target) is DType:
            scaffold.build_dtype(target, state)
        elif type(target) is Array:
            self._build_array(target, state)
        else:
            raise Unsafe("its pickle sets the state of something that is no array")
        self._push(target)

    def _build_array(self, target: Array, state: Any) -> None:
        scaffold.build_array(target, state)

    def _memoize(self, index: int | None) -> None:
        if not self._stack:
            raise Corrupt("its pickle remembers what it does not hold")
        self._memo.add(self._memo.next_index if index is None else index, self._stack[-1])

    @abstractmethod
    def _recall(self, index: int) -> None:
        """Push the object that the memo has under this number."""

    def _frame(self) -> None:
        if _U64(self._cursor.take(8))[0] > self._cursor.end - self._cursor.position:
            raise Unfinished("it ends inside its data")


def decoded(raws: list[bytes]) -> list[str]:
    """Decode texts as pickle writes them: UTF-8, lone surrogates included.

    :raises Corrupt: one of them is not UTF-8.
    """
    try:
        return list(map(bytes.decode, raws))
    except UnicodeDecodeError:
        return list(map(_text, raws))


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise Corrupt("its pickle holds a text that is not UTF-8") from None


_HANDLERS: Final[dict[int, Callable[[Machine], None]]] = {
    ord("I"): lambda s: s._decimal(),
    ord("J"): lambda s: s._push(_I32(s._cursor.take(4))[0]),
    ord("K"): lambda s: s._push(s._cursor.byte()),
    ord("M"): lambda s: s._push(_U16(s._cursor.take(2))[0]),
    0x8A: lambda s: s._long(1),
    0x8B: lambda s: s._long(4),
    ord("G"): lambda s: s._push(_F64(s._cursor.take(8))[0]),
    ord("N"): lambda s: s._push(None),
    0x88: lambda s: s._push(True),
    0x89: lambda s: s._push(False),
    ord("U"): lambda s: s._bytes(1),
    ord("T"): lambda s: s._bytes(4),
    ord("C"): lambda s: s._bytes(1),
    ord("B"): lambda s: s._bytes(4),
    0x8E: lambda s: s._bytes(8),
    0x8C: lambda s: s._unicode(1),
    ord("X"): lambda s: s._unicode(4),
    0x8D: lambda s: s._unicode(8),
    ord("]"): lambda s: s._list(),
    ord("a"): lambda s: s._append(),
    ord("e"): lambda s: s._appends(),
    ord(")"): lambda s: s._push(()),
    0x85: lambda s: s._small_tuple(1),
    0x86: lambda s: s._small_tuple(2),
    0x87: lambda s: s._small_tuple(3),
    ord("t"): lambda s: s._tuple(),
    ord("}"): lambda s: s._push({}),
    ord("s"): lambda s: s._setitems(s._pop(2)),
    ord("u"): lambda s: s._setitems(s._to_mark()),
    ord("("): lambda s: s._mark(),
    ord("q"): lambda s: s._memoize(s._cursor.byte()),
    ord("r"): lambda s: s._memoize(_U32(s._cursor.take(4))[0]),
    0x94: lambda s: s._memoize(None),
    ord("h"): lambda s: s._recall(s._cursor.byte()),
    ord("j"): lambda s: s._recall(_U32(s._cursor.take(4))[0]),
    ord("c"): lambda s: s._global(),
    0x93: lambda s: s._stack_global(),
    ord("R"): lambda s: s._reduce(),
    ord("b"): lambda s: s._build(),
    0x95: lambda s: s._frame(),
    STOP: lambda _: None,
}
