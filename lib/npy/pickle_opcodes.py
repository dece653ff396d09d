"""The opcodes of data: a stack machine that interprets pickles and can run nothing.

Format: the comments of CPython's ``pickletools``; of all opcodes only those that ``numpy.save`` produces for
arrays of plain data are known here (protocols 2 to 4, and what Python 2's cPickle wrote).  Any other is
refused by name.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lib.encoded_text import GREAT_BYTES, LONG_TEXT, SHORT_TEXT, EncodedText, pieces_of
from lib.encoded_text import decoded as decoded_text
from lib.errors import Corrupt, Unfinished, Unsafe
from lib.npy.header import ITEM_BYTES_LIMIT, TEXT_BYTES_LIMIT
from lib.npy.pickle_globals import (
    ARRAY_ELEMENTS_LIMIT,
    Array,
    DType,
    build_array,
    build_dtype,
    recognise,
    reduced,
)
from lib.npy.pickle_memo import loaded

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.encoded_text import Text
    from lib.npy.buffer import Cursor
    from lib.npy.pickle_memo import Memo

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
GETS: Final = {ord("h"): 1, ord("j"): 4}
"""Opcodes that push what was remembered, with the bytes of its number."""
PUTS: Final = {ord("q"): 1, ord("r"): 4, 0x94: 0}
"""Opcodes that remember the top of the stack, with the bytes of their argument."""

VALUE_BYTES: Final = 32
"""What each value in an item counts, at least."""
_NUMBER_BYTES: Final = 8
_LIST_BYTES: Final = 96
_TUPLE_BYTES: Final = 128  # with the list that it becomes
_DICT_BYTES: Final = 96
_PAIR_BYTES: Final = 32
"""What a value takes in memory besides, with its place in the memo."""
_KEYS: Final = (str, bytes, int, float, type(None))
_TUPLE_DEPTH: Final = 200
_NOT_UTF_8: Final = "its pickle holds a text that is not UTF-8"

_U16: Final = struct.Struct("<H").unpack_from
_U32: Final = struct.Struct("<I").unpack_from
_I32: Final = struct.Struct("<i").unpack_from
_U64: Final = struct.Struct("<Q").unpack_from
_F64: Final = struct.Struct(">d").unpack_from


@dataclass(frozen=True, slots=True)
class Limits:
    """What may stand in one item, in bytes of memory: the defaults are those of a page."""

    text_bytes: int = TEXT_BYTES_LIMIT
    nesting: int = 200
    integer_bytes: int = 1800
    """Just more than the 4,300 digits that ``json.dump`` writes."""
    item_bytes: int = 168 << 20
    """Of the item as it is read, and of a few before it."""
    decoded_bytes: int = GREAT_BYTES
    """Beyond these, what is not ASCII stays encoded: a ``str`` may take four times its bytes."""
    array_elements: int = ARRAY_ELEMENTS_LIMIT
    tuple_values: int = 0
    """As many values may stand in a tuple that is the key of a dictionary; JSON has no such keys."""


class Machine:
    """Takes one opcode after another from a cursor.

    ``held`` counts the bytes of texts, and of the values inside lists, tuples, dictionaries and below marks;
    :meth:`release` sets it back once they are handed on.
    """

    def __init__(self, cursor: Cursor, memo: Memo, limits: Limits) -> None:
        self.cursor = cursor
        self.memo = memo
        self.limits = limits
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.held = 0
        self.is_great = False
        """The item is, whatever was held of it since it began: it is a row of an array."""
        self._wrapped: tuple[Any, ...] = ()
        self._wraps = 0

    def step(self, opcode: int) -> None:
        """Do what one opcode says, with the argument that follows it.

        :raises SourceFault: plain data does not have it.
        :raises Unfinished: the file ends inside it.
        """
        handler = _HANDLERS.get(opcode)
        if handler is None:
            raise Unsafe(f"its pickle has the opcode {bytes([opcode])!r}, which plain text never needs")
        handler(self)
        if VALUE_BYTES * len(self.stack) + self.held > self.limits.item_bytes:
            raise Unsafe(f"an item takes more than {ITEM_BYTES_LIMIT >> 20} MiB", is_size=True)

    def release(self, left: int = 0) -> None:
        """Count no longer what was handed on, but the bytes that are ``left``."""
        self.held = min(self.held, left)
        self._wrapped = ()

    # Opcodes, in the order of pickletools.  Each takes its argument from the cursor.

    def _push(self, value: Any) -> None:
        self.stack.append(value)

    def _pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise Corrupt("its pickle takes more than it holds")
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def _to_mark(self) -> list[Any]:
        if not self.marks:
            raise Corrupt("its pickle closes what it never opened")
        values = self.stack
        self.stack = self.marks.pop()
        self.held -= VALUE_BYTES * len(self.stack)
        return values

    def _mark(self) -> None:
        if len(self.marks) >= self.limits.nesting:
            raise Unsafe(f"its pickle nests deeper than {self.limits.nesting}")
        self.held += VALUE_BYTES * len(self.stack)
        self.marks.append(self.stack)
        self.stack = []

    def _decimal(self) -> None:
        # Python 2 wrote integers of more than 32 bits as decimal digits
        digits = self.cursor.line(24)
        if not digits.removeprefix(b"-").isdigit():
            raise Corrupt("its pickle holds a number that is not one")
        self._push(int(digits))

    def _long(self, width: int) -> None:
        length = self._length(width)
        if length > self.limits.integer_bytes:
            raise Unsafe(f"its pickle holds an integer of {length:,} bytes")
        self._push(int.from_bytes(self.cursor.take(length), "little", signed=True))

    def _length(self, width: int) -> int:
        return int.from_bytes(self.cursor.take(width), "little")

    def texts(self, raws: list[bytes]) -> list[Text]:
        """Return many texts."""
        try:
            return list(map(self.text if self.is_great else bytes.decode, raws))
        except UnicodeDecodeError:
            return list(map(self.text, raws))

    def _bytes(self, width: int) -> None:
        self.held += _NUMBER_BYTES
        self._push(self._raw(width))

    def _unicode(self, width: int) -> None:
        raw = self._raw(width)
        text = self.text(raw)
        self.held += sys.getsizeof(text) - len(raw)
        self._push(text)

    def text(self, raw: bytes) -> Text:
        """Return a text, which stays encoded in a great item: a ``str`` may take four times its bytes."""
        is_great = self.is_great or self.held > self.limits.decoded_bytes
        if is_great and len(raw) > SHORT_TEXT and (len(raw) > LONG_TEXT or not raw.isascii()):
            return encoded(raw)
        return decoded(raw)

    def _raw(self, width: int) -> bytes:
        length = self._length(width)
        self.held += length
        return self.cursor.take(length)

    def _number(self, value: float) -> None:
        self.held += _NUMBER_BYTES
        self._push(value)

    def _list(self) -> None:
        self.held += _LIST_BYTES
        self._push([])

    def _dict(self) -> None:
        self.held += _DICT_BYTES
        self._push({})

    def _tuple(self) -> None:
        values = tuple(self._to_mark())
        self.held += VALUE_BYTES * len(values) + _TUPLE_BYTES
        self._push(values)

    def _small_tuple(self, count: int) -> None:
        values = tuple(self._pop(count))
        # each wraps the one before: a million levels are a million bytes, and a crash for who follows them
        self._wraps = self._wraps + 1 if any(value is self._wrapped for value in values) else 0
        if self._wraps > self.limits.nesting:
            raise Unsafe(f"its pickle nests deeper than {self.limits.nesting}")
        self._wrapped = values
        self.held += VALUE_BYTES * count + _TUPLE_BYTES
        self._push(values)

    def _extend(self, values: list[Any]) -> None:
        target = self.stack[-1] if self.stack else None
        if type(target) is not list:
            raise Corrupt("its pickle appends to something that is not a list")
        target.extend(values)
        self.held += VALUE_BYTES * len(values)

    def _setitems(self, pairs: list[Any]) -> None:
        target = self.stack[-1] if self.stack else None
        if type(target) is not dict or len(pairs) % 2:
            raise Corrupt("its pickle fills something that is not a dictionary")
        self.held += (VALUE_BYTES + _PAIR_BYTES // 2) * len(pairs)
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            name = loaded(key)
            if not isinstance(name, _KEYS) and not _is_flat_tuple(name, self.limits.tuple_values):
                raise Corrupt("it holds a dictionary whose key is neither text nor a number")
            target[name] = value

    def _global(self) -> None:
        module = self.cursor.line(200).decode("latin-1")
        self._push(recognise(module, self.cursor.line(200).decode("latin-1")))

    def _stack_global(self) -> None:
        self._push(recognise(*map(loaded, self._pop(2))))

    def _reduce(self) -> None:
        callee, arguments = map(loaded, self._pop(2))
        self._push(reduced(callee, _parts_loaded(arguments)))

    def _build(self) -> None:
        target, state = map(loaded, self._pop(2))
        state = _parts_loaded(state)
        if type(target) is DType:
            build_dtype(target, state)
        elif type(target) is Array:
            build_array(target, state, self.limits.array_elements)
            self.held += VALUE_BYTES * len(target.items)
        else:
            raise Unsafe("its pickle sets the state of something that is not an array")
        self._push(target)

    def _memoize(self, number: int | None) -> None:
        if not self.stack:
            raise Corrupt("its pickle remembers what it does not hold")
        self.memo.add(number, self.stack[-1])

    def _recall(self, number: int) -> None:
        self._push(self.memo.get(number))

    def _frame(self) -> None:
        if _U64(self.cursor.take(8))[0] > self.cursor.end - self.cursor.position:
            raise Unfinished("it ends inside its data")


def _is_flat_tuple(key: Any, limit: int) -> bool:
    """Tell whether a key is a tuple that is hashed quickly, without recursion that could crash."""
    waiting, count = [(key, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if count > limit or depth > _TUPLE_DEPTH or not isinstance(value, (*_KEYS, tuple)):
            return False
        if isinstance(value, tuple):
            waiting += [(part, depth + 1) for part in value]
    return True


def _parts_loaded(values: Any) -> Any:
    """Return arguments or a state with nothing in it that has to be read again or decoded."""
    if type(values) is not tuple:
        return values
    parts = map(loaded, values)
    return tuple(decoded_text(part) if type(part) is EncodedText else part for part in parts)


def encoded(raw: bytes) -> EncodedText:
    """Return a text as pickle writes it without decoding it as a whole.

    :raises Corrupt: it is not UTF-8.
    """
    text = EncodedText(raw)
    try:
        for _ in pieces_of(text):
            pass
    except UnicodeDecodeError:
        raise Corrupt(_NOT_UTF_8) from None
    return text


def decoded(raw: bytes) -> str:
    """Decode a text as pickle writes it: UTF-8, lone surrogates included.

    :raises Corrupt: it is not UTF-8.
    """
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise Corrupt(_NOT_UTF_8) from None


UNLIMITED: Final = Limits(
    text_bytes=sys.maxsize,
    nesting=100_000,
    integer_bytes=sys.maxsize,
    item_bytes=sys.maxsize,
    decoded_bytes=sys.maxsize,
    array_elements=sys.maxsize,
    tuple_values=1 << 20,
)
"""What the library's load allows: whatever memory holds."""
_HANDLERS: Final[dict[int, Callable[[Machine], None]]] = {
    ord("I"): lambda m: m._decimal(),
    ord("J"): lambda m: m._number(_I32(m.cursor.take(4))[0]),
    ord("K"): lambda m: m._push(m.cursor.byte()),
    ord("M"): lambda m: m._push(_U16(m.cursor.take(2))[0]),
    0x8A: lambda m: m._long(1),
    0x8B: lambda m: m._long(4),
    ord("G"): lambda m: m._number(_F64(m.cursor.take(8))[0]),
    ord("N"): lambda m: m._push(None),
    0x88: lambda m: m._push(True),
    0x89: lambda m: m._push(False),
    ord("U"): lambda m: m._bytes(1),
    ord("T"): lambda m: m._bytes(4),
    ord("C"): lambda m: m._bytes(1),
    ord("B"): lambda m: m._bytes(4),
    0x8E: lambda m: m._bytes(8),
    0x8C: lambda m: m._unicode(1),
    ord("X"): lambda m: m._unicode(4),
    0x8D: lambda m: m._unicode(8),
    LIST: lambda m: m._list(),
    APPEND: lambda m: m._extend(m._pop(1)),
    APPENDS: lambda m: m._extend(m._to_mark()),
    ord(")"): lambda m: m._push(()),
    0x85: lambda m: m._small_tuple(1),
    0x86: lambda m: m._small_tuple(2),
    0x87: lambda m: m._small_tuple(3),
    TUPLE: lambda m: m._tuple(),
    DICT: lambda m: m._dict(),
    SETITEM: lambda m: m._setitems(m._pop(2)),
    SETITEMS: lambda m: m._setitems(m._to_mark()),
    MARK: lambda m: m._mark(),
    ord("q"): lambda m: m._memoize(m.cursor.byte()),
    ord("r"): lambda m: m._memoize(_U32(m.cursor.take(4))[0]),
    0x94: lambda m: m._memoize(None),
    ord("h"): lambda m: m._recall(m.cursor.byte()),
    ord("j"): lambda m: m._recall(_U32(m.cursor.take(4))[0]),
    ord("c"): lambda m: m._global(),
    0x93: lambda m: m._stack_global(),
    ord("R"): lambda m: m._reduce(),
    BUILD: lambda m: m._build(),
    FRAME: lambda m: m._frame(),
}
