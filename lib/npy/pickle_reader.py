"""Object arrays: numpy's pickle read as data, as a stream of blocks, and never unpickled.

Items are handed out as they come, so memory holds a few of them, not the array.  What surrounds them is read
by :mod:`lib.npy.pickle_envelope`, the opcodes themselves by :mod:`lib.npy.pickle_opcodes`.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lib.encoded_text import EncodedText, is_text
from lib.errors import Corrupt, SidecarError, Unsafe
from lib.npy.buffer import WINDOW_BYTES, Cursor
from lib.npy.pickle_envelope import Envelope, read_texts
from lib.npy.pickle_index import Index, Walk
from lib.npy.pickle_memo import Memo, Reference
from lib.npy.pickle_opcodes import (
    APPEND,
    APPENDS,
    MARK,
    TUPLE,
    Limits,
)
from lib.npy.pickle_past import Past

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lib.npy.buffer import Bytes

_MOST_UNFINISHED: Final = 600
"""More values than items wait on the stack only where data nests deeper than 100 levels."""
_LIGHT: Final = frozenset({str, EncodedText, int, float, bool, type(None), Reference})


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much a stream has in memory: what is faster with more, and tested with less."""

    block_bytes: int = WINDOW_BYTES
    """Items are handed out when they were read from this many bytes."""
    great_bytes: int = 4 << 20
    """Above, a batch is looked through for where its items begin, so that each can be handed out."""
    unfinished: int = 320
    """Values on the stack that may yet become part of another, as long as that is not known."""
    kept_bytes: int = 1 << 20
    """Objects that were read from this many bytes can be referred to at no cost."""
    kept_objects: int = 1 << 16
    index_step: int = 8
    index_bytes: int = 64 << 20
    cache_bytes: int = 8 << 20


class ItemStream:
    """Reads the pickle of one array of ``shape`` from an offset (bytes) to the end of a file.

    Use once: :meth:`blocks`.  With ``limit``, what is wrong after that many elements does not matter.
    """

    def __init__(
        self,
        source: Bytes,
        start: int,
        shape: tuple[int, ...],
        limit: int | None = None,
        sizes: Sizes = Sizes(),
    ) -> None:
        self._source = source
        self._envelope = Envelope(source, start, shape, Limits())
        self._machine = self._envelope.machine
        self._cursor = self._machine.cursor
        self._limit = limit
        self._per_item = max(math.prod(shape[1:]), 1)
        self._sizes = sizes
        self._count = self._envelope.count
        self._given = 0
        # of the present batch: where it begins, with which item and number, and where its items begin
        self._batch_start, self._batch_first, self._batch_number = 0, 0, 0
        self._starts: array[int] | None = None
        self._cut_at = self._next_cut = 0
        self._trail: deque[tuple[int, int, int]] = deque()

    def take_item_for_great(self, *, is_great: bool) -> None:
        """Keep texts encoded from here on, or no longer: the next elements belong to a great item."""
        self._machine.is_great = is_great

    def blocks(self) -> Iterator[list[Any]]:
        """Yield the array's elements, flat and in C order, in blocks.

        Elements are ``str``, ``bytes`` (also what Python 2 called ``str``), numbers, None, lists, tuples,
        dicts, :class:`lib.npy.pickle_globals.Array`, and :class:`lib.npy.pickle_memo.Reference` for what is
        read again when it is needed.

        :raises SourceFault: the pickle is not one of plain data (Corrupt, Unsafe or NotText say how).
        :raises Unfinished: it ends too early.
        """
        self._envelope.read_start()
        self._begin_items()
        while self._given < self._count:
            yield from self._batch() if self._count - self._given > 1 else self._last_item()
        if self._envelope.next_opcode() != TUPLE:
            raise Corrupt("its pickle holds more items than its header says")
        self._envelope.read_end()

    def _begin_items(self) -> None:
        # later items share the names of the envelope, which stays
        memo, sizes, position = self._machine.memo, self._sizes, self._cursor.position
        index = Index(sizes.index_step, limit_bytes=sizes.index_bytes)
        self._past = Past(self._source, position, memo, index, sizes.cache_bytes)
        self._machine.memo = Memo(memo.next_number, self._past)
        self._cut_at = position

    def _batch(self) -> Iterator[list[Any]]:
        """Read a batch, handing out what is complete whenever that is much."""
        machine, cursor, sizes = self._machine, self._cursor, self._sizes
        opcode = self._envelope.next_opcode()
        if opcode != MARK:
            if opcode == TUPLE:
                raise Corrupt(f"its pickle holds {self._given:,} items, not as many as its header says")
            raise Corrupt("its pickle fills the array in a way that numpy never does")
        self._batch_start, self._batch_first = cursor.position, self._given
        self._batch_number, self._starts = machine.memo.next_number, None
        self._next_cut = sizes.block_bytes
        try:
            while True:
                if not machine.marks:
                    read_texts(machine)
                    much = cursor.position - self._cut_at
                    if much >= self._next_cut or machine.held >= sizes.great_bytes:
                        yield from self._cut(much)
                opcode = cursor.byte()
                if opcode == APPENDS and not machine.marks:
                    break
                machine.step(opcode)
        except Unsafe as error:
            if not error.is_size:
                raise
            yield from self._before(error)
        yield from self._give(len(machine.stack))
        self._starts = None

    def _last_item(self) -> Iterator[list[Any]]:
        """Read the last item, which may stand alone: its parts are not taken for items."""
        machine, cursor = self._machine, self._cursor
        try:
            while True:
                opcode = cursor.byte()
                alone = opcode == APPEND and not machine.marks
                if (alone or (opcode == APPENDS and machine.marks == [[]])) and len(machine.stack) == 1:
                    break
                if opcode == TUPLE and not machine.marks:
                    raise Corrupt(f"its pickle holds {self._given:,} items, not as many as its header says")
                machine.step(opcode)
        except Unsafe as error:
            if not error.is_size:
                raise
            raise self._named(error, self._given) from None
        machine.marks = []
        yield from self._give(1)

    def _cut(self, much: int) -> Iterator[list[Any]]:
        """Hand out the items that are certainly complete."""
        machine, sizes = self._machine, self._sizes
        waiting = len(machine.stack)
        if waiting > self._count - self._given + _MOST_UNFINISHED:
            raise Corrupt("its pickle holds more items than its header says")
        if self._starts is None:
            is_great = much >= sizes.great_bytes or machine.held >= sizes.great_bytes
            if waiting > sizes.unfinished and not is_great and self._is_light(machine.stack):
                yield from self._give(waiting - sizes.unfinished)
                self._next_cut = sizes.block_bytes
            elif not is_great:  # it is looked through again when it has doubled: in all, once or twice
                self._next_cut = min(2 * much, sizes.great_bytes)
            if not is_great:
                return
            self._starts = self._starts_of_items()
        yield from self._give(self._complete() - (self._given - self._batch_first))

    def _is_light(self, values: list[Any]) -> bool:
        """Tell whether the values that would wait take little memory: few bytes of text, or none."""
        waiting = values[-self._sizes.unfinished :]
        kinds = set(map(type, values))
        if kinds != {str}:
            waiting = [value for value in waiting if is_text(value)]
        return kinds <= _LIGHT and sum(map(len, waiting)) < self._sizes.great_bytes

    def _starts_of_items(self) -> array[int]:
        """Look through the batch for where its items begin, and where it ends."""
        end = self._source.size
        walk = Walk(Cursor(self._source, self._batch_start, end), self._batch_number, in_batch=True)
        walk.run(end)
        return walk.offsets() + array("Q", [walk.position])

    def _complete(self) -> int:
        """Count the items of the batch that end at the cursor or before."""
        return max(bisect_right(self._starts or (), self._cursor.position) - 1, 0)

    def _give(self, count: int) -> Iterator[list[Any]]:
        machine, memo = self._machine, self._machine.memo
        values = machine.stack[:count]
        del machine.stack[:count]
        self._given += len(values)
        if self._given > self._count:
            raise Corrupt("its pickle holds more items than its header says")
        start, self._cut_at = self._cut_at, self._cursor.position
        if count:
            machine.release(self._read_of_next())
        self._trail.append((self._given + len(machine.stack), memo.next_number, start))
        while self._trail and self._trail[0][0] <= self._given and self._is_old(self._trail[0]):
            memo.forget(self._trail.popleft()[1])
            self._past.settle(self._cut_at)
        if values:
            yield values

    def _read_of_next(self) -> int:
        """Return how many bytes of the first item that is not complete were read."""
        place = self._given - self._batch_first
        if self._starts is None or place >= len(self._starts):
            return 0
        return max(self._cursor.position - self._starts[place], 0)

    def _is_old(self, cut: tuple[int, int, int]) -> bool:
        _, number, offset = cut
        sizes = self._sizes
        return (
            self._cursor.position - offset > sizes.kept_bytes
            or self._machine.memo.next_number - number > sizes.kept_objects
        )

    def _before(self, error: Unsafe) -> Iterator[list[Any]]:
        """Hand out what stands before an item that is refused, and refuse it by its number, unless ..."""
        try:
            self._starts = self._starts or self._starts_of_items()
        except SidecarError:
            raise error from None
        complete = self._batch_first + self._complete()
        if self._limit is not None and complete >= self._limit > self._given:
            machine = self._machine
            # below the first mark stand the items, the last of them unfinished
            machine.stack = machine.marks[0] if machine.marks else machine.stack
            yield from self._give(complete - self._given)
        raise self._named(error, complete)

    def _named(self, error: Unsafe, complete: int) -> Unsafe:
        number = complete // self._per_item + 1
        return Unsafe(f"item {number}: {error.reason}", hint=error.hint)
