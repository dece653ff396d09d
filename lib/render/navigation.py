"""Ways through a page: its summary and contents, from item to item, from part to part.

Anchors are those that GitHub, GitLab and editors make of a heading: ``## Completion 7`` is ``#completion-7``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from lib.names import part_name

if TYPE_CHECKING:
    from lib.names import Kind
    from lib.outcome import Figures
    from lib.render.page import Page

_ITEMS: Final[dict[Kind, str]] = {"completions": "completion", "full_texts": "generation"}
_TITLES: Final[dict[Kind, str]] = {
    "completions": "completions-only",
    "full_texts": "full-texts-prompt--completion",
}
_ENTRIES_LIMIT: Final = 1000
_ENTRIES_A_LINE: Final = 20
_BETWEEN: Final = " · "
PART_LABEL: Final = "**Part:**"
_LINES_BYTES: Final = 400  # more than figures and numbers of parts take


def above_items(page: Page, part: int) -> list[str]:
    """Return the lines that follow ``Count`` in a part's header; none for a page without extras."""
    lines = []
    if page.extras.summary and page.figures is not None:
        lines.append(summary(page.figures))
    if page.parts > 1:
        lines.append(part_line(page, part))
    if page.extras.links and page.shown:
        lines += ["", *contents(page, part)]
    return lines


def summary(figures: Figures) -> str:
    """Return the line of figures.

    >>> from lib.outcome import Figures
    >>> summary(Figures(140_420, 97, 1094, 12.0, 4003))
    '**Blank:** 97 · **Distinct:** 1,094 · **Length:** median 12, longest 4,003 characters'
    """
    distinct = "not counted" if figures.distinct is None else f"{figures.distinct:,}"
    length = ""
    if figures.median_length is not None:
        median = f"{figures.median_length:,.1f}".removesuffix(".0")
        length = f"{_BETWEEN}**Length:** median {median}, longest {figures.longest_length:,} characters"
    return f"**Blank:** {figures.blank:,}{_BETWEEN}**Distinct:** {distinct}{length}"


def part_line(page: Page, part: int) -> str:
    """Return the line that leads to the neighbouring parts."""
    ways = []
    if part > 1:
        ways.append(f"[previous]({_file(page, part - 1)})")
    if part < page.parts:
        ways.append(f"[next]({_file(page, part + 1)})")
    return _BETWEEN.join([f"{PART_LABEL} {part} of {page.parts}", *ways])


def room(page: Page) -> tuple[int, int]:
    """Return how many bytes a part needs at most for its lines above the items, and for each of its items."""
    lines = _LINES_BYTES + 4 * len(_file(page, page.count))  # to two neighbours from two places
    entry = len(f"[{page.count}](#{_anchor(page, page.count)}){_BETWEEN}".encode())
    return lines, entry if page.extras.links else 0


def contents(page: Page, part: int) -> list[str]:
    """Return lines of links to a part's items; of very many, to every tenth, hundredth and so on."""
    numbers = page.range_of(part)
    step = 1
    while len(numbers) / step > _ENTRIES_LIMIT:
        step *= 10
    entries = [f"[{number}](#{_anchor(page, number)})" for number in numbers[::step]]
    rows = [entries[at : at + _ENTRIES_A_LINE] for at in range(0, len(entries), _ENTRIES_A_LINE)]
    lines = f"{_BETWEEN.rstrip()}\n".join(map(_BETWEEN.join, rows)).split("\n")
    lines[0] = f"**Contents:** {lines[0]}"
    return lines


def neighbours(page: Page, number: int) -> bytes:
    """Return the paragraph below an item's heading that leads to the items beside it and to the contents."""
    ways = []
    if number > 1:
        ways.append(f"[previous]({_place(page, number, number - 1)})")
    if number < page.shown:
        ways.append(f"[next]({_place(page, number, number + 1)})")
    ways.append(f"[contents](#{_TITLES[page.kind]})")
    return f"{_BETWEEN.join(ways)}\n\n".encode()


def _place(page: Page, here: int, there: int) -> str:
    part = page.part_of(there)
    file = "" if part == page.part_of(here) else _file(page, part)
    return f"{file}#{_anchor(page, there)}"


def _anchor(page: Page, number: int) -> str:
    return f"{_ITEMS[page.kind]}-{number}"


def _file(page: Page, part: int) -> str:
    return quote(part_name(page.name, part).encode("utf-8", "surrogateescape"))
