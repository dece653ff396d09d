"""The opcodes of data: a stack machine that interprets pickles and can run nothing.

Format: the comments of CPython's ``pickletools``; of all opcodes only those that ``numpy.save`` produces for
arrays of plain data are known here (protocols 2 to 4, and what Python 2's cPickle wrote).  Any other is
refused by name.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from sys import getsizeof
from typing import TYPE_CHECKING, Any, Final

from lib.encoded_text import GREAT_BYTES, LONG_TEXT, SHORT_TEXT, EncodedText, pieces_of
from lib.encoded_text import decoded as decoded_text
from lib.errors import Corrupt, Unfinished, Unsafe
from lib.npy.header import ITEM_BYTES_LIMIT, TEXT_BYTES_LIMIT, nest
from lib.npy.pickle_globals import (
    ARRAY_ELEMENTS_LIMIT,
    DType,
    array_contents,
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
_GET: Final = ord("h")
_LONG_GET: Final = ord("j")
GETS: Final = {_GET: 1, _LONG_GET: 4}
"""Opcodes that push what was remembered, with the bytes of its number."""
PUTS: Final = {ord("q"): 1, ord("r"): 4, 0x94: 0}
"""Opcodes that remember the top of the stack, with the bytes of their argument."""
_QUICK: Final = frozenset({ord("X"), 0x8C, *GETS})
_LONGEST_REFERENCE: Final = 10

BATCH: Final = 1000
"""Pickle fills lists and dictionaries in batches of this many."""
VALUE_BYTES: Final = 32
"""What each value in an item counts, at least."""
_NUMBER_BYTES: Final = 8
_ASCII_BYTES: Final = 40
"""What a text takes in memory beside its characters, as far as its opcodes do not."""
_CONTAINER_BYTES: Final = 96
_TUPLE_BYTES: Final = 128  # with the list that it becomes
_PAIR_BYTES: Final = 32
"""What a value takes in memory besides, with its place in the memo."""
_KEYS: Final = (str, bytes, int, float, type(None))
_TUPLE_DEPTH: Final = 200
_NOT_UTF_8: Final = "its pickle holds a text that is not UTF-8"

_U32: Final = struct.Struct("<I").unpack_from


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
        self.unfilled: dict[int, int] = {}
        """Arrays whose state was not read yet: their lists by identity, with the memo's next number then."""
        self._wrapped: tuple[Any, ...] = ()
        self._wraps = 0

    def run(self, depth: int) -> int:
        """Read on until at most ``depth`` marks are open; return the last opcode.

        :raises SourceFault: plain data does not have it.
        :raises Unfinished: the file ends before.
        """
        cursor, marks = self.cursor, self.marks
        while True:
            window, at = cursor.window()
            if at < len(window) and window[at] in _QUICK and self._read_texts(window, at):
                continue
            opcode = cursor.byte()
            self.step(opcode)
            if len(marks) <= depth:
                return opcode

    def step(self, opcode: int) -> None:
        """Do what one opcode says, with the argument that follows it.

        :raises SourceFault: plain data does not have it.
        :raises Unfinished: the file ends inside it.
        """
        known = _HANDLERS.get(opcode)
        if known is None:
            raise Unsafe(f"its pickle has the opcode {bytes([opcode])!r}, which plain text never needs")
        handler, argument = known
        handler(self, argument)
        if VALUE_BYTES * len(self.stack) + self.held > self.limits.item_bytes:
            raise Unsafe(f"an item takes more than {ITEM_BYTES_LIMIT >> 20} MiB", is_size=True)

    def release(self, left: int = 0) -> None:
        """Count no longer what was handed on, but the bytes that are ``left``."""
        self.held = min(self.held, left)
        self._wrapped = ()

    # The quick way: texts and references, one after another, are the bulk of every real file.

    def _read_texts(self, window: bytes, at: int) -> bool:
        """Read the texts and references from ``at`` on, straight from the window; tell whether it did."""
        first, end = at, len(window) - _LONGEST_REFERENCE
        while at < end and (opcode := window[at]) in _QUICK:
            if opcode == _GET:
                self.stack.append(self.memo.get(window[at + 1]))
                after = at + 2
            elif opcode == _LONG_GET:
                self.stack.append(self.memo.get(_U32(window, at + 1)[0]))
                after = at + 5
            else:
                after = self._texts(window, at, end)
                if after == at:
                    break
            at = after
        self.cursor.advance(at)
        return at > first

    def _texts(self, window: bytes, at: int, end: int) -> int:
        """Read texts, each with its number; return where they end."""
        raws: list[bytes] = []
        first, number = at, self.memo.next_number
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
        if raws:
            texts = self._decoded(raws)
            self.stack += texts
            self.memo.near += texts
            is_ascii = b"".join(raws).isascii()
            self.held += at - first + _ASCII_BYTES * len(texts) if is_ascii else sum(map(getsizeof, texts))
        return at

    def _decoded(self, raws: list[bytes]) -> list[Text]:
        may_stay_encoded = self.is_great or self.held > self.limits.decoded_bytes
        try:
            return list(map(self._text if may_stay_encoded else bytes.decode, raws))
        except UnicodeDecodeError:
            return list(map(self._text, raws))

    # The opcodes.  Each method gets what distinguishes those that share it: the bytes of an argument or of a
    # length, what is pushed, or how many values are taken from the stack; 0 takes those down to the mark.

    def _push(self, value: Any) -> None:
        self.stack.append(value)

    def _unsigned(self, width: int) -> None:
        self._push(int.from_bytes(self.cursor.take(width), "little"))

    def _number(self, form: struct.Struct) -> None:
        self.held += _NUMBER_BYTES
        self._push(form.unpack(self.cursor.take(form.size))[0])

    def _decimal(self, longest: int) -> None:
        # Python 2 wrote integers of more than 32 bits as decimal digits
        digits = self.cursor.line(longest)
        if not digits.removeprefix(b"-").isdigit():
            raise Corrupt("its pickle holds a number that is not one")
        self._push(int(digits))

    def _long(self, width: int) -> None:
        length = self._length(width)
        if length > self.limits.integer_bytes:
            raise Unsafe(f"its pickle holds an integer of {length:,} bytes")
        self._push(int.from_bytes(self.cursor.take(length), "little", signed=True))

    def _bytes(self, width: int) -> None:
        raw = self.cursor.take(self._length(width))
        self.held += len(raw) + _NUMBER_BYTES
        self._push(raw)

    def _unicode(self, width: int) -> None:
        text = self._text(self.cursor.take(self._length(width)))
        self.held += getsizeof(text)
        self._push(text)

    def _text(self, raw: bytes) -> Text:
        """Return a text, which stays encoded in a great item: a ``str`` may take four times its bytes."""
        is_great = self.is_great or self.held + len(raw) > self.limits.decoded_bytes
        if is_great and len(raw) > SHORT_TEXT and (len(raw) > LONG_TEXT or not raw.isascii()):
            return encoded(raw)
        return decoded(raw)

    def _length(self, width: int) -> int:
        return int.from_bytes(self.cursor.take(width), "little")

    def _container(self, kind: type[list[Any] | dict[Any, Any]]) -> None:
        self.held += _CONTAINER_BYTES
        self._push(kind())

    def _mark(self, _: None) -> None:
        if len(self.marks) >= self.limits.nesting:
            raise Unsafe(f"its pickle nests deeper than {self.limits.nesting}")
        self.held += VALUE_BYTES * len(self.stack)
        self.marks.append(self.stack)
        self.stack = []

    def _taken(self, count: int) -> list[Any]:
        """Take values from the stack: ``count``, or those down to the mark."""
        if count:
            if len(self.stack) < count:
                raise Corrupt("its pickle takes more than it holds")
            values = self.stack[-count:]
            del self.stack[-count:]
            return values
        if not self.marks:
            raise Corrupt("its pickle closes what it never opened")
        values = self.stack
        self.stack = self.marks.pop()
        self.held -= VALUE_BYTES * len(self.stack)
        return values

    def _tuple(self, count: int) -> None:
        values = tuple(self._taken(count))
        if count:
            # each wraps the one before: a million levels are a million bytes, and crash what follows them
            self._wraps = self._wraps + 1 if any(value is self._wrapped for value in values) else 0
            if self._wraps > self.limits.nesting:
                raise Unsafe(f"its pickle nests deeper than {self.limits.nesting}")
            self._wrapped = values
        self.held += VALUE_BYTES * len(values) + _TUPLE_BYTES
        self._push(values)

    def _extend(self, count: int) -> None:
        values = self._taken(count)
        target = self.stack[-1] if self.stack else None
        if type(target) is not list or id(target) in self.unfilled or len(target) % BATCH:
            raise Corrupt("its pickle appends to something that is not a list, or is complete")
        target.extend(values)
        self.held += VALUE_BYTES * len(values)

    def _set_items(self, count: int) -> None:
        pairs = self._taken(count)
        target = self.stack[-1] if self.stack else None
        if type(target) is not dict or len(pairs) % 2:
            raise Corrupt("its pickle fills something that is not a dictionary")
        self.held += (VALUE_BYTES + _PAIR_BYTES // 2) * len(pairs)
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            name = loaded(key)
            if not isinstance(name, _KEYS) and not _is_flat_tuple(name, self.limits.tuple_values):
                raise Corrupt("it holds a dictionary whose key is neither text nor a number")
            target[name] = value

    def _global(self, longest: int) -> None:
        module = self.cursor.line(longest).decode("latin-1")
        self._push(recognise(module, self.cursor.line(longest).decode("latin-1")))

    def _stack_global(self, count: int) -> None:
        self._push(recognise(*map(loaded, self._taken(count))))

    def _reduce(self, count: int) -> None:
        callee, arguments = map(loaded, self._taken(count))
        value = reduced(callee, _parts_loaded(arguments))
        if type(value) is list:
            self.unfilled[id(value)] = self.memo.next_number
        self._push(value)

    def _build(self, count: int) -> None:
        target, state = map(loaded, self._taken(count))
        state = _parts_loaded(state)
        if type(target) is DType:
            build_dtype(target, state)
        elif id(target) in self.unfilled:
            target = self._filled(target, state)
        else:
            raise Unsafe("its pickle sets the state of something that is not an array")
        self._push(target)

    def _filled(self, target: list[Any], state: Any) -> Any:
        """Fill an array's list; an array without dimensions is its value, in the memo too."""
        number = self.unfilled.pop(id(target))
        shape, items = array_contents(state, self.limits.array_elements)
        self.held += VALUE_BYTES * len(items)
        value = nest(items, shape)
        if shape:
            target += value
            return target
        self.memo.replace(number, target, value)
        return value

    def _memoize(self, width: int) -> None:
        number = self._length(width) if width else None
        if not self.stack:
            raise Corrupt("its pickle remembers what it does not hold")
        self.memo.add(number, self.stack[-1])

    def _recall(self, width: int) -> None:
        self._push(self.memo.get(self._length(width)))

    def _frame(self, width: int) -> None:
        if self._length(width) > self.cursor.end - self.cursor.position:
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
_HANDLERS: Final[dict[int, tuple[Callable[[Machine, Any], None], Any]]] = {
    ord("I"): (Machine._decimal, 24),
    ord("J"): (Machine._number, struct.Struct("<i")),
    ord("K"): (Machine._unsigned, 1),
    ord("M"): (Machine._unsigned, 2),
    0x8A: (Machine._long, 1),
    0x8B: (Machine._long, 4),
    ord("G"): (Machine._number, struct.Struct(">d")),
    ord("N"): (Machine._push, None),
    0x88: (Machine._push, True),
    0x89: (Machine._push, False),
    ord("U"): (Machine._bytes, 1),
    ord("T"): (Machine._bytes, 4),
    ord("C"): (Machine._bytes, 1),
    ord("B"): (Machine._bytes, 4),
    0x8E: (Machine._bytes, 8),
    0x8C: (Machine._unicode, 1),
    ord("X"): (Machine._unicode, 4),
    0x8D: (Machine._unicode, 8),
    LIST: (Machine._container, list),
    APPEND: (Machine._extend, 1),
    APPENDS: (Machine._extend, 0),
    ord(")"): (Machine._push, ()),
    0x85: (Machine._tuple, 1),
    0x86: (Machine._tuple, 2),
    0x87: (Machine._tuple, 3),
    TUPLE: (Machine._tuple, 0),
    DICT: (Machine._container, dict),
    SETITEM: (Machine._set_items, 2),
    SETITEMS: (Machine._set_items, 0),
    MARK: (Machine._mark, None),
    ord("q"): (Machine._memoize, 1),
    ord("r"): (Machine._memoize, 4),
    0x94: (Machine._memoize, 0),
    _GET: (Machine._recall, 1),
    _LONG_GET: (Machine._recall, 4),
    ord("c"): (Machine._global, 200),
    0x93: (Machine._stack_global, 2),
    ord("R"): (Machine._reduce, 2),
    BUILD: (Machine._build, 2),
    FRAME: (Machine._frame, 8),
}
"""Each opcode's method, and the argument that makes it this opcode's."""
