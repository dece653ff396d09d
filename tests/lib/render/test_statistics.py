"""Counting blank and distinct items, and measuring them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.encoded_text import Texts
from lib.outcome import Figures, bars
from lib.render import statistics as module
from lib.render.statistics import Statistics


def test_nothing_counts_nothing() -> None:
    """An empty array has no items."""
    assert Statistics().figures() == Figures(0, 0, 0, None, None)


def test_blank_and_distinct_texts_are_counted_over_blocks() -> None:
    """White space of any kind is blank; the same text in two blocks is one."""
    counts = Statistics()
    counts.add(Texts(["a", "", " \n\t", "\u3000"]))
    counts.add(Texts(["a", "b", "b", "\0"]))
    assert counts.figures() == Figures(8, 3, 6, 1.0, 3, 0, (1, 6, 1))


def test_other_values_count_by_what_they_show() -> None:
    """Items that are not text are told apart by how they are written; none of them is blank."""
    counts = Statistics()
    counts.add([None, 1, 1, {"k": [1]}, {"k": [1]}, [], "", "x"])
    assert counts.figures() == Figures(8, 1, 6, 0.5, 1, 0, (1, 1))


def test_above_two_million_distinct_items_are_not_counted() -> None:
    """Memory stays bounded: the rest is still counted."""
    counts = Statistics()
    block = ["a", ""] * (1 << 19)
    for _ in range(2):
        counts.add(Texts(block))
    assert counts.figures() == Figures(1 << 21, 1 << 20, 2, 0.5, 1, 0, (1 << 20, 1 << 20))
    counts.add(Texts(["a"]))
    assert counts.figures() == Figures((1 << 21) + 1, 1 << 20, None, None, None)


def test_the_limit_is_the_one_that_is_documented() -> None:
    """There are about two million."""
    assert pytest.approx(2_000_000, rel=0.1) == module._COUNTED_LIMIT


def test_very_many_items_are_counted_in_parts() -> None:
    """A text counts once, wherever in the file it comes again."""
    statistics = Statistics()
    for _ in range(2):
        statistics.add(Texts([f"text {number}" for number in range(600_000)]))
    assert statistics.figures() == Figures(1_200_000, 0, 600_000, 11.0, 11, 6, (0, 0, 0, 200, 1_199_800))


@pytest.mark.parametrize(
    ("lengths", "median", "longest"), [([7], 7, 7), ([9, 1, 4], 4, 9), ([3, 10, 1, 4], 3.5, 10)]
)
def test_lengths_are_measured_in_characters(lengths: list[int], median: float, longest: int) -> None:
    """The median of an even number of texts lies between the middle two."""
    statistics = Statistics()
    statistics.add(Texts(["\U0001f600" * length for length in lengths]))
    assert (statistics.figures().median_length, statistics.figures().longest_length) == (median, longest)


@given(st.lists(st.text("a \n", max_size=70), max_size=80), st.integers(0, 80))
def test_an_overview_says_which_items_are_blank_or_repeated(texts: list[str], cut: int) -> None:
    """The first twenty of each, however the items come in blocks; an empty text repeats nothing."""
    statistics = Statistics()
    for block in (texts[:cut], texts[cut:]):
        statistics.add(Texts(block))
    overview = statistics.overview()
    blank = [number for number, text in enumerate(texts, 1) if not text.strip()]
    repeated = [number for number, text in enumerate(texts, 1) if text and text in texts[: number - 1]]
    assert overview.blank == tuple(blank[:20])
    assert (overview.repeated, overview.repeated_count) == (tuple(repeated[:20]), len(repeated))
    assert overview.figures == statistics.figures()
    assert sum(overview.lengths) == sum(overview.figures.by_length) == len(texts)


def test_lengths_are_counted_in_equal_steps() -> None:
    """There are at most twenty; the first begins with the shortest, the last ends with the longest."""
    statistics = Statistics()
    statistics.add(Texts(["x" * length for length in (10, 10, 14, 15, 109)]))
    assert statistics.overview().lengths == (3, 1, *[0] * 17, 1)
    statistics.add(Texts(["x" * 110]))
    assert statistics.overview().lengths == (4, *[0] * 15, 2)


@pytest.mark.parametrize(
    ("counts", "drawn"), [((), ""), ((0,), "▁"), ((1, 1000, 0, 500), "▂▇▁▄"), ((6, 5, 4, 3, 2, 1), "▇▆▅▄▃▂")]
)
def test_bars_tell_few_from_none(counts: tuple[int, ...], drawn: str) -> None:
    """The lowest bar is for none; a single text among a million is seen."""
    assert bars(counts) == drawn
