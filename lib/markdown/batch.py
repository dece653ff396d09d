"""Showing many texts at once: as they are, in quotes, or in fences.

What the table of their lines cannot tell at a glance is looked at line by line, one part of a text at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from lib.markdown.blocks import Blocks
from lib.markdown.escapes import ADDRESS_BEFORE, MAY_BE_IN_LINK, ODD_BLANK, may_hide_code, places_to_escape
from lib.markdown.fences import fenced_text
from lib.markdown.inert import DEFINITION, LINE, TOO_DEEP
from lib.markdown.line_table import (
    EMPTY,
    FENCE,
    HEADING,
    JOINT,
    NONE,
    OTHER,
    QUOTE,
    WORD,
    LineTable,
    indexes,
    numbers_at,
    which_hold,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]

_TAB, _NEWLINE, _RETURN, _SPACE, _BACKSLASH = b"\t\n\r \\"
_MANY_TICKS: Final = b"`" * 80
"""More than cmark counts."""

# control characters, which these texts do not hold, stand for a while where something is added
_BREAK, _RETURN_BREAK, _QUOTE, _QUOTE_BREAK, _QUOTE_EMPTY = range(1, 6)
_ESCAPED: Final = dict(enumerate(b"<$[!", 0x10))
_ADDED: Final = {
    _BREAK: b"  \n",
    _RETURN_BREAK: b"  \r",
    _QUOTE: b"\n> ",
    _QUOTE_BREAK: b"  \n> ",
    _QUOTE_EMPTY: b"\n>",
    **{mark: b"\\%c" % sign for mark, sign in _ESCAPED.items()},
}
_MARK_OF: Final = np.zeros(256, np.uint8)
_MARK_OF[list(_ESCAPED.values())] = list(_ESCAPED)


def _flags(characters: str) -> Flags:
    return np.array([chr(code) in characters for code in range(256)])


_BEGINS_TAG: Final = _flags("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/!?")
_BEGINS_BLOCK: Final = _flags(" \t>0123456789`~#*+_=-")
_MAY_BEGIN_BLANK: Final = _flags(" \t>\xc2\xe1\xe2\xe3\xef")


def shown_safely(texts: Sequence[bytes], *, in_quotes: bool = False) -> list[bytes]:
    """Return what is shown of each text (UTF-8): the first of the three ways that is safe for it.

    With ``in_quotes``, no text stands as it is.
    """
    return _Batch(texts).shown(in_quotes=in_quotes)


class _Batch:
    """Some texts, and which of them are ``active`` beyond themselves, and which ones no quote contains.

    ``joined``: lines that go on with a paragraph, outside code spans.
    """

    def __init__(self, texts: Sequence[bytes]) -> None:
        self._texts = texts
        self._table = table = LineTable(texts)
        codes = table.codes
        tags, images, dollars = table.places(b"<"), table.places(b"!"), table.places(b"$")
        tags = tags[_BEGINS_TAG[codes[tags + 1]]]
        images = images[codes[images + 1 + (codes[images + 1] == _BACKSLASH)] == 0x5B]
        dollars = dollars[(codes[dollars + 1] == 0x24) | (codes[dollars - 1] == 0x24)]
        brackets = table.places(b"]")
        self._dangers: Numbers = np.concatenate((tags, images, dollars))
        self._definitions: Numbers = brackets[codes[brackets + 1] == 0x3A]
        self._joined: Flags = table.after & (table.forms == WORD)
        self._joined[1:] &= table.forms[:-1] != HEADING
        self._joined[1:] |= table.after[1:] & (table.forms[1:] == QUOTE) & (table.forms[:-1] == QUOTE)
        others = table.breaks[table.prose & (table.forms == OTHER)]
        others = others[_BEGINS_BLOCK[codes[others + 1]]].tolist()
        blocks = [place for place in others if LINE.pattern.match(table.data, place)]
        deep = [place for place in others if TOO_DEEP.pattern.match(table.data, place)]
        is_block = (table.forms == HEADING) | (table.forms == FENCE)
        self._active = which_hold(table.begins, table.breaks[is_block], blocks, self._dangers)
        for index in indexes(which_hold(table.begins, self._definitions)).tolist():
            self._active[index] |= DEFINITION.found_in(texts[index])
        self._unquotable = which_hold(table.begins, *self._controls())
        for index in indexes(which_hold(table.begins, deep)).tolist():
            self._unquotable[index] |= TOO_DEEP.found_in(texts[index])

    def shown(self, *, in_quotes: bool) -> list[bytes]:
        """Return what is shown of each text."""
        self._active |= in_quotes
        table, shown = self._table, list(self._texts)
        escapes = self._resolved(self._active & ~self._unquotable)
        for index in indexes(self._unquotable).tolist():
            shown[index] = fenced_text(shown[index])
        changed = (self._active | which_hold(table.begins, table.breaks[self._joined])) & ~self._unquotable
        if changed.any():
            rewritten = self._rewritten(changed, escapes)
            for index, text in zip(indexes(changed).tolist(), rewritten, strict=True):
                shown[index] = text
        return shown

    def _rewritten(self, changed: Flags, escapes: Numbers) -> list[bytes]:
        """Return the changed texts, in quotes or not, with their line breaks and escapes."""
        table = self._table
        breaks, codes = table.breaks, table.codes.copy()
        ends = breaks[self._joined]
        ends -= codes[ends - 1] == _RETURN
        ends = self._unescaped(ends[(codes[ends - 1] != _SPACE) | (codes[ends - 2] != _SPACE)])
        codes[ends] = np.where(codes[ends] == _RETURN, _RETURN_BREAK, _BREAK)
        codes[escapes] = _MARK_OF[codes[escapes]]
        empty = (table.forms == EMPTY) | (table.codes[breaks + 1] == _RETURN)
        quoted = np.repeat(changed & self._active, np.diff(table.first_lines))
        lines = indexes(quoted) + table.first_lines[0]
        marks = np.where(codes[breaks[lines]] == _BREAK, _QUOTE_BREAK, _QUOTE)
        codes[breaks[lines]] = np.where(empty[lines], _QUOTE_EMPTY, marks)
        data = codes.tobytes()
        starts = table.begins[:-1][changed].tolist()
        stops = (table.begins[1:][changed] - len(JOINT) + 1).tolist()
        data = b"\0".join([data[start:stop] for start, stop in zip(starts, stops, strict=True)])
        used = np.bincount(codes[np.concatenate((breaks, ends, escapes))])
        for mark in indexes(used).tolist():
            if mark in _ADDED:
                data = data.replace(b"%c" % mark, _ADDED[mark])
        return [text[1:] for text in data.split(b"\0")]  # without the line break before it

    def _resolved(self, is_quoted: Flags) -> Numbers:
        """Look at the hard parts line by line, and return what to escape in texts to be quoted."""
        table = self._table
        is_hard, escapes = self._escapes(is_quoted) if is_quoted.any() else (table.hard, NONE)
        if not is_hard.any():
            return escapes
        texts = numbers_at(table.begins, table.parts[:-1])
        has_folded = which_hold(table.parts, table.breaks[table.after])
        looked_at = is_hard & (is_quoted[texts] | (has_folded & ~self._unquotable[texts]))
        found: list[int] = []
        done = 0
        for part in indexes(looked_at).tolist():
            text, start = int(texts[part]), int(table.parts[part])
            if start < done or self._unquotable[text]:
                continue
            done, places = self._look_at(start, int(table.parts[part + 1]), text)
            if is_quoted[text] and places is None:
                self._unquotable[text] = True
            is_hard[part : table.parts.searchsorted(done)] = True
            found += places or ()
        return np.concatenate(
            (escapes[~is_hard[numbers_at(table.parts, escapes)]], np.array(found, np.int64))
        )

    def _look_at(self, start: int, stop: int, text: int) -> tuple[int, list[int] | None]:
        """Look at a part line by line; return where it ends, and what to escape if a quote contains it.

        A part that leaves a fence open goes on to the end of its text.
        """
        table = self._table
        end = int(table.begins[text + 1]) - len(JOINT) + 1
        part = table.data[start + 1 : min(stop, end)]
        blocks = Blocks(part)
        if blocks.open_fence and stop < end:
            return self._look_at(start, end, text)
        first = int(table.breaks.searchsorted(start))
        self._joined[first : first + len(blocks.lines)] = False
        self._joined[[first + 1 + number for number in blocks.joined]] = True
        if not (self._active[text] and blocks.is_quotable) or _MANY_TICKS in part:
            return stop, None
        places = places_to_escape(part, blocks)
        return stop, None if places is None else [start + 1 + place for place in places]

    def _escapes(self, is_quoted: Flags) -> tuple[Flags, Numbers]:
        """Return of which parts it is hard to tell what to escape, and for the others where."""
        table = self._table
        codes, breaks = table.codes, table.breaks
        dangers = table.in_prose(self._dangers)
        may_be_code = table.prose & ~table.after & (codes[breaks + 1] == _SPACE)
        is_hard = table.hard | (
            which_hold(table.parts, breaks[may_be_code]) & which_hold(table.parts, dangers)
        )
        is_hard |= which_hold(table.parts, table.in_prose(self._definitions), self._addresses(dangers))
        if not table.data.isascii():
            self._unquotable |= which_hold(table.begins, self._odd_blanks(is_quoted)) & which_hold(
                table.begins, self._dangers, self._definitions
            )
        is_image = codes[dangers] == 0x21
        self._set_hard_where(lambda text: MAY_BE_IN_LINK.search(text) is not None, dangers[is_image], is_hard)
        ticks = table.in_prose(table.ticks)
        ticks = ticks[~table.hard[numbers_at(table.parts, ticks)]]
        before = ticks.searchsorted(dangers)
        in_span = before % 2 == 1
        self._set_hard_where(may_hide_code, ticks[before[in_span] - 1], is_hard)
        others = self._unescaped(dangers[~in_span & ~is_image])
        return is_hard, np.concatenate((others, dangers[~in_span & is_image] + 1))

    def _set_hard_where(self, is_so: Callable[[bytes], bool], places: Numbers, is_hard: Flags) -> None:
        """Take for hard the parts with something at these places of which this holds."""
        table = self._table
        for part in indexes(which_hold(table.parts, places)).tolist():
            start, stop = int(table.parts[part]), int(table.parts[part + 1])
            is_hard[part] |= is_so(table.data[start:stop])

    def _odd_blanks(self, is_quoted: Flags) -> list[int]:
        """Return where lines of texts to be quoted begin that are blank to some readers only."""
        table = self._table
        lines = table.breaks[_MAY_BEGIN_BLANK[table.codes[table.breaks + 1]]]
        lines = lines[is_quoted[numbers_at(table.begins, lines)]]
        return [place for place in lines.tolist() if ODD_BLANK.match(table.data, place)]

    def _addresses(self, places: Numbers) -> list[int]:
        """Return where the lines begin in which a bare address may end at one of these places."""
        table = self._table
        near = np.unique(table.lines_at(places[table.codes[places - 1] > _SPACE]))
        starts, stops = table.breaks[near].tolist(), table.breaks[near + 1].tolist()
        lines = zip(starts, stops, strict=True)
        return [start for start, stop in lines if ADDRESS_BEFORE.search(table.data, start, stop)]

    def _unescaped(self, places: Numbers) -> Numbers:
        """Return the places before which no odd number of backslashes stands."""
        is_suspect = self._table.codes[places - 1] == _BACKSLASH
        if is_suspect.any():
            data = self._table.data
            for number in indexes(is_suspect).tolist():
                begin = place = int(places[number])
                while data[begin - 1] == _BACKSLASH:
                    begin -= 1
                is_suspect[number] = (place - begin) % 2 == 1
        unescaped: Numbers = places[~is_suspect]
        return unescaped

    def _controls(self) -> tuple[Numbers, ...]:
        """Return where control characters stand that are not layout, and line separators."""
        table = self._table
        codes, controls = table.codes, table.controls
        lone = (codes[controls] == _RETURN) & (codes[controls + 1] != _NEWLINE)
        c1, separators = table.places(b"\xc2"), table.places(b"\xe2")
        separators = separators[(codes[separators + 1] == 0x80) & ((codes[separators + 2] | 1) == 0xA9)]
        is_layout = (codes[controls] == _TAB) | (codes[controls] == _RETURN)
        return (controls[lone | ~is_layout], table.places(b"\x7f"), c1[codes[c1 + 1] < 0xA0], separators)
