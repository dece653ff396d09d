"""Pages: their bytes, and the proof by four parsers that no text breaks one."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from chat_texts import answers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nasty import ALL, HARMFUL, HARMLESS, LEAK, PIECES, PROBE
from outline import (
    FOOTNOTES,
    HEADER_TAGS,
    PARSERS,
    RENDERERS,
    UNSAFE,
    Heading,
    gfm,
    markdown_it,
    seen_by_markdown_it,
    seen_in_html,
)
from rendering import items
from structures import texts as structures
from support import frugally, promptly

from lib.encoded_text import EncodedText, Texts, utf8
from lib.markdown.fences import fenced, pictured
from lib.markdown.header import header, header_value
from lib.markdown.inert import is_inert
from lib.markdown.sections import bodies, item_pieces
from lib.render.page import Page
from lib.render.page_writer import PageWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lib.options import Style

TEXTS = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)
LONG_HTML = re.compile(r"<(/?)(blockquote|ul|ol|li|table|section|div|pre|hr|h[1-6])\b[^>]*>([^<]*)")


def page_of(texts: Sequence[str], style: Style = "auto") -> str:
    """Render a whole page."""
    page = header("completions", None, len(texts), len(texts)) + items(
        "completions", texts, 1, style=style, all_text=True
    )
    return page.decode()


def expected(count: int) -> list[Heading]:
    """Return what a parser must see on a page of this many items: these headings and rules, and no others."""
    outline = [Heading("h1", 0, "Completions Only"), Heading("hr", 0, "")]
    for number in range(1, count + 1):
        outline += [Heading("h2", 0, f"Completion {number}"), Heading("hr", 0, "")]
    return outline


def seen_in_long_html(html: str) -> list[Heading]:
    """Do the same for megabytes: texts contain no `<` there, so a regular expression can find the tags."""
    assert 'class="footnote' not in html
    assert f'="{LEAK}' not in html
    return list(_long_outline(html))


def _long_outline(html: str) -> Iterator[Heading]:
    depth = 0
    for closing, tag, text in LONG_HTML.findall(html):
        if tag == "hr" or tag[1:].isdigit():
            if not closing and not depth:
                yield Heading(tag, depth, "" if tag == "hr" else text)
        else:
            depth += -1 if closing else 1


def assert_unbroken(texts: Sequence[str], style: Style) -> None:
    """Ask every parser for the outline of a page."""
    page = page_of(texts, style)
    for render in RENDERERS:
        assert seen_in_html(render(page)) == expected(len(texts))
    for parser in PARSERS:
        assert seen_by_markdown_it(parser, page) == expected(len(texts))


def assert_header_unbroken(model: object, timestamp: object) -> None:
    """Check the labels with GitHub's parser; only markup that stays in its paragraph is allowed."""
    metadata = {"model_name": model, "timestamp": timestamp}
    page = (header("completions", metadata, 1, 1) + items("completions", ["text"], 1, all_text=True)).decode()
    assert page.split("\n")[5:7] == ["", "---"]
    for render in RENDERERS:
        html = render(page)
        assert seen_in_html(html) == expected(1)
        assert re.findall("<strong>(Model|Generated|Count):</strong>", html) == [
            "Model",
            "Generated",
            "Count",
        ]
        assert set(re.findall(r"<(\w+)", html)) <= HEADER_TAGS


def all_pairs(texts: Sequence[str]) -> list[str]:
    """Return a sequence in which every text precedes every text once (de Bruijn, order 2)."""
    sequence = []
    for at, text in enumerate(texts):
        sequence.append(text)
        for other in texts[at + 1 :]:
            sequence += [text, other]
    return [*sequence, texts[0]]


def test_all_pairs_are_in_the_sequence() -> None:
    """The sequence that these tests use has each ordered pair exactly once."""
    sequence = all_pairs("abcde")
    pairs = list(itertools.pairwise(sequence))
    assert len(pairs) == len(set(pairs)) == 25


@pytest.mark.parametrize("style", ["auto", pytest.param("fenced", marks=pytest.mark.faults)])
@pytest.mark.parametrize(
    "render", [*RENDERERS[:2], *(pytest.param(it, marks=pytest.mark.faults) for it in RENDERERS[2:])]
)
def test_no_pair_of_nasty_texts_breaks_a_page_for_cmark(style: Style, render: Callable[[str], str]) -> None:
    """With every nasty text beside every other, GitHub's parser still sees one heading for each item."""
    texts = all_pairs(ALL)
    assert seen_in_long_html(render(page_of(texts, style))) == expected(len(texts))


def test_no_pair_of_nasty_texts_breaks_a_page_for_markdown_it() -> None:
    """The second parser agrees, on all pairs that differ in more than the content of a fence."""
    texts = all_pairs([*HARMLESS, *HARMFUL[::10]])
    assert seen_by_markdown_it(markdown_it("gfm-like", inline=False), page_of(texts)) == expected(len(texts))


@pytest.mark.parametrize("style", ["auto", "fenced"])
def test_no_nasty_text_breaks_a_page_for_any_parser(style: Style) -> None:
    """All texts on one page, in both orders, are read by every parser with all its rules."""
    assert_unbroken([*ALL, *reversed(ALL)], style)


@given(st.lists(TEXTS, min_size=1, max_size=4))
@settings(max_examples=200)
def test_no_text_made_by_chance_breaks_a_page(texts: list[str]) -> None:
    """Whatever the texts, every parser sees exactly the headings and rules that we wrote, at top level."""
    assert_unbroken(texts, "auto")
    assert_unbroken(texts, "fenced")


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(4))
def test_no_damaged_structure_breaks_a_page(seed: int) -> None:
    """Blocks nested in blocks, some of them broken, one text a page, so that none covers for another."""
    for text in structures(150, seed):
        assert_unbroken([text, PROBE], "auto")


@given(st.lists(VALUES, min_size=1, max_size=4))
@settings(max_examples=50)
def test_no_value_breaks_a_page(values: list[Any]) -> None:
    """The same holds for items that are not text."""
    page = header("completions", None, len(values), len(values)).decode()
    page += items("completions", values, 1, all_text=False).decode()
    for parser in PARSERS:
        assert seen_by_markdown_it(parser, page) == expected(len(values))
    assert seen_in_html(gfm(page, UNSAFE | FOOTNOTES)) == expected(len(values))


@pytest.mark.parametrize("ticks", [1, 2, 19, 20, 79, 80, 81, 255, 999])
@pytest.mark.parametrize("value", ["{}<b>x", "{}<b>{}", "a{}b` <b>` {}c", "<b>{}"])
def test_no_number_of_back_ticks_lets_html_out_of_the_header(value: str, ticks: int) -> None:
    """In cmark, a code span has at most 80 back-ticks, so longer runs are shortened."""
    metadata = {"model_name": value.replace("{}", "`" * ticks), "timestamp": "`"}
    page = header("completions", metadata, 1, 1).decode()
    for render in RENDERERS:
        html = render(page)
        assert "<b>" not in html
        assert html.count("<code>") == 2


@pytest.mark.parametrize("value", [*ALL, {"a": "```\n# b"}, ["<b>"], "x" * 5000, "`" * 2000])
def test_no_metadata_breaks_a_page(value: object) -> None:
    """The header keeps its three lines, whatever the values are."""
    assert_header_unbroken(value, value)


@given(TEXTS, TEXTS)
@example("__>", ">__")
@settings(max_examples=200)
def test_no_two_values_of_the_header_work_together(model: str, timestamp: str) -> None:
    """One line cannot open what another closes around a label."""
    assert_header_unbroken(model, timestamp)


def test_the_judges_see_a_broken_page() -> None:
    """These tests can fail: pasted as they are, many of the texts break their page."""
    broken = {
        text for text in HARMFUL if seen_in_html(gfm(page_of([text, "text"], "plain"), UNSAFE)) != expected(2)
    }
    assert len(broken) > 60
    assert not [text for text in HARMLESS if seen_in_html(gfm(page_of([text, text], "plain"))) != expected(2)]


def test_both_judges_of_html_agree() -> None:
    """The regular expressions for long HTML find what the parser of HTML finds."""
    html = gfm(page_of(ALL), UNSAFE | FOOTNOTES)
    assert seen_in_long_html(html) == seen_in_html(html)


@pytest.mark.parametrize("text", [text for text in ALL if "\r" not in text and "`" * 255 not in text])
def test_a_fence_shows_the_whole_text(text: str) -> None:
    """A parser finds exactly the text in the fence, with its control characters as pictures."""
    tokens = markdown_it("commonmark").parse(page_of([text], "fenced"))
    assert [(t.info, t.content) for t in tokens if t.type == "fence"] == [("text", pictured(text) + "\n")]


def test_a_page_of_inert_texts_byte_for_byte() -> None:
    """The format that scripts and people rely on."""
    metadata = {"model_name": "google/gemma-2-27b-it", "timestamp": "2025-11-13 02:52:15", "seed": 1}
    writer = PageWriter(Page("completions", metadata, 1374, 1374), iter(()))
    page = writer.start() + writer.block(Texts([" first\n"])) + writer.block(Texts(["", "x"]))
    assert page == (
        b"# Completions Only\n\n**Model:** google/gemma-2-27b-it\n**Generated:** 2025-11-13 02:52:15\n"
        b"**Count:** 1374\n\n---\n\n"
        b"## Completion 1\n\n first\n\n\n---\n\n"
        b"## Completion 2\n\n*(blank)*\n\n---\n\n"
        b"## Completion 3\n\nx\n\n---\n\n"
    )


def test_a_page_of_full_texts_cut_short_byte_for_byte() -> None:
    """The other kind has other titles; the header states a limit."""
    page = header("full_texts", None, 1374, 10) + items("full_texts", ["x"], 1, all_text=True)
    assert page == (
        b"# Full Texts (Prompt + Completion)\n\n**Model:** unknown\n**Generated:** unknown\n"
        b"**Count:** 10 (showing first 10 of 1374)\n\n---\n\n## Generation 1\n\nx\n\n---\n\n"
    )


def test_a_page_without_items_ends_after_its_header() -> None:
    """There are no sections without items."""
    assert items("completions", [], 1, all_text=True) == b""
    assert header("completions", {}, 0, 0).endswith(b"**Count:** 0\n\n---\n\n")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "unknown"),
        ("", "unknown"),
        (" \n\t ", "unknown"),
        ("my_model_v2 (8B), R&D: ~/models/x|y #1!", "my_model_v2 (8B), R&D: ~/models/x|y #1!"),
        ("https://example.org/a?b=c", "https://example.org/a?b=c"),
        ("google/gemma-2-27b-it", "google/gemma-2-27b-it"),
        ("2025-11-13T02:52:15.123456+00:00", "2025-11-13T02:52:15.123456+00:00"),
        ("Llama 3.1 8B (instruct)", "Llama 3.1 8B (instruct)"),
        ("  two  spaces  ", "  two  spaces  "),
        ("a\ttab", "a\ttab"),
        ("read from a file\n", "read from a file"),
        ("2*7B * 3", "2*7B * 3"),
        ("a < b, x<5", "a < b, x<5"),
        ("llama [v2], [open", "llama [v2], [open"),
        ("[leak]: /leaked", "[leak]: /leaked"),
        ("C:\\models\\7B", "C:\\models\\7B"),
        ("# 1. - > x", "# 1. - > x"),
        ("\u4e2d\u6587 \u00e9", "\u4e2d\u6587 \u00e9"),
        (42, "42"),
        (1.5, "1.5"),
        (True, "true"),
        (float("nan"), "NaN"),
        ({"a": [1, "b"]}, '{"a": [1, "b"]}'),
        ({"a": 'quoted"'}, '`{"a": "quoted\\""}`'),
        ([], "[]"),
        ("two\nlines\r\nhere", "`two lines here`"),
        ("\n---\n# heading", "`--- # heading`"),
        ("<b>bold</b>", "`<b>bold</b>`"),
        ("</b", "`</b`"),
        ("[text](/leaked)", "`[text](/leaked)`"),
        ("![leak]", "`![leak]`"),
        ("$x$", "`$x$`"),
        ("a\\*b", "`a\\*b`"),
        ("break\\", "`break\\`"),
        ("a`b", "``a`b``"),
        ("`a``", "``` `a`` ```"),
        ("**", "`**`"),
        ("\x1b[2J\x00\x7f\x9b", "`\u241b[2J\u2400\u2421\ufffd`"),
        ("a\u2028b", "`a b`"),
        ("x" * 1000, "x" * 1000),
        ("x" * 1001, "`" + "x" * 1000 + "\u2026`"),
        (object(), "unknown"),
    ],
)
def test_a_value_of_the_header_is_plain_or_shown_as_code_on_one_line(value: object, shown: str) -> None:
    """A plain one-line text stays as it is; anything else is harmless."""
    assert header_value(value) == shown


def test_a_lone_surrogate_in_the_header_is_replaced() -> None:
    """The header is valid UTF-8 whatever the metadata holds."""
    assert b"**Model:** a\xef\xbf\xbdb\n" in header("completions", {"model_name": "a\ud800b"}, 1, 1)


def only_item(value: object, style: Style = "auto") -> str:
    """Render one item and return what is between its heading and its rule."""
    section = items("completions", [value], 7, style=style, all_text=isinstance(value, str)).decode()
    assert section.startswith("## Completion 7\n\n")
    assert section.endswith("\n\n---\n\n")
    return section[len("## Completion 7\n\n") : -len("\n\n---\n\n")]


@pytest.mark.parametrize("style", ["auto", "fenced"])
@pytest.mark.parametrize(
    "unit", ["`", "``` ", "\n```", "\n" + "`" * 255 + " ", "\r", "\x1b", "\ud800", "\n   ", "[x]: "]
)
def test_a_page_takes_time_in_proportion_to_its_texts(style: Style, unit: str) -> None:
    """A megabyte of what has to be counted, pictured or replaced is rendered in well under a second."""
    text = unit * (1_000_000 // len(unit)) + "\x1b```"
    promptly(2, lambda: items("completions", [text], 1, style=style, all_text=True))
    promptly(1, lambda: header("completions", {"model_name": text[:100_000]}, 1, 1))


@pytest.mark.parametrize("text", HARMLESS)
def test_an_inert_text_is_as_it_is_in_auto_but_for_line_breaks(text: str) -> None:
    """It is never stripped, and changed nowhere but at the ends of lines."""
    shown = only_item(text)
    assert shown in {text, "*(blank)*"} or re.sub("  (\r?\n)", r"\1", shown) == re.sub(
        "  (\r?\n)", r"\1", text
    )


@pytest.mark.parametrize("text", HARMFUL)
def test_any_other_text_is_quoted_or_fenced_in_auto_and_verbatim_in_plain(text: str) -> None:
    """Every line of a quote has its mark; the fence is the one of the fenced style."""
    shown = only_item(text)
    quote = all(line == ">" or line.startswith("> ") for line in shown.replace("\r\n", "\n").split("\n"))
    assert quote or shown == only_item(text, "fenced")
    assert only_item(text, "plain") == text


@pytest.mark.parametrize("text", ["", " ", "\n", " \n\t \r\n", "\u3000", "\x0c"])
def test_a_text_of_white_space_only_says_so(text: str) -> None:
    """Without a word there, the page would seem broken."""
    assert only_item(text) == "*(blank)*"
    assert only_item(text, "plain") == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", "```text\n\n```"),
        ("x", "```text\nx\n```"),
        (" x \n", "```text\n x \n\n```"),
        ("a `` b", "```text\na `` b\n```"),
        ("```\nx", "````text\n```\nx\n````"),
        ("x ````` ```", "``````text\nx ````` ```\n``````"),
        ("`" * 254, "`" * 255 + "text\n" + "`" * 254 + "\n" + "`" * 255),
        (" " + "`" * 255 + "\na", "`" * 256 + "text\n     " + "`" * 255 + "\na\n" + "`" * 256),
        ("x" + "`" * 255, "`" * 256 + "text\nx" + "`" * 255 + "\n" + "`" * 256),
        ("a\r\nb\r\n", "```text\na\r\nb\r\n\n```"),
        ("a\rb\r", "```text\na\u240db\u240d\n```"),
        (
            "\x00\x1b\x1f\t\x7f\x80\x85\x9f\xa0",
            "```text\n\u2400\u241b\u241f\t\u2421\ufffd\ufffd\ufffd\xa0\n```",
        ),
        ("a\ud800b", "```text\na\ufffdb\n```"),
    ],
)
def test_a_fence_is_longer_than_any_run_inside_and_shows_controls_as_pictures(text: str, shown: str) -> None:
    """No terminal obeys the page, and the text keeps its line breaks."""
    assert only_item(text, "fenced") == shown


def test_lone_surrogates_are_replaced_in_every_style() -> None:
    """Markdown is valid UTF-8; a pair of lone surrogates is not put together."""
    for style in ("auto", "plain", "fenced"):
        assert "a\ufffd\ufffdb" in only_item("a\ud83d\ude00b", style)


def test_hardly_any_answer_of_a_chat_model_is_shown_raw() -> None:
    """Of made-up answers, one in four of them cut, fewer than 3 in 1,000 stand in a fence (measured: 0.5)."""
    texts = list(answers(2000, seed=1))
    page = items("completions", texts, 1, all_text=True).decode()
    shown = re.split(r"(?m)^## Completion [0-9]+$", page)[1:]
    assert len(shown) == len(texts)
    assert sum(re.match("\n\n`{3,}text\n", body) is not None for body in shown) < 6
    assert sum(body.startswith("\n\n> ") for body in shown) > 1000


CHAT = [
    {"role": "system", "content": "Be kind,\nalways."},
    {"role": "user", "content": [{"type": "text", "text": "# Why <b>"}]},
    {"role": "assistant", "content": None, "name": None, "tool_calls": [7]},
    {"role": "*", "content": ""},
]


def test_chat_messages_show_as_their_roles_and_their_quoted_contents() -> None:
    """A role in bold, a content as Markdown in a quote, anything else that a message has as JSON."""
    assert only_item(CHAT) == (
        "**system**\n\n> Be kind,  \n> always.\n\n**user**\n\n> # Why \\<b>\n\n"
        '**assistant**\n\n> ```json\n> {\n>   "tool_calls": [\n>     7\n>   ]\n> }\n> ```\n\n'
        "**`*`**\n\n> *(blank)*"
    )
    assert only_item(CHAT[:1], "fenced") == "**system**\n\n> ```text\n> Be kind,\n> always.\n> ```"
    assert only_item(CHAT, "plain") == fenced(json.dumps(CHAT, indent=2).encode(), b"json").decode()


@pytest.mark.parametrize("style", ["auto", "fenced"])
def test_no_chat_breaks_a_page(style: Style) -> None:
    """Neither its contents nor its roles."""
    chats = [[{"role": text, "content": text}, {"role": "user", "content": text}] for text in ALL]
    page = header("completions", None, len(chats), len(chats)).decode()
    page += items("completions", chats, 1, style=style, all_text=False).decode()
    for parser in PARSERS:
        assert seen_by_markdown_it(parser, page) == expected(len(chats))
    assert seen_in_html(gfm(page, UNSAFE | FOOTNOTES)) == expected(len(chats))


@pytest.mark.parametrize("style", ["auto", "plain", "fenced"])
@pytest.mark.parametrize(
    "value", [None, 5, 1.5, True, [], ["a", "```"], {"role": "user", "content": "\u00e9\n"}]
)
def test_what_is_not_text_is_shown_as_json_in_a_fence_in_every_style(value: object, style: Style) -> None:
    """Lists of samples are as readable as texts."""
    written = json.dumps(value, indent=2, ensure_ascii=False)
    assert only_item(value, style) == fenced(written.encode(), b"json").decode()


def test_controls_inside_json_are_pictured_unless_plain() -> None:
    """JSON escapes C0 controls by itself, and no others."""
    assert only_item(["\x1b\x7f\x9b"]) == '```json\n[\n  "\\u001b\u2421\ufffd"\n]\n```'
    assert "\x7f\x9b" in only_item(["\x7f\x9b"], "plain")


def test_numbers_of_a_block_are_shown_as_each_would_be_alone() -> None:
    """They are written many at once."""
    values = [None, True, False, 0, -1, 10**40, 0.1, 1e300, -0.0, "a", [1], 1e-7]
    page = b"".join(items("completions", [v], n, all_text=False) for n, v in enumerate(values, 1))
    assert items("completions", values, 1, all_text=False) == page
    for value in values[:9]:
        assert only_item(value) == f"```json\n{json.dumps(value)}\n```"


def test_texts_among_other_values_are_shown_as_texts() -> None:
    """A block of both kinds shows each as it would be shown alone."""
    page = items("completions", ["a", None, "```"], 1, all_text=False).decode()
    for shown in ("1\n\na\n", "2\n\n```json\nnull\n```\n", "3\n\n> ```\n"):
        assert f"## Completion {shown}" in page


@given(st.lists(TEXTS, max_size=6), st.integers(0, 6), st.sampled_from(["auto", "plain", "fenced"]))
def test_a_page_is_the_same_however_it_is_cut_into_blocks(texts: list[str], cut: int, style: Style) -> None:
    """Whether an edited sidecar has our bytes must not depend on the size of a block."""
    whole = items("completions", texts, 1, style=style, all_text=True)
    first = items("completions", texts[:cut], 1, style=style, all_text=True)
    rest = items("completions", texts[cut:], 1 + len(texts[:cut]), style=style, all_text=False)
    assert whole == first + rest


@given(TEXTS)
def test_pictured_texts_drive_no_terminal(text: str) -> None:
    """No control character is left, and each is replaced by one character."""
    shown = pictured(text)
    assert len(shown) == len(text)
    assert pictured(shown) == shown
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|\r(?!\n)", shown)
    assert is_inert(text.encode("utf-8", "replace")) <= (shown == text)


ANY_VALUE = st.recursive(
    st.none() | st.integers() | st.text(st.characters(codec=None), max_size=20) | st.sampled_from(ALL),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def kept_encoded(value: Any) -> Any:
    """Return a value whose texts are not decoded, except for roles."""
    if isinstance(value, str):
        return EncodedText(utf8(value))
    if isinstance(value, list):
        return list(map(kept_encoded, value))
    if isinstance(value, dict):
        return {key: item if key == "role" else kept_encoded(item) for key, item in value.items()}
    return value


@given(
    value=st.lists(ANY_VALUE, max_size=4)
    | st.lists(st.fixed_dictionaries({"role": st.text(max_size=5), "content": ANY_VALUE, "x": ANY_VALUE})),
    style=st.sampled_from(["auto", "plain", "fenced"]),
)
def test_pieces_of_an_item_are_together_what_is_shown_of_it_among_others(value: Any, style: Style) -> None:
    """Values and chat messages, their texts decoded or not."""
    (shown,) = bodies([value], style)
    assert b"".join(item_pieces(value, style)) == shown
    assert b"".join(item_pieces(kept_encoded(value), style)) == shown


@pytest.mark.parametrize("style", ["auto", "fenced"])
def test_a_long_content_of_a_message_stands_in_a_quote(style: Style) -> None:
    """As Markdown where that is safe, else in a fence; every line is marked."""
    for content in ("# Why\n\nBecause\nof this.\n\n" * 20_000, "```\n" * 90_001, "a\r\n\r\nb " * 90_000):
        chat = [{"role": "user", "content": content}, {"role": "b", "content": "c"}]
        shown = b"".join(item_pieces(chat, style))
        first, second = shown.split(b"\n\n**b**\n\n")
        assert second in {b"> c", b"> ```text\n> c\n> ```"}
        lines = first.split(b"\n")
        assert lines[:2] == [b"**user**", b""]
        assert all(line.startswith(b">") for line in lines[2:])


@pytest.mark.parametrize(
    "value", ["ab " * 3_000_000, "a\n" * 4_000_000, "`" * 8_000_000, "x" * 70_000 + " y"]
)
def test_a_value_of_many_megabytes_is_cut_before_it_is_looked_at(value: str) -> None:
    """It is not split into words, which would take many times its memory."""
    shown = frugally(2 * len(value) + 5_000_000, lambda: header_value(value))
    assert shown.rstrip("` ").endswith("…")
    assert len(shown) < 1020
