"""Reading an object array as a whole, as ``tolist`` gives it: what is one object stays one object."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from lib.errors import Corrupt, Unsafe
from lib.npy.pickle_envelope import Envelope
from lib.npy.pickle_limits import UNLIMITED

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
    envelope.read_start()
    while envelope.read() is not None:
        pass
    items = envelope.items
    if len(items) != math.prod(shape):
        raise Corrupt(f"its pickle holds {len(items):,} items, not as many as its header says")
    _check(items)
    return items


def _check(items: list[Any]) -> None:
    """Look at all values, at any depth.

    :raises Unsafe: an item holds itself.
    :raises Corrupt: an item holds something that is not data.
    """
    if _ATOMS.issuperset(map(type, items)):
        return
    seen: set[int] = set()
    within: set[int] = set()
    path = [(items, iter(items))]
    while path:
        for part in path[-1][1]:
            place = id(part)
            if type(part) in _ATOMS or place in seen:
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
