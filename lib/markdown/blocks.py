"""The block structure of a Markdown text: which lines are code, and which lines a paragraph joins.

One pass over the lines, with the containers (quotes and list items) that are open.  Raw HTML and definitions
count as text: where a text is shown, they are escaped.

Specification: CommonMark 0.31, "Appendix: A parsing strategy"; tables: GitHub Flavored Markdown 0.29.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from lib.markdown.code_spans import code_spans

_DEPTH_LIMIT: Final = 4
"""How many quotes and list items may stand in one another: readers drop what is nested much deeper."""

_QUOTE: Final = 0
"""A quote on the stack of containers; a list item stands there as the columns its content is indented by."""
_NOTHING, _PARAGRAPH, _FENCE, _INDENTED, _TABLE, _DASH = range(6)
"""What is open in the innermost container; a dash alone makes a paragraph a heading, or begins an item."""
_PLAIN: Final = frozenset(bytes([code]) for code in range(256) if code not in b" \t\r>-+*0123456789#`~=|:_")
_BLOCK: Final = re.compile(
    rb"(?P<quote>>)"
    rb"|(?P<fence>`{3,}(?=[^`]*$)|~{3,})"
    rb"|(?P<item>[-+*]|(?P<number>[0-9]{1,9})[.)])(?=[ \t]|$)"
)
_HEADING: Final = re.compile(rb"\#{1,6}(?:[ \t]|$)")
_RULE: Final = re.compile(rb"([-*_])[ \t]*\1[-*_ \t]*$")
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
# with a tab, which is narrower in a quote than at the beginning of a line, it may end a fence or not
_LIKE_A_FENCE: Final = re.compile(rb"[ \t]*(?:```|~~~)")
_STRUCTURE_WITH_TAB: Final = re.compile(rb"[ >]*(?:(?:[-+*]|[0-9]{1,9}[.)])[ >]*){0,20}\t")


@dataclass(slots=True)
class Blocks:
    """What was found out about a text, whose lines are numbered from 0.

    ``joined``: lines that are followed by another of the same paragraph, outside code spans; ``code``: lines
    of code blocks, with those that open and close them; ``rows``: lines of tables; ``depth``: how many
    containers stand in one another; ``certain``: whether all readers agree on what is code; ``open_fence``:
    whether a fence is still open at the end.
    """

    lines: list[bytes]
    joined: set[int] = field(default_factory=set)
    code: set[int] = field(default_factory=set)
    rows: set[int] = field(default_factory=set)
    depth: int = 0
    certain: bool = True
    open_fence: bool = False

    @property
    def is_quotable(self) -> bool:
        """Whether a quote contains the text for every reader, once its dangers are escaped."""
        return self.certain and self.depth <= _DEPTH_LIMIT


def blocks_of(text: bytes) -> Blocks:
    r"""Find the blocks of a text (UTF-8).

    >>> sorted(blocks_of(b"- a\nb\n\n```\nc\nd\n```").joined)
    [0]
    """
    return _Scanner(text).scan()


def is_table(lines: list[bytes]) -> bool:
    """Tell whether lines that begin with a bar, without a container around them, are a whole table."""
    cells = _cells(lines[1])
    return (
        all(line[:1] == b"|" for line in lines)
        and _DELIMITERS.match(lines[1]) is not None
        and all(map(_DELIMITER.match, cells))
        and len(_cells(lines[0])) == len(cells)
    )


def is_nested_too_deep(text: bytes) -> bool:
    """Tell whether more containers stand in one another than readers can be trusted with."""
    return blocks_of(text).depth > _DEPTH_LIMIT


def leaves_fence_open(text: bytes) -> bool:
    """Tell whether a fence is open at the end of a text."""
    return (b"```" in text or b"~~~" in text) and blocks_of(text).open_fence


class _Scanner:
    """One pass: ``_stack`` has the open containers, ``_leaf`` what is open inside the innermost."""

    def __init__(self, text: bytes) -> None:
        self._found = Blocks(text.split(b"\n"))
        self._stack: list[int] = []
        self._leaf = _NOTHING
        self._fence = b""
        self._paragraph: list[int] = []
        self._folded: list[list[int]] = []
        self._opened_empty = (-1, -1)  # the last item that began with an empty line: where, and how deep

    def scan(self) -> Blocks:
        found = self._found
        for number, line in enumerate(found.lines):
            if found.depth > _DEPTH_LIMIT:
                return found
            if line[:1] not in _PLAIN:
                self._line(number, line)
            elif self._leaf == _PARAGRAPH:
                found.joined.add(number - 1)
                self._paragraph.append(number)
            else:
                self._plain_line(number)
        found.open_fence = self._leaf == _FENCE
        self._close(0)
        self._leave_spans_whole()
        found.joined -= found.rows
        return found

    def _plain_line(self, number: int) -> None:
        """Take a line that begins with its text, after anything but a paragraph."""
        if self._leaf == _FENCE:
            if not self._stack:
                self._found.code.add(number)
                return
            self._found.certain = False
        elif self._leaf == _TABLE:
            if not self._stack:
                self._found.rows.add(number)
                return
            self._found.certain = False  # to readers without tables, a paragraph in the container goes on
        self._begin_paragraph(number, 0)

    def _line(self, number: int, line: bytes) -> None:
        """Take any line."""
        if self._leaf == _FENCE and not _NEEDS_CARE.search(line) and self._goes_on_with_items(line):
            self._found.code.add(number)
            return
        if line[-1:] == b"\r":
            line = line[:-1]
        if b"\t" in line:
            self._found.certain = self._found.certain and not self._is_tab_odd(line)
            line = line.expandtabs(4)
        position, matched = self._containers(line)
        within = matched == len(self._stack)
        is_blank = not line[position:].strip(b" ")
        if self._leaf == _FENCE:
            if within:
                self._line_of_fence(number, line[position:])
                return
            self._found.certain = self._found.certain and is_blank
            self._close(matched)
        if is_blank:
            self._blank_line(number, matched)
        else:
            self._block(number, line, position, matched)

    def _goes_on_with_items(self, line: bytes) -> bool:
        """Tell at a glance whether a line goes on with all open containers, none of which is a quote."""
        return _QUOTE not in self._stack and (not line or line.startswith(b" " * sum(self._stack)))

    def _is_tab_odd(self, line: bytes) -> bool:
        """Tell whether a tab may count for another structure in a quote, where it is narrower."""
        indent = sum(self._stack)
        if self._leaf == _FENCE and _QUOTE not in self._stack and not line[:indent].strip(b" "):
            return _LIKE_A_FENCE.match(line, indent) is not None
        return _STRUCTURE_WITH_TAB.match(line) is not None

    def _containers(self, line: bytes) -> tuple[int, int]:
        """Return where the content of a line begins, and how many of the open containers it goes on with."""
        position = 0
        for place, width in enumerate(self._stack):
            content = line[position:].lstrip(b" ")
            indent = len(line) - position - len(content)
            if width == _QUOTE and indent <= 3 and content[:1] == b">":
                position += indent + (2 if content[1:2] == b" " else 1)
            elif width != _QUOTE and (indent >= width or not content):
                position += min(width, indent)
            else:
                return position, place
        return position, len(self._stack)

    def _line_of_fence(self, number: int, content: bytes) -> None:
        self._found.code.add(number)
        end = _LIKE_AN_END.match(content)
        if end is None or not end[1].startswith(self._fence):
            return
        if content.rstrip(b" ") == content[: end.end(1)]:
            self._leaf = _NOTHING
        else:
            self._found.certain = False

    def _blank_line(self, number: int, matched: int) -> None:
        code = self._leaf == _INDENTED and matched == len(self._stack)
        self._close(matched)
        if code:
            self._leaf = _INDENTED
        if self._opened_empty == (number - 1, len(self._stack)):
            self._stack.pop()  # an item can begin with one empty line at most

    def _block(self, number: int, line: bytes, position: int, matched: int) -> None:
        """Open the containers that a line begins, then the block inside them."""
        before = self._leaf if matched == len(self._stack) else _NOTHING
        while True:
            content = line[position:].lstrip(b" ")
            indent = len(line) - position - len(content)
            block = _BLOCK.match(content) if indent < 4 else None
            if indent < 4 and self._is_whole_block(content, matched):
                self._close(matched)
                self._leaf = _DASH if content.rstrip() == b"-" else _NOTHING
                return
            if block is None or not self._begins(block, content, matched, before):
                break
            self._close(matched)
            if block.lastgroup == "fence":
                self._open_fence(number, block, content)
                return
            position += indent + self._open_container(number, block, content, indent)
            matched = len(self._stack)
            if not line[position:].strip(b" "):
                return
            if matched > _DEPTH_LIMIT:
                break
        if self._leaf == _PARAGRAPH:
            self._go_on(number, content, matched)
        elif indent >= 4:
            self._indented_code(number, matched)
        else:
            self._text(number, matched)

    def _is_whole_block(self, content: bytes, matched: int) -> bool:
        """Tell whether a line is a heading, a thematic break, or what makes a paragraph a heading."""
        below_text = self._leaf == _PARAGRAPH and matched == len(self._stack)
        return bool((below_text and _UNDERLINE.match(content)) or _HEADING.match(content)) or _is_rule(
            content
        )

    def _begins(self, block: re.Match[bytes], content: bytes, matched: int, before: int) -> bool:
        """Tell whether a fence, quote or item begins here; else its mark belongs to a paragraph.

        ``before``: what the line may interrupt.
        """
        if block.lastgroup != "item" or (
            block["number"] in {None, b"1"} and content[block.end() :].strip(b" ")
        ):
            return True
        # to some readers, such a mark cannot interrupt a table or indented code either, nor can a number
        # where a quote or item of the same line has interrupted a paragraph
        is_inside = block["number"] is not None and before not in {self._leaf, _NOTHING, _DASH}
        is_certain = self._leaf not in {_TABLE, _INDENTED} and not is_inside
        self._found.certain = self._found.certain and is_certain
        return self._leaf != _PARAGRAPH or matched < len(self._stack)

    def _open_container(self, number: int, block: re.Match[bytes], content: bytes, indent: int) -> int:
        """Open a quote or an item; return how much of the line its mark takes."""
        mark = block.end()
        rest = content[mark:].lstrip(b" ")
        spaces = len(content) - mark - len(rest)
        if block.lastgroup == "quote":
            width = mark + min(spaces, 1)
            self._stack.append(_QUOTE)
        else:
            width = mark + (spaces if rest and spaces < 5 else 1)
            self._stack.append(indent + width)
            if not rest:
                self._opened_empty = (number, len(self._stack))
        self._found.depth = max(self._found.depth, len(self._stack))
        return width

    def _indented_code(self, number: int, matched: int) -> None:
        # behind a quote or an item, some readers take it for a part of that; and some know no tables
        is_certain = not self._stack and self._leaf not in {_TABLE, _DASH}
        self._found.certain = self._found.certain and is_certain
        self._close(matched)
        self._leaf = _INDENTED
        self._found.code.add(number)

    def _text(self, number: int, matched: int) -> None:
        """Take a line of text that goes on with no paragraph."""
        if self._leaf == _TABLE and matched == len(self._stack):
            self._found.rows.add(number)
            return
        self._found.certain = self._found.certain and self._leaf != _TABLE
        self._begin_paragraph(number, matched)

    def _go_on(self, number: int, content: bytes, matched: int) -> None:
        """Take another line of a paragraph, or the one below a table's first."""
        if matched == len(self._stack) and _DELIMITERS.match(content) and self._heads_a_table(content):
            self._found.rows |= {number - 1, number}
            self._found.joined.discard(number - 2)
            self._paragraph.pop()
            self._close(matched)
            self._leaf = _TABLE
        else:
            self._found.joined.add(number - 1)
            self._paragraph.append(number)

    def _heads_a_table(self, delimiters: bytes) -> bool:
        """Tell whether the last line has as many cells as the line that may follow a table's first."""
        header = self._found.lines[self._paragraph[-1]]
        cells = _cells(delimiters)
        begin = _MARKERS.match(header)
        return all(map(_DELIMITER.match, cells)) and len(
            _cells(header[begin.end() if begin else 0 :])
        ) == len(cells)

    def _open_fence(self, number: int, block: re.Match[bytes], content: bytes) -> None:
        self._found.code.add(number)
        self._fence = block["fence"]
        self._leaf = _FENCE
        if not _INFO.match(content, block.end()):
            self._found.certain = False

    def _begin_paragraph(self, number: int, matched: int) -> None:
        self._close(matched)
        self._leaf = _PARAGRAPH
        self._paragraph = [number]

    def _close(self, matched: int) -> None:
        """Close what is open, but for the outer containers that a line goes on with."""
        del self._stack[matched:]
        if len(self._paragraph) > 1:
            self._folded.append(self._paragraph)
        self._paragraph = []
        self._leaf = _NOTHING

    def _leave_spans_whole(self) -> None:
        """Join no lines at a line break that stands in a code span."""
        for numbers in self._folded:
            text = b"\n".join([self._found.lines[number] for number in numbers])
            if b"`" not in text:
                continue
            place = position = 0
            for start, end in code_spans(text)[0]:
                place += text.count(b"\n", position, start)
                inside = text.count(b"\n", start, end)
                self._found.joined.difference_update(numbers[place : place + inside])
                place, position = place + inside, end


def _is_rule(content: bytes) -> bool:
    """Tell whether a line is a thematic break."""
    if not _RULE.match(content):
        return False
    marks = content.replace(b" ", b"").replace(b"\t", b"")
    return len(marks) >= 3 and marks == marks[:1] * len(marks)


def _cells(row: bytes) -> list[bytes]:
    """Cut the row of a table into its cells."""
    cells = _BAR.split(row.strip(b" \r"))
    first = 1 if len(cells) > 1 and not cells[0] else 0
    last = len(cells) - 1 if len(cells) > first + 1 and not cells[-1] else len(cells)
    return cells[first:last]
