"""Objects that the memo has forgotten: each is found by its number and read again.

The cost of a reference depends on the size of the object alone: an index leads to its first opcode, and from
there it is read to its end.  What it refers to in turn is a :class:`lib.npy.pickle_memo.Reference`, read when
it is needed.
"""

from __future__ import annotations

from sys import getsizeof
from typing import Any, Final

from lib.encoded_text import Text, text_from_pickle
from lib.errors import Corrupt, Unfinished
from lib.npy import pickle_opcodes as op
from lib.npy.buffer import Cursor
from lib.npy.pickle_globals import DType
from lib.npy.pickle_index import UNKNOWN, Index, Walk
from lib.npy.pickle_interpreter import Interpreter
from lib.npy.pickle_memo import Memo, Reference

_WINDOW_BYTES: Final = 1 << 12
_UNNUMBERED: Final = {**op.FIXED, op.MARK: 0, op.APPENDS: 0, op.FRAME: 8}
"""Opcodes between texts that number no object, with the bytes of their argument."""


class Past:
    """The objects before a cursor, made when that stands at the first item of an array.

    ``envelope`` holds the objects before the items, which may refer to them.
    """

    def __init__(self, cursor: Cursor, envelope: Memo, index: Index, cache_bytes: int) -> None:
        self._cursor = cursor
        self._source = cursor.source
        self._envelope = envelope
        self._first = number = envelope.next_number
        self._index = index
        self._begin = cursor.position
        index.enter(number, cursor.position)
        self._walk = Walk(Cursor(cursor.source, cursor.position), number, index)
        self._end = cursor.position
        self._cache: dict[int, Any] = {}
        self._cached_bytes = 0
        self._cache_limit = cache_bytes

    def settle(self) -> None:
        """Record that all items before the cursor are complete, also one that refers to itself."""
        self._end = self._cursor.position

    def recall(self, number: int) -> Any:
        """Return an object if it is a text in the cache, else a reference to it."""
        if number < self._first:
            return self._envelope.get(number)
        self._end = self._cursor.position  # what is referred to is complete here
        value = self._cache.get(number)
        return value if type(value) is str else Reference(self, number)

    def load(self, number: int, *, keep_encoded: bool) -> Any:
        """Return an object, read again unless it is in the cache; a text may stay encoded.

        :raises SourceFault: it cannot be found, or is too large.
        """
        value = self._cache.get(number)
        if value is None:
            value = self._small_text(number, keep_encoded=keep_encoded)
        return self._read_again(number) if value is None else value

    def _small_text(self, number: int, *, keep_encoded: bool) -> Text | None:
        """Return an object by one short read if it is a small text among texts, else None."""
        if number >= self._walk.number:
            self._walk.run(self._end)
        offset, passed = self._index.before(number)
        data = self._source.read_at(offset, _WINDOW_BYTES)
        at, end = 0, len(data) - op.LONGEST_REFERENCE
        while at < end:
            raws, at = op.text_run(data, at, min(end, self._index.step), end, passed)
            passed += len(raws)
            if passed > number:
                raw = raws[number - passed]
                text = text_from_pickle(raw, is_great=keep_encoded)
                self._keep(number, text, len(raw))
                return text
            opcode = data[at]
            if opcode not in _UNNUMBERED:
                return None
            at += 1 + _UNNUMBERED[opcode]
        return None

    def _read_again(self, number: int) -> Any:
        self._walk.run(self._end)
        start, first = self._start_of(number)
        interpreter = Interpreter(self._cursor_at(start), Memo(first, self))
        try:
            value = self._whole(interpreter, number)
        except Unfinished:
            raise Corrupt("its pickle refers to something that it does not hold") from None
        size = interpreter.cursor.position - start + interpreter.held
        self._keep(number, value, size)
        return value

    def _start_of(self, number: int) -> tuple[int, int]:
        """Find where an object begins, and the memo's next number there.

        Its parts may have lower numbers and stand before the place where it got its own: the pass over it
        begins further and further before.
        """
        steps, position = 0, self._source.size
        while position > self._begin:
            position, passed = self._index.before(number, steps)
            walk = Walk(self._cursor_at(position), passed)
            walk.run(last=number)
            start, first, _ = walk.starts[-1] if walk.starts else UNKNOWN
            if first >= 0 and walk.number == number + 1:
                return start, first
            steps = 2 * steps + 1
        raise Corrupt("its pickle refers to something that it does not hold")

    def _cursor_at(self, position: int) -> Cursor:
        return Cursor(self._source, position, _WINDOW_BYTES)

    def _whole(self, interpreter: Interpreter, number: int) -> Any:
        """Read on until an object is complete: a list, dict or array gets its number before it is filled."""
        while interpreter.memo.next_number <= number:
            interpreter.step(interpreter.cursor.byte())
        value = interpreter.stack[-1]
        if id(value) in interpreter.unfilled:
            while interpreter.unfilled:
                interpreter.step(interpreter.cursor.byte())
            value = interpreter.stack[-1]  # an array without dimensions is its value
        elif type(value) is list or type(value) is dict:
            self._fill(interpreter, self._index.batches(number))
        elif type(value) is DType:
            opcode = 0
            while opcode != op.BUILD or interpreter.marks or len(interpreter.stack) > 1:
                opcode = interpreter.cursor.byte()
                interpreter.step(opcode)
        return value

    def _fill(self, interpreter: Interpreter, batches: int | None) -> None:
        """Read the batches of a list or dict; None: all up to the first that is not whole."""
        filled = 0
        while batches is None or filled < batches:
            opcode, waiting = interpreter.cursor.byte(), len(interpreter.stack)
            interpreter.step(opcode)
            if opcode in op.FILLS and not interpreter.marks and len(interpreter.stack) == 1:
                filled += 1
                count = {op.APPENDS: waiting, op.SETITEMS: waiting // 2}.get(opcode, 1)
                if batches is None and count != op.BATCH:
                    return

    def _keep(self, number: int, value: Any, size: int) -> None:
        """Put an object into the cache unless it is large; reading it took ``size`` bytes."""
        most = self._cache_limit // 4
        if size > most:  # it may take less: a dictionary can be filled again and again under one key
            size = _memory_of(value, most)
        size += 100
        if size <= most:
            if self._cached_bytes + size > self._cache_limit:
                self._cache.clear()
                self._cached_bytes = 0
            self._cache[number] = value
            self._cached_bytes += size


def _memory_of(value: Any, most: int) -> int:
    """Return the bytes of memory that a value takes, counted until they are more than ``most``."""
    size, waiting = 0, [value]
    while waiting:
        part = waiting.pop()
        size += getsizeof(part)
        if size > most:
            break
        if type(part) is dict:
            waiting += [*part, *part.values()]
        elif type(part) is list or type(part) is tuple:
            waiting += part
    return size
