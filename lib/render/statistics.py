"""What a researcher looks for first in a cache: how many outputs are blank, how many distinct, how long."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, Final

from lib.outcome import Figures

if TYPE_CHECKING:
    from collections.abc import Sequence

_COUNTED_LIMIT: Final = 1 << 21


class Statistics:
    """Counts items as they pass, in twelve bytes an item."""

    def __init__(self) -> None:
        self._records = 0
        self._blank = 0
        self._hashes = array("q")
        self._lengths = array("I")

    def add(self, values: Sequence[Any], *, all_text: bool) -> None:
        """Count a block of plain values; a text of white space only is blank."""
        self._records += len(values)
        texts = values if all_text else [value for value in values if type(value) is str]
        if not all_text:
            values = [value if type(value) is str else repr(value) for value in values]
        self._blank += values.count("") + sum(map(str.isspace, values))
        if self._records <= _COUNTED_LIMIT:
            # numpy is slow to import, and needed only where there is something to render; it takes numbers
            # from an iterator in half the time that an array does
            import numpy as np

            self._hashes.frombytes(np.fromiter(map(hash, values), np.int64, len(values)).tobytes())
            self._lengths.frombytes(np.fromiter(map(len, texts), np.uint32, len(texts)).tobytes())

    def figures(self) -> Figures:
        """Return the counts so far."""
        if self._records > _COUNTED_LIMIT:
            return Figures(self._records, self._blank, None, None, None)
        return Figures(self._records, self._blank, self._distinct(), *self._median_and_longest())

    def _distinct(self) -> int:
        import numpy as np  # see add

        hashes = np.sort(np.frombuffer(self._hashes, dtype=np.int64))
        return int(np.count_nonzero(hashes[1:] != hashes[:-1])) + bool(hashes.size)

    def _median_and_longest(self) -> tuple[float | None, int | None]:
        if not self._lengths:
            return None, None
        import numpy as np  # see add

        lengths = np.sort(np.frombuffer(self._lengths, dtype=np.uint32))
        middle = lengths[(lengths.size - 1) // 2 : lengths.size // 2 + 1]
        return float(middle.mean()), int(lengths[-1])
