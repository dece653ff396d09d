"""The lines of many texts at once: what form each has, and which are code.

Most texts are ordinary Markdown: the beginning of a line tells what it is, and single back-ticks or fences
tell what is code.  Here numpy looks at the lines of all texts together, and finds the texts that are not so
ordinary: :mod:`lib.markdown.blocks` looks at those line by line.  Both give the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lib.markdown.blocks import is_table
from lib.markdown.inert import WIDE_SPACES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]

JOINT: Final = b" \n\n"
"""What stands around each text.

No danger spans it, it hides none, and joins no lines: a mere line break would make a CRLF of a text's last
carriage return.
"""
_END: Final = b"\n\n    "
"""After the last text, so that a few bytes can be looked at behind the beginning of every line."""

EMPTY, WORD, ITEM, _NUMBER, HEADING, FENCE, QUOTE, TABLE, OTHER, _UNKNOWN = range(10)
"""The forms of a line; from word to quote, the groups of the pattern.

A number is an item that cannot stand directly below the lines of a paragraph, unlike one that begins with 1.
"""

_LETTERS: Final = rb"A-Za-z\"'(\[\\$<&%.,;@/{}?\x80-\xff"
# a word, or a number that begins no item; white space beyond ASCII is blank to some readers
_WORDS: Final = rb"(?:(?:\*\*?|`)?(?!%b)[%b]|[0-9]+(?:\.[0-9]|(?=[^0-9.)\n])))" % (WIDE_SPACES, _LETTERS)
_FORM: Final = re.compile(
    rb"\n(?:( *%b)|( {0,3}(?:[-*+]|1[.)]) %b)|( {0,3}[0-9]{1,9}[.)] %b)|(\#{1,6} )"
    rb"|(```[A-Za-z0-9_+#.-]* ?\n)|(> ?%b))" % ((_WORDS,) * 4)
)
_DEEPER_BULLET: Final = re.compile(rb"\n( {4,7})[-*+] %b" % _WORDS)
_MARK: Final = re.compile(rb"\n *(?:[-*+]|[0-9]+[.)]) ")
_TWO_MORE_TILDES: Final = re.compile(rb"~(?=~~)")
_ODD_BACKSLASH: Final = re.compile(rb"\\(?=[\n`])")


def _table(pattern: bytes) -> Flags:
    """Return for each byte whether it matches."""
    return np.array([re.fullmatch(pattern, bytes([code])) is not None for code in range(256)])


_IS_LETTER: Final = _table(b"[%b]" % _LETTERS)
_IS_ASCII_LETTER: Final = _IS_LETTER & (np.arange(256) < 0x80)
_IS_DIGIT: Final = _table(b"[0-9]")
_IS_BULLET: Final = _table(b"[-*+]")
_FORM_OF: Final = np.full(256, OTHER, np.uint8)
_FORM_OF[_IS_LETTER] = WORD
_FORM_OF[_table(b"[-*+0-9`# >]")] = _UNKNOWN
_FORM_OF[0x0A] = EMPTY
_FORM_OF[0x7C] = TABLE
_SPACE, _NEWLINE, _RETURN = b" \n\r"
_BEGINS_PART: Final = np.isin(np.arange(256), (WORD, ITEM, _NUMBER, HEADING, FENCE, QUOTE, TABLE))


def indexes(flags: npt.NDArray[Any]) -> Numbers:
    """Return where flags are set, as ``np.flatnonzero`` does, which takes longer than the search itself."""
    return flags.nonzero()[0]


def numbers_at(begins: Numbers, places: Numbers | list[int]) -> Numbers:
    """Return the numbers of the texts, or parts, that begin there and in which these bytes stand."""
    numbers: Numbers = begins.searchsorted(places, "right") - 1
    return numbers


def which_hold(begins: Numbers, *places: Numbers | list[int]) -> Flags:
    """Tell which of the texts, or parts, that begin there hold one of these bytes."""
    flags = np.zeros(begins.size - 1, bool)
    for some in places:
        if len(some):
            flags[numbers_at(begins, some)] = True
    return flags


class LineTable:
    """The lines of some texts (UTF-8); lines and texts are numbered from 0.

    ``data``: the texts with what stands around them; ``codes``: the same as numbers; ``begins``: where the
    line break before each text is, and the one after the last; ``breaks``: where the one before each line
    is.  Of each line, ``forms`` has the form, ``prose`` whether it is neither empty nor code, ``after``
    whether that holds for the line before it as well.  ``first_lines`` are those of each text, and the one
    after the last; ``ticks``: where back-ticks are.

    ``parts``: where the line break before each part of a text is, and the one after the last.  A part begins
    below an empty line, where all blocks are closed unless the part before leaves a fence open.  ``hard``:
    which parts may not be ordinary.
    """

    def __init__(self, texts: Sequence[bytes]) -> None:
        self.data = JOINT.join([b"", *texts, _END])
        self.codes = np.frombuffer(self.data, np.uint8)
        self.begins = np.full(len(texts) + 1, 2)
        self.begins[1:] += np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)) + len(JOINT))
        low = indexes(self.codes < 0x20)
        is_break = self.codes[low] == _NEWLINE
        self.breaks: Numbers = low[is_break][:-1]
        self.controls: Numbers = low[~is_break]
        self.first_lines = self.breaks.searchsorted(self.begins)
        self.forms = self._forms()
        in_code, odd_ends = self._in_code()
        self.parts = self._parts(in_code)
        self.hard: Flags = np.zeros(self.parts.size - 1, bool)
        self.set_hard(odd_ends)
        self.prose: Flags = (self.forms != EMPTY) & ~in_code
        self.after: Flags = np.zeros_like(self.prose)
        np.logical_and(self.prose[:-1], self.prose[1:], out=self.after[1:])
        self.ticks = self.places(b"`")
        self._find_deeper_items()
        self._find_hard_lines()
        self._find_hard_signs()

    def places(self, sign: bytes) -> Numbers:
        """Return where a byte stands."""
        return indexes(self.codes == sign[0]) if sign in self.data else NONE

    def matches(self, sign: bytes, pattern: re.Pattern[bytes]) -> Numbers:
        """Return where a pattern matches that holds this byte."""
        if sign not in self.data:
            return NONE
        return np.array([found.start() for found in pattern.finditer(self.data)], np.int64)

    def lines_at(self, places: Numbers) -> Numbers:
        """Return the numbers of the lines in which these bytes stand."""
        numbers: Numbers = self.breaks.searchsorted(places) - 1
        return numbers

    def in_prose(self, places: Numbers) -> Numbers:
        """Return those of these bytes that stand outside code blocks."""
        return places[self.prose[self.lines_at(places)]] if places.size else places

    def set_hard(self, places: Numbers) -> None:
        """Take the parts in which these bytes stand for hard."""
        if places.size:
            self.hard[numbers_at(self.parts, places)] = True

    def _forms(self) -> npt.NDArray[np.uint8]:
        forms = _FORM_OF[self.codes[self.breaks + 1]]
        ends = self.begins[1:] - len(JOINT)
        ends = ends[self.codes[ends] == _NEWLINE]  # a last line that is empty but for what stands behind it
        forms[self.breaks.searchsorted(ends)] = EMPTY
        unknown = indexes(forms == _UNKNOWN)
        if not unknown.size:
            return forms
        places = self.breaks[unknown]
        first, second, third = (self.codes[places + offset] for offset in (1, 2, 3))
        letter = self._is_word_at(places + 3) & (second == _SPACE)
        numbered = _IS_DIGIT[first] & ((second == 0x2E) | (second == 0x29)) & (third == _SPACE)
        numbered &= self._is_word_at(places + 4)
        items = (_IS_BULLET[first] & letter) | numbered
        forms[unknown[items]] = ITEM
        forms[unknown[numbered & (first != 0x31)]] = _NUMBER
        quotes = (first == 0x3E) & letter
        forms[unknown[quotes]] = QUOTE
        left = unknown[~(items | quotes)]
        found = [_FORM.match(self.data, place) for place in (self.breaks[left]).tolist()]
        forms[left] = [(match and match.lastindex) or OTHER for match in found]
        return forms

    def _find_deeper_items(self) -> None:
        """Find items that are indented like code, but stand directly below the item that contains them."""
        lines = self.after & (self.forms == OTHER) & (self.codes[self.breaks + 1] == _SPACE)
        last, indents = -1, [0]
        for line in indexes(lines).tolist():
            bullet = _DEEPER_BULLET.match(self.data, int(self.breaks[line]))
            if bullet is None or self.forms[line - 1] not in {ITEM, _NUMBER}:
                continue
            indent = bullet.end(1) - bullet.start(1)
            if last != line - 1:
                above = _MARK.match(self.data, int(self.breaks[line - 1]))
                indents = [above.end() - above.start() - 1] if above else [9]
            while len(indents) > 1 and indent < indents[-1] - 2:
                indents.pop()
            if indents[-1] <= indent < indents[-1] + 4:
                indents.append(indent + 2)
            elif len(indents) == 1 or indent != indents[-1] - 2:
                continue
            self.forms[line], last = ITEM, line

    def _is_word_at(self, places: Numbers) -> Flags:
        """Tell at a glance where a word begins, in bold or not."""
        is_bold = (self.codes[places] == 0x2A) & (self.codes[places + 1] == 0x2A)
        flags: Flags = _IS_ASCII_LETTER[self.codes[places + 2 * is_bold]]
        return flags

    def _parts(self, in_code: Flags) -> Numbers:
        """Return where parts begin: texts, and what begins at the margin below an empty line."""
        first = self.codes[self.breaks + 1]
        begins = _BEGINS_PART[self.forms[1:]] & (first[1:] != _SPACE)
        begins &= (first[:-1] == _NEWLINE) & ~in_code[:-1]
        lines = indexes(begins) + 1
        # below indented code, readers disagree whether a number begins an item
        numbers = lines[self.forms[lines] == _NUMBER]
        if numbers.size:
            above = [self.codes[self.breaks[numbers - 2] + offset] for offset in (1, 2, 3, 4)]
            is_indented_by_three = (above[0] == above[1]) & (above[1] == above[2]) & (above[3] > _SPACE)
            is_code = (above[0] <= _SPACE) & ~((above[0] == _SPACE) & is_indented_by_three)
            lines = np.setdiff1d(lines, numbers[is_code], assume_unique=True)
        flags = np.zeros(self.breaks.size, bool)
        flags[lines] = flags[self.first_lines] = True
        return self.breaks[flags]

    def _in_code(self) -> tuple[Flags, Numbers]:
        """Tell which lines are code blocks, with those that open and close them; and which may close none."""
        fences = indexes(self.forms == FENCE)
        if not fences.size:
            return np.zeros(self.breaks.size, bool), NONE
        texts = numbers_at(self.begins, self.breaks[fences])
        opens = (np.arange(fences.size) - texts.searchsorted(texts)) % 2 == 0
        closing = fences[~opens]
        behind = self.codes[self.breaks[closing] + 4]
        odd_ends = self.breaks[closing[(behind != _NEWLINE) & (behind != _SPACE)]]
        stays_open = texts[opens & np.append(texts[1:] != texts[:-1], True)]
        steps = np.zeros(self.breaks.size, np.int64)
        steps[fences[opens]] += 1
        steps[closing + 1] -= 1
        steps[self.breaks.searchsorted(self.begins[stays_open + 1])] -= 1
        return np.cumsum(steps) > 0, odd_ends

    def _find_hard_lines(self) -> None:
        """Find lines next to another, of which the beginning does not tell what they are."""
        forms, breaks, after = self.forms, self.breaks, self.after
        beside = after.copy()
        beside[:-1] |= after[1:]
        hard = beside & (forms == OTHER)
        # a quote whose mark is missing before a line
        hard[1:] |= after[1:] & (forms[1:] == QUOTE) & (forms[:-1] == WORD)
        spaced = indexes(self.prose & (self.codes[breaks + 1] == _SPACE))
        for offset in (2, 3, 4):
            spaced = spaced[self.codes[breaks[spaced] + offset] == _SPACE]
        # several lines that may be code
        hard[spaced] |= beside[spaced] & (~after[spaced] | (forms[spaced - 1] == HEADING))
        # a number that begins no item, as it stands below the lines of a paragraph
        below = indexes(after & (forms == _NUMBER))
        below = below[forms[below - 1] == WORD]
        if below.size:
            is_word = self.prose & (forms == WORD)
            before = np.maximum.accumulate(np.where(is_word, 0, np.arange(breaks.size)))[below - 1]
            hard[below] |= ~self.prose[before] | (forms[before] == HEADING)
        self.set_hard(breaks[hard])
        self._find_hard_bars(beside)

    def _find_hard_bars(self, beside: Flags) -> None:
        """Find bars among several lines that are not a whole table."""
        bars = self.places(b"|")
        if not bars.size:
            return
        lines = self.lines_at(bars)
        lines = lines[beside[lines]]
        apart = indexes(~self.prose)
        next_apart = np.unique(apart.searchsorted(lines))
        for start, stop in zip(apart[next_apart - 1].tolist(), apart[next_apart].tolist(), strict=True):
            chunk = self.data[self.breaks[start + 1] + 1 : self.breaks[stop]].split(b"\n")
            if not (chunk[0][:1] == b"|" and is_table(chunk)):
                self.set_hard(self.breaks[stop : stop + 1])

    def _find_hard_signs(self) -> None:
        """Find what makes code hard to tell: odd back-ticks, other fences, tabs, escapes and CRLF."""
        ticks = self.ticks
        if ticks.size:
            lines = self.lines_at(ticks)
            in_prose = self.prose[lines]
            within = ticks[in_prose]
            self.set_hard(within[:-1][np.diff(within) == 1])
            self.set_hard(self.breaks[indexes(np.bincount(lines[in_prose]) % 2)])
            within, lines = ticks[~in_prose], lines[~in_prose]
            runs = indexes(within[2:] - within[:-2] == 2)
            is_fence = (self.forms[lines[runs]] == FENCE) & (within[runs] == self.breaks[lines[runs]] + 1)
            self.set_hard(within[runs[~is_fence]])
        self.set_hard(self.controls[self.codes[self.controls] == _RETURN])
        self.set_hard(self.matches(b"~", _TWO_MORE_TILDES))
        self.set_hard(self.in_prose(self.matches(b"\\", _ODD_BACKSLASH)))
        self.set_hard(self.in_prose(self.controls))


NONE: Final[Numbers] = np.zeros(0, np.int64)
