"""From what a pickle holds to what ``tolist`` gives: numpy's arrays inside items become lists, in place."""

from __future__ import annotations

from typing import Any, Final

from lib.errors import Corrupt, Unsafe
from lib.npy.header import nest
from lib.npy.pickle_globals import Array

_ATOMS: Final = frozenset({str, bytes, int, float, bool, type(None)})


def settled(items: list[Any]) -> list[Any]:
    """Turn arrays inside items into lists, in place; what is one object stays one object.

    :raises Unsafe: an item holds itself, or nests too deep.
    :raises Corrupt: an item holds something that is no data.
    """
    if _ATOMS.issuperset(map(type, items)):
        return items
    try:
        return _Settler().settle(items)  # type: ignore[no-any-return]  # a list stays itself
    except RecursionError:
        raise Unsafe("an item nests too deep") from None


class _Settler:
    """One pass over everything; ``_done`` is what became of each container, by its identity."""

    def __init__(self) -> None:
        self._done: dict[int, Any] = {}
        self._kept: list[Any] = []
        self._open: set[int] = set()

    def settle(self, value: Any) -> Any:
        kind = type(value)
        if kind in _ATOMS:
            return value
        place = id(value)
        if place in self._done:
            return self._done[place]
        if place in self._open:
            raise Unsafe("an item holds itself")
        self._open.add(place)
        self._done[place] = made = self._made(kind, value)
        self._kept.append(value)  # as long as others may be compared with it
        self._open.remove(place)
        return made

    def _made(self, kind: type, value: Any) -> Any:
        if kind is list:
            self._settle_list(value)
            return value
        if kind is dict:
            for key, item in value.items():
                if type(item) not in _ATOMS:
                    value[key] = self.settle(item)
            return value
        if kind is tuple:
            if _ATOMS.issuperset(map(type, value)):
                return value
            parts = list(value)
            self._settle_list(parts)
            return value if all(map(_is, parts, value)) else tuple(parts)
        if kind is Array and value.shape is not None:
            self._settle_list(value.items)
            return nest(value.items, value.shape)
        raise Corrupt("its pickle holds a part of an array where an item should be")

    def _settle_list(self, values: list[Any]) -> None:
        if not _ATOMS.issuperset(map(type, values)):
            for position, item in enumerate(values):
                if type(item) not in _ATOMS:
                    values[position] = self.settle(item)


def _is(one: Any, other: Any) -> bool:
    return one is other
