"""What readers written in C and Python see of a page: headings and rules, tags of its own, definitions."""

from __future__ import annotations

import functools
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, NamedTuple

import cmarkgfm
from markdown_it import MarkdownIt
from nasty import LEAK

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

UNSAFE = cmarkgfm.Options.CMARK_OPT_UNSAFE
FOOTNOTES = cmarkgfm.Options.CMARK_OPT_FOOTNOTES
HEADER_TAGS = {"h1", "h2", "hr", "p", "strong", "code", "a", "em", "del", "br"}
LIST_TAGS = {"ul", "ol", "li", "blockquote", "pre", "input"}
TABLE_TAGS = {"table", "thead", "tbody", "tr", "th", "td"}
MARKDOWN_TAGS = {*HEADER_TAGS, *LIST_TAGS, *TABLE_TAGS, "h3", "h4", "h5", "h6"}


class Heading(NamedTuple):
    """One heading, or rule, as a parser sees it: ``depth`` counts the blocks around it."""

    tag: str
    depth: int
    text: str


def markdown_it(preset: str, *, inline: bool = True) -> MarkdownIt:
    """Make a parser; without its inline rules it is fast, and leaves the outline as it is."""
    parser = MarkdownIt(preset, {"linkify": False})
    if not inline:
        parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


def seen_by_markdown_it(parser: MarkdownIt, page: str, allowed: Collection[str] = ()) -> list[Heading]:
    """Read headings and rules off the tokens; nothing may be defined, and no HTML stand but this."""
    env: dict[str, Any] = {}
    tokens = parser.parse(page, env)
    assert not env.get("references")
    parts = [part for token in tokens for part in (token, *(token.children or ()))]
    active = [part.content for part in parts if part.type in {"html_block", "html_inline", "image"}]
    assert not [content for content in active if content.strip() not in allowed]
    return [
        Heading(token.tag, token.level, tokens[at + 1].content if token.tag != "hr" else "")
        for at, token in enumerate(tokens)
        if token.type in {"heading_open", "hr"} and token.level == 0
    ]


class _Outline(HTMLParser):
    """Reads headings and rules at top level off HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.outline: list[Heading] = []
        self.tags: set[str] = set()
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        assert "footnote" not in (values.get("class") or "")
        assert not (values.get("href") or values.get("src") or "").startswith(LEAK)
        if not self._open and (tag == "hr" or re.fullmatch("h[1-6]", tag)):
            self.outline.append(Heading(tag, len(self._open), ""))
        if tag not in {"hr", "br", "img", "input"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if len(self._open) == 1 and re.fullmatch("h[1-6]", self._open[0]):
            last = self.outline[-1]
            self.outline[-1] = last._replace(text=last.text + data)


def seen_in_html(html: str) -> list[Heading]:
    """Read headings and rules off HTML; nothing may be defined, and no tag may be the text's own."""
    parser = _Outline()
    parser.feed(html)
    parser.close()
    own = parser.tags - MARKDOWN_TAGS
    return [*parser.outline, *(Heading(tag, 0, "a tag") for tag in own)]


def gfm(page: str, options: int = 0) -> str:
    """Render as GitHub does."""
    html: str = cmarkgfm.github_flavored_markdown_to_html(page, options)
    return html


def commonmark(page: str, options: int = 0) -> str:
    """Render as the reference implementation of CommonMark does."""
    html: str = cmarkgfm.markdown_to_html(page, options)
    return html


RENDERERS: tuple[Callable[[str], str], ...] = (
    gfm,
    commonmark,
    functools.partial(gfm, options=UNSAFE | FOOTNOTES),
    functools.partial(commonmark, options=UNSAFE | FOOTNOTES),
)
PARSERS = tuple(markdown_it(preset) for preset in ("commonmark", "gfm-like", "js-default"))
