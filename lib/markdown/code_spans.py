"""Code spans: what stands between two runs of back-ticks of the same length.

Specification: CommonMark 0.31, "Code spans" and "Backslash escapes".
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import Final

_RUN_OR_ESCAPE: Final = re.compile(rb"\\[^`]|\\?`+", re.DOTALL)
RUN: Final = re.compile(rb"``*")


def code_spans(text: bytes) -> tuple[list[tuple[int, int]], set[int]]:
    r"""Return where the code spans of a paragraph begin and end, and the lengths of runs that are in none.

    Takes time in proportion to the text.

    >>> code_spans(b"a `b` and ``c`")
    ([(2, 5)], {1, 2})
    """
    ends: dict[int, list[int]] = {}
    for run in RUN.finditer(text):
        ends.setdefault(run.end() - run.start(), []).append(run.end())
    spans: list[tuple[int, int]] = []
    lone: set[int] = set()
    position = 0
    while opener := _RUN_OR_ESCAPE.search(text, position):
        position = opener.end()
        start = opener.start()
        if text[start] == 0x5C:  # a backslash escapes what follows it, one back-tick at most
            start += 2
        length = position - start
        if length <= 0:
            continue
        same = ends.get(length, [])
        place = bisect_left(same, position + length)
        if place == len(same):
            lone.add(length)
            continue
        position = same[place]
        spans.append((start, position))
    return spans, lone
