"""Ordinary Markdown, in which the blocks are easy to tell: the quick way for most texts.

Between two empty lines stands a chunk.  One of a single line is left alone; one of several, each of which
begins a list item or with a letter, needs no look at the lines before it.  What is not so easy is left to
:mod:`lib.render.blocks`; both ways give the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from lib.render.blocks import is_table

if TYPE_CHECKING:
    from collections.abc import Callable

_FENCE: Final = b"```"
_INFO: Final = re.compile(rb"[A-Za-z0-9_+#.-]*(?:\n|\Z)")
_WORDS: Final = rb"(?:\*\*?|`)?[A-Za-z\"'(\[\\$<&%.,;@/{}?\x80-\xff]"
_ITEM: Final = rb"(?: {0,3}[-*+]|[0-9]{1,3}[.)]) %b" % _WORDS
_HEADING: Final = re.compile(rb"#{1,6} [^\n]*\n")
_PROSE: Final = re.compile(rb"(?: {0,3}%b[^\n]*(?:\n|\Z)(?: *%b[^\n]*(?:\n|\Z))*)?" % (_WORDS, _WORDS))
_LINES: Final = re.compile(rb"(?:%b| {0,3}%b)[^\n]*(?:\n(?:%b| *%b)[^\n]*)*" % (_ITEM, _WORDS, _ITEM, _WORDS))
_LATER_NUMBER: Final = re.compile(rb"\n[0-9]")
_FOLD: Final = re.compile(rb"\n(?= *%b)" % _WORDS)


def with_breaks(text: bytes, escape: Callable[[bytes], bytes | None] | None = None) -> bytes | None:
    r"""Return a text with line breaks in its paragraphs; None where it is not easy to tell where those are.

    ``escape`` is asked for each chunk outside code what to show instead; None when that is hard to tell, too.

    >>> with_breaks(b"A. eyes\nB. fur\n\n- a brain\n- a heart")
    b'A. eyes  \nB. fur\n\n- a brain\n- a heart'
    """
    if b"\r" in text or b"\t" in text or (b"~" in text and b"~~~" in text):
        return None
    parts = text.split(_FENCE) if b"`" in text else [text]
    for place, part in enumerate(parts):
        if not _is_set_off(part, place, len(parts)):
            return None
        if place % 2 == 0 and part:
            prose = _prose(part, escape)
            if prose is None:
                return None
            parts[place] = prose
    return _FENCE.join(parts)


def quoted_chunks(text: bytes, escape: Callable[[bytes], bytes | None] | None = None) -> bytes | None:
    r"""Return the same in a quote, for a text without fences whose chunks stand one empty line apart.

    >>> quoted_chunks(b"# A\n\nb\nc")
    b'> # A\n>\n> b  \n> c'
    """
    if b"\r" in text or b"\t" in text or b"```" in text or (b"~" in text and b"~~~" in text):
        return None
    shown = []
    for chunk in text.split(b"\n\n"):
        if not chunk or chunk[0] == 0x0A or chunk[-1] == 0x0A:
            return None
        lines = chunk if escape is None else escape(chunk)
        if lines is not None and b"\n" in lines:
            lines = _chunk(lines)
        if lines is None:
            return None
        shown.append(lines.replace(b"\n", b"\n> "))
    return b"> " + b"\n>\n> ".join(shown)


def _is_set_off(part: bytes, place: int, count: int) -> bool:
    """Tell whether the fences around a part, every second of which is code, stand on lines of their own."""
    ends = place == count - 1 or part.endswith(b"\n") or (place == 0 and not part)
    if place % 2:
        return ends and _INFO.match(part) is not None
    return ends and (place == 0 or part[:1] in {b"", b"\n"})


def _prose(part: bytes, escape: Callable[[bytes], bytes | None] | None) -> bytes | None:
    shown = []
    for chunk in part.split(b"\n\n"):
        escaped = chunk if escape is None else escape(chunk)
        if escaped is not None and b"\n" in escaped.strip(b"\n"):
            lines = escaped.strip(b"\n")
            broken = _chunk(lines)
            escaped = None if broken is None else escaped.replace(lines, broken, 1)
        if escaped is None:
            return None
        shown.append(escaped)
    return b"\n\n".join(shown)


def _chunk(lines: bytes) -> bytes | None:
    """Break the lines of a chunk of several lines."""
    if lines[:1] == b"|":
        return lines if is_table(lines.split(b"\n")) else None
    heading = _HEADING.match(lines)
    begin = heading.end() if heading else 0
    rest = lines[begin:]
    if b"|" in rest or b" \n" in rest or b"\\\n" in rest or not _LINES.fullmatch(rest):
        return None
    if b"`" in rest and not _has_whole_spans(rest):
        return None
    if _LATER_NUMBER.search(rest) and _numbers_go_on(rest):
        return None
    return lines[:begin] + _FOLD.sub(b"  \n", rest)


def _numbers_go_on(rest: bytes) -> bool:
    """Tell whether the first item after a paragraph has a number that only goes on with a list."""
    prose = _PROSE.match(rest)
    end = prose.end() if prose else 0
    return end > 0 and rest[end : end + 1].isdigit() and rest[end : end + 2] not in {b"1.", b"1)"}


def _has_whole_spans(lines: bytes) -> bool:
    """Tell whether no code span can go on from one line to the next."""
    if b"``" in lines or b"\\`" in lines:
        return False
    return not any(line.count(b"`") % 2 for line in lines.split(b"\n"))
