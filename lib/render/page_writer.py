"""Writing one page: its header, then its items in order, with links and prompts if they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lib.encoded_text import Texts
from lib.errors import SourceFault
from lib.markdown.chat import characters_of, prompt_of
from lib.markdown.header import header
from lib.markdown.long_texts import PART_CHARACTERS
from lib.markdown.sections import bodies, item_pieces, sections
from lib.npy.values import plain
from lib.render.navigation import above_items, neighbours

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lib.render.page import Page

_FOLDED: Final = b"<details>\n<summary>%b</summary>\n\n%b\n\n</details>"
_HERE: Final = b"\0"
_PROMPT_CHARACTERS: Final = 1 << 20


class PageWriter:
    """Writes one page: :meth:`start` returns its header, then :meth:`block` the sections of its items.

    The caller starts each part of a page.  ``full_texts`` are those of the page's items, in order, for the
    prompts; they may end early.
    """

    def __init__(self, page: Page, full_texts: Iterator[Any]) -> None:
        self._page = page
        self._full_texts = full_texts
        self._next = 1

    def start(self) -> bytes:
        """Return everything above the next item."""
        page = self._page
        part = page.part_of(self._next)
        more = above_items(page, part)
        shared = self.shared_prompt() if part == 1 else b""
        more += ["", shared.decode()] if shared else []
        return header(page.kind, page.metadata, page.count, page.shown, more)

    def shared_prompt(self) -> bytes:
        """Return the prompt that all items have, folded; b"" if there is none."""
        prompt = self._page.prompt
        return b"" if prompt is None else self._folded(prompt, b"Prompt of all items")

    def block(self, values: Sequence[Any]) -> bytes:
        """Return the sections of the next items."""
        first = self._next
        return sections(self._page.kind, self._shown(values), first)

    def item(self, value: Any) -> Iterator[bytes]:
        """Yield the section of the next item, in pieces where it may be large."""
        page = self._page
        if isinstance(value, str) and len(value) <= PART_CHARACTERS:
            yield self.block(Texts([value]))
            return
        number, self._next = self._next, self._next + 1
        heading, rule = sections(page.kind, (_HERE,), number).split(_HERE)
        yield heading
        if page.extras.links:
            yield neighbours(page, number)
        yield from item_pieces(value, page.style)
        if page.extras.pairs and page.prompt is None:
            yield self._with_prompt(value, b"")
        yield rule

    def sizes(self, values: Sequence[Any]) -> list[int]:
        """Return how many bytes the section of each of the next items takes."""
        if not isinstance(values, Texts) and len(values) == 1:
            return [sum(map(len, self.item(values[0])))]
        first = self._next
        shown = self._shown(values)
        return [len(sections(self._page.kind, (body,), number)) for number, body in enumerate(shown, first)]

    def _shown(self, values: Sequence[Any]) -> Sequence[bytes]:
        """Return what the sections of the next items have between heading and rule."""
        page = self._page
        first, self._next = self._next, self._next + len(values)
        shown = bodies(values, page.style)
        if page.extras.pairs and page.prompt is None:
            shown = list(map(self._with_prompt, values, shown))
        if page.extras.links:
            shown = [neighbours(page, number) + body for number, body in enumerate(shown, first)]
        return shown

    def _with_prompt(self, completion: Any, body: bytes) -> bytes:
        """Add the folded prompt below a completion, if its full text has one."""
        prompt = next_prompt(self._full_texts, completion)
        folded = b"" if prompt is None else self._folded(prompt, b"Prompt")
        return b"%b\n\n%b" % (body, folded) if folded else body

    def _folded(self, prompt: Any, title: bytes) -> bytes:
        """Return a folded prompt, a text in a fence, messages as in a page; b"" if it cannot be rendered."""
        style = self._page.style
        if style == "plain" or isinstance(prompt, str):
            style = "fenced"
        try:
            (shown,) = bodies((prompt,), style)
        except SourceFault:
            return b""
        return _FOLDED % (title, shown)


def next_prompt(full_texts: Iterator[Any], completion: Any) -> Any:
    """Take the next full text, and return the prompt before its completion; None if none can be shown."""
    try:
        prompt = prompt_of(plain(next(full_texts, None)), completion)
    except SourceFault:  # it is shown nowhere
        return None
    return None if prompt is None or characters_of(prompt) > _PROMPT_CHARACTERS else prompt
