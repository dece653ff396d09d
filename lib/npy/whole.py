"""Reading an object array as a whole, as ``tolist`` gives it: what is one object stays one object."""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING, Any, Final

from lib.errors import Corrupt, Unsafe
from lib.npy.header import nest
from lib.npy.pickle_envelope import Envelope, read_texts
from lib.npy.pickle_globals import Array
from lib.npy.pickle_opcodes import TUPLE, UNLIMITED

if TYPE_CHECKING:
    from lib.npy.buffer import Bytes

_ATOMS: Final = frozenset({str, bytes, int, float, bool, type(None)})


def read_flat(source: Bytes, start: int, shape: tuple[int, ...]) -> list[Any]:
    """Return all elements, flat and in C order, for the array of ``shape`` whose pickle begins at ``start``.

    What is one object in the file is one object in memory.  Memory alone limits the size.

    :raises SourceFault: the pickle is not one of plain data (Corrupt, Unsafe or NotText say how).
    :raises Unfinished: it ends too early.
    """
    envelope = Envelope(source, start, shape, UNLIMITED)
    machine, cursor = envelope.machine, envelope.machine.cursor
    envelope.read_start()
    items: list[Any] = []
    machine.stack.append(items)
    while True:
        read_texts(machine)
        opcode = cursor.byte()
        if opcode == TUPLE and not machine.marks:
            break
        machine.step(opcode)
    if len(machine.stack) != 1 or len(items) != envelope.count:
        raise Corrupt(f"its pickle holds {len(items):,} items, not as many as its header says")
    envelope.read_end()
    return items


def settled(items: list[Any]) -> list[Any]:
    """Turn arrays inside items into lists, in place; what is one object stays one object.

    :raises Unsafe: an item holds itself.
    :raises Corrupt: an item holds something that is not data.
    """
    if not _ATOMS.issuperset(map(type, items)):
        _Settler().settle(items)
    return items


class _Settler:
    """One pass over everything, at any depth; ``_done`` maps each container, by identity, to its list."""

    def __init__(self) -> None:
        self._done: dict[int, Any] = {}
        self._open: set[int] = set()
        # as long as others may be compared with them
        self._kept: list[Any] = []

    def settle(self, items: list[Any]) -> None:
        """Settle a list, the parts of each container before itself."""
        waiting: list[Any] = [items]
        while waiting:
            value = waiting[-1]
            place = id(value)
            if place in self._open:
                waiting.pop()
                self._open.discard(place)
                self._finish(value, self._made(value))
                continue
            if place in self._done:
                waiting.pop()
                continue
            parts = [part for part in _parts(value) if type(part) not in _ATOMS]
            if any(id(part) in self._open or part is value for part in parts):
                raise Unsafe("an item holds itself")
            if parts or type(value) is Array:
                self._open.add(place)
                waiting += parts
            else:
                waiting.pop()
                self._finish(value, value)

    def _finish(self, value: Any, made: Any) -> None:
        self._done[id(value)] = made
        self._kept.append(value)

    def _made(self, value: Any) -> Any:
        """Return what a container becomes whose parts are settled."""
        done = self._done
        if type(value) is dict:
            for key, part in value.items():
                if type(part) not in _ATOMS:
                    value[key] = done[id(part)]
            return value
        if type(value) is tuple:
            made = tuple(part if type(part) in _ATOMS else done[id(part)] for part in value)
            return value if all(map(is_, made, value)) else made
        parts = value.items if type(value) is Array else value
        for position, part in enumerate(parts):
            if type(part) not in _ATOMS:
                parts[position] = done[id(part)]
        return nest(parts, value.shape or ()) if type(value) is Array else value


def _parts(value: Any) -> Any:
    if type(value) is list or type(value) is tuple:
        return value
    if type(value) is dict:
        return value.values()
    if type(value) is Array and value.shape is not None:
        return value.items
    raise Corrupt("its pickle holds a part of an array where an item should be")
