"""Objects that the memo has forgotten: each is found by its number and read again, by itself.

What a reference costs depends on the object alone, not on where it stands nor on what refers to what: an
index leads to its first opcode, and from there it is read to its end.  What it refers to in turn is a
:class:`lib.npy.pickle_memo.Reference`, read when it is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lib.encoded_text import text_from_pickle
from lib.errors import Corrupt, Unfinished
from lib.npy.buffer import Cursor
from lib.npy.pickle_globals import DType
from lib.npy.pickle_index import STEP_BYTES, Index, Walk
from lib.npy.pickle_interpreter import Interpreter
from lib.npy.pickle_memo import Memo, Reference
from lib.npy.pickle_opcodes import (
    APPENDS,
    BATCH,
    BUILD,
    FILLS,
    FIXED,
    FRAME,
    LONGEST_REFERENCE,
    MARK,
    SETITEMS,
    Limits,
    text_run,
)

if TYPE_CHECKING:
    from lib.encoded_text import Text

_WINDOW_BYTES: Final = 1 << 12
_UNNUMBERED: Final = {**FIXED, MARK: 0, APPENDS: 0, FRAME: 8}
"""Opcodes that may stand between texts and give no object a number, with the bytes of their argument."""


class Past:
    """Objects before a cursor, which now stands where the items of an array begin.

    ``envelope`` holds the objects that come before the items, which share its names.
    """

    def __init__(self, cursor: Cursor, envelope: Memo, index: Index, cache_bytes: int) -> None:
        self._cursor = cursor
        self._source = cursor.source
        self._envelope = envelope
        self._first = number = envelope.next_number
        self._index = index
        index.enter(number, cursor.position)
        self._walk = Walk(Cursor(cursor.source, cursor.position, cursor.end), number, index)
        self._end = cursor.position
        self._cache: dict[int, Any] = {}
        self._cached_bytes = 0
        self._cache_limit = cache_bytes

    def settle(self) -> None:
        """Take all items before the cursor for complete: one that refers to itself did not seem so before."""
        self._end = self._cursor.position

    def recall(self, number: int) -> Any:
        """Return a text that is at hand, or a reference to what else has this number."""
        if number < self._first:
            return self._envelope.get(number)
        self._end = self._cursor.position  # what is referred to is complete here
        value = self._cache.get(number)
        return value if type(value) is str else Reference(self, number)

    def load(self, number: int, *, keep_encoded: bool) -> Any:
        """Read an object again, whatever it is; a text may stay encoded.

        :raises SourceFault: it is not what it was, or too large.
        """
        value = self._cache.get(number)
        if value is None:
            value = self._small_text(number, keep_encoded=keep_encoded)
        return self._read_again(number) if value is None else value

    def _small_text(self, number: int, *, keep_encoded: bool = False) -> Text | None:
        """Return an object if it is a small text among texts, else None: it takes one short read."""
        if number >= self._walk.number:
            self._walk.run(self._end)
        offset, passed = self._index.before(number)
        data = self._source.read_at(offset, _WINDOW_BYTES)
        at, end = 0, len(data) - LONGEST_REFERENCE
        while at < end:
            raws, at = text_run(data, at, min(end, STEP_BYTES), end, passed)
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
        end = self._source.size
        self._walk.run(self._end)
        offset, passed = self._index.before(number)
        walk = Walk(Cursor(self._source, offset, end, window_bytes=_WINDOW_BYTES), passed)
        walk.run(end, number)
        start, first, _ = walk.starts[-1] if walk.starts else (0, -1, False)
        if first < 0 or walk.number != number + 1:
            raise Corrupt("its pickle refers to something that it does not hold")
        machine = Interpreter(
            Cursor(self._source, start, end, window_bytes=_WINDOW_BYTES), Memo(first, self), Limits()
        )
        try:
            value = self._whole(machine, number)
        except Unfinished:
            raise Corrupt("its pickle refers to something that it does not hold") from None
        size = machine.cursor.position - start + machine.held
        self._keep(number, value, size)
        return value

    def _whole(self, machine: Interpreter, number: int) -> Any:
        """Read on until the object is complete: its number alone does not make a list whole."""
        while machine.memo.next_number <= number:
            machine.step(machine.cursor.byte())
        value = machine.stack[-1]
        if id(value) in machine.unfilled:
            while machine.unfilled:
                machine.step(machine.cursor.byte())
            value = machine.stack[-1]  # an array without dimensions is its value
        elif type(value) is list or type(value) is dict:
            self._fill(machine, self._index.batches(number))
        elif type(value) is DType:
            opcode = 0
            while opcode != BUILD or machine.marks or len(machine.stack) > 1:
                opcode = machine.cursor.byte()
                machine.step(opcode)
        return value

    def _fill(self, machine: Interpreter, batches: int | None) -> None:
        filled = 0
        while batches is None or filled < batches:
            opcode, waiting = machine.cursor.byte(), len(machine.stack)
            machine.step(opcode)
            if opcode in FILLS and not machine.marks and len(machine.stack) == 1:
                filled += 1
                count = {APPENDS: waiting, SETITEMS: waiting // 2}.get(opcode, 1)
                if batches is None and count != BATCH:
                    return

    def _keep(self, number: int, value: Any, size: int) -> None:
        size += 100
        if size <= self._cache_limit // 4:
            if self._cached_bytes + size > self._cache_limit:
                self._cache.clear()
                self._cached_bytes = 0
            self._cache[number] = value
            self._cached_bytes += size
