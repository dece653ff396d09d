"""Everything about a page besides its items, known before its first line is written."""

from __future__ import annotations

import sys
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lib.options import NO_EXTRAS, Extras, Style

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lib.names import Kind
    from lib.render.statistics import Overview

_PAIRS_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Page:
    """What a page shows above and between its items.

    ``count`` is the number of items in the source, ``shown`` how many of them are rendered.  ``scalar``: the
    array has no dimensions, so that its JSON is the one value itself.  ``name`` is the page's file name,
    ``overview`` the content of its summary, ``prompt`` the one that all items have, and ``firsts`` the number
    of the first item of each part.
    """

    kind: Kind
    metadata: Mapping[str, Any] | None
    count: int
    shown: int
    scalar: bool = False
    style: Style = "auto"
    extras: Extras = NO_EXTRAS
    name: str = ""
    overview: Overview | None = None
    prompt: Any = None
    firsts: tuple[int, ...] = (1,)

    @property
    def at_once(self) -> int:
        """The most items to render together: a prompt can be many times larger than its completion."""
        return _PAIRS_AT_ONCE if self.extras.pairs and self.prompt is None else sys.maxsize

    @property
    def parts(self) -> int:
        """The number of files that the page has."""
        return len(self.firsts)

    def part_of(self, number: int) -> int:
        """Return the part, from 1, that an item is in."""
        return bisect_right(self.firsts, number)

    def range_of(self, part: int) -> range:
        """Return the numbers of the items in a part."""
        end = self.firsts[part] if part < self.parts else self.shown + 1
        return range(self.firsts[part - 1], end)
