"""Writing one page: its header, then its items in order, with what was asked for besides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lib.render.markdown import bodies, fenced_text, header, sections
from lib.render.navigation import above_items, neighbours

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lib.render.page import Page

_FOLDED: Final = b"%b\n\n<details>\n<summary>Prompt</summary>\n\n%b\n\n</details>"


class PageWriter:
    """Writes one page: :meth:`start` for its header, then :meth:`block` for all items in order.

    A page of several parts is written as one after the other; whoever calls starts each.  ``full_texts`` are
    those of the page's items, in order, for the prompts; they may end early.
    """

    def __init__(self, page: Page, full_texts: Iterator[Any]) -> None:
        self._page = page
        self._full_texts = full_texts
        self._next = 1

    def start(self) -> bytes:
        """Return everything above the next item."""
        page = self._page
        more = above_items(page, page.part_of(self._next))
        return header(page.kind, page.metadata, page.count, page.shown, more)

    def block(self, values: Sequence[Any], *, all_text: bool) -> bytes:
        """Return the sections of the next items; ``all_text`` promises that each is a ``str``."""
        first = self._next
        return sections(self._page.kind, self._shown(values, all_text=all_text), first)

    def sizes(self, values: Sequence[Any], *, all_text: bool) -> list[int]:
        """Return how many bytes the section of each of the next items takes."""
        first = self._next
        shown = self._shown(values, all_text=all_text)
        return [len(sections(self._page.kind, (body,), number)) for number, body in enumerate(shown, first)]

    def _shown(self, values: Sequence[Any], *, all_text: bool) -> Sequence[bytes]:
        """Return what stands between heading and rule of the next items."""
        page = self._page
        first, self._next = self._next, self._next + len(values)
        shown = bodies(values, page.style, all_text=all_text)
        if page.extras.pairs:
            shown = list(map(self._with_prompt, values, shown))
        if page.extras.links:
            shown = [neighbours(page, number) + body for number, body in enumerate(shown, first)]
        return shown

    def _with_prompt(self, completion: Any, body: bytes) -> bytes:
        """Fold the prompt below a completion, where its full text ends with it."""
        full_text = next(self._full_texts, None)
        if type(full_text) is not str or type(completion) is not str or not full_text.endswith(completion):
            return body
        prompt = full_text[: len(full_text) - len(completion)]
        if not prompt:
            return body
        return _FOLDED % (body, fenced_text(prompt))
