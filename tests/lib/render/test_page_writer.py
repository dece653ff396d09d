"""What a page can have besides its items: figures, links, prompts, and several parts."""

from __future__ import annotations

import os
import re
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from nasty import ALL, PIECES
from outline import PARSERS, RENDERERS, Heading, seen_by_markdown_it, seen_in_html
from rendering import PAGE, render_parts
from support import LONG_AGO_NS, METADATA, SECOND_NS, SOURCE, objects, results, save, sync

from lib.markdown.chat import prompt_of
from lib.options import Extras
from lib.outcome import Figures
from lib.render.navigation import contents, parameters, part_line, summary
from lib.render.page import Page
from lib.render.page_writer import next_prompt
from lib.render.pagination import find_shared_prompt, paginate
from lib.render.statistics import Overview, Statistics
from lib.render.stream import NEXT_PART, rendered

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

EVERYTHING = Extras(summary=True, links=True, pairs=True, page_bytes=2000)
FULL_TEXTS = "n3_full_texts.npy"
FOLDING = {
    "<details>\n<summary>Prompt</summary>",
    "<details>\n<summary>Prompt of all items</summary>",
    "</details>",
}


def parts_of(texts: Sequence[Any], extras: Extras, prompts: Sequence[str] = (), **more: Any) -> list[str]:
    """Render a page of completions, part by part."""
    full_texts = [prompt + text for prompt, text in zip(prompts, texts, strict=False)]
    return render_parts(texts, extras, full_texts, **more)[1]


def headings(page: str) -> list[tuple[str, int, str]]:
    """Return every heading at top level that CommonMark sees: its tag, its depth, its text."""
    tokens = MarkdownIt("commonmark").parse(page)
    return [
        (token.tag, token.level, tokens[at + 1].content)
        for at, token in enumerate(tokens)
        if token.type == "heading_open" and token.level == 0
    ]


def anchors(page: str) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for _, _, text in headings(page)}


def targets(page: str) -> list[str]:
    """Return the targets of the links on a page, except those in the texts of items."""
    tokens = MarkdownIt("commonmark").parse(page)
    inline = [child for token in tokens for child in token.children or ()]
    return [str(token.attrs["href"]) for token in inline if token.type == "link_open"]


@pytest.mark.parametrize(
    ("overview", "lines"),
    [
        (
            Overview(Figures(140_420, 97, 1094, 12.0, 4003, 0), (90_000, 60_000, 0, 1)),
            ["**Blank:** 97", "**Distinct:** 1,094", "**Lengths:** 0 ▇▅▁▂ 4,003 characters, median 12"],
        ),
        (
            Overview(Figures(3, 1, 2, 1.0, 1, 1), (3,), (2,), (3,), 1),
            ["**Blank:** 1: 2", "**Distinct:** 2; repeated: 3", "**Lengths:** 1 character each"],
        ),
        (
            Overview(Figures(90, 40, 2, None, None), (), (1, 3), (2, 4), 1002),
            ["**Blank:** 40: 1, 3 and 38 more", "**Distinct:** 2; repeated: 2, 4 and 1,000 more"],
        ),
        (
            Overview(Figures(3_000_000, 1, None, None, None), (), (7,)),
            ["**Blank:** 1: 7", "**Distinct:** not counted"],
        ),
        (Overview(Figures(0, 0, 0, None, None)), ["**Blank:** 0", "**Distinct:** 0"]),
    ],
)
def test_the_summary_is_a_few_lines_of_figures(overview: Overview, lines: list[str]) -> None:
    """The page says that it was not counted."""
    assert summary(Page("completions", None, 9, 9), overview) == lines


def test_a_summary_stands_below_the_count() -> None:
    """The rest of the page is the same as without a summary."""
    (plain,) = parts_of(["a", "", "abc", "a"], Extras())
    (page,) = parts_of(["a", "", "abc", "a"], Extras(summary=True))
    lines = [
        "- **Blank:** 1: 2",
        "- **Distinct:** 3; repeated: 4",
        "- **Lengths:** 0 ▄▇▁▄ 3 characters, median 1",
    ]
    assert page == plain.replace("**Count:** 4\n", "\n".join(["**Count:** 4", "", *lines, ""]))


def test_blank_and_repeated_items_are_linked_across_parts() -> None:
    """Only the first part has the summary."""
    first, *others = parts_of([*("x" * 2000, "y" * 2000) * 4, ""], Extras(True, True, page_bytes=12_000))
    assert "- **Blank:** 1: [9](n3_completions." in first
    assert "; repeated: [3](#completion-3), [4](" in first
    assert re.search(r"\[7\]\(n3_completions\.[23]\.md#completion-7\)", first)
    assert others
    assert not any("**Distinct:**" in part for part in others)


def test_the_summary_shows_the_parameters_of_the_run() -> None:
    """Plain values only, on one line, harmless, short; what the header shows is not shown again."""
    metadata = {
        "model_name": "google/gemma",
        "timestamp": "2025-11-13",
        "temperature": 1.0,
        "seed": 42,
        "do_sample": True,
        "prompt_name": "base",
        "template": "<b>\n# Answer",
        "system": "word " * 100,
        "none": None,
        "stop": ["a"],
        "nothing": " ",
        "huge": 10**5000,
        "sampling": {"top_p": 1},
        "**key**": "a\x1b[2J",
    }
    (line,) = parameters(metadata)
    assert line == (
        "**Parameters:** temperature = 1.0 · seed = 42 · do_sample = true · prompt_name = base · "
        "template = `<b> # Answer` · system = " + "word " * 12 + "… · `**key**` = `a␛[2J`"
    )


def test_very_many_parameters_are_counted() -> None:
    """Twenty are shown; without any there is no line."""
    (line,) = parameters({f"key{number}": number for number in range(1005)})
    assert line.endswith(" · key19 = 19 · and 985 more")
    assert parameters({"model_name": "m"}) == []


def seen(part: str) -> Iterator[list[Heading]]:
    """Yield what each reader sees of a part: its headings and rules, and tags that are no prompt's."""
    for render in RENDERERS:
        yield [one for one in seen_in_html(render(part)) if one.tag not in {"details", "summary"}]
    for parser in PARSERS:
        yield seen_by_markdown_it(parser, part, FOLDING)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("text", ALL)
def test_no_text_breaks_a_page_with_everything(text: str, shared: bool) -> None:
    """Prompts and parameters can be as nasty as texts; every reader sees the outline of every part."""
    prompts = [text, text, text] if shared else [text, "", f"{text}\n{text}"]
    metadata = {"key": text, text: 1, "model_name": text}
    page, parts = render_parts(
        [text, "x", text],
        EVERYTHING,
        [prompt + answer for prompt, answer in zip(prompts, (text, "x", text), strict=True)],
        metadata=metadata,
    )
    for number, part in enumerate(parts, 1):
        items = page.range_of(number)
        outline = [Heading("h1", 0, "Completions Only"), Heading("hr", 0, "")]
        for item in items:
            outline += [Heading("h2", 0, f"Completion {item}"), Heading("hr", 0, "")]
        assert all(one == outline for one in seen(part))


@given(
    st.lists(st.lists(st.sampled_from(PIECES), max_size=5).map("".join), max_size=12),
    st.integers(min_value=600, max_value=4000),
)
def test_parts_hold_every_item_once_and_keep_to_their_size(texts: list[str], page_bytes: int) -> None:
    """A part above the limit has one item; together they have the items of the undivided page, in order."""
    (whole,) = parts_of(texts, Extras())
    parts = parts_of(texts, Extras(page_bytes=page_bytes))
    body = "".join(part.partition("\n---\n\n")[2] for part in parts)
    assert body == whole.partition("\n---\n\n")[2]
    for part in parts:
        assert len(part.encode()) <= page_bytes or len(headings(part)) <= 2


@pytest.mark.parametrize("kind", ["completions", "full_texts"])
@pytest.mark.parametrize("page_bytes", [None, 2500])
def test_every_link_leads_to_an_item_or_a_part(kind: Any, page_bytes: int | None) -> None:
    """Contents, neighbours and parts, within the page and from part to part."""
    texts = [f"text {number} " * 10 for number in range(50)]
    page = Page(
        kind, None, 50, 50, extras=Extras(links=True, page_bytes=page_bytes), name="a b_completions.md"
    )
    if page_bytes:
        page = paginate(page, [texts], iter(()))
        assert page.parts > 3
    files, at = {}, 1
    for (piece,) in rendered(page, [texts], ("md",), Statistics()):
        name = "a%20b_completions.md" if at == 1 else f"a%20b_completions.{at}.md"
        at += piece is NEXT_PART
        if piece is not NEXT_PART:
            files[name] = files.get(name, "") + piece.decode()
    linked = set()
    for name, text in files.items():
        for target in targets(text):
            file, _, anchor = target.partition("#")
            assert file in {"", *files}
            assert not anchor or anchor in anchors(files[file or name]), target
            linked.add((file or name, anchor))
    assert len([anchor for _, anchor in linked if re.search(r"-\d+$", anchor)]) == 50


def test_contents_of_very_many_items_are_short() -> None:
    """Every tenth, hundredth, …: a thousand links at most."""
    page = Page("completions", None, 140_420, 140_420, extras=Extras(links=True), name=PAGE)
    lines = contents(page, 1)
    assert lines[0].startswith("**Contents:** [1](#completion-1) · [1001](#completion-1001) · ")
    assert len(targets("\n".join(lines))) == 141


def test_each_part_leads_to_all_parts() -> None:
    """The line of parts by their numbers, the contents by their items; the part itself is no link."""
    parts = parts_of(["x" * 5000] * 5, Extras(links=True, page_bytes=16_000))
    assert len(parts) == 3
    all_parts = {"n3_completions.md", "n3_completions.2.md", "n3_completions.3.md"}
    for number, part in enumerate(parts, 1):
        own = PAGE if number == 1 else f"n3_completions.{number}.md"
        for label in ("**Part:**", "**All parts:**"):
            (line,) = (line for line in part.splitlines() if line.startswith(label))
            assert set(targets(line)) == all_parts - {own}
    assert "\n**All parts:** [1–2](n3_completions.md) · 3–4 · [5](n3_completions.3.md)\n" in parts[1]


def test_very_many_parts_are_not_all_named() -> None:
    """Every hundredth, and the last; on a small page even fewer."""
    firsts = tuple(range(1, 5001))
    for page_bytes, count in ((2_000_000, 51), (1000, 2)):
        extras = Extras(links=True, page_bytes=page_bytes)
        page = Page("completions", None, 5000, 5000, extras=extras, name=PAGE, firsts=firsts)
        line = part_line(page, 7)
        assert len(targets(line.partition("all: ")[2])) == count
        assert line.endswith("[5000](n3_completions.5000.md)")
        assert "[6](n3_completions.6.md)" not in line
        assert "[previous](n3_completions.6.md)" in line


def test_a_prompt_is_folded_below_its_completion() -> None:
    """Where the full text ends with the completion; elsewhere there is none to show."""
    page = Page("completions", None, 4, 4, extras=Extras(pairs=True))
    texts, full_texts = ["One.", "Two.", "Three.", 4], ["Say 1: One.", "Two.", "Say three: Tree.", "Say 4: 4"]
    pieces = rendered(page, [texts], ("md",), Statistics(), full_texts)
    text = b"".join(piece for (piece,) in pieces if piece).decode()
    folded = "\n\n<details>\n<summary>Prompt</summary>\n\n```text\nSay 1: \n```\n\n</details>\n\n---\n\n"
    assert f"## Completion 1\n\nOne.{folded}## Completion 2\n\nTwo.\n\n---\n\n## Completion 3" in text
    assert text.count("<details>") == 1


def test_a_prompt_that_all_items_share_stands_once() -> None:
    """Folded above the first item, in the first part; what is below it is the page without prompts."""
    texts = ["x" * 900, "y" * 900, "", "z"]
    (page,) = parts_of(texts, Extras(pairs=True), prompts=["Say ```\n"] * 4)
    (plain,) = parts_of(texts, Extras())
    folded = (
        "\n\n<details>\n<summary>Prompt of all items</summary>\n\n````text\nSay ```\n\n````\n\n</details>"
    )
    assert page == plain.replace("**Count:** 4", f"**Count:** 4{folded}")
    first, *others = parts_of(texts, Extras(pairs=True, page_bytes=1500), prompts=["Say "] * 4)
    assert first.count("<details>") == 1
    assert others
    assert "<details>" not in "".join(others)


ASK, ANSWER = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}
BEGUN = {"role": "assistant", "content": [{"type": "text", "text": "Well: Because."}]}


@pytest.mark.parametrize(
    ("full_text", "completion", "prompt"),
    [
        ([ASK, ANSWER], [ANSWER], [ASK]),
        ([ASK, ANSWER], ANSWER, [ASK]),
        ([ASK, ANSWER], "Because.", [ASK]),
        ([ASK, BEGUN], "Because.", [ASK, {"role": "assistant", "content": "Well: "}]),
        ([ASK], "", [ASK]),
        ([ASK, ANSWER, ASK, ANSWER], [ASK, ANSWER], [ASK, ANSWER]),
        ("Why? Because.", [ANSWER], "Why? "),
        ("Why? Because.", [ASK, ANSWER], None),
        (["Why? A", "Why? B"], ["A", "B"], "Why? "),
        (["Why? A", "Who? B"], ["A", "B"], None),
        ([ANSWER], [ANSWER], None),
        ([ANSWER], "Because.", None),
        ([ASK, ANSWER], [ASK], None),
        ([ASK, ANSWER], "Why?", None),
        ([], [], None),
        ("Why?", None, None),
        (None, "", None),
        (3, 3, None),
    ],
)
def test_chat_messages_and_samples_have_prompts_too(full_text: Any, completion: Any, prompt: Any) -> None:
    """What of the full text stands before its completion, whichever of them are texts or messages."""
    assert prompt_of(full_text, completion) == prompt


def test_a_prompt_of_messages_stands_as_messages_do() -> None:
    """Each role in bold, its content quoted; below each item where the prompts differ."""
    other = {"role": "user", "content": "# Who?"}
    full_texts, answers = [[ASK, ANSWER], [other, ANSWER]], ["Because.", [ANSWER]]
    page = Page("completions", None, 2, 2, extras=Extras(pairs=True))
    assert find_shared_prompt([answers], iter(full_texts)) is None
    text = b"".join(
        piece for (piece,) in rendered(page, [answers], ("md",), Statistics(), full_texts) if piece
    )
    folded = "\n\n<details>\n<summary>Prompt</summary>\n\n**user**\n\n> %s\n\n</details>\n\n---\n\n"
    assert f"Because.{folded % 'Why?'}" in text.decode()
    assert f"> Because.{folded % '# Who?'}" in text.decode()


@pytest.mark.parametrize("role", ["\ud800", "a\udfff\n"])
def test_a_role_with_a_surrogate_stands_in_the_page(role: str) -> None:
    """As U+FFFD, like any text."""
    (page,) = parts_of([[{"role": role, "content": "x"}]], Extras())
    assert "\ufffd" in page


def test_a_prompt_that_cannot_be_written_is_not_shown() -> None:
    """An integer of thousands of digits, beside a message's text: the completion is shown all the same."""
    asked = [{**ASK, "n": 10**5000}, ANSWER]
    for answers in (["Because."], ["Because.", "Because."]):
        for number in (0, 1):
            full_texts = [[{**asked[0], "n": 10**5000 + number * at}, ANSWER] for at in range(len(answers))]
            _, (page,) = render_parts(answers, Extras(pairs=True), full_texts)
            assert "Because." in page
            assert "<details>" not in page


@pytest.mark.parametrize(
    ("full_texts", "answers", "prompt"),
    [
        ([[ASK, ANSWER], [ASK, BEGUN]], [[ANSWER], [BEGUN]], [ASK]),
        (["Say A", None, "Say "], ["A", None, ""], "Say "),
        (["Say A", "Say B", "tell C"], ["A", "B", "C"], None),
        (["Say A", "Say B"], ["A", "X"], None),
        (["Say A"], ["A", "B"], None),
        ([None], [None], None),
        ([], [], None),
    ],
)
def test_only_what_all_items_have_is_a_shared_prompt(full_texts: Any, answers: Any, prompt: Any) -> None:
    """A request that failed has no completion, and says nothing about the prompt."""
    assert find_shared_prompt([[answer] for answer in answers], iter(full_texts)) == prompt


@pytest.mark.parametrize("length", [1 << 20, (1 << 20) + 1])
def test_a_prompt_of_more_than_a_million_characters_is_not_shown(length: int) -> None:
    """It is neither a text nor messages: several of them together would take too much memory."""
    said = "x" * length
    is_shown = length == 1 << 20
    assert (next_prompt(iter([f"{said}A"]), "A") is not None) == is_shown
    assert (
        next_prompt(iter([[{"role": "user", "content": said}, ANSWER]]), "Because.") is not None
    ) == is_shown


def test_long_prompts_come_a_few_at_a_time() -> None:
    """A block of one-letter answers holds tens of thousands; their prompts are not in memory at once."""
    count, prompt = 5000, "Question? " * 400
    page = Page("completions", None, count, count, extras=Extras(pairs=True))
    pieces = rendered(page, [["A"] * count], ("md",), Statistics(), [f"{prompt}A"] * count)
    sizes = [len(piece) for (piece,) in pieces if piece]
    assert sum(sizes) > count * len(prompt)
    assert max(sizes) < 100 * len(prompt)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Save one run, long ago, whose page will have several parts."""
    texts = [f"text {number} " * 20 for number in range(20)]
    save(tmp_path / SOURCE, objects(texts))
    save(tmp_path / FULL_TEXTS, objects([f"Say {number}: {text}" for number, text in enumerate(texts)]))
    (tmp_path / METADATA).write_text("{}")
    for name in (SOURCE, FULL_TEXTS, METADATA):
        os.utime(tmp_path / name, ns=(LONG_AGO_NS, LONG_AGO_NS))
    return tmp_path


def pages(directory: Path) -> list[str]:
    """Name the pages in a directory."""
    return sorted(path.name for path in directory.glob("*.md"))


def test_a_page_is_split_and_joined_again(run: Path) -> None:
    """Parts that are no longer needed are removed; the next sweep finds nothing to do."""
    split = Extras(page_bytes=2000)
    assert results(sync(run / SOURCE, extras=split)) == {"json": "rendered", "md": "rendered"}
    assert len(pages(run)) > 2
    assert all((run / name).stat().st_mtime_ns == LONG_AGO_NS for name in pages(run))
    assert results(sync(run / SOURCE, extras=split)) == {"json": "fresh", "md": "fresh"}
    save(run / SOURCE, objects(["short"]))
    assert results(sync(run / SOURCE, extras=split))["md"] == "rendered"
    assert pages(run) == [PAGE]


def test_turning_the_size_guard_off_removes_the_parts_with_the_next_page(run: Path) -> None:
    """The page has their items again."""
    sync(run / SOURCE, extras=Extras(page_bytes=2000))
    sync(run / SOURCE, force=True)
    assert pages(run) == [PAGE]


def test_the_parts_of_a_deleted_page_are_removed(run: Path) -> None:
    """As far as they are not needed again: of the same source, they carry the same time."""
    sync(run / SOURCE, extras=Extras(page_bytes=2000))
    (run / PAGE).unlink()
    assert results(sync(run / SOURCE))["md"] == "rendered"
    assert pages(run) == [PAGE]


def test_other_files_are_not_taken_for_old_parts(run: Path) -> None:
    """A copy of the page with its time stays, and so does a part that was edited."""
    split = Extras(page_bytes=2000)
    sync(run / SOURCE, extras=split)
    edited = run / "n3_completions.3.md"
    edited.write_text(edited.read_text() + "my notes\n")
    copy = run / "n3_completions.2.md"
    copy.write_bytes((run / PAGE).read_bytes())
    os.utime(copy, ns=(LONG_AGO_NS, LONG_AGO_NS))
    save(run / SOURCE, objects(["short"]))
    sync(run / SOURCE, extras=split)
    assert pages(run) == [copy.name, edited.name, PAGE]
    assert edited.read_text().endswith("my notes\n")


def test_an_edited_part_is_kept_and_reported(run: Path) -> None:
    """As an edited page is; ``--force`` writes it again."""
    split = Extras(page_bytes=2000)
    sync(run / SOURCE, extras=split)
    part = run / "n3_completions.2.md"
    part.write_text("my own")
    (run / PAGE).unlink()
    outcome = sync(run / SOURCE, extras=split)
    assert results(outcome)["md"] == "kept"
    assert outcome.reason.startswith("its .md: n3_completions.2.md: ")
    assert part.read_text() == "my own"
    sync(run / SOURCE, extras=split, force=True)
    assert part.read_text().startswith("# Completions Only\n")


def test_a_directory_in_the_place_of_a_part_is_reported(run: Path) -> None:
    """The page does not appear without its parts."""
    (run / "n3_completions.2.md").mkdir()
    outcome = sync(run / SOURCE, extras=Extras(page_bytes=2000))
    assert outcome.result == "failed"
    assert "n3_completions.2.md: a directory stands" in outcome.reason
    assert pages(run) == ["n3_completions.2.md"]


def test_a_page_with_prompts_follows_the_full_texts(run: Path) -> None:
    """The page is made from them too, so their time counts."""
    pairs = Extras(pairs=True)
    sync(run / SOURCE, extras=pairs)
    assert "Say 7: " in (run / PAGE).read_text()
    save(run / FULL_TEXTS, objects([f"Ask {number}: " + f"text {number} " * 20 for number in range(20)]))
    os.utime(run / FULL_TEXTS, ns=(LONG_AGO_NS + SECOND_NS, LONG_AGO_NS + SECOND_NS))
    assert results(sync(run / SOURCE, extras=pairs)) == {"json": "fresh", "md": "rendered"}
    assert "Ask 7: " in (run / PAGE).read_text()
    assert results(sync(run / SOURCE, extras=pairs)) == {"json": "fresh", "md": "fresh"}


@pytest.mark.parametrize("trouble", ["other length", "numbers", "gone", "link"])
def test_full_texts_that_cannot_be_used_give_a_page_without_prompts(run: Path, trouble: str) -> None:
    """The completions are shown all the same, and a warning says what is missing."""
    (run / FULL_TEXTS).unlink()
    if trouble == "other length":
        save(run / FULL_TEXTS, objects(["one"]))
    elif trouble == "numbers":
        save(run / FULL_TEXTS, np.arange(20))
    elif trouble == "link":
        (run / FULL_TEXTS).symlink_to(run / SOURCE)
    outcome = sync(run / SOURCE, extras=Extras(pairs=True))
    assert results(outcome)["md"] == "rendered"
    assert "<details>" not in (run / PAGE).read_text()
    assert [FULL_TEXTS in warning for warning in outcome.warnings] == ([] if trouble == "gone" else [True])


def test_full_texts_have_no_prompts_below_them(run: Path) -> None:
    """They show theirs at their beginning."""
    sync(run / FULL_TEXTS, extras=Extras(pairs=True))
    assert "<details>" not in (run / "n3_full_texts.md").read_text()


def test_a_dry_run_writes_no_part(run: Path) -> None:
    """Not even where a sidecar has to be compared."""
    sync(run / SOURCE, extras=Extras(page_bytes=2000))
    for name in set(pages(run)) - {PAGE}:
        (run / name).unlink()
    (run / PAGE).write_bytes((run / PAGE).read_bytes())
    assert results(sync(run / SOURCE, extras=Extras(page_bytes=2000), dry_run=True))["md"] == "adopted"
    assert pages(run) == [PAGE]


@pytest.mark.parametrize("extras", [Extras(*given) for given in product((False, True), repeat=3)])
def test_a_page_is_the_same_however_its_items_are_cut_into_blocks(extras: Extras) -> None:
    """Numbers, prompts and links go on from block to block."""
    texts = [f"text {number}" for number in range(30)]
    full_texts = [f"Say {len(text)}: {text}" for text in texts]
    page = Page("completions", None, 30, 30, extras=extras, name=PAGE)
    whole, cut = (
        b"".join(piece for (piece,) in rendered(page, blocks, ("md",), Statistics(), full_texts) if piece)
        for blocks in ([texts], [texts[:7], texts[7:8], texts[8:]])
    )
    assert whole == cut
