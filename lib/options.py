"""How sidecars are made: plain values that travel between processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from lib.names import FORMATS, Format

Style = Literal["auto", "plain", "fenced"]

MAX_OUTPUT_BYTES: Final = 16 << 30


@dataclass(frozen=True, slots=True)
class Extras:
    """What a page can have besides its items, all off by default.

    ``summary``: the run's parameters and figures; ``links``: contents, and the way from item to item;
    ``pairs``: the prompt below each completion, or the one of all above the first; ``page_bytes``: the size
    above which a page is split.
    """

    summary: bool = False
    links: bool = False
    pairs: bool = False
    page_bytes: int | None = None

    @property
    def look_ahead(self) -> bool:
        """Tell whether all items have to be seen before the first line can be written."""
        return self.summary or self.page_bytes is not None


NO_EXTRAS: Final = Extras()


@dataclass(frozen=True, slots=True)
class Options:
    """How sidecars are made.  ``limit``: only the first that many items; ``max_output_bytes``: of one source.

    ``dry_run``: say what would be done and write nothing.  ``count``: of a source whose sidecars are fresh,
    bring the figures all the same.
    """

    formats: tuple[Format, ...] = FORMATS
    limit: int | None = None
    markdown: Style = "auto"
    max_output_bytes: int = MAX_OUTPUT_BYTES
    force: bool = False
    dry_run: bool = False
    extras: Extras = NO_EXTRAS
    count: bool = False
