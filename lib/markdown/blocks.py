"""The structure of a Markdown text: which lines are code, which lines a paragraph joins, and its code spans.

One pass over the lines, with the containers (quotes and list items) that are open, and the block that is open
in the innermost one.  Raw HTML and definitions count as text: where a text is shown, they are escaped.

Specification: CommonMark 0.31, "Appendix: A parsing strategy" and "Code spans"; tables: GitHub
Flavored Markdown 0.29.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import Final

_DEPTH_LIMIT: Final = 4
"""How many quotes and list items may stand in one another: readers drop what is nested much deeper."""

_QUOTE: Final = 0
"""A quote among the open containers; a list item stands there as the columns its content is indented by."""
_NOTHING, _PARAGRAPH, _FENCE, _INDENTED, _TABLE, _DASH = range(6)
"""The block that is open in the innermost container.

``_NOTHING`` stands for a heading and a thematic break too; ``_DASH`` is a dash alone on its line, which makes
a heading of the paragraph above, or begins an item.
"""
_PLAIN: Final = frozenset(bytes([code]) for code in range(256) if code not in b" \t\r>-+*0123456789#`~=|:_")
"""What a line of text may begin with that begins, ends or goes on with no other block."""
_BEGINS: Final = re.compile(
    rb"(?P<quote>>)"
    rb"|(?P<fence>`{3,}(?=[^`]*$)|~{3,})"
    rb"|(?P<item>[-+*]|(?P<number>[0-9]{1,9})[.)])(?=[ \t]|$)"
)
_HEADING: Final = re.compile(rb"\#{1,6}(?:[ \t]|$)")
_UNDERLINE: Final = re.compile(rb"(?:=+|-+)[ \t]*$")
_DELIMITERS: Final = re.compile(rb"(?=[- ]*[|:])[-|: ]+$")
_DELIMITER: Final = re.compile(rb" *:?-+:? *$")
_BAR: Final = re.compile(rb"(?<!\\)\|")
_MARKERS: Final = re.compile(rb"(?:[ >]+|(?:[-+*]|[0-9]{1,9}[.)]) ){0,20}")
# a word that names a language; anything more would not be seen, and a bar may make it the row of a table
_INFO: Final = re.compile(rb"[ ]*[!-_a-{}]*[ ]*$")
# what closes a fence for some readers: mixed characters, a tab or another white space behind
_LIKE_AN_END: Final = re.compile(rb" {0,3}(`{3,}|~{3,})[`~]*(?:[^!-~]*)$")
_NEEDS_CARE: Final = re.compile(rb"[\t`~](?:(?<=\t)|``|~~)")
# a tab is narrower in a quote than at the beginning of a line: these may end a fence, or be another structure
_LIKE_A_FENCE: Final = re.compile(rb"[ \t]*(?:```|~~~)")
_STRUCTURE_WITH_TAB: Final = re.compile(rb"[ >]*(?:(?:[-+*]|[0-9]{1,9}[.)])[ >]*){0,20}\t")
_RUN_OR_ESCAPE: Final = re.compile(rb"\\[^`]|\\?`+", re.DOTALL)
RUN: Final = re.compile(b"``*")  # `re` finds a first character more quickly than a repeated one


def is_table(lines: list[bytes]) -> bool:
    """Tell whether lines that begin with a bar, without a container around them, are a whole table."""
    is_framed = all(line[:1] == b"|" for line in lines)
    return is_framed and _DELIMITERS.match(lines[1]) is not None and _are_heads(lines[0], lines[1])


def is_nested_too_deep(text: bytes) -> bool:
    """Tell whether more containers stand in one another than readers can be trusted with."""
    return Blocks(text).depth > _DEPTH_LIMIT


def leaves_fence_open(text: bytes) -> bool:
    """Tell whether a fence is open at the end of a text."""
    return (b"```" in text or b"~~~" in text) and Blocks(text).open_fence


class Blocks:
    r"""The blocks of a text (UTF-8), whose ``lines`` are numbered from 0.

    ``joined``: lines that are followed by another of the same paragraph, outside code spans; ``code``: lines
    of code blocks, with those that open and close them; ``depth``: how many containers stand in one another;
    ``certain``: whether all readers agree on what is code; ``open_fence``: whether a fence is still open at
    the end.

    In the methods, ``matched`` is the number of open containers, from the outermost, that a line continues,
    and ``content`` is what follows in the line.

    >>> sorted(Blocks(b"- a\nb\n\n```\nc\nd\n```").joined)
    [0]
    """

    def __init__(self, text: bytes) -> None:
        self.lines = text.split(b"\n")
        self.joined: set[int] = set()
        self.code: set[int] = set()
        self.depth = 0
        self.certain = True
        self.open_fence = False
        self._containers: list[int] = []
        self._block = _NOTHING
        self._fence, self._fence_indent = b"", 0
        self._empty_item = (-1, -1)  # the last item that began with an empty line: its line and its depth
        self._read()

    @property
    def is_quotable(self) -> bool:
        """Whether a quote contains the text for every reader, once its dangers are escaped."""
        return self.certain and self.depth <= _DEPTH_LIMIT

    def _read(self) -> None:
        for number, line in enumerate(self.lines):
            if self.depth > _DEPTH_LIMIT:
                return
            if line[:1] not in _PLAIN:
                self._take(number, line)
            elif self._block == _PARAGRAPH:  # as `_take_text` does, for most lines
                self.joined.add(number - 1)
            else:
                self._take_text(number, line, 0)
        self.open_fence = self._block == _FENCE
        self._leave_spans_whole()

    def _take(self, number: int, line: bytes) -> None:
        """Decide what any line is."""
        is_in_fence = self._block == _FENCE and self._continues_items(line)
        if is_in_fence and not _NEEDS_CARE.search(line):
            self.code.add(number)
            return
        line = line.removesuffix(b"\r")
        if b"\t" in line:
            odd = _LIKE_A_FENCE if is_in_fence else _STRUCTURE_WITH_TAB
            start = sum(self._containers) if is_in_fence else 0
            self.certain &= odd.match(line, start) is None
            self.certain &= not is_in_fence or b"\t" not in line[start : start + self._fence_indent]
            line = line.expandtabs(4)
        content, matched = self._continued(line)
        if self._block == _FENCE and matched == len(self._containers):
            self._take_code(number, content)
        elif not content.strip(b" "):
            self._take_empty(number, matched)
        else:
            self.certain &= self._block != _FENCE
            self._take_beginnings(number, content, matched)

    def _continues_items(self, line: bytes) -> bool:
        """Tell at a glance whether a line continues all open containers, none of which is a quote."""
        return _QUOTE not in self._containers and (not line or line.startswith(b" " * sum(self._containers)))

    def _continued(self, line: bytes) -> tuple[bytes, int]:
        """Return the content of a line, and how many of the open containers the line continues."""
        for place, width in enumerate(self._containers):
            rest = line.lstrip(b" ")
            indent = len(line) - len(rest)
            if width == _QUOTE and indent <= 3 and rest[:1] == b">":
                line = rest[1:].removeprefix(b" ")
            elif width != _QUOTE and (indent >= width or not rest):
                line = line[width:]
            else:
                return line, place
        return line, len(self._containers)

    def _take_code(self, number: int, content: bytes) -> None:
        """Take a line of the open fence, which may be its last."""
        self.code.add(number)
        end = _LIKE_AN_END.match(content)
        if end is not None and end[1].startswith(self._fence):
            is_end = content.rstrip(b" ") == content[: end.end(1)]
            self.certain &= is_end
            self._block = _NOTHING if is_end else _FENCE

    def _take_empty(self, number: int, matched: int) -> None:
        """Take an empty line: only indented code goes on below it."""
        is_code = self._block == _INDENTED and matched == len(self._containers)
        self._open(_INDENTED if is_code else _NOTHING, matched)
        if self._empty_item == (number - 1, len(self._containers)):
            self._containers.pop()  # an item can begin with one empty line at most

    def _take_beginnings(self, number: int, content: bytes, matched: int) -> None:
        """Open the containers that a line begins, then take what stands inside them."""
        before = self._block if matched == len(self._containers) else _NOTHING
        while True:
            rest = content.lstrip(b" ")
            content, indent = rest, len(content) - len(rest)
            if indent < 4 and self._is_whole_block(content, matched):
                self._open(_DASH if content.rstrip() == b"-" else _NOTHING, matched)
                return
            begins = _BEGINS.match(content) if indent < 4 else None
            if begins is None or not self._may_begin(begins, content, matched, before):
                break
            self._open(_NOTHING, matched)
            if begins.lastgroup == "fence":
                self._block, self._fence, self._fence_indent = _FENCE, begins["fence"], indent
                self.code.add(number)
                self.certain &= _INFO.match(content, begins.end()) is not None
                return
            content = content[self._open_container(number, begins, content, indent) :]
            matched = len(self._containers)
            if not content.strip(b" ") or matched > _DEPTH_LIMIT:
                return
        if indent < 4 or self._block == _PARAGRAPH:
            self._take_text(number, content, matched)
        else:
            # behind a quote or an item, some readers take it for a part of that; and some know no tables
            self.certain &= not self._containers and self._block not in {_TABLE, _DASH}
            self._open(_INDENTED, matched)
            self.code.add(number)

    def _is_whole_block(self, content: bytes, matched: int) -> bool:
        """Tell whether a line is a heading, a thematic break, or what makes a paragraph a heading."""
        is_below_text = self._block == _PARAGRAPH and matched == len(self._containers)
        is_underline = is_below_text and _UNDERLINE.match(content) is not None
        return is_underline or _HEADING.match(content) is not None or _is_rule(content)

    def _may_begin(self, begins: re.Match[bytes], content: bytes, matched: int, before: int) -> bool:
        """Tell whether a fence, quote or item begins here; else its mark belongs to a paragraph.

        ``before``: the block that the line may interrupt.
        """
        number = begins["number"]
        if begins.lastgroup != "item" or (number in {None, b"1"} and content[begins.end() :].strip(b" ")):
            return True
        # to some readers, such a mark cannot interrupt a table or indented code either, nor can a number
        # where a quote or item of the same line has interrupted a paragraph
        is_inside = number is not None and before not in {self._block, _NOTHING, _DASH}
        self.certain &= self._block not in {_TABLE, _INDENTED} and not is_inside
        return self._block != _PARAGRAPH or matched < len(self._containers)

    def _open_container(self, number: int, begins: re.Match[bytes], content: bytes, indent: int) -> int:
        """Open a quote or an item; return how much of its content its mark takes."""
        mark = begins.end()
        rest = content[mark:].lstrip(b" ")
        spaces = len(content) - mark - len(rest)
        if begins.lastgroup == "quote":
            width = mark + min(spaces, 1)
            self._containers.append(_QUOTE)
        else:
            width = mark + (spaces if rest and spaces < 5 else 1)
            self._containers.append(indent + width)
            if not rest:
                self._empty_item = number, len(self._containers)
        self.depth = max(self.depth, len(self._containers))
        return width

    def _take_text(self, number: int, content: bytes, matched: int) -> None:
        """Take a line that begins nothing: it belongs to the open block, or begins a paragraph."""
        is_within = matched == len(self._containers)
        if self._block == _PARAGRAPH:
            above = self.lines[number - 1]
            if is_within and _DELIMITERS.match(content) and _are_heads(above, content):
                self._open(_TABLE, matched)
                self.joined.discard(number - 2)
            else:
                self.joined.add(number - 1)
        elif self._block == _FENCE and is_within:
            self.code.add(number)
        elif self._block != _TABLE or not is_within:
            # to readers without tables, a paragraph in the container goes on
            self.certain &= self._block not in {_FENCE, _TABLE}
            self._open(_PARAGRAPH, matched)

    def _open(self, block: int, matched: int) -> None:
        """Open a block in the containers that the line continues; close the others, and the block in them."""
        del self._containers[matched:]
        self._block = block

    def _leave_spans_whole(self) -> None:
        """Join no lines at a line break that stands in a code span."""
        for first in [number for number in self.joined if number - 1 not in self.joined]:
            last = first
            while last in self.joined:
                last += 1
            text = b"\n".join(self.lines[first : last + 1])
            place = position = 0
            for start, end in code_spans(text)[0] if b"`" in text else ():
                place += text.count(b"\n", position, start)
                inside = text.count(b"\n", start, end)
                self.joined.difference_update(range(first + place, first + place + inside))
                place, position = place + inside, end


def _is_rule(content: bytes) -> bool:
    """Tell whether a line is a thematic break."""
    mark = content[:1]
    return mark in b"-*_" and content.count(mark) >= 3 and not content.strip(mark + b" ")


def _are_heads(row: bytes, delimiters: bytes) -> bool:
    """Tell whether a table's first row, in any containers, has as many cells as the line below delimits."""
    cells = _cells(delimiters)
    begin = _MARKERS.match(row)
    return all(map(_DELIMITER.match, cells)) and len(_cells(row[begin.end() if begin else 0 :])) == len(cells)


def _cells(row: bytes) -> list[bytes]:
    """Cut the row of a table into its cells."""
    cells = _BAR.split(row.strip(b" \r"))
    first = 1 if len(cells) > 1 and not cells[0] else 0
    last = len(cells) - 1 if len(cells) > first + 1 and not cells[-1] else len(cells)
    return cells[first:last]


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
