"""Escaping what would act beyond a quote: raw HTML, images, definitions, mathematics; outside code only.

Specification: CommonMark 0.31; GitHub Flavored Markdown 0.29.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from lib.markdown.code_spans import RUN, code_spans
from lib.markdown.inert import WIDE_SPACES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lib.markdown.blocks import Blocks

DANGER: Final = re.compile(rb"[<!$](?:(?<=<)[A-Za-z/!?]|(?<=!)\\?\[|(?<=\$)\$)")
_ESCAPED: Final = re.compile(rb"[<!$](?:(?<=<)(?=[A-Za-z/!?])|(?<=!)(?=\[)|(?<=\$)\$+)")
# in the text of a link, marked takes the backslashes before brackets away and looks for images once more
MAY_BE_IN_LINK: Final = re.compile(rb"(?<!!)\[|\\!\[")
_IMAGE_IN_LINK: Final = re.compile(rb"(?<!\\)((?:\\\\)*)(?=!\\\[)")
_DEFINITION_BEGINS: Final = re.compile(
    rb"(?:[ \t>]|(?:[-+*]|[0-9]{1,9}[.)])[ \t]){0,99}(?:\[[ xX]\][ \t]+)?\*?(?=\[)"
)
_WORD_LIMIT: Final = 500
"""A longer word is not looked through: that keeps the time in proportion."""
ODD_BLANK: Final = re.compile(
    rb"\n(?=[^\n!-~])[ \t>]*(?:%b)(?:[ \t\r>]|%b)*(?=\n|\Z)" % (WIDE_SPACES, WIDE_SPACES)
)
# the second line of a table, in any container
_DELIMITERS: Final = re.compile(rb"^(?=[^\n]*-)[ \t\r>|:*+0-9.)-]*$", re.MULTILINE)
_LINK: Final = re.compile(rb"\]\((?![^()\s`<>\\]*\))")
_REACHES_FURTHER: Final = re.compile(rb"://|www\.|@", re.IGNORECASE)
# a bare address takes a backslash in, and ends before what that was to escape
ADDRESS_BEFORE: Final = re.compile(
    rb"[:w](?:(?<=:)//|(?<=w)ww\.)(?:(?!://|www\.)[^\s<])*(?:<[A-Za-z/!?]|!\\?\[|\$\$)", re.IGNORECASE
)


def backslash_all(text: bytes) -> bytes:
    r"""Escape each tag, image and block of mathematics, in code as well.

    >>> backslash_all(rb"<b> \<i> !\[c] $$")
    b'\\<b> \\<i> !\\[c] \\$\\$'
    """
    return _ESCAPED.sub(_backslashed, text)


def has_odd_blank(text: bytes) -> bool:
    """Tell whether a line is blank to some readers only: of white space, and some of it beyond ASCII."""
    return not text.isascii() and ODD_BLANK.search(b"\n" + text) is not None


def escape(text: bytes, blocks: Blocks) -> bool:
    """Escape what would act beyond a quote; False when it is not certain where that is code."""
    defines = b"]:" in text
    dangerous = DANGER.search(text) is not None
    if not (defines or dangerous):
        return True
    if has_odd_blank(text):
        return False
    return all(_escape_chunk(blocks.lines, chunk, defines=defines) for chunk in _chunks(blocks))


def _chunks(blocks: Blocks) -> Iterator[range]:
    """Yield runs of lines without an empty line, outside code blocks: no paragraph is longer."""
    start = 0
    for number, line in enumerate(blocks.lines):
        if number in blocks.code or not line.strip(b" \t\r"):
            if start < number:
                yield range(start, number)
            start = number + 1
    if start < len(blocks.lines):
        yield range(start, len(blocks.lines))


def _escape_chunk(lines: list[bytes], chunk: range, *, defines: bool) -> bool:
    dangerous = [number for number in chunk if DANGER.search(lines[number])]
    if dangerous and not _escape_lines(lines, chunk, dangerous):
        return False
    if defines:
        last = max((number for number in chunk if b"]:" in lines[number]), default=-1)
        for number in range(chunk.start, last + 1):
            if begin := _DEFINITION_BEGINS.match(lines[number]):
                lines[number] = lines[number][: begin.end()] + b"\\" + lines[number][begin.end() :]
    return True


def _escape_lines(lines: list[bytes], chunk: range, dangerous: list[int]) -> bool:
    """Escape the dangers of some lines outside code spans, each of which stands on one line."""
    spans = {number: code_spans(lines[number]) for number in chunk}
    if not _stand_on_one_line(lines, spans):
        return False
    text = b"\n".join([_outside(lines[number], spans[number][0]) for number in chunk])
    codes = [b"\n".join([lines[number][start:end] for start, end in spans[number][0]]) for number in chunk]
    if any(map(DANGER.search, codes)) and (
        any(lone for _, lone in spans.values())  # behind them, cmark does not see every code span
        or not _is_certain(text, codes)
        or any(_may_be_swallowed(lines[number], start) for number in chunk for start, _ in spans[number][0])
    ):
        return False
    in_link = MAY_BE_IN_LINK.search(text) is not None
    for number in dangerous:
        if ADDRESS_BEFORE.search(lines[number]):
            return False
        lines[number] = _escape_outside(lines[number], spans[number][0], in_link=in_link)
    return True


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


def _outside(line: bytes, spans: list[tuple[int, int]]) -> bytes:
    """Return what stands outside code spans; a control character stands for each of them."""
    pieces, position = [], 0
    for start, end in spans:
        pieces.append(line[position:start])
        position = end
    return b"\0".join([*pieces, line[position:]])


def _escape_outside(line: bytes, spans: list[tuple[int, int]], *, in_link: bool) -> bytes:
    pieces, position = [], 0
    for start, end in (*spans, (len(line), len(line))):
        prose = backslash_all(line[position:start])
        pieces += [_IMAGE_IN_LINK.sub(rb"\1\\", prose) if in_link else prose, line[start:end]]
        position = end
    return b"".join(pieces)


def _backslashed(found: re.Match[bytes]) -> bytes:
    sign = found[0]
    if sign == b"!":
        return b"!\\"
    begin = found.start()
    while begin and found.string[begin - 1] == 0x5C:
        begin -= 1
    is_escaped = (found.start() - begin) % 2 == 1
    escaped = b"\\" + b"\\".join([sign[place : place + 1] for place in range(len(sign))])
    return escaped[1:] if is_escaped else escaped


def _is_certain(text: bytes, codes: list[bytes]) -> bool:
    """Tell whether every reader takes for code what we do, of ``text`` that has ``codes`` among its lines.

    The rows of a table are cut at bars, links and (for marked) emphasis end inside code before code is
    looked for.
    """
    code = b"\n".join(codes)
    if _LINK.search(text) or (b"](" in code and b"[" in text) or (b"~" in code and b"~" in text):
        return False
    if any(b"|" in row and DANGER.search(row) for row in codes) and _DELIMITERS.search(text):
        return False
    return b"``" not in code or not any(mark in code for mark in (b"*", b"_", b"~"))


def _may_be_swallowed(line: bytes, start: int) -> bool:
    """Tell whether a bare address may take in the back-ticks that begin a code span here."""
    before = line[max(0, start - _WORD_LIMIT) : start]
    if not before or before[-1:].isspace():
        return False
    word = before.split()[-1]
    after = line[start : start + _WORD_LIMIT].split(None, 1)[0]
    return _WORD_LIMIT in {len(word), len(after)} or _REACHES_FURTHER.search(word + after) is not None
