"""The index as a page: its table, its order, and reading it back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from nasty import PIECES

from lib.render.index import MARK, Entry, parse, render

SECOND = 1_000_000_000
WORDS = st.lists(st.sampled_from(PIECES), max_size=4).map("".join) | st.text(max_size=10)
NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8)
ENTRIES = st.builds(
    Entry,
    st.lists(NAMES, min_size=1, max_size=5).map("/".join).map("{}_completions.npy".format),
    st.integers(-(2**93), 2**93),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    st.none() | st.integers(0, 2**40),
    WORDS,
    WORDS,
)


def entry(path: str, seconds: int = 0, *, when: str = "", **more: Any) -> Entry:
    """Make an entry whose source has this time."""
    values: dict[str, Any] = {"records": 3, "blank": 1, "distinct": 2, "model": "", **more}
    return Entry(path, seconds * SECOND, when=when, **values)


def table(page: bytes) -> list[list[str]]:
    """Read the rows of the table as a GFM parser sees them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(page.decode())
    cells: list[list[str]] = []
    for at, token in enumerate(tokens):
        if token.type == "tr_open":
            cells.append([])
        elif token.type in {"td_open", "th_open"}:
            cells[-1].append(tokens[at + 1].content)
    return cells[1:]


def test_an_index_byte_for_byte() -> None:
    """Each set has one line, with the figures of its completions and links to both pages."""
    stem = "gemma/generations/base/animals/n3_t1.0_maxtok100"
    known = {"model": "google/gemma", "when": "2025-11-13 02:52:15"}
    entries = [entry(f"{stem}_full_texts.npy", blank=0, **known), entry(f"{stem}_completions.npy", **known)]
    assert render(entries, ("json", "md")).decode() == (
        "<!-- generation-sidecars index -->\n# Generations\n\n"
        "Kept by generation-sidecars; what is written here by hand is overwritten.\n\n"
        "**Sets:** 1 · **Items:** 3 · **Blank:** 1\n\n"
        "| Model | Prompt / subject / set | Items | Blank | Distinct | Date |\n"
        "| --- | --- | ---: | ---: | ---: | --- |\n"
        "| google/gemma | base / animals / n3_t1.0_maxtok100: "
        f"[completions]({stem}_completions.md) · [full texts]({stem}_full_texts.md) | "
        "3 | 1 | 2 | 2025-11-13 |\n\n"
        "<!-- what was counted, so that it need not be counted again\n"
        f'["{stem}_completions.npy", 0, 3, 1, 2, "google/gemma", "2025-11-13 02:52:15"]\n'
        f'["{stem}_full_texts.npy", 0, 3, 0, 2, "google/gemma", "2025-11-13 02:52:15"]\n'
        "-->\n"
    )


def test_the_newest_set_comes_first() -> None:
    """The metadata decides, or the time of the file where it has no usable time."""
    entries = [
        entry("a_completions.npy", 9, when="2020-01-01 00:00:00"),
        entry("b_completions.npy", 1_700_000_000, when="yesterday"),
        entry("c_completions.npy", 5, when="2025-06-01T00:00:00+02:00"),
        entry("d_full_texts.npy", 1_800_000_000),
    ]
    rows = table(render(entries, ("json", "md")))
    assert [row[1].partition(":")[0] for row in rows] == ["d", "c", "b", "a"]
    assert [row[5] for row in rows] == ["2027-01-15", "2025-06-01", "yesterday", "2020-01-01"]


def test_a_time_that_no_calendar_has_is_left_out() -> None:
    """Some file systems keep times beyond the year 9999."""
    [row] = table(render([entry("a_completions.npy", 10**14)], ("md",)))
    assert (row[1], row[5]) == ("a: [completions](a_completions.md)", "")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("x_completions.npy", ["", "x"]),
        ("runs/today/x_completions.npy", ["", "runs/today / x"]),
        ("gemma/generations/base/animals/x_completions.npy", ["gemma", "base / animals / x"]),
        ("a/gemma/generations/base/two/deep/x_completions.npy", ["a/gemma", "base / two/deep / x"]),
        ("gemma/generations/x_completions.npy", ["gemma", "x"]),
    ],
)
def test_model_prompt_and_subject_come_from_the_path(path: str, place: list[str]) -> None:
    """That is if it has the layout of the library."""
    model, names = table(render([entry(path)], ("md",)))[0][:2]
    assert [model, names.partition(": ")[0]] == place


def test_without_pages_the_links_lead_to_the_json() -> None:
    """The links lead to the existing files; blanks are encoded."""
    [row] = table(render([entry("a b_completions.npy", distinct=None)], ("json",)))
    assert (row[1], row[4]) == ("a b: [completions](a%20b_completions.json)", "–")


@given(st.lists(ENTRIES, max_size=6, unique_by=lambda entry: entry.path))
def test_an_index_is_one_table_and_can_be_read_back(entries: list[Entry]) -> None:
    """No name, model or time breaks it, or gets lost."""
    page = render(entries, ("json", "md"))
    assert page.startswith(MARK)
    rows = table(page)
    assert [len(row) for row in rows] == [6] * len(entries)
    assert page.decode().count("\n# ") == 1
    assert parse(page) == {entry.path: entry for entry in entries}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "x",
        "[]",
        "{}",
        "1",
        '["a", "b", 1, 1, 1, "", ""]',
        '[1, 1, 1, 1, 1, "", ""]',
        '["\\ud800_completions.npy", 1, 1, 1, 1, "", ""]',
        f'["c_completions.npy", {10**400}, 1, 1, 1, "", ""]',
        "[" * 100_000,
        "-->",
    ],
)
def test_what_cannot_be_understood_is_not_known(line: str) -> None:
    """Somebody may have edited it; the other lines are still used."""
    page = render([entry("a_completions.npy"), entry("b_completions.npy")], ("md",)).decode()
    first = page.splitlines()[-3]
    assert set(parse(page.replace(first, line).encode())) == {"b_completions.npy"}
    assert parse(line.encode()) == {}
