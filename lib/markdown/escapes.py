"""Escaping what would act beyond a quote: raw HTML, images, definitions, mathematics; outside code only.

Specification: CommonMark 0.31; GitHub Flavored Markdown 0.29.
"""

from __future__ import annotations

import re
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Final

from lib.markdown.blocks import RUN, Blocks, code_spans
from lib.markdown.inert import WIDE_SPACES

if TYPE_CHECKING:
    from collections.abc import Iterator

DANGER: Final = re.compile(rb"[<!$](?:(?<=<)[A-Za-z/!?]|(?<=!)\\?\[|(?<=\$)\$)")
_ACTIVE: Final = rb"(?<=<)(?=[A-Za-z/!?])|(?<=!\[)|(?<=\$\$)|(?<=\$)(?=\$)"
_ESCAPED: Final = re.compile(rb"\\.|([<$\[](?:%b))" % _ACTIVE, re.DOTALL)
# in the text of a link, marked takes the backslashes before brackets away and looks for images once more
MAY_BE_IN_LINK: Final = re.compile(rb"(?<!!)\[|\\!\[")
_ESCAPED_IN_LINK: Final = re.compile(rb"\\.|([<$\[!](?:%b|(?<=!)(?=\\?\[)))" % _ACTIVE, re.DOTALL)
_DEFINITION_BEGINS: Final = re.compile(
    rb"(?:[ \t>]|(?:[-+*]|[0-9]{1,9}[.)])[ \t]){0,99}(?:\[[ xX]\][ \t]+)?\*?(?=\[)"
)
_WORD_LIMIT: Final = 500
"""Longer words are not looked through, so that the time stays in proportion to the text."""
ODD_BLANK: Final = re.compile(
    rb"\n(?=[^\n!-~])[ \t>]*(?:%b)(?:[ \t\r>]|%b)*(?=\n|\Z)" % (WIDE_SPACES, WIDE_SPACES)
)
# the second line of a table, in any container
_DELIMITERS: Final = re.compile(rb"^(?=[^\n]*-)[ \t\r>|:*+0-9.)-]*$", re.MULTILINE)
_LINK: Final = re.compile(rb"\]\((?![^()\s`<>\\]*\))")
_MAY_HIDE_CODE: Final = re.compile(rb"[|~]|\]\(")
_REACHES_FURTHER: Final = re.compile(rb"://|www\.|@", re.IGNORECASE)
# a backslash becomes part of a bare address, which ends before the character that it was to escape
ADDRESS_BEFORE: Final = re.compile(
    rb"[:w](?:(?<=:)//|(?<=w)ww\.)(?:(?!://|www\.)[^\s<])*(?:<[A-Za-z/!?]|!\\?\[|\$\$)", re.IGNORECASE
)


def places_to_escape(text: bytes, blocks: Blocks) -> list[int] | None:
    r"""Return before which bytes a backslash must stand; None where it is not certain what is code.

    >>> from lib.markdown.blocks import Blocks
    >>> text = b"<b> `<i>` !["
    >>> places_to_escape(text, Blocks(text))
    [0, 11]
    """
    defines = b"]:" in text
    if not (defines or DANGER.search(text)):
        return []
    begins = list(accumulate(map(len, blocks.lines), lambda begin, length: begin + length + 1, initial=0))
    places: list[int] = []
    for chunk in _chunks(blocks):
        in_chunk = _escapes_of_chunk(blocks.lines, chunk)
        if in_chunk is None:
            return None
        places += [begins[number] + place for number, place in in_chunk]
        if defines:
            last = max((number for number in chunk if b"]:" in blocks.lines[number]), default=-1)
            for number in range(chunk.start, last + 1):
                if begin := _DEFINITION_BEGINS.match(blocks.lines[number]):
                    places.append(begins[number] + begin.end())
    return places


def may_hide_code(text: bytes) -> bool:
    """Tell whether some readers may take a part of a code span, on one line of a text, for something else."""
    if _MAY_HIDE_CODE.search(text):
        return True
    if not _REACHES_FURTHER.search(text):
        return False
    return any(
        len(word) >= _WORD_LIMIT or _REACHES_FURTHER.search(word) for word in text.split() if b"`" in word
    )


def _chunks(blocks: Blocks) -> Iterator[range]:
    """Yield runs of lines without an empty line or a code block: no paragraph is longer than one."""
    start = 0
    for number, line in enumerate((*blocks.lines, b"")):
        if number in blocks.code or not line.strip(b" \t\r"):
            if start < number:
                yield range(start, number)
            start = number + 1


def _escapes_of_chunk(lines: list[bytes], chunk: range) -> list[tuple[int, int]] | None:
    """Return the lines and columns of what must be escaped; None if a code span goes over several lines."""
    dangerous = [number for number in chunk if DANGER.search(lines[number])]
    if not dangerous:
        return []
    spans = {number: code_spans(lines[number]) for number in chunk}
    if not _stand_on_one_line(lines, spans):
        return None
    outside = {number: _outside(lines[number], spans[number][0]) for number in chunk}
    text = b"\n".join([b"\0".join([lines[n][start:stop] for start, stop in outside[n]]) for n in chunk])
    codes = [b"\n".join([lines[number][start:end] for start, end in spans[number][0]]) for number in chunk]
    if any(map(DANGER.search, codes)) and (
        any(lone for _, lone in spans.values())  # behind them, cmark does not see every code span
        or not _is_certain(text, codes)
        or any(_may_be_swallowed(lines[number], start) for number in chunk for start, _ in spans[number][0])
    ):
        return None
    if any(ADDRESS_BEFORE.search(lines[number]) for number in dangerous):
        return None
    escaped = _ESCAPED_IN_LINK if MAY_BE_IN_LINK.search(text) else _ESCAPED
    return [
        (number, found.start())
        for number in dangerous
        for start, stop in outside[number]
        for found in escaped.finditer(lines[number], start, stop)
        if found.lastindex
    ]


def _outside(line: bytes, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return where the stretches between code spans begin and end."""
    edges = [0, *chain.from_iterable(spans), len(line)]
    return list(zip(edges[::2], edges[1::2], strict=True))


def _stand_on_one_line(lines: list[bytes], spans: dict[int, tuple[list[tuple[int, int]], set[int]]]) -> bool:
    """Tell whether code spans are the same for a whole paragraph as for each of its lines.

    Back-ticks that are in no span are text if no run of the same length follows in a later line.
    """
    seen: set[int] = set()
    for number in reversed(spans):
        if not seen.isdisjoint(spans[number][1]):
            return False
        seen.update(map(len, RUN.findall(lines[number])))
    return True


def _is_certain(text: bytes, codes: list[bytes]) -> bool:
    """Tell whether every reader finds the same code spans in ``text``; ``codes`` has those of each line.

    Some readers cut the rows of a table at bars, and end a link or (marked) emphasis inside code, before they
    look for code.
    """
    code = b"\n".join(codes)
    if _LINK.search(text) or (b"](" in code and b"[" in text) or (b"~" in code and b"~" in text):
        return False
    if any(b"|" in row and DANGER.search(row) for row in codes) and _DELIMITERS.search(text):
        return False
    return b"``" not in code or not any(mark in code for mark in (b"*", b"_", b"~"))


def _may_be_swallowed(line: bytes, start: int) -> bool:
    """Tell whether the back-ticks that begin a code span here may belong to a bare address."""
    before = line[max(0, start - _WORD_LIMIT) : start]
    if not before or before[-1:].isspace():
        return False
    word = before.split()[-1]
    after = line[start : start + _WORD_LIMIT].split(None, 1)[0]
    return _WORD_LIMIT in {len(word), len(after)} or _REACHES_FURTHER.search(word + after) is not None
