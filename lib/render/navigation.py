"""What stands above and between the items of a page: its summary, and links to its items and other parts.

Anchors are those that GitHub, GitLab and editors derive from a heading: ``## Completion 7`` has
``#completion-7``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from lib.json_writer import encoded
from lib.markdown.header import header_value
from lib.names import PART_LABEL, Kind, part_name
from lib.outcome import bars

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lib.render.page import Page
    from lib.render.statistics import Overview

_ITEM_ANCHORS: Final[dict[Kind, str]] = {"completions": "completion", "full_texts": "generation"}
_TITLE_ANCHORS: Final[dict[Kind, str]] = {
    "completions": "completions-only",
    "full_texts": "full-texts-prompt--completion",
}
_ENTRIES_LIMIT: Final = 1000
_ENTRIES_A_LINE: Final = 20
_SEPARATOR: Final = " · "
_IN_HEADER: Final = frozenset({"model_name", "timestamp"})
_LISTED_LIMIT: Final = 20
_PARTS_LIMIT: Final = 50
_PARAMETER_CHARACTERS: Final = 60
_LABEL_BYTES: Final = 400
"""More than the words and figures between the links take."""


def above_items(page: Page, part: int) -> list[str]:
    """Return the lines below ``Count`` in a part's header; none for a page without extras."""
    lines = [part_line(page, part)] if page.parts > 1 else []
    if part == 1 and page.extras.summary and page.overview is not None:
        lines += ["", *(f"- {line}" for line in summary(page, page.overview))]
    if page.extras.links and page.shown:
        lines += ["", *contents(page, part)]
    return lines


def summary(page: Page, overview: Overview) -> list[str]:
    """Return the lines with the run's parameters and the figures of all items."""
    figures = overview.figures
    blank = _listed(page, ": ", overview.blank, figures.blank)
    lines = [*parameters(page.metadata or {}), f"**Blank:** {figures.blank:,}{blank}"]
    if figures.distinct is None:
        return [*lines, "**Distinct:** not counted"]
    repeated = _listed(page, "; repeated: ", overview.repeated, overview.repeated_count)
    return [*lines, f"**Distinct:** {figures.distinct:,}{repeated}", *lengths(overview)]


def parameters(metadata: Mapping[str, Any]) -> list[str]:
    """Return the line with the metadata's plain values, except those in the header; none without values.

    >>> parameters({"model_name": "m", "temperature": 1.0, "stop": ["x"], "prompt_name": "base"})
    ['**Parameters:** temperature = 1.0 · prompt_name = base']
    """
    shown = [item for item in metadata.items() if item[0] not in _IN_HEADER and _is_parameter(item[1])]
    entries = [f"{_short(key)} = {_short(value)}" for key, value in shown[:_LISTED_LIMIT]]
    if len(shown) > _LISTED_LIMIT:
        entries.append(f"and {len(shown) - _LISTED_LIMIT:,} more")
    return [f"**Parameters:** {_SEPARATOR.join(entries)}"] if entries else []


def lengths(overview: Overview) -> list[str]:
    """Return the line with the distribution of the texts' lengths; none without texts.

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
    """Tell whether a value of the metadata is plain, and short enough for a list."""
    if isinstance(value, str):
        return bool(value) and not value.isspace()
    return isinstance(value, (bool, float)) or (isinstance(value, int) and value.bit_length() < 128)


def _short(value: Any) -> str:
    if isinstance(value, str) and len(value) > _PARAMETER_CHARACTERS:
        value = f"{value[:_PARAMETER_CHARACTERS]}…"
    return header_value(value)


def _listed(page: Page, before: str, numbers: Sequence[int], count: int) -> str:
    """List the numbers of the first of ``count`` items, as links if the page has links."""
    if not numbers:
        return ""
    links = page.extras.links
    shown = [f"[{number}]({_item(page, 1, number)})" if links else str(number) for number in numbers]
    more = f" and {count - len(shown):,} more" if count > len(shown) else ""
    return f"{before}{', '.join(shown)}{more}"


def part_line(page: Page, part: int) -> str:
    """Return the line with links to the previous part, the next part and all parts."""
    links = _previous_and_next(part, page.parts, partial(_file, page))
    numbers = ", ".join(_part_link(page, part, other, str(other)) for other in _listed_parts(page))
    return _SEPARATOR.join([f"{PART_LABEL} {part} of {page.parts}", *links, f"all: {numbers}"])


def contents(page: Page, part: int) -> list[str]:
    """Return the lines with links to a part's items (every tenth of more than 1000), and to all parts."""
    numbers = _thinned(page.range_of(part), _ENTRIES_LIMIT)
    entries = [f"[{number}](#{_anchor(page, number)})" for number in numbers]
    rows = [entries[at : at + _ENTRIES_A_LINE] for at in range(0, len(entries), _ENTRIES_A_LINE)]
    lines = f"{_SEPARATOR.rstrip()}\n".join(map(_SEPARATOR.join, rows)).split("\n")
    lines[0] = f"**Contents:** {lines[0]}"
    if page.parts > 1:
        others = [_part_link(page, part, other, _range(page, other)) for other in _listed_parts(page)]
        lines += ["", f"**All parts:** {_SEPARATOR.join(others)}"]
    return lines


def neighbours(page: Page, number: int) -> bytes:
    """Return the paragraph below an item's heading: links to the items beside it and to the top."""
    links = _previous_and_next(number, page.shown, partial(_item, page, number))
    links.append(f"[contents](#{_TITLE_ANCHORS[page.kind]})")
    return f"{_SEPARATOR.join(links)}\n\n".encode()


def _previous_and_next(number: int, last: int, target: Callable[[int], str]) -> list[str]:
    previous = [f"[previous]({target(number - 1)})"] if number > 1 else []
    return previous + ([f"[next]({target(number + 1)})"] if number < last else [])


def room(page: Page) -> tuple[int, int, int]:
    """Return the most bytes above a part's items: in the first part, in every part, and for each item."""
    file = len(_file(page, page.count))
    # two links each to the previous and the next part, and two lists of all parts
    every = _LABEL_BYTES + 4 * file + 2 * (_parts_limit(page) + 2) * _part_link_bytes(page)
    entry = len(f"[{page.count}](#{_anchor(page, page.count)}){_SEPARATOR}".encode())
    first = 0
    if page.extras.summary:
        numbers = (page.count,) * _LISTED_LIMIT
        first = len(encoded("".join(parameters(page.metadata or {}))))
        first += 2 * (len(_listed(page, "", numbers, 0)) + len(numbers) * file)
    return first, every, entry if page.extras.links else 0


def _thinned(numbers: range, limit: int) -> range:
    """Return all numbers, or every tenth, every hundredth and so on, so that a limit is kept."""
    step = 1
    while len(numbers) / step > limit:
        step *= 10
    return numbers[::step]


def _listed_parts(page: Page) -> list[int]:
    """Return the parts that each part links to: all, or every tenth and so on, and the last."""
    return sorted({*_thinned(range(1, page.parts + 1), _parts_limit(page)), page.parts})


def _parts_limit(page: Page) -> int:
    """Return how many parts to link to: the links take at most a quarter of a small part."""
    return max(1, min(_PARTS_LIMIT, (page.extras.page_bytes or 0) // 8 // _part_link_bytes(page)))


def _part_link_bytes(page: Page) -> int:
    """Return the most bytes that a link to a part takes."""
    return len(f"[{page.count:,}–{page.count:,}]({_file(page, page.count)}){_SEPARATOR}".encode())


def _part_link(page: Page, here: int, there: int, label: str) -> str:
    return label if here == there else f"[{label}]({_file(page, there)})"


def _range(page: Page, part: int) -> str:
    numbers = page.range_of(part)
    first, last = f"{numbers.start:,}", f"{numbers.stop - 1:,}"
    return first if len(numbers) == 1 else f"{first}–{last}"


def _item(page: Page, here: int, there: int) -> str:
    """Return the target of a link from one item to another."""
    part = page.part_of(there)
    file = "" if part == page.part_of(here) else _file(page, part)
    return f"{file}#{_anchor(page, there)}"


def _anchor(page: Page, number: int) -> str:
    return f"{_ITEM_ANCHORS[page.kind]}-{number}"


def _file(page: Page, part: int) -> str:
    return quote(part_name(page.name, part).encode("utf-8", "surrogateescape"))
