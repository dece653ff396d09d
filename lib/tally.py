"""What a researcher looks for first in a cache: how many outputs are blank, and how many are distinct."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_COUNTED_LIMIT: Final = 1 << 21


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts over the items rendered; ``distinct`` is None above two million items: it is not counted."""

    records: int
    blank: int
    distinct: int | None


class Tally:
    """Counts items as they pass, in eight bytes an item."""

    def __init__(self) -> None:
        self._records = 0
        self._blank = 0
        self._hashes = array("q")

    def add(self, values: Sequence[Any], *, all_text: bool) -> None:
        """Count a block of plain values; a text of white space only is blank."""
        self._records += len(values)
        if not all_text:
            values = [value if type(value) is str else repr(value) for value in values]
        self._blank += values.count("") + sum(map(str.isspace, values))
        if self._records <= _COUNTED_LIMIT:
            self._hashes.extend(map(hash, values))

    def figures(self) -> Figures:
        """Return the counts so far."""
        distinct = self._distinct() if self._records <= _COUNTED_LIMIT else None
        return Figures(self._records, self._blank, distinct)

    def _distinct(self) -> int:
        # numpy is slow to import, and needed only where there is something to render
        import numpy as np

        hashes = np.sort(np.frombuffer(self._hashes, dtype=np.int64))
        return int(np.count_nonzero(hashes[1:] != hashes[:-1])) + bool(hashes.size)
