"""Object arrays: numpy's pickle read as data, as a stream of blocks, by an interpreter that can run nothing.

Format: the comments of CPython's ``pickletools``; of all opcodes only those that ``numpy.save`` produces for
arrays of plain data are known here (protocols 2 to 4, and what Python 2's cPickle wrote).  The shape of every
such file is

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

from lib import scaffold
from lib.cursor import WINDOW_BYTES, Cursor
from lib.errors import Corrupt, Unfinished, Unsafe
from lib.header import ITEM_BYTES_LIMIT
from lib.memo import Memo
from lib.scaffold import Array, DType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lib.source import Bytes

_MIXED_BLOCK_BYTES: Final = 1 << 22
_HELD_BACK: Final = 32
"""The last so many items of a batch may still become part of a tuple: they wait for the end of the batch."""
_MARKS_LIMIT: Final = 200
_OBJECTS_LIMIT: Final = 4_000_000
"""So many objects may wait for their item to be complete."""
_INTEGER_BYTES_LIMIT: Final = 1024
_SCAFFOLD_LIMIT: Final = 64 << 10
_BATCH: Final = 1000
_UNBUILT_LIMIT: Final = 256
"""So many more values than items may wait in a batch: the parts of a tuple that is not yet built."""

_U16: Final = struct.Struct("<H").unpack_from
_U32: Final = struct.Struct("<I").unpack_from
_I32: Final = struct.Struct("<i").unpack_from
_U64: Final = struct.Struct("<Q").unpack_from
_F64: Final = struct.Struct(">d").unpack_from


class _Items:
    """The token that stands for the outer array's list of items."""


class PickleStream:
    """Reads the pickle of one array of ``shape`` between two offsets (bytes) of a file.

    Use once: :meth:`blocks`.
    """

    def __init__(self, source: Bytes, start: int, shape: tuple[int, ...]) -> None:
        self._cursor = Cursor(source, start, source.size)
        self._shape = shape
        self._count = math.prod(shape)
        self._outer = Array()
        self._items: _Items | None = None
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo = Memo(source)
        self._in_batch = False
        self._replaying = False
        self._given = 0
        self._held = 0
        self._only_texts = True
        self._block_start = start
        self._ready: list[Any] = []
        self._ready_start = start
        self._wrapped: tuple[Any, ...] = ()
        self._wraps = 0

    def blocks(self) -> Iterator[list[Any]]:
        """Yield the array's elements, flat and in C order, in blocks.

        Elements are ``str``, ``bytes`` (also what Python 2 called ``str``), numbers, None, lists, tuples,
        dicts and
        :class:`lib.scaffold.Array`.

        :raises SourceFault: the pickle is not one of plain data (Corrupt, Unsafe or NotText say how).
        :raises Unfinished: it ends too early.
        """
        if self._cursor.take(1) != b"\x80" or not 2 <= self._cursor.byte() <= 4:
            raise Corrupt("its data is not a pickle that numpy writes")
        opcode = 0
        while opcode != _STOP:
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
        texts = _texts(raws)
        self._stack += texts
        self._memo.near += texts
        self._cursor.advance(at)
        return at < len(window) and window[at] in _TEXT_OPCODES

    def _step(self, opcode: int) -> None:
        handler = _HANDLERS.get(opcode)
        if handler is None:
            raise Unsafe(f"its pickle has the opcode {bytes([opcode])!r}, which plain text never needs")
        handler(self)
        waiting = len(self._stack)
        if waiting + self._held > _OBJECTS_LIMIT:
            raise Unsafe("its pickle piles up millions of objects in one item")
        if self._in_batch:
            if waiting > self._count + _UNBUILT_LIMIT and len(self._marks) == 2:
                raise Corrupt("its pickle holds more items than its header says")
        elif self._items is None and self._cursor.position > self._block_start + _SCAFFOLD_LIMIT:
            raise Corrupt("its pickle is not that of an array")

    def _check_end(self) -> None:
        if (
            self._marks
            or len(self._stack) != 1
            or self._stack[0] is not self._outer
            or self._outer.shape is None
        ):
            raise Corrupt("its pickle is not that of one array")
        if self._given != self._count:
            raise Corrupt(f"its pickle holds {self._given:,} items, not as many as its header says")
        if self._cursor.position != self._cursor.end:
            raise Corrupt("it has bytes after its end")

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
        if len(self._marks) == 1:
            self._in_batch = False
        return values

    def _mark(self) -> None:
        if len(self._marks) >= _MARKS_LIMIT:
            raise Unsafe(f"its pickle nests deeper than {_MARKS_LIMIT}")
        at_items = self._items is not None and len(self._marks) == 1 and self._stack[-1:] == [self._items]
        self._marks.append(self._stack)
        self._stack = []
        if at_items:
            self._in_batch = True
            self._checkpoint()

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
        (value,) = self._pop(1)
        if self._stack[-1:] == [self._items] and self._given + 1 != self._count:
            # only a last batch of one item is written so
            raise Corrupt("its pickle fills the array in a way that numpy never does")
        self._extend([value])

    def _appends(self) -> None:
        self._extend(self._to_mark())

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1] if self._stack else None
        if type(target) is list:
            target.extend(values)
            self._held += len(values)
        elif target is self._items and target is not None and len(self._marks) == 1:
            self._give(values)
        else:
            raise Corrupt("its pickle appends to something that is no list")

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
        value = scaffold.reduced(*self._pop(2))
        if type(value) is Array and not self._stack and not self._marks:
            self._outer = value
        self._push(value)

    def _build(self) -> None:
        target, state = self._pop(2)
        if type(target) is DType:
            scaffold.build_dtype(target, state)
        elif type(target) is not Array:
            raise Unsafe("its pickle sets the state of something that is no array")
        elif target is self._outer:
            self._build_outer(state)
        else:
            scaffold.build_array(target, state)
        self._push(target)

    def _build_outer(self, state: Any) -> None:
        if self._items is None or self._marks or type(state) is not tuple or state[4:] != (self._items,):
            raise Corrupt("its pickle is not that of an array of objects")
        self._outer.shape = self._shape

    def _memoize(self, index: int | None) -> None:
        if not self._stack:
            raise Corrupt("its pickle remembers what it does not hold")
        self._memo.add(self._memo.next_index if index is None else index, self._stack[-1])

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

    def _frame(self) -> None:
        if _U64(self._cursor.take(8))[0] > self._cursor.end - self._cursor.position:
            raise Unfinished("it ends inside its data")


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise Corrupt("its pickle holds a text that is not UTF-8") from None


def _texts(raws: list[bytes]) -> list[str]:
    try:
        return list(map(bytes.decode, raws))
    except UnicodeDecodeError:  # lone surrogates, which pickle writes as they are, or no text at all
        return list(map(_text, raws))


_STOP: Final = ord(".")
_TEXT_OPCODES: Final = frozenset({0x58, 0x8C, 0x8D, 0x95, 0x65, 0x68, 0x6A})
_HANDLERS: Final[dict[int, Callable[[PickleStream], None]]] = {
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
    _STOP: lambda _: None,
}
