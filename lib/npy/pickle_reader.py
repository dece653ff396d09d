"""Object arrays: numpy's pickle read as data and never unpickled, as a stream of blocks or as a whole.

A stream hands out items as they are read, so that memory holds few of them.  What surrounds the items is read
by :mod:`lib.npy.pickle_envelope`, the opcodes by :mod:`lib.npy.pickle_interpreter`.
"""

from __future__ import annotations

import math
import sys
from array import array
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lib.encoded_text import EncodedText, decoded
from lib.errors import Corrupt, SidecarError, TooLarge, Unsafe
from lib.npy.buffer import WINDOW_BYTES, Bytes, Cursor
from lib.npy.pickle_envelope import ITEM_MARKS, Envelope
from lib.npy.pickle_index import Index, Walk
from lib.npy.pickle_memo import Memo, Reference
from lib.npy.pickle_opcodes import APPEND, MARK, UNLIMITED
from lib.npy.pickle_past import Past
from lib.npy.values import ATOMS

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_UNFINISHED: Final = 600
"""More values than these wait, besides items, only where data nests deeper than 100 levels."""
_INDEX_ENTRIES: Final = 1 << 22
"""They take 64 MiB."""
_LIGHT: Final = frozenset({str, EncodedText, int, float, bool, type(None), Reference})


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much a stream keeps in memory: what is faster with more, and tested with less."""

    block_bytes: int = WINDOW_BYTES
    """Items are handed out once this many bytes were read."""
    great_bytes: int = 4 << 20
    """Beyond, a batch is looked through for where its items begin, so that each can be handed out."""
    unfinished: int = 320
    """Values on the stack that may be parts of an unfinished one, while it is not known where items begin."""
    kept_bytes: int = 1 << 20
    """References to objects in the last bytes, this many, cost nothing."""
    kept_objects: int = 1 << 16
    index_step: int = 256
    """Bytes between two entries of the index; more in a file of gigabytes."""
    cache_bytes: int = 8 << 20


class _Batch:
    """A batch of the array's items that is being read; it begins where the cursor stands.

    ``first`` is the place of its first item in the array, ``number`` the memo's next number.  ``starts`` has
    the place in the file at which each of its items begins, once it was looked for.
    """

    def __init__(self, cursor: Cursor, first: int, number: int) -> None:
        self._source, self._start = cursor.source, cursor.position
        self._first, self._number = first, number
        self.starts: array[int] = array("Q")

    def find_starts(self, end: int = sys.maxsize) -> None:
        """Find out, by a pass over the batch, where its items begin: all of them, or those before ``end``.

        :raises SidecarError: it does not come to an end.
        """
        if not self.starts:
            cursor = Cursor(self._source, self._start)
            walk = Walk(cursor, self._number, in_batch=True)
            walk.run(end)
            self.starts = walk.offsets() + array("Q", [cursor.position])

    def complete(self, position: int) -> int:
        """Count the array's items up to the last one that ends before a position."""
        return self._first + max(bisect_right(self.starts, position) - 1, 0)

    def bytes_read(self, item: int, position: int) -> int:
        """Return how many bytes of an item stand before a position; 0 if that is not known."""
        place = item - self._first
        return max(position - self.starts[place], 0) if place < len(self.starts) else 0


class ItemStream:
    """Reads the pickle of one array of ``shape`` from an offset (bytes) to the end of a file.

    Use once: :meth:`blocks`.  With ``limit``, what is wrong after that many elements does not matter.

    :raises SourceFault: this is not the pickle of such an array.
    :raises Unfinished: it ends too early.
    """

    def __init__(
        self,
        source: Bytes,
        start: int,
        shape: tuple[int, ...],
        limit: int | None = None,
        sizes: Sizes = Sizes(),
    ) -> None:
        self._count, self._per_item = math.prod(shape), max(math.prod(shape[1:]), 1)
        self._limit = limit
        self._sizes = sizes
        self._given = 0
        self._envelope = Envelope(source, start, shape)
        self._interpreter = self._envelope.interpreter
        self._cursor = self._interpreter.cursor
        memo, position = self._interpreter.memo, self._cursor.position
        index = Index(max(sizes.index_step, source.size // _INDEX_ENTRIES))
        self._past = Past(self._cursor, memo, index, sizes.cache_bytes)
        self._interpreter.memo = Memo(memo.next_number, self._past)
        self._block_start, self._enough = position, sizes.block_bytes
        self._kept = (position, memo.next_number)
        self._batch = self._new_batch()

    def expect_great_item(self, *, is_great: bool) -> None:
        """Set whether the next elements belong to a great item, whose texts stay encoded."""
        self._interpreter.is_great = is_great

    def blocks(self) -> Iterator[list[Any]]:
        """Yield the array's elements, flat and in C order, in blocks.

        Elements are ``str``, ``bytes`` (also what Python 2 called ``str``), numbers, None, lists, tuples,
        dicts, and :class:`lib.npy.pickle_memo.Reference` for what is read again when it is needed.

        :raises SourceFault: the pickle is not one of plain data (Corrupt, Unsafe or NotText say how).
        :raises Unfinished: it ends too early.
        """
        envelope = self._envelope
        try:
            while (opcode := envelope.read()) is not None:
                if items := envelope.items:
                    if opcode == APPEND and self._given + 1 < self._count:
                        raise Corrupt("its pickle fills the array in a way that numpy never does")
                    yield self._taken(items, len(items))
                elif envelope.is_in_batch and self._count - self._given > 1:  # else it may be the last item
                    if opcode == MARK:
                        self._batch, self._enough = self._new_batch(), self._sizes.block_bytes
                    elif ready := self._ready():
                        yield self._taken(self._interpreter.stack, ready)
        except TooLarge as error:
            yield from self._items_before(error)
        if self._given != self._count:
            raise Corrupt(f"its pickle holds {self._given:,} items, not as many as its header says")

    def _new_batch(self) -> _Batch:
        return _Batch(self._cursor, self._given, self._interpreter.memo.next_number)

    def _ready(self) -> int:
        """Count the items on the stack that are certainly complete; 0 until enough was read for a block."""
        interpreter, sizes = self._interpreter, self._sizes
        much = self._cursor.position - self._block_start
        if much < self._enough and interpreter.held < sizes.great_bytes:
            return 0
        waiting = len(interpreter.stack) - sizes.unfinished
        if waiting > self._count - self._given + _MOST_UNFINISHED:
            raise Corrupt("its pickle holds more items than its header says")
        if self._batch.starts or max(much, interpreter.held) >= sizes.great_bytes:
            self._batch.find_starts()
            self._block_start = self._cursor.position
            return self._batch.complete(self._cursor.position) - self._given
        if waiting > 0 and self._is_light(much / waiting):
            self._enough = sizes.block_bytes
            return waiting
        # the next try is when it has doubled, so that there are few
        self._enough = min(2 * much, sizes.great_bytes)
        return 0

    def _is_light(self, average: float) -> bool:
        """Tell whether the values that stay on the stack take little memory, if they are of average size."""
        is_little = average * self._sizes.unfinished < self._sizes.great_bytes
        return is_little and _LIGHT.issuperset(map(type, self._interpreter.stack))

    def _taken(self, waiting: list[Any], count: int) -> list[Any]:
        """Take the first ``count`` of the items that wait, as a block."""
        position = self._block_start = self._cursor.position
        self._given += count
        if self._given > self._count:
            raise Corrupt("its pickle holds more items than its header says")
        block = waiting[:count]
        del waiting[:count]
        self._interpreter.release(self._batch.bytes_read(self._given, position))
        self._forget()
        self._past.settle()
        return block

    def _forget(self) -> None:
        """Forget old objects: all but those of the last megabyte, or of the last two."""
        memo, sizes = self._interpreter.memo, self._sizes
        position, number = self._kept
        size = max(
            (self._cursor.position - position) / sizes.kept_bytes,
            (memo.next_number - number) / sizes.kept_objects,
        )
        if size > 1:
            memo.forget(memo.next_number if size > 2 else number)
            self._kept = (self._cursor.position, memo.next_number)

    def _items_before(self, error: TooLarge) -> Iterator[list[Any]]:
        """Yield the items before one that is too large, if the limit ends before it, and raise the error."""
        complete, position = self._given, self._cursor.position
        if self._count - self._given > 1:
            try:
                self._batch.find_starts(position)
            except SidecarError:
                raise error from None
            complete = self._batch.complete(position - 1)
        if self._limit is not None and complete >= self._limit > self._given:
            # the items stand above the first marks, the last of them unfinished
            waiting = [*self._interpreter.marks, self._interpreter.stack][ITEM_MARKS]
            yield self._taken(waiting, complete - self._given)
        raise error.of_item(complete // self._per_item + 1)


def read_flat(source: Bytes, start: int, shape: tuple[int, ...]) -> list[Any]:
    """Return all elements, flat and in C order, of the array of ``shape`` whose pickle begins at ``start``.

    What is one object in the file is one object in memory.  Only memory limits the size.  What Python 2
    called ``str`` is text.

    :raises SourceFault: the pickle is not one of plain data (Corrupt, Unsafe or NotText say how).
    :raises Unfinished: it ends too early.
    """
    envelope = Envelope(source, start, shape, UNLIMITED)
    while envelope.read() is not None:
        pass
    items = envelope.items
    if len(items) != math.prod(shape):
        raise Corrupt(f"its pickle holds {len(items):,} items, not as many as its header says")
    if not ATOMS.issuperset(map(type, items)):
        _check(items)
    if texts := envelope.interpreter.python_2_texts:
        done: dict[int, Any] = {id(text): decoded(text) for text in texts}
        items = [_with_texts(item, done) for item in items]
    return items


def _with_texts(value: Any, done: dict[int, Any]) -> Any:
    """Return a value with the results in ``done``, by the ids of the originals, at any depth.

    :raises Unsafe: it nests too deep.
    """
    place = id(value)
    if place in done or type(value) not in {list, tuple, dict}:
        return done.get(place, value)
    try:
        if type(value) is tuple:
            done[place] = tuple([_with_texts(part, done) for part in value])
        else:
            done[place] = value
            if type(value) is list:
                value[:] = [_with_texts(part, done) for part in value]
            else:
                pairs = [(_with_texts(key, done), _with_texts(part, done)) for key, part in value.items()]
                value.clear()
                value.update(pairs)
    except RecursionError as error:
        raise Unsafe("an item nests too deep for a file of Python 2") from error
    return done[place]


def _check(items: list[Any]) -> None:
    """Check all values, at any depth.

    :raises Unsafe: an item holds itself.
    :raises Corrupt: an item holds something that is not data.
    """
    seen: set[int] = set()
    within: set[int] = set()
    path = [(items, iter(items))]
    while path:
        for part in path[-1][1]:
            place = id(part)
            if type(part) in ATOMS or place in seen:
                continue
            if place in within:
                raise Unsafe("an item holds itself")
            within.add(place)
            path.append((part, iter(_parts(part))))
            break
        else:
            place = id(path.pop()[0])
            within.discard(place)
            seen.add(place)


def _parts(value: Any) -> Any:
    if type(value) is list or type(value) is tuple:
        return value
    if type(value) is dict:
        return value.values()
    raise Corrupt("its pickle holds a part of an array where an item should be")
