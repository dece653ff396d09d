"""Texts as they are and in quotes, many at once: lines stay lines, and what would act is escaped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from chat_texts import answers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from nasty import ALL, HARMFUL, HARMLESS, PIECES
from support import frugally, promptly

from lib.markdown import batch
from lib.markdown.batch import shown_safely
from lib.markdown.inert import is_inert
from lib.markdown.line_table import LineTable

if TYPE_CHECKING:
    from collections.abc import Sequence

ORDINARY = (
    *PIECES, "- a", "1. b", "2. c", "  - d", "**e** f", "# g", "`h`", "`i", "| j | k |", "|---|---|", "\\",
    "  ", "[l", "\n", "\n\n", "<b>", "```py\n", "\n```\n", "![", "$$", "www.a.b", "<think>\n",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(ORDINARY), max_size=12).map("".join)
MAY_BE_INDENTED_CODE = re.compile(rb"^[ >*+0-9.)-]* {4}", re.MULTILINE)
MEGABYTE = 1_000_000


def encoded(texts: Sequence[str]) -> list[bytes]:
    """Encode texts as a page has them: without lone surrogates."""
    return [text.encode("utf-8", "replace") for text in texts]


class EveryLine(LineTable):
    """A table in which every line must be looked at."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        super().__init__(texts)
        self.parts = self.begins
        self.hard = np.ones(len(texts), bool)


def line_by_line(texts: Sequence[bytes], *, in_quotes: bool = False) -> list[bytes]:
    """Show texts by looking at every line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "LineTable", EveryLine)
        return shown_safely(texts, in_quotes=in_quotes)


def in_a_quote(text: bytes) -> bytes | None:
    """Show a text in a quote; None where that is not safe."""
    (shown,) = shown_safely([text], in_quotes=True)
    return shown if shown.startswith(b">") else None


def lines_kept(text: bytes) -> bytes:
    """Show an inert text."""
    assert is_inert(text)
    return shown_safely([text])[0]


@given(st.lists(TEXTS, min_size=1, max_size=5))
@example(["text\n10. a"])
@example(["- # a\nb"])
@example(["**\u00a0", "- \u00a0", "  \u00a0\nb"])
@example(["```\n\r\nb", "```\n\u00a0\n```\n<b>"])
@example(["`a` <b> `c`", "`a``b`<i>`", "a`<b>`c"])
@example(["```py\n```py\n``` \n<b>", "a\n\n 1. b\n2. c"])
@settings(max_examples=200)
def test_a_glance_at_many_texts_gives_what_reading_each_line_gives(texts: list[str]) -> None:
    """The same way, the same line breaks, the same backslashes, whatever stands beside a text.

    Only a line by itself that some readers take for indented code may be in a quote at a glance.
    """
    for in_quotes in (False, True):
        shown = shown_safely(encoded(texts), in_quotes=in_quotes)
        careful = line_by_line(encoded(texts), in_quotes=in_quotes)
        for text, glance, way in zip(encoded(texts), shown, careful, strict=True):
            assert glance == way or (way.startswith(b"```") and MAY_BE_INDENTED_CODE.search(text))


@pytest.mark.parametrize("text", ALL)
def test_no_neighbour_hides_a_danger(text: str) -> None:
    """Between others, a text is shown as it is alone, even one that ends in a carriage return."""
    before, shown, after = shown_safely(encoded(["before", text, "after"]))
    assert (before, [shown], after) == (b"before", line_by_line(encoded([text])), b"after")


def test_all_the_examples_and_many_answers_together() -> None:
    """Pages are made of blocks of hundreds of texts."""
    texts = encoded([*HARMLESS, *answers(300, seed=5), *HARMFUL])
    assert shown_safely(texts) == line_by_line(texts)


@pytest.mark.parametrize(
    "unit", ["`a` <b> ", "\\<b>", "\n- a", "\n10. a", "\n|", "\n", "<b>\n", "`", "$", "\n```"]
)
def test_a_glance_takes_time_in_proportion_to_the_texts(unit: str) -> None:
    """Nothing is looked at again and again."""
    text = (unit * (MEGABYTE // 10 // len(unit))).encode()
    promptly(2, lambda: shown_safely([text, b"a", text]))


def shown(text: str) -> str:
    """Show a text in a quote, which must be possible."""
    quote = in_a_quote(text.encode("utf-8", "replace"))
    assert quote is not None
    return quote.decode()


def breaks(page: str) -> int:
    """Count the line breaks that a reader sees."""
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(page)
    return sum(child.type == "hardbreak" for token in tokens for child in token.children or ())


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("A. eyes\nB. fur\nC. a brain", "A. eyes  \nB. fur  \nC. a brain"),
        ("one\n\ntwo", "one\n\ntwo"),
        ("one\n \ntwo\n", "one\n \ntwo\n"),
        ("one\r\ntwo\r\n", "one  \r\ntwo\r\n"),
        ("two spaces  \nhere", "two spaces  \nhere"),
        ("a backslash\\\nhere", "a backslash\\\nhere"),
        ("an escaped one\\\\\nhere", "an escaped one\\\\  \nhere"),
        ("- one\n- two\n  goes on\nlazily\n- three", "- one\n- two  \n  goes on  \nlazily\n- three"),
        ("text\n2. no list\n1. a list", "text  \n2. no list\n1. a list"),
        ("1. a\n2. b\n   c", "1. a\n2. b  \n   c"),
        ("> a\n> b\nc", "> a  \n> b  \nc"),
        ("> a\n>\n> b", "> a\n>\n> b"),
        ("| a | b |\n|---|---|\n| c | d |\n| e |", "| a | b |\n|---|---|\n| c | d |\n| e |"),
        ("text\n| a | b |\n|---|---|\n| c | d |\n\nx\ny", "text\n| a | b |\n|---|---|\n| c | d |\n\nx  \ny"),
        ("a | b\n|---|\nc | d", "a | b  \n|---|  \nc | d"),
        ("    code\n    goes on\n\ntext\n    goes on", "    code\n    goes on\n\ntext  \n    goes on"),
        ("a `span\nof two` lines\nthen `a`\nb", "a `span\nof two` lines  \nthen `a`  \nb"),
        ("a lone ` tick\nand on", "a lone ` tick  \nand on"),
        ("- a\n\n  b\n  c\n\n      code\n      d", "- a\n\n  b  \n  c\n\n      code\n      d"),
    ],
)
def test_lines_stay_lines(text: str, kept: str) -> None:
    """A line gets one if its paragraph goes on, and only then."""
    assert lines_kept(text.encode()).decode() == kept


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("# a\n\nb\nc\n", "> # a\n>\n> b  \n> c\n>"),
        ("\n# a", ">\n> # a"),
        ("-\n\n  not in the item\n  a", "> -\n>\n>   not in the item  \n>   a"),
        ("two\nlines\n===", "> two  \n> lines\n> ==="),
        ("```python\na\n\nb  \n", "> ```python\n> a\n>\n> b  \n>"),
        ("1. a:\n   ```\n   <b>\n   ```\n2. c", "> 1. a:\n>    ```\n>    <b>\n>    ```\n> 2. c"),
        ("<think>\nwhy\n</think>\n\n# so", "> \\<think>  \n> why  \n> \\</think>\n>\n> # so"),
        ("`<a>` <b> \\<c> \\\\<d>", "> `<a>` \\<b> \\<c> \\\\\\<d>"),
        ("![a](b) `![c]`", "> !\\[a](b) `![c]`"),
        ("[![a](b)](c)\n\n![d](e)", "> [\\!\\[a](b)](c)\n>\n> !\\[d](e)"),
        ("[[!\\[a](b)](c) \\![d] [", "> [[\\!\\[a](b)](c) \\!\\[d] ["),
        ("`a` and a lone ` <b>", "> `a` and a lone ` \\<b>"),
        ("`a` ``\n- <b> ` c\n- <d", "> `a` ``\n> - \\<b> ` c\n> - \\<d"),
        ("`<a>` or `b|c`", "> `<a>` or `b|c`"),
        ("| `<a>` | b |\n|---|---|\n| `c|d` | <e> |", "> | `<a>` | b |\n> |---|---|\n> | `c|d` | \\<e> |"),
        ("`<a>` or `[b](c)`", "> `<a>` or `[b](c)`"),
        ("- a\n  > - \n\n    <b>", "> - a\n>   > - \n>\n>     \\<b>"),
        ("* \n  >\n\n    <b>", "> * \n>   >\n>\n>     \\<b>"),
        ("- ```\n  \t<a>\n  ```\n<b>", "> - ```\n>   \t<a>\n>   ```\n> \\<b>"),
        ("$$x$$ and $y$", "> \\$\\$x\\$\\$ and $y$"),
        ("- [a]: b\n- [^c]: d", "> - \\[a]: b\n> - \\[^c]: d"),
        ("> \n# a > \n\n", "> > \n> # a > \n>\n>"),
        ("# a\r\n\r\nb\r\nc", "> # a\r\n>\r\n> b  \r\n> c"),
        ("| `a<b>` | <c> |\n|---|---|\n| `d` | e |", "> | `a<b>` | \\<c> |\n> |---|---|\n> | `d` | e |"),
    ],
)
def test_a_quote_byte_for_byte(text: str, quote: str) -> None:
    """Every line has a mark, and there are line breaks, and backslashes outside code."""
    assert shown(text) == quote


@pytest.mark.parametrize(
    "text",
    [
        "- a\n  ```\ncode?\n  ```",  # some readers leave the fence with the item, others do not
        "```\ncode?\n```\t\n<b>",
        "```a title that nobody sees\n",
        "-\tcode?\n\n\t```\n",
        "a lone ` tick\n`<b>`",
        "| ` | <b> ` |\n|---|---|",
        "| `x|y` | `<b>` |\n|---|---|\n| `x` | `y` |",
        "[a `](b` `<c>` `)`",
        ">\n    ><b>",
        "```a|b\n---|---\n<b>",
        "```\n\t```\n<b>",
        "- ```\n\ta\n  ```\n<b>",
        "  ```\n\tnarrower in a quote\n  ```",
        "http://example.org/<b>",
        "www.example.org`<b>`",
        "a`<b>`@example.org",
        "www.` ` `<b>`",
        "a\n10. b\n  - \n    1. c\n\n    - <b>",
        "     a\n10. ```\n    <b>",
        "a\n> 10. > b\n>     > ~~~\n>     > <b>",
        "   - - z\n      - \n    <b>",
        "1. i|j\n   -|-\ne\n\n    <e>",
        "`` `a` `<b>`",
        "[a](b`c) <b> `",
        "*a ``b* <i>``",
        "~~a `b~~ <i>`",
        "- a\n\n      <b>",
        "`" * 80,
    ],
)
def test_what_readers_disagree_about_is_not_quoted(text: str) -> None:
    """Readers disagree there on what is code."""
    assert in_a_quote(text.encode()) is None


@pytest.mark.parametrize("text", ALL)
def test_a_quote_shows_the_whole_text(text: str) -> None:
    """Without its marks, line breaks and backslashes, it is the text, line by line."""
    quote = in_a_quote(text.encode("utf-8", "replace"))
    if quote is not None:
        lines = [line[2:] for line in quote.decode().split("\n")]
        bare = [re.sub(r" *\r?$", "", line.replace("\\", "")) for line in lines]
        assert bare == [re.sub(r" *\r?$", "", line.replace("\\", "")) for line in text.split("\n")]


@given(st.lists(st.sampled_from(["one", "two", "- an item", "1. first", "  more", "*x*", ""]), max_size=9))
def test_every_line_of_a_paragraph_is_seen_as_a_line(lines: list[str]) -> None:
    """A reader sees no soft break any more."""
    page = lines_kept("\n".join(lines).encode()).decode()
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(page)
    assert not [child for token in tokens for child in token.children or () if child.type == "softbreak"]
    assert breaks(page) == page.count("  \n")


SLOW_TO_LOOK_THROUGH = (
    "<", "<b", "`<a>` ", "[a]:", "`", "\\`", "\n`", "\n- <b>", "\n> ", "\n1. a", "- - - ", "|-", "|\n",
    "a\nb\n", "$", "\\", "![", "\n    a\n", "http://", "*", "\n```\n", "a  \n", "\r\n", "`` ` ", "\n\n",
    "](", "\n[", "@`<b>` ", "@`<b>`", "a`<b>`",
)  # fmt: skip


@pytest.mark.parametrize(
    "unit",
    [
        pytest.param(unit, marks=() if place % 5 == 0 else pytest.mark.faults)
        for place, unit in enumerate(SLOW_TO_LOOK_THROUGH)
    ],
)
def test_a_quote_takes_time_and_memory_in_proportion_to_its_text(unit: str) -> None:
    """No part of a text is looked at again and again."""
    text = (unit * (MEGABYTE // 5 // len(unit))).encode()
    promptly(2, lambda: in_a_quote(text))
    frugally(60 * MEGABYTE, lambda: in_a_quote(text))
