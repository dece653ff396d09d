"""Long texts in pieces: shown as short ones are, where they can be cut, and never otherwise than safely."""

from __future__ import annotations

import pytest
from chat_texts import answers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nasty import ALL, PIECES
from support import frugally, promptly

from lib.encoded_text import Texts
from lib.json_writer import encoded
from lib.markdown.batch import shown_safely
from lib.markdown.fences import fenced_text
from lib.markdown.inert import DANGERS, DEFINITION
from lib.markdown.long_texts import PART_CHARACTERS, long_text_pieces
from lib.render.page import Page
from lib.render.page_writer import PageWriter

TEXTS = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
MARKED = "]\N{MULTIPLICATION SIGN}".encode()
MEGABYTE = 1_000_000


def shown(text: str, size: int) -> bytes:
    """Show a text, cut into parts of about this size."""
    return b"".join(long_text_pieces(text, "auto", size))


@given(
    st.lists(st.one_of(TEXTS, st.sampled_from(ALL)), max_size=6),
    st.sampled_from(["\n", "\n\n", "\n\nand ", "\r\n\r\nand ", "\n\n# "]),
    st.integers(1, 30),
)
@example(["[leak", "x]: /leaked"], "\n", 1)
@example(["[leak", "x]: /leaked"], "\n\n", 1)
@example(["```\na", "b\n```", "c"], "\n\nand ", 1)
@settings(max_examples=150)
def test_a_long_text_is_shown_as_a_short_one_or_else_in_a_fence(
    texts: list[str], between: str, more: int
) -> None:
    """Where its parts meet, nothing is lost or added; only an inert text may lack line breaks."""
    text = between.join(texts)
    whole, size = encoded(text), max(map(len, text.split("\n"))) + more
    ways = {fenced_text(whole), *shown_safely([whole])}
    if not any(
        danger.found_in(whole) for danger in DANGERS if danger is not DEFINITION or "\n\n" not in text
    ):
        (kept,) = shown_safely([whole.replace(b"]:", MARKED)])
        ways |= {whole, kept.replace(MARKED, b"]:")}
    assert shown(text, size) in ways
    assert b"".join(long_text_pieces(text, "fenced", size)) == fenced_text(whole)
    assert b"".join(long_text_pieces(text, "plain", size)) == whole


@pytest.mark.parametrize("seed", range(3))
def test_long_answers_are_shown_as_short_ones(seed: int) -> None:
    """Answers of chat models have empty lines to cut them at."""
    text = "\n\n".join(answers(30, seed))
    assert [shown(text, 800)] == shown_safely([encoded(text)])


@pytest.mark.parametrize("text", ["word " * 90_000, "# no\n" * 300_000, "\x1b[31m" * 90_000])
def test_a_long_text_is_an_item_like_any_other(text: str) -> None:
    """Its section has the heading and the rule of every item, and the text as it is or in a fence."""
    writer = PageWriter(Page("completions", None, 2, 2), iter(()))
    body = encoded(text) if text.startswith("word") else fenced_text(encoded(text))
    assert b"".join(writer.item(text)) == b"## Completion 1\n\n%b\n\n---\n\n" % body
    assert writer.block(Texts(["after"])) == b"## Completion 2\n\nafter\n\n---\n\n"


def test_a_long_text_of_white_space_is_blank() -> None:
    """As any other, alone or among others."""
    text = " \n" * PART_CHARACTERS
    writer = PageWriter(Page("completions", None, 3, 3), iter(()))
    assert b"".join(writer.item(text)) == b"## Completion 1\n\n*(blank)*\n\n---\n\n"
    assert writer.block(Texts([text, "a"])).count(b"*(blank)*") == 1


@pytest.mark.faults
@pytest.mark.parametrize("unit", ["# a\n\nb\nc\n\n", "\n", "```\n\na\n", "- a\n", "\n\na"])
def test_a_long_text_takes_time_and_memory_in_proportion_to_one_part(unit: str) -> None:
    """Whatever stands where it might be cut."""
    text = unit * (4 * PART_CHARACTERS // len(unit))
    frugally(100 * MEGABYTE, lambda: promptly(10, lambda: sum(map(len, long_text_pieces(text, "auto")))))
