"""A pickle's memo, which forgets what was handed out and reads it again when it is asked for.

Pickle numbers its objects in the order in which it writes them, so a few checkpoints (first number, offset)
tell in which block of the file a number stands.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NoReturn

from lib.errors import Corrupt, Unsafe

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.npy.buffer import Bytes

_CACHE_BYTES: Final = 32 << 20
_DEPTH_LIMIT: Final = 32
_READ_AGAIN_LIMIT: Final = 16 << 30
_FREE_STEPS: Final = 4_000_000
"""So many opcodes other than texts, and one for each byte of the file, may be interpreted a second time."""


class Memo:
    """Objects by number; ``near`` holds those since the last checkpoint, counted from ``near_base``."""

    def __init__(self, source: Bytes, near_base: int = 0, far: _Far | None = None, depth: int = 0) -> None:
        self.near: list[Any] = []
        self._source = source
        self._near_base = near_base
        self._far = far or _Far()
        self._depth = depth

    @property
    def next_index(self) -> int:
        """The number that the next object gets."""
        return self._near_base + len(self.near)

    def add(self, index: int, value: Any) -> None:
        """Remember an object under its number.

        :raises Corrupt: it is not the next number.
        """
        if index == 1 and not self.near and not self._near_base:
            # Python 2's cPickle counts from 1
            self._near_base = 1
        if index != self._near_base + len(self.near):
            _refuse()
        self.near.append(value)

    def checkpoint(self, offset: int) -> None:
        """Forget the objects since the last checkpoint; what follows ``offset`` can be read without them.

        The first time, what came before is the scaffold, which is kept: later items share its names.
        """
        if not self._far.offsets:
            self._far.scaffold, self._far.scaffold_base = self.near, self._near_base
        self._near_base += len(self.near)
        self.near = []
        self._far.starts.append(self._near_base)
        self._far.offsets.append(offset)

    def recall(self, index: int, replay: Callable[[Memo, int, int], list[Any]]) -> Any:
        """Find an object by its number, reading its block again if need be.

        :raises Corrupt: there is none.
        :raises Unsafe: finding it takes too much reading.
        """
        place = index - self._near_base
        if place >= len(self.near):
            _refuse()
        if place >= 0:
            return self.near[place]
        far = self._far
        if index < far.scaffold_base + len(far.scaffold):
            return far.scaffold[index - far.scaffold_base] if index >= far.scaffold_base else _refuse()
        block = bisect_right(far.starts, index) - 1
        if block < 0:
            _refuse()
        objects = far.cache.get(block)
        if objects is None:
            objects = self._read_again(block, replay)
        place = index - far.starts[block]
        return objects[place] if place < len(objects) else _refuse()

    def charge(self, steps: int) -> None:
        """Count opcodes that were interpreted again: texts are quick, anything else takes a microsecond.

        :raises Unsafe: they are too many.
        """
        self._far.steps += steps
        if self._far.steps > _FREE_STEPS + self._source.size:
            _too_far()

    def _read_again(self, block: int, replay: Callable[[Memo, int, int], list[Any]]) -> list[Any]:
        # it is never the last block: the memo's own objects begin where that one begins, or before
        far, (start, end) = self._far, self._far.offsets[block : block + 2]
        far.read_again += end - start
        if self._depth >= _DEPTH_LIMIT or far.read_again > _READ_AGAIN_LIMIT:
            _too_far()
        objects = replay(Memo(self._source, far.starts[block], far, self._depth + 1), start, end)
        far.keep(block, objects, end - start)
        return objects


class _Far:
    """What is known of forgotten objects: the checkpoints, the scaffold, and a few blocks read again."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.offsets: list[int] = []
        self.scaffold: list[Any] = []
        self.scaffold_base = 0
        self.cache: OrderedDict[int, list[Any]] = OrderedDict()
        self.read_again = 0
        self.steps = 0
        self._sizes: dict[int, int] = {}

    def keep(self, block: int, objects: list[Any], size: int) -> None:
        """Keep a block's objects; the oldest blocks make room."""
        self.cache[block] = objects
        self._sizes[block] = size
        while sum(self._sizes.values()) > _CACHE_BYTES and len(self.cache) > 1:
            oldest, _ = self.cache.popitem(last=False)
            del self._sizes[oldest]


def _too_far() -> NoReturn:
    raise Unsafe("its pickle refers back and forth without end")


def _refuse() -> NoReturn:
    raise Corrupt("its pickle refers to something that it does not hold")
