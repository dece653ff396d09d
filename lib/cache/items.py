"""Converting the items that a caller saves to plain data: exactly the types that the reader understands.

Instances of subclasses become their base (``np.str_``, enumerations, ``OrderedDict``, named tuples), numpy's
scalars become Python's, arrays of numbers and texts stay arrays.  What is one object stays one object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lib.npy.values import ATOMS, DEPTH_LIMIT

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

_TO_BASE: Final[tuple[tuple[type, Callable[[Any], Any]], ...]] = (
    (str, str.__str__),
    (bytes, lambda value: b"".join([value])),
    (float, float.__float__),
    (int, int.__int__),
)
_NUMBERS_AND_TEXTS: Final = "biufUS"
_LARGEST_FLOAT_BYTES: Final = 8


def object_array(items: Iterable[Any], argument: str) -> Array:
    """Return items as plain data in an array of shape ``(n,)`` and ``dtype=object``.

    ``argument`` is the name for them in error messages.

    :raises TypeError: ``items`` is one text or a mapping, or an item is not plain data, contains itself, or
        nests deeper than 100.
    """
    if isinstance(items, (str, bytes, Mapping)):
        what = "one text" if isinstance(items, (str, bytes)) else "a mapping"
        raise TypeError(f"{argument} is {what}, not a list of items")
    if hasattr(items, "__array__") and not isinstance(items, np.ndarray):
        items = np.asarray(items, dtype=object)  # iterating over a DataFrame gives the names of its columns
    originals = list(items)
    converter = _ItemConverter()
    array = np.empty(len(originals), dtype=object)
    for position, item in enumerate(originals):
        # one by one: a list of lists of equal length would be taken for a second dimension
        array[position] = item if type(item) is str else converter.convert(item, f"{argument}[{position}]", 0)
    return array


class _ItemConverter:
    """Converts the items of one array, each object once."""

    def __init__(self) -> None:
        self._converted: dict[int, tuple[Any, Any]] = {}
        self._unfinished: set[int] = set()

    def convert(self, value: Any, place: str, depth: int) -> Any:
        if depth > DEPTH_LIMIT:
            raise TypeError(f"{place} nests deeper than {DEPTH_LIMIT}")
        if type(value) in ATOMS:
            return value
        known = self._converted.get(id(value))
        if known is None:
            if id(value) in self._unfinished:
                raise TypeError(f"{place} contains itself")
            self._unfinished.add(id(value))
            # the original is kept too, so that no other object gets its id
            known = value, self._new(value, place, depth + 1)
            self._converted[id(value)] = known
            self._unfinished.discard(id(value))
        return known[1]

    def _new(self, value: Any, place: str, depth: int) -> Any:
        for base, to_base in _TO_BASE:
            if isinstance(value, base):
                return to_base(value)
        if isinstance(value, list):
            return [self.convert(item, place, depth) for item in value]
        if isinstance(value, tuple):
            return tuple(self.convert(item, place, depth) for item in value)
        if isinstance(value, dict):
            return {
                self._key(key, place, depth): self.convert(item, place, depth) for key, item in value.items()
            }
        # a timedelta64 is an np.integer too
        if isinstance(value, np.generic) and value.dtype.kind in "biuf":
            return float(value) if isinstance(value, np.longdouble) else value.item()
        if isinstance(value, np.ndarray):
            return self._array(value, place, depth)
        raise TypeError(f"{place} holds an object of type {type(value).__name__}, which is not plain data")

    def _key(self, key: Any, place: str, depth: int) -> Any:
        converted = self.convert(key, place, depth)
        if type(converted) in ATOMS or type(converted) is tuple:
            return converted
        raise TypeError(f"{place} has a key of type {type(key).__name__}, which is not plain data")

    def _array(self, array: Array, place: str, depth: int) -> Any:
        kind, dtype = array.dtype.kind, array.dtype
        if kind in "OT":
            return self.convert(array.tolist(), place, depth)
        if kind not in _NUMBERS_AND_TEXTS:
            raise TypeError(f"{place} holds an array of {dtype}, which is not plain data")
        is_long = kind == "f" and dtype.itemsize > _LARGEST_FLOAT_BYTES
        if type(array) is np.ndarray and array.shape and not is_long and dtype.metadata is None:
            return array
        return self.convert(array.tolist(), place, depth)
