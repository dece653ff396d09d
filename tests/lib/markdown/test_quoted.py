"""Texts as they are and in quotes: their lines stay lines, and what would act is escaped."""

from __future__ import annotations

import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from nasty import ALL
from support import promptly

from lib.markdown.quoted import in_quote, lines_kept, quote_pieces, quoted

KILOBYTE = 1_000
MEGABYTE = 1_000 * KILOBYTE


def shown(text: str) -> str:
    """Show a text in a quote, which must be possible."""
    quote = quoted(text.encode("utf-8", "replace"))
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
        ("-\n\n  not in the item\n  a", "-\n\n  not in the item  \n  a"),
    ],
)
def test_lines_stay_lines(text: str, kept: str) -> None:
    """Where a paragraph goes on, and nowhere else."""
    assert lines_kept(text.encode()).decode() == kept


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("# a\n\nb\nc\n", "> # a\n>\n> b  \n> c\n>"),
        ("\n# a", ">\n> # a"),
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
    """The mark before every line, line breaks, and backslashes outside code."""
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
    """Not every reader takes the same for code there."""
    assert quoted(text.encode()) is None


@pytest.mark.parametrize("text", ALL)
def test_a_quote_shows_the_whole_text(text: str) -> None:
    """But for its marks, line breaks and backslashes it is the text, line by line."""
    quote = quoted(text.encode("utf-8", "replace"))
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
    *(
        "<",
        "<b",
        "`<a>` ",
        "[a]:",
        "`",
        "\\`",
        "\n`",
        "\n- <b>",
        "\n> ",
        "\n1. a",
        "- - - ",
        "|-",
        "|\n",
        "a\nb\n",
    ),
    *("$", "\\", "![", "\n    a\n", "http://", "*", "\n```\n", "a  \n", "\r\n", "`` ` ", "\n\n", "](", "\n["),
    *("@`<b>` ", "@`<b>`", "a`<b>`"),
)


@pytest.mark.parametrize(
    "unit",
    [
        pytest.param(unit, marks=() if place % 5 == 0 else pytest.mark.faults)
        for place, unit in enumerate(SLOW_TO_LOOK_THROUGH)
    ],
)
def test_a_quote_takes_time_and_memory_in_proportion_to_its_text(unit: str) -> None:
    """What could be looked at again and again is not."""
    text = (unit * (200 * KILOBYTE // len(unit))).encode()
    promptly(2, lambda: quoted(text))
    tracemalloc.start()
    try:
        quoted(text)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60 * MEGABYTE


def test_a_text_of_many_megabytes_is_not_looked_at_line_by_line() -> None:
    """It stays as it is, or goes into a fence: lines as objects would take many times its memory."""
    text = b"a\nb |\n" * MEGABYTE
    assert lines_kept(text) == text
    assert quoted(b"# " + text) is None


@given(st.lists(st.text("a\r\n ", max_size=6), max_size=6))
def test_a_text_is_put_in_a_quote_however_it_is_cut(pieces: list[str]) -> None:
    """Empty lines have a bare mark, where a piece ends as well."""
    data = [piece.encode() for piece in pieces]
    lines = b"".join(data).split(b"\n")
    expected = b"\n".join(b">" + line if line in {b"", b"\r"} else b"> " + line for line in lines)
    assert b"".join(quote_pieces(data)) == in_quote(b"".join(data))
    assert in_quote(b"".join(data)) == expected
