"""Ways through a page: its summary and contents, from item to item, from part to part.

Anchors are those that GitHub, GitLab and editors make of a heading: ``## Completion 7`` is ``#completion-7``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from lib.json_writer import encoded
from lib.markdown.header import header_value
from lib.names import part_name
from lib.render.page import PART_LABEL
from lib.render.statistics import bars

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lib.names import Kind
    from lib.render.page import Page
    from lib.render.statistics import Overview

_ITEMS: Final[dict[Kind, str]] = {"completions": "completion", "full_texts": "generation"}
_TITLES: Final[dict[Kind, str]] = {
    "completions": "completions-only",
    "full_texts": "full-texts-prompt--completion",
}
_ENTRIES_LIMIT: Final = 1000
_ENTRIES_A_LINE: Final = 20
_BETWEEN: Final = " · "
_IN_HEADER: Final = frozenset({"model_name", "timestamp"})
_LISTED_LIMIT: Final = 20
_PARTS_LIMIT: Final = 50
_PARAMETER_CHARACTERS: Final = 60
_LINES_BYTES: Final = 400  # more than figures and numbers of parts take


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes above the items of a part: those of the first part only, of every part, and for each item."""

    first: int
    lines: int
    entry: int


def above_items(page: Page, part: int) -> list[str]:
    """Return the lines that follow ``Count`` in a part's header; none for a page without extras."""
    lines = []
    if page.parts > 1:
        lines.append(part_line(page, part))
    if part == 1 and page.extras.summary and page.overview is not None:
        lines += ["", *(f"- {line}" for line in summary(page, page.overview))]
    if page.extras.links and page.shown:
        lines += ["", *contents(page, part)]
    return lines


def summary(page: Page, overview: Overview) -> list[str]:
    """Return the run's parameters, and what is known of all items, a line each."""
    figures = overview.figures
    blank = f"**Blank:** {figures.blank:,}" + _listed(page, ": ", overview.blank, figures.blank)
    if figures.distinct is None:
        return [*parameters(page.metadata or {}), blank, "**Distinct:** not counted"]
    repeated = _listed(page, "; repeated: ", overview.repeated, overview.repeated_count)
    distinct = f"**Distinct:** {figures.distinct:,}{repeated}"
    return [*parameters(page.metadata or {}), blank, distinct, *lengths(overview)]


def parameters(metadata: Mapping[str, Any]) -> list[str]:
    """Return the line of the metadata's plain values that the header does not show; none if there are none.

    >>> parameters({"model_name": "m", "temperature": 1.0, "stop": ["x"], "prompt_name": "base"})
    ['**Parameters:** temperature = 1.0 · prompt_name = base']
    """
    shown = [
        (key, value) for key, value in metadata.items() if key not in _IN_HEADER and _is_parameter(value)
    ]
    entries = [f"{_short(key)} = {_short(value)}" for key, value in shown[:_LISTED_LIMIT]]
    if len(shown) > _LISTED_LIMIT:
        entries.append(f"and {len(shown) - _LISTED_LIMIT:,} more")
    return [f"**Parameters:** {_BETWEEN.join(entries)}"] if entries else []


def lengths(overview: Overview) -> list[str]:
    """Return the line that shows how long the texts are, from the shortest to the longest.

    >>> from lib.outcome import Figures
    >>> from lib.render.statistics import Overview
    >>> lengths(Overview(Figures(5, 0, 5, 40.0, 812, 3), (2, 0, 3)))
    ['**Lengths:** 3 ▅▁▇ 812 characters, median 40']
    """
    figures = overview.figures
    if figures.median_length is None:
        return []
    longest = f"{figures.longest_length:,} character{'' if figures.longest_length == 1 else 's'}"
    if figures.shortest_length == figures.longest_length:
        return [f"**Lengths:** {longest} each"]
    median = f"{figures.median_length:,.1f}".removesuffix(".0")
    return [f"**Lengths:** {figures.shortest_length:,} {bars(overview.lengths)} {longest}, median {median}"]


def _is_parameter(value: Any) -> bool:
    """Tell whether a value of the metadata is plain and short enough to be read in a list."""
    if isinstance(value, str):
        return bool(value) and not value.isspace()
    return isinstance(value, (bool, float)) or (isinstance(value, int) and value.bit_length() < 128)


def _short(value: Any) -> str:
    if isinstance(value, str) and len(value) > _PARAMETER_CHARACTERS:
        value = f"{value[:_PARAMETER_CHARACTERS]}…"
    return header_value(value)


def _listed(page: Page, before: str, numbers: Sequence[int], count: int) -> str:
    """Return the numbers of items, as links if the page has any, and how many more there are."""
    if not numbers:
        return ""
    links = page.extras.links
    shown = [f"[{number}]({_place(page, 1, number)})" if links else str(number) for number in numbers]
    more = f" and {count - len(shown):,} more" if count > len(shown) else ""
    return f"{before}{', '.join(shown)}{more}"


def part_line(page: Page, part: int) -> str:
    """Return the line that leads to the neighbouring parts and to all others."""
    ways = []
    if part > 1:
        ways.append(f"[previous]({_file(page, part - 1)})")
    if part < page.parts:
        ways.append(f"[next]({_file(page, part + 1)})")
    others = [_to_part(page, part, other, str(other)) for other in _parts_shown(page)]
    return _BETWEEN.join([f"{PART_LABEL} {part} of {page.parts}", *ways, f"all: {', '.join(others)}"])


def room(page: Page) -> Room:
    """Return the most that the lines above the items of a part can take."""
    lines = _LINES_BYTES + 4 * len(_file(page, page.count))  # to two neighbours from two places
    lines += 2 * (_parts_limit(page) + 2) * _part_bytes(page)  # to all parts from two places
    entry = len(f"[{page.count}](#{_anchor(page, page.count)}){_BETWEEN}".encode())
    first = 0
    if page.extras.summary:
        numbers = (page.count,) * _LISTED_LIMIT
        first = len(encoded("".join(parameters(page.metadata or {}))))
        first += 2 * (len(_listed(page, "", numbers, 0)) + len(numbers) * len(_file(page, page.count)))
    return Room(first, lines, entry if page.extras.links else 0)


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
    if page.parts > 1:
        others = [_to_part(page, part, other, _range(page, other)) for other in _parts_shown(page)]
        lines += ["", f"**All parts:** {_BETWEEN.join(others)}"]
    return lines


def _parts_shown(page: Page) -> list[int]:
    """Return the parts to which each part leads: all; of very many, every tenth, and so on, and the last."""
    parts, step = range(1, page.parts + 1), 1
    while len(parts) / step > _parts_limit(page):
        step *= 10
    return sorted({*parts[::step], page.parts})


def _parts_limit(page: Page) -> int:
    """Return how many parts to name: of a small page, they do not take up more than a quarter."""
    return max(1, min(_PARTS_LIMIT, (page.extras.page_bytes or 0) // 8 // _part_bytes(page)))


def _part_bytes(page: Page) -> int:
    """Return the most bytes that a link to a part takes."""
    return len(f"[{page.count:,}–{page.count:,}]({_file(page, page.count)}){_BETWEEN}".encode())


def _to_part(page: Page, here: int, there: int, label: str) -> str:
    return label if here == there else f"[{label}]({_file(page, there)})"


def _range(page: Page, part: int) -> str:
    numbers = page.range_of(part)
    first, last = f"{numbers.start:,}", f"{numbers.stop - 1:,}"
    return first if len(numbers) == 1 else f"{first}–{last}"


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
