"""Reading a source before its page is written, for the figures of its summary and where to split it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lib.markdown.header import header
from lib.render.navigation import room
from lib.render.page_writer import PageWriter, next_prompt
from lib.render.statistics import Statistics
from lib.render.stream import pieces_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lib.render.page import Page


def count(blocks: Iterable[list[Any]]) -> Statistics:
    """Count all items.

    :raises SourceFault: an item cannot be read.
    """
    statistics = Statistics()
    for values in pieces_of(blocks):
        statistics.add(values)
    return statistics


def find_shared_prompt(blocks: Iterable[list[Any]], full_texts: Iterator[Any]) -> Any:
    """Return the prompt that all items have, or None; ``full_texts`` are those of the items, in order.

    Items that are None, for requests that failed, are left out.

    :raises SourceFault: an item cannot be read.
    """
    shared = None
    for values in pieces_of(blocks):
        for completion in values:
            prompt = next_prompt(full_texts, completion)
            if completion is None:
                continue
            if prompt is None or (shared is not None and prompt != shared):
                return None
            shared = prompt
    return shared


def paginate(page: Page, blocks: Iterable[list[Any]], full_texts: Iterator[Any]) -> Page:
    """Complete a page with its overview and the first items of its parts.

    No part is longer than ``page_bytes``, unless a single item is.

    :raises SourceFault: an item cannot be rendered.
    """
    limit = page.extras.page_bytes
    if limit is None:
        return replace(page, overview=count(blocks).overview())
    statistics, writer = Statistics(), PageWriter(page, full_texts)

    def sizes() -> Iterator[int]:
        for values in pieces_of(blocks, page.at_once):
            statistics.add(values)
            yield from writer.sizes(values)

    firsts = _first_items(page, sizes(), limit, len(writer.shared_prompt()))
    return replace(page, overview=statistics.overview(), firsts=firsts)


def _first_items(page: Page, sizes: Iterator[int], limit: int, prompt: int) -> tuple[int, ...]:
    """Distribute sections of these sizes; return the number of the first item of each part.

    ``prompt`` is the size of the prompt above the first item.
    """
    first, every, entry = room(page)
    empty = len(header(page.kind, page.metadata, page.count, page.shown)) + every
    taken, firsts = empty + first + prompt, [1]
    for number, size in enumerate(sizes, 1):
        if taken + size + entry > limit and number > firsts[-1]:
            firsts.append(number)
            taken = empty
        taken += size + entry
    return tuple(firsts)
