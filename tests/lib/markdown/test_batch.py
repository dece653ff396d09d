"""Many texts at once: each is shown as it would be by itself, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from chat_texts import answers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nasty import ALL, HARMFUL, HARMLESS, PIECES
from support import promptly

from lib.markdown.batch import shown_safely
from lib.markdown.fences import fenced_text
from lib.markdown.inert import is_inert
from lib.markdown.quoted import lines_kept, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

ORDINARY = (
    *PIECES,
    *(
        "- a",
        "1. b",
        "2. c",
        "  - d",
        "**e** f",
        "# g",
        "`h`",
        "`i",
        "| j | k |",
        "|---|---|",
        "\\",
        "  ",
        "[l",
    ),
    *("\n", "\n\n", "<b>", "```py\n", "\n```\n", "![", "$$", "www.a.b", "<think>\n"),
)
TEXTS = st.lists(st.sampled_from(ORDINARY), max_size=12).map("".join)
MEGABYTE = 1_000_000


def encoded(texts: Sequence[str]) -> list[bytes]:
    """Encode texts as they stand in a page; a lone surrogate does not stand in any."""
    return [text.encode("utf-8", "replace") for text in texts]


def line_by_line(text: bytes) -> bytes:
    """Show a text without looking at it at a glance."""
    if is_inert(text):
        return lines_kept(text)
    return quoted(text) or fenced_text(text)


@given(st.lists(TEXTS, min_size=1, max_size=5))
@example(["text\n10. a"])
@example(["- # a\nb"])
@example(["**\u00a0", "- \u00a0", "  \u00a0\nb"])
@example(["```\n\r\nb", "```\n\u00a0\n```\n<b>"])
@example(["`a` <b> `c`", "`a``b`<i>`", "a`<b>`c"])
@example(["```py\n```py\n``` \n<b>", "a\n\n 1. b\n2. c"])
@settings(max_examples=200)
def test_a_glance_at_many_texts_gives_what_reading_each_line_gives(texts: list[str]) -> None:
    """The same way, the same line breaks, the same backslashes, whatever stands beside a text."""
    assert shown_safely(encoded(texts)) == list(map(line_by_line, encoded(texts)))
    quotes = [quoted(text) or fenced_text(text) for text in encoded(texts)]
    assert shown_safely(encoded(texts), in_quotes=True) == quotes


@pytest.mark.parametrize("text", ALL)
def test_no_neighbour_hides_a_danger(text: str) -> None:
    """Between others a text is shown as it is alone, a last carriage return included."""
    before, shown, after = shown_safely(encoded(["before", text, "after"]))
    assert (before, shown, after) == (b"before", line_by_line(*encoded([text])), b"after")


def test_all_the_examples_and_many_answers_together() -> None:
    """Blocks of hundreds of texts are what a page is made of."""
    texts = encoded([*HARMLESS, *answers(300, seed=5), *HARMFUL])
    assert shown_safely(texts) == list(map(line_by_line, texts))


@pytest.mark.parametrize(
    "unit", ["`a` <b> ", "\\<b>", "\n- a", "\n10. a", "\n|", "\n", "<b>\n", "`", "$", "\n```"]
)
def test_a_glance_takes_time_in_proportion_to_the_texts(unit: str) -> None:
    """Nothing is looked at again and again."""
    text = (unit * (MEGABYTE // 10 // len(unit))).encode()
    promptly(2, lambda: shown_safely([text, b"a", text]))
