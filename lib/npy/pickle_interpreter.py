"""A stack machine that interprets pickles of plain data and cannot run code.

It refuses every opcode but those of :mod:`lib.npy.pickle_opcodes`.
"""

from __future__ import annotations

import struct
from sys import getsizeof
from typing import TYPE_CHECKING, Any, ClassVar, Final

from lib.encoded_text import EncodedText, Text, text_from_pickle
from lib.errors import Corrupt, TooLarge, Unfinished, Unsafe
from lib.npy import pickle_opcodes as op
from lib.npy.header import ITEM_BYTES_LIMIT, VALUE_BYTES, nest
from lib.npy.pickle_globals import DType, array_contents, build_dtype, recognise, reduced
from lib.npy.pickle_memo import Memo, loaded, parts_loaded
from lib.npy.pickle_opcodes import (
    BATCH,
    GET,
    GETS,
    LONG_GET,
    LONGEST_REFERENCE,
    PAGE_LIMITS,
    Limits,
    text_run,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.npy.buffer import Cursor

    Handler = Callable[["Interpreter", Any], None]

_CONTAINERS: Final = frozenset({list, dict, tuple})
_QUICK: Final = frozenset({ord("X"), 0x8C, *GETS})
"""Opcodes that push a text of limited length, or what was remembered."""
_NUMBER_BYTES: Final = 8
_CONTAINER_BYTES: Final = 96
_TUPLE_BYTES: Final = 128  # with the list that it becomes
_PAIR_BYTES: Final = 32
"""What a value takes in memory besides, with its place in the memo."""
_U32: Final = struct.Struct("<I").unpack_from


def _each(handler: Handler, widths: dict[int, int]) -> dict[int, tuple[Handler, int]]:
    return {opcode: (handler, width) for opcode, width in widths.items()}


class Interpreter:
    """Takes one opcode after another from a cursor.

    ``held`` counts the bytes of texts, and of the values inside lists, tuples, dictionaries and below marks,
    until :meth:`release`.
    """

    def __init__(self, cursor: Cursor, memo: Memo, limits: Limits = PAGE_LIMITS) -> None:
        self.cursor = cursor
        self.memo = memo
        self.limits = limits
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.held = 0
        self.is_great = False
        """Whether the item is great even if little of it is held: as a row of an array."""
        self.unfilled: dict[int, int] = {}
        """Arrays whose state is still to come: the ids of their lists, with the memo's next number then."""
        self.python_2_texts: list[bytes] = []
        """What Python 2 called ``str``, of the items that are held."""
        self._wrapped: tuple[Any, ...] = ()
        self._wraps = 0

    def run(self, depth: int) -> int:
        """Read on until at most ``depth`` marks are open; return the last opcode.

        :raises SourceFault: an opcode does not belong to plain data.
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
        """Carry out one opcode, with the argument that follows it.

        :raises SourceFault: it does not belong to plain data.
        :raises Unfinished: the file ends inside it.
        """
        known = self._HANDLERS.get(opcode)
        if known is None:
            raise Unsafe(f"its pickle has the opcode {bytes([opcode])!r}, which plain text never needs")
        handler, argument = known
        handler(self, argument)
        if VALUE_BYTES * len(self.stack) + self.held > self.limits.item_bytes:
            raise TooLarge(f"an item takes more than {ITEM_BYTES_LIMIT >> 20} MiB")

    def release(self, left: int = 0) -> None:
        """Count no more than the bytes that are ``left``: the rest was taken."""
        self.held = min(self.held, left)
        self.python_2_texts.clear()
        self._wrapped = ()

    # The quick way: texts and references, one after another, are the bulk of most files.

    def _read_texts(self, window: bytes, at: int) -> bool:
        """Read texts and references straight from the window; tell whether there were any."""
        first, end = at, len(window) - LONGEST_REFERENCE
        while at < end and (opcode := window[at]) in _QUICK:
            if opcode == GET:
                self.stack.append(self.memo.get(window[at + 1]))
                after = at + 2
            elif opcode == LONG_GET:
                self.stack.append(self.memo.get(_U32(window, at + 1)[0]))
                after = at + 5
            else:
                raws, after = text_run(window, at, end, end, self.memo.next_number)
                if not raws:
                    break
                self._push_texts(raws)
            at = after
        self.cursor.skip(at - first)
        return at > first

    def _push_texts(self, raws: list[bytes]) -> None:
        """Push texts and number them."""
        may_stay_encoded = self.is_great or self.held > self.limits.decoded_bytes
        try:
            texts = list(map(self._text if may_stay_encoded else bytes.decode, raws))
        except UnicodeDecodeError:
            texts = list(map(self._text, raws))
        self.stack += texts
        self.memo.near += texts
        size_of = getsizeof if EncodedText in map(type, texts) else str.__sizeof__  # a fourth of its time
        self.held += sum(map(size_of, texts))

    # The opcodes.  Those that share a method differ in its argument: the number of bytes of an argument or a
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
            allowed = f"{self.limits.integer_bytes:,} are allowed"
            raise TooLarge(f"its pickle holds an integer of {length:,} bytes; {allowed}")
        self._push(int.from_bytes(self.cursor.take(length), "little", signed=True))

    def _bytes(self, width: int) -> None:
        raw = self._sized(width)
        self.held += len(raw) + _NUMBER_BYTES
        self._push(raw)

    def _python_2_text(self, width: int) -> None:
        self._bytes(width)
        self.python_2_texts.append(self.stack[-1])

    def _unicode(self, width: int) -> None:
        text = self._text(self._sized(width))
        self.held += getsizeof(text)
        self._push(text)

    def _text(self, raw: bytes) -> Text:
        return text_from_pickle(
            raw, is_great=self.is_great or self.held + len(raw) > self.limits.decoded_bytes
        )

    def _length(self, width: int) -> int:
        return int.from_bytes(self.cursor.take(width), "little")

    def _sized(self, width: int) -> bytes:
        """Take bytes that follow their length."""
        length = self._length(width)
        if length > self.limits.text_bytes:
            allowed = f"{self.limits.text_bytes:,} are allowed"
            raise TooLarge(f"its pickle asks for {length:,} bytes at once; {allowed}")
        return self.cursor.take(length)

    def _container(self, kind: type[list[Any] | dict[Any, Any]]) -> None:
        self.held += _CONTAINER_BYTES
        self._push(kind())

    def _mark(self, _: None) -> None:
        if len(self.marks) >= self.limits.nesting:
            raise TooLarge(f"an item nests deeper than {self.limits.nesting}")
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
            # each wraps the one before: a million bytes nest a million levels, which take seconds to refuse
            self._wraps = self._wraps + 1 if any(value is self._wrapped for value in values) else 0
            if self._wraps > self.limits.nesting:
                raise TooLarge(f"an item nests deeper than {self.limits.nesting}")
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
            if type(name) is not str and not self.limits.allow_key(name):
                raise Corrupt("it holds a dictionary whose key is neither text nor a number")
            target[name] = value

    def _global(self, longest: int) -> None:
        module = self.cursor.line(longest).decode("latin-1")
        self._push(recognise(module, self.cursor.line(longest).decode("latin-1")))

    def _stack_global(self, count: int) -> None:
        self._push(recognise(*map(loaded, self._taken(count))))

    def _reduce(self, count: int) -> None:
        callee, arguments = map(loaded, self._taken(count))
        value = reduced(callee, parts_loaded(arguments))
        if type(value) is list:
            self.unfilled[id(value)] = self.memo.next_number
        self._push(value)

    def _build(self, count: int) -> None:
        target, state = map(loaded, self._taken(count))
        state = parts_loaded(state)
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
        shape, items = array_contents(state, self.limits.item_bytes // VALUE_BYTES)
        self.held += VALUE_BYTES * len(items)
        value = nest(items, shape)
        if shape:
            target += value
            return target
        self.memo.replace(number, target, value)
        target.append(target)  # only what stands in the value still refers to it: the value holds itself
        return value

    def _memoize(self, width: int) -> None:
        number = self._length(width) if width else None
        if not self.stack:
            raise Corrupt("its pickle remembers what it does not hold")
        value = self.stack[-1]
        # pickle gives each object one number, and before it is filled; with others, it would be read for each
        if type(value) in _CONTAINERS and (self.memo.has_last(value) or (type(value) is not tuple and value)):
            raise Corrupt("its pickle gives an object a second number")
        self.memo.add(number, value)

    def _recall(self, width: int) -> None:
        self._push(self.memo.get(self._length(width)))

    def _frame(self, width: int) -> None:
        if self._length(width) > self.cursor.end - self.cursor.position:
            raise Unfinished("it ends inside its data")

    _HANDLERS: ClassVar[dict[int, tuple[Handler, Any]]] = {
        ord("I"): (_decimal, 24),
        ord("J"): (_number, struct.Struct("<i")),
        ord("K"): (_unsigned, 1),
        ord("M"): (_unsigned, 2),
        **_each(_long, op.LONGS),
        ord("G"): (_number, struct.Struct(">d")),
        ord("N"): (_push, None),
        0x88: (_push, True),
        0x89: (_push, False),
        **_each(_python_2_text, op.PYTHON_2_TEXTS),
        **_each(_bytes, op.BYTES),
        **_each(_unicode, op.TEXTS),
        op.LIST: (_container, list),
        op.APPEND: (_extend, 1),
        op.APPENDS: (_extend, 0),
        ord(")"): (_push, ()),
        0x85: (_tuple, 1),
        0x86: (_tuple, 2),
        0x87: (_tuple, 3),
        op.TUPLE: (_tuple, 0),
        op.DICT: (_container, dict),
        op.SETITEM: (_set_items, 2),
        op.SETITEMS: (_set_items, 0),
        op.MARK: (_mark, None),
        **_each(_memoize, op.PUTS),
        **_each(_recall, op.GETS),
        ord("c"): (_global, 200),
        0x93: (_stack_global, 2),
        ord("R"): (_reduce, 2),
        op.BUILD: (_build, 2),
        op.FRAME: (_frame, 8),
    }
    """The method of each opcode, and its argument."""
