"""Two ways to show a text as Markdown: as it is, and in a quote; its lines stay lines in both.

A quote contains what a text opens and does not close.  What would act beyond a quote (raw HTML, images,
definitions, mathematics) is escaped with a backslash, outside code only.

Specification: CommonMark 0.31; GitHub Flavored Markdown 0.29.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from lib.render.blocks import LENGTH_LIMIT, blocks_of
from lib.render.chunks import quoted_chunks, with_breaks
from lib.render.code_spans import code_spans
from lib.render.inert import SPACES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lib.render.blocks import Blocks

_EMPTY: Final = re.compile(rb"^> (?=\r?$)", re.MULTILINE)
_KEPT_APART: Final = re.compile(rb"(?:  |(?<!\\)(?:\\\\)*\\)\r?\Z")
_DANGER: Final = re.compile(rb"[<!$](?:(?<=<)[A-Za-z/!?]|(?<=!)\[|(?<=\$)\$)")
_ESCAPED: Final = re.compile(rb"[<!$](?:(?<=<)(?=[A-Za-z/!?])|(?<=!)(?=\[)|(?<=\$)\$+)")
_DEFINITION_BEGINS: Final = re.compile(
    rb"(?:[ \t>]|(?:[-+*]|[0-9]{1,9}[.)])[ \t]){0,99}(?:\[[ xX]\][ \t]+)?\*?(?=\[)"
)
_WORD_LIMIT: Final = 500
"""A longer word is not looked through: that keeps the time in proportion."""
_MANY_TICKS: Final = b"`" * 80
"""More than cmark counts."""
_ODD_BLANK: Final = re.compile(rb"^(?=[^\n!-~])(?:[ \t>]|%b)+$" % SPACES, re.MULTILINE)
_LINK: Final = re.compile(rb"\]\((?![^()\s`<>\\]*\))")
# a bare address takes a backslash in, and ends before what that was to escape
_ADDRESS_BEFORE: Final = re.compile(rb"(?:://|www\.)[^\s<]*(?:<[A-Za-z/!?]|!\[|\$\$)", re.IGNORECASE)
_REACHES_FURTHER: Final = re.compile(rb"://|www\.|@", re.IGNORECASE)


def lines_kept(text: bytes) -> bytes:
    r"""Return an inert text (UTF-8) with Markdown's line breaks in its paragraphs, so that lines stay lines.

    >>> lines_kept(b"A. eyes\nB. fur\n\n- a brain")
    b'A. eyes  \nB. fur\n\n- a brain'
    """
    quick = with_breaks(text)
    if quick is not None:
        return quick
    if len(text) > LENGTH_LIMIT:
        return text
    blocks = blocks_of(text)
    return b"\n".join(_lines(blocks)) if blocks.joined else text


def quoted(text: bytes) -> bytes | None:
    r"""Return a text (UTF-8) in a quote, or None for one that a quote cannot be trusted with.

    The text holds neither control characters nor line separators, and its containers are not nested too deep.

    >>> quoted(b"<think>\n# Why")
    b'> \\<think>\n> # Why'
    """
    if len(text) > LENGTH_LIMIT or _MANY_TICKS in text:
        return None
    escape = _escaped if _has_danger(text) else None
    quick = quoted_chunks(text, escape)
    if quick is not None:
        return quick
    quick = with_breaks(text, escape)
    if quick is not None:
        return in_quote(quick)
    blocks = blocks_of(text)
    if not blocks.certain or not _escape(text, blocks):
        return None
    return in_quote(b"\n".join(_lines(blocks)))


def in_quote(text: bytes) -> bytes:
    r"""Put a quote's mark before every line.

    >>> in_quote(b"a\n\nb")
    b'> a\n>\n> b'
    """
    if b"> \n" in text or b"\r" in text:
        return _EMPTY.sub(b">", b"> " + text.replace(b"\n", b"\n> "))
    page = b"> " + text.replace(b"\n", b"\n> ").replace(b"> \n", b">\n") + b"\n"
    return (
        page.replace(b"> \n", b">\n")[:-1]
        if page.startswith(b"> \n") or page.endswith(b"\n> \n")
        else page[:-1]
    )


def _lines(blocks: Blocks) -> list[bytes]:
    """Return a text's lines, those that a paragraph joins kept apart."""
    lines = blocks.lines
    for number in blocks.joined:
        line = lines[number]
        if not _KEPT_APART.search(line):
            lines[number] = line[:-1] + b"  \r" if line.endswith(b"\r") else line + b"  "
    return lines


def _escaped(chunk: bytes) -> bytes | None:
    """Escape what would act in one chunk of a text; None where that depends on the rest of the text."""
    if not _has_danger(chunk):
        return chunk
    if chunk[:1] in b" \n" or b"]:" in chunk or not chunk.isascii():
        return None
    if b"`" not in chunk:
        return None if _has_address_before(chunk) else _ESCAPED.sub(_backslashed, chunk)
    lines = chunk.split(b"\n")
    return b"\n".join(lines) if _escape_chunk(lines, range(len(lines)), defines=False) else None


def _has_danger(text: bytes) -> bool:
    """Tell whether something in a text may have to be escaped."""
    if b"]" in text and b"]:" in text:
        return True
    return (b"<" in text or b"!" in text or b"$" in text) and _DANGER.search(text) is not None


def _has_address_before(text: bytes) -> bool:
    """Tell whether a bare address stands before something to escape."""
    return (b"://" in text or b"www." in text.lower()) and _ADDRESS_BEFORE.search(text) is not None


def _escape(text: bytes, blocks: Blocks) -> bool:
    """Escape what would act beyond a quote; False when it is not certain where that is code."""
    defines = b"]:" in text
    dangerous = _DANGER.search(text) is not None
    if not (defines or dangerous):
        return True
    if _ODD_BLANK.search(text):
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
    dangerous = [number for number in chunk if _DANGER.search(lines[number])]
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
    if not all(balanced for _, balanced in spans.values()):
        return False
    text = b"\n".join([_outside(lines[number], spans[number][0]) for number in chunk])
    code = b"\n".join([lines[number][start:end] for number in chunk for start, end in spans[number][0]])
    if _DANGER.search(code) and not _is_certain(text, code):
        return False
    for number in dangerous:
        line, within = lines[number], spans[number][0]
        if any(_DANGER.search(line, *span) and _may_be_swallowed(line, span) for span in within):
            return False
        if _has_address_before(line):
            return False
        lines[number] = _escape_outside(line, within)
    return True


def _outside(line: bytes, spans: list[tuple[int, int]]) -> bytes:
    """Return what stands outside code spans; a control character stands for each of them."""
    pieces, position = [], 0
    for start, end in spans:
        pieces.append(line[position:start])
        position = end
    return b"\0".join([*pieces, line[position:]])


def _escape_outside(line: bytes, spans: list[tuple[int, int]]) -> bytes:
    pieces, position = [], 0
    for start, end in spans:
        pieces += [_ESCAPED.sub(_backslashed, line[position:start]), line[start:end]]
        position = end
    return b"".join([*pieces, _ESCAPED.sub(_backslashed, line[position:])])


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


def _is_certain(text: bytes, code: bytes) -> bool:
    """Tell whether every reader takes for code what we do, of ``text`` that has ``code`` spans among it.

    Tables are cut at bars, links and (for marked) emphasis end inside code before code is looked for.
    """
    if b"|" in code or b"](" in code or _LINK.search(text):
        return False
    if b"~" in code and b"~" in text:
        return False
    return b"``" not in code or not any(mark in code for mark in (b"*", b"_", b"~"))


def _may_be_swallowed(line: bytes, span: tuple[int, int]) -> bool:
    """Tell whether a bare address that begins before a code span could reach into it."""
    start = span[0]
    before = line[max(0, start - _WORD_LIMIT) : start]
    if not before or before[-1:].isspace():
        return False
    word = before.split()[-1]
    after = line[start : start + _WORD_LIMIT].split(None, 1)[0]
    return _WORD_LIMIT in {len(word), len(after)} or _REACHES_FURTHER.search(word + after) is not None
