"""What may stand in a page as it is, and what may not."""

from __future__ import annotations

import dataclasses
import re

import pytest
from nasty import ALL, HARMFUL, HARMLESS
from support import frugally, promptly

from lib.markdown import inert
from lib.markdown.inert import CONTROLS, DANGERS, Danger

MEGABYTE = 1_000_000


def is_inert(text: str) -> bool:
    """Test a text as a page has it: without lone surrogates."""
    return inert.is_inert(text.encode("utf-8", "replace"))


def dangers_of(text: str) -> list[Danger]:
    """Return the dangers that a text holds."""
    return [danger for danger in DANGERS if danger.found_in(text.encode("utf-8", "replace"))]


CONTAINERS = (
    "", " ", "   ", "\t", "        ", "> ", ">", ">>\t", "- ", "*\t", "+    ", "1. ", "999999999)\t",
)  # fmt: skip
BLOCK_OPENERS = (
    "```", "~~~", "````x", "#", "# x", "######\tx", "---", "***", "_ _ _", "===", "=", "-", "- ", "*\t",
)  # fmt: skip
SLOW_TO_BACKTRACK = (
    "- ", "-     ", "1. ", "> ", ">", "[", "1", "-", "`", "<", "! ", "$ ", "\r\n", " ", "\n", "\n- x",
    "\n1.", "\n=x", "\n \t", "]:\n[", "\n#######", "\n" + "> " * 99 + "x",
)  # fmt: skip


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_markdown_is_inert(text: str) -> None:
    """Lists, quotes, tables, emphasis, code and links stay as they are."""
    assert dangers_of(text) == []
    assert is_inert(text)


@pytest.mark.parametrize("text", HARMFUL)
def test_what_could_act_beyond_itself_is_not_inert(text: str) -> None:
    """Each example of a construct that could reach the next item is found."""
    assert not is_inert(text)


@pytest.mark.parametrize("opener", BLOCK_OPENERS)
def test_a_block_is_found_in_every_container_and_after_any_indentation(opener: str) -> None:
    """Quotes and lists, nested two deep, hide no line that opens or closes a block."""
    for outer in CONTAINERS:
        for inner in CONTAINERS:
            for end in ("", "\n", "\r\n", "\ntext"):
                assert not is_inert(f"text\n{outer}{inner}{opener}{end}"), (outer, inner, end)


@pytest.mark.parametrize("label", ["[a]: b", "[^1]: note", "[a\nb]: c", "*[A]: b", "[\n>a\n>]: b"])
def test_a_definition_is_found_in_every_container(label: str) -> None:
    """Definitions of links, footnotes and abbreviations are found wherever a line may begin."""
    for outer in CONTAINERS:
        for inner in CONTAINERS:
            assert not is_inert(f"{outer}{inner}{label}")


def test_brackets_at_the_beginning_of_a_line_are_inert_without_a_definition() -> None:
    """`[1] text` defines nothing, `x[0]: int` begins with something else."""
    assert is_inert("[1] text\n[2] text")
    assert is_inert("x[0]: int\ny[1]: str")


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA1), 0xAD, 0x2028, 0x2029, 0x200B])
@pytest.mark.parametrize("length", [0, 5000])
def test_controls_are_found_in_short_and_long_texts_alike(code: int, length: int) -> None:
    """Newline and tab are layout; every other control, and what JavaScript takes for a line break, is not."""
    text = "a" * length + chr(code) + "\u00a3 b" + "\u4e2d" * (length % 7)
    allowed = chr(code) in "\n\t" or code in {0xA0, 0xAD, 0x200B}
    assert is_inert(text) is allowed


@pytest.mark.parametrize("code", [0x00, 0x1B, 0x7F, 0x80, 0x9B, 0x9F])
def test_controls_are_found_among_lone_surrogates(code: int) -> None:
    """A text that cannot be encoded is tested too."""
    assert dangers_of("\ud800" * 3000 + chr(code)) == [CONTROLS[0]]
    assert dangers_of("\ud800" * 3000) == []


@pytest.mark.parametrize("text", ["\r", "a\r", "a\rb", "\r\r\n", "\n\r", "\r\n\r"])
def test_a_carriage_return_is_layout_only_before_a_newline(text: str) -> None:
    """A lone carriage return moves the cursor of a terminal and breaks lines for CommonMark."""
    assert CONTROLS[1] in dangers_of(text)
    assert is_inert("a\r\nb\r\n")


@pytest.mark.parametrize("unit", SLOW_TO_BACKTRACK, ids=repr)
@pytest.mark.parametrize("end", ["", "x"])
def test_the_search_takes_time_in_proportion_to_the_text(unit: str, end: str) -> None:
    """A megabyte that makes regular expressions backtrack takes milliseconds, and no quadratic time."""
    text = unit * (MEGABYTE // len(unit)) + end
    promptly(2, lambda: dangers_of(text))


@pytest.mark.parametrize("unit", ["- ", "1. ", ">", "\n- x", "[", "-"])
def test_the_search_takes_little_memory(unit: str) -> None:
    """Any number of containers leaves the stack of the regular expression small."""
    text = unit * (MEGABYTE // len(unit)) + "x"
    frugally(5 * MEGABYTE, lambda: dangers_of(text))


def test_every_danger_is_found_by_itself_in_the_examples() -> None:
    """Each row of the table is needed: it is the only one that stops some example."""
    alone = {dangers_of(text)[0].name for text in ALL if len(dangers_of(text)) == 1}
    assert alone == {danger.name for danger in DANGERS}


def test_dangers_are_values() -> None:
    """The table is constant: its rows cannot be changed."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        DANGERS[0].pattern = re.compile("")  # type: ignore[misc]
