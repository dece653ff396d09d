"""Looking through a source before its page is written: the figures of its summary, and where it is split."""

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
    for values, all_text in pieces_of(blocks):
        statistics.add(values, all_text=all_text)
    return statistics


def find_shared_prompt(blocks: Iterable[list[Any]], full_texts: Iterator[Any]) -> Any:
    """Return the prompt of all items, whose full texts come in step; None if there is no such prompt.

    An item that is None, for a request that failed, has any prompt.

    :raises SourceFault: an item cannot be read.
    """
    shared = None
    for values, _ in pieces_of(blocks):
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

    No part is longer than ``page_bytes`` unless it has a single item that is.

    :raises SourceFault: an item cannot be rendered.
    """
    if page.extras.page_bytes is None:
        return replace(page, overview=count(blocks).overview())
    statistics, writer = Statistics(), PageWriter(page, full_texts)
    parts = _Parts(page, page.extras.page_bytes, len(writer.shared_prompt()))
    for values, all_text in pieces_of(blocks, page.at_once):
        statistics.add(values, all_text=all_text)
        for size in writer.sizes(values, all_text=all_text):
            parts.add(size)
    return replace(page, overview=statistics.overview(), firsts=tuple(parts.firsts))


class _Parts:
    """Deals sections out to parts as they come; ``prompt`` is the size of the one above the first."""

    def __init__(self, page: Page, limit: int, prompt: int) -> None:
        needed = room(page)
        self._entry = needed.entry
        self._empty = len(header(page.kind, page.metadata, page.count, page.shown)) + needed.lines
        self._limit = limit
        self._size = self._empty + needed.first + prompt
        self._next = 1
        self.firsts = [1]

    def add(self, size: int) -> None:
        """Put the next section, of this size in bytes, into the part, or into a new one if it is too full."""
        self._size += size + self._entry
        if self._size > self._limit and self._next > self.firsts[-1]:
            self.firsts.append(self._next)
            self._size = self._empty + size + self._entry
        self._next += 1
