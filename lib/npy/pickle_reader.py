"""Object arrays: numpy's pickle read as data, as a stream of blocks, and never unpickled.

Items are handed out as they come, so memory holds a few of them, not the array.  What surrounds them is read
by :mod:`lib.npy.pickle_envelope`, the opcodes themselves by :mod:`lib.npy.pickle_opcodes`.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lib.encoded_text import EncodedText
from lib.errors import Corrupt, SidecarError, Unsafe
from lib.npy.buffer import WINDOW_BYTES, Cursor
from lib.npy.pickle_envelope import ITEM_MARKS, Envelope
from lib.npy.pickle_index import Index, Walk
from lib.npy.pickle_limits import Limits
from lib.npy.pickle_memo import Memo, Reference
from lib.npy.pickle_opcodes import APPEND, MARK
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
        self._count = math.prod(shape)
        self._given = 0
        # of the present batch: where it begins, with which item and number, and where its items begin
        self._batch_start, self._batch_first, self._batch_number = 0, 0, 0
        self._starts: array[int] | None = None
        self._cut_at = self._next_cut = 0

    def take_item_for_great(self, *, is_great: bool) -> None:
        """Keep texts encoded from here on, or no longer: the next elements belong to a great item."""
        self._machine.is_great = is_great

    def blocks(self) -> Iterator[list[Any]]:
        """Yield the array's elements, flat and in C order, in blocks.

        Elements are ``str``, ``bytes`` (also what Python 2 called ``str``), numbers, None, lists, tuples,
        dicts, and :class:`lib.npy.pickle_memo.Reference` for what is read again when it is needed.

        :raises SourceFault: the pickle is not one of plain data (Corrupt, Unsafe or NotText say how).
        :raises Unfinished: it ends too early.
        """
        envelope = self._envelope
        envelope.read_start()
        self._begin_items()
        try:
            while (opcode := envelope.read()) is not None:
                if envelope.items:
                    yield from self._end_of_batch(opcode)
                elif envelope.is_in_batch and self._count - self._given > 1:  # else it may be the last item
                    if opcode == MARK:
                        self._begin_batch()
                    else:
                        yield from self._cut()
        except Unsafe as error:
            if not error.is_size:
                raise
            yield from self._before(error)
        if self._given != self._count:
            raise Corrupt(f"its pickle holds {self._given:,} items, not as many as its header says")

    def _begin_items(self) -> None:
        # later items share the names of the envelope, which stays
        memo, sizes, position = self._machine.memo, self._sizes, self._cursor.position
        index = Index(sizes.index_step, limit_bytes=sizes.index_bytes)
        self._past = Past(self._cursor, memo, index, sizes.cache_bytes)
        self._machine.memo = Memo(memo.next_number, self._past)
        self._cut_at = self._kept_from = position
        self._kept_number = memo.next_number

    def _begin_batch(self) -> None:
        self._batch_start, self._batch_first = self._cursor.position, self._given
        self._batch_number, self._starts = self._machine.memo.next_number, None
        self._next_cut = self._sizes.block_bytes

    def _end_of_batch(self, opcode: int) -> Iterator[list[Any]]:
        items = self._envelope.items
        if opcode == APPEND and self._given + 1 < self._count:
            raise Corrupt("its pickle fills the array in a way that numpy never does")
        values = items.copy()
        items.clear()
        yield from self._give(values)
        self._starts = None

    def _cut(self) -> Iterator[list[Any]]:
        """Hand out the items that are certainly complete, if much was read since the last time."""
        machine, sizes = self._machine, self._sizes
        much = self._cursor.position - self._cut_at
        if much < self._next_cut and machine.held < sizes.great_bytes:
            return
        ready = len(machine.stack) - sizes.unfinished
        if ready > self._count - self._given + _MOST_UNFINISHED:
            raise Corrupt("its pickle holds more items than its header says")
        if self._starts is None and max(much, machine.held) < sizes.great_bytes:
            if ready > 0 and self._is_light(much / ready):
                yield from self._give(self._taken(ready))
                self._next_cut = sizes.block_bytes
            else:  # it is looked through again when it has doubled: in all, once or twice
                self._next_cut = min(2 * much, sizes.great_bytes)
            return
        self._starts = self._starts or self._starts_of_items()
        yield from self._give(self._taken(self._complete() - (self._given - self._batch_first)))

    def _is_light(self, average: float) -> bool:
        """Tell whether the values that would wait take little memory, from the bytes of one on average."""
        is_little = average * self._sizes.unfinished < self._sizes.great_bytes
        return is_little and _LIGHT.issuperset(map(type, self._machine.stack))

    def _starts_of_items(self) -> array[int]:
        """Look through the batch for where its items begin, and where it ends."""
        end = self._source.size
        walk = Walk(Cursor(self._source, self._batch_start, end), self._batch_number, in_batch=True)
        walk.run(end)
        return walk.offsets() + array("Q", [walk.position])

    def _complete(self) -> int:
        """Count the items of the batch that end at the cursor or before."""
        return max(bisect_right(self._starts or (), self._cursor.position) - 1, 0)

    def _taken(self, count: int) -> list[Any]:
        values = self._machine.stack[:count]
        del self._machine.stack[:count]
        return values

    def _give(self, values: list[Any]) -> Iterator[list[Any]]:
        self._cut_at = self._cursor.position
        if not values:
            return
        self._given += len(values)
        if self._given > self._count:
            raise Corrupt("its pickle holds more items than its header says")
        self._machine.release(self._read_of_next())
        self._forget()
        self._past.settle()
        yield values

    def _forget(self) -> None:
        """Forget old objects: all but those of the last megabyte, or of the last two."""
        memo, sizes = self._machine.memo, self._sizes
        size = self._cursor.position - self._kept_from
        count = memo.next_number - self._kept_number
        if size > sizes.kept_bytes or count > sizes.kept_objects:
            is_great = size > 2 * sizes.kept_bytes or count > 2 * sizes.kept_objects
            memo.forget(memo.next_number if is_great else self._kept_number)
            self._kept_from, self._kept_number = self._cursor.position, memo.next_number

    def _read_of_next(self) -> int:
        """Return how many bytes of the first item that is not complete were read."""
        place = self._given - self._batch_first
        if self._starts is None or place >= len(self._starts):
            return 0
        return max(self._cursor.position - self._starts[place], 0)

    def _before(self, error: Unsafe) -> Iterator[list[Any]]:
        """Hand out what stands before an item that is refused, and refuse it by its number, unless ..."""
        complete = self._given
        if self._count - self._given > 1:
            try:
                self._starts = self._starts or self._starts_of_items()
            except SidecarError:
                raise error from None
            complete = self._batch_first + self._complete()
        if self._limit is not None and complete >= self._limit > self._given:
            machine = self._machine
            # the items stand above the first marks, the last of them unfinished
            machine.stack = [*machine.marks, machine.stack][ITEM_MARKS]
            yield from self._give(self._taken(complete - self._given))
        number = complete // self._per_item + 1
        raise Unsafe(f"item {number}: {error.reason}", hint=error.hint)
