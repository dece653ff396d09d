"""The figures of a cache: how many outputs are blank, how many are distinct, and how long they are."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lib.encoded_text import Texts, characters_in, hash_of, is_blank, is_text
from lib.outcome import Figures

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

_COUNTED_LIMIT: Final = 1 << 21
_FEW_VALUES: Final = 1000
_LISTED_LIMIT: Final = 20
_BARS_LIMIT: Final = 20


@dataclass(frozen=True, slots=True)
class Overview:
    """What the summary of a page shows.

    ``lengths`` is a histogram in equal steps, from the shortest text to the longest.  ``blank`` has the
    numbers, from 1, of the first blank items; ``repeated`` those of the first items that repeat an earlier
    one and are not empty, of which there are ``repeated_count``.
    """

    figures: Figures
    lengths: tuple[int, ...] = ()
    blank: tuple[int, ...] = ()
    repeated: tuple[int, ...] = ()
    repeated_count: int = 0


class Statistics:
    """Counts items as they pass, in twelve bytes an item."""

    def __init__(self) -> None:
        self._records = 0
        self._blank = 0
        self._blank_items: list[int] = []
        self._hashes = array("q")
        self._lengths = array("I")

    def add(self, values: Sequence[Any]) -> None:
        """Count a block of plain values; a text of white space only is blank."""
        first = self._records + 1
        self._records += len(values)
        if isinstance(values, Texts):
            hashes, lengths, blank = map(hash, values), values.lengths, values.blank_count
        else:
            texts = [value for value in values if is_text(value)]
            hashes, lengths = map(_hash, values), list(map(characters_in, texts))
            blank = sum(map(is_blank, texts))
        if blank and len(self._blank_items) < _LISTED_LIMIT:
            numbers = [at for at, value in enumerate(values, first) if is_text(value) and is_blank(value)]
            self._blank_items += numbers[: _LISTED_LIMIT - len(self._blank_items)]
        self._blank += blank
        if self._records <= _COUNTED_LIMIT:
            # numpy takes numbers from an iterator in half the time that an array does
            self._hashes.frombytes(np.fromiter(hashes, np.int64, len(values)).tobytes())
            self._lengths.fromlist(lengths)

    def figures(self) -> Figures:
        """Return the counts so far."""
        records, blank = self._records, self._blank
        if records > _COUNTED_LIMIT:
            return Figures(records, blank, None, None, None)
        hashes = np.sort(np.frombuffer(self._hashes, dtype=np.int64))  # np.unique takes several times as long
        distinct = int(np.count_nonzero(hashes[1:] != hashes[:-1])) + bool(hashes.size)
        lengths = self._sorted_lengths()
        if not lengths.size:
            return Figures(records, blank, distinct, None, None)
        size, shortest, longest = lengths.size, int(lengths[0]), int(lengths[-1])
        median = (int(lengths[(size - 1) // 2]) + int(lengths[size // 2])) / 2
        ends = [1 << power for power in range(longest.bit_length() + 1)]
        return Figures(records, blank, distinct, median, longest, shortest, _counts(lengths, ends))

    def overview(self) -> Overview:
        """Return the counts so far, and which items they are about."""
        figures, blank = self.figures(), tuple(self._blank_items)
        if figures.distinct is None:
            return Overview(figures, blank=blank)
        return Overview(figures, _in_equal_steps(self._sorted_lengths()), blank, *self._repeated())

    def _sorted_lengths(self) -> npt.NDArray[np.uint32]:
        return np.sort(np.frombuffer(self._lengths, dtype=np.uint32))

    def _repeated(self) -> tuple[tuple[int, ...], int]:
        """Return the numbers of the first items that repeat an earlier one, and how many do."""
        hashes = np.frombuffer(self._hashes, dtype=np.int64)
        order = np.argsort(hashes, kind="stable")  # of equal ones, the first stays first
        hashes = hashes[order]
        repeated = order[1:][(hashes[1:] == hashes[:-1]) & (hashes[1:] != hash(""))]
        first = np.sort(repeated)[:_LISTED_LIMIT] + 1
        return tuple(first.tolist()), int(repeated.size)


def _hash(value: Any) -> int:
    """Return the hash of a plain value, in little memory; equal numbers of different types differ."""
    kind = type(value)
    if kind is str:
        return hash(value)
    if isinstance(value, bytes):
        return hash_of(value)
    if kind is dict:
        return hash((dict, _hash(list(value)), _hash(list(value.values()))))
    if kind is not list:
        return hash((kind, value))
    result = hash((list, len(value)))
    for start in range(0, len(value), _FEW_VALUES):
        result = hash((list, result, *map(_hash, value[start : start + _FEW_VALUES])))
    return result


def _in_equal_steps(lengths: npt.NDArray[np.uint32]) -> tuple[int, ...]:
    """Count sorted lengths in at most twenty steps of the same width."""
    if not lengths.size:
        return ()
    shortest, longest = int(lengths[0]), int(lengths[-1])
    width = (longest - shortest) // _BARS_LIMIT + 1
    return _counts(lengths, range(shortest + width, longest + width + 1, width))


def _counts(lengths: npt.NDArray[np.uint32], ends: Iterable[int]) -> tuple[int, ...]:
    """Count sorted lengths below the first end, from there to below the second, and so on."""
    below = lengths.searchsorted(np.fromiter(ends, np.uint32)).tolist()
    return tuple(stop - start for start, stop in zip([0, *below], below, strict=False))
