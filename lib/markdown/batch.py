"""Showing many texts at once: as they are, in quotes, or in fences.

What the table of their lines cannot tell at a glance is looked at line by line; both give the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lib.markdown.blocks import MAY_BE_DEEP, is_nested_too_deep
from lib.markdown.escapes import ADDRESS_BEFORE, MAY_BE_IN_LINK, ODD_BLANK
from lib.markdown.fences import fenced_text
from lib.markdown.inert import DEFINITION, LINE
from lib.markdown.line_table import EMPTY, FENCE, HEADING, OTHER, WORD, LineTable
from lib.markdown.quoted import lines_kept, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]

_TAB, _NEWLINE, _RETURN, _SPACE, _BACKSLASH = b"\t\n\r \\"
_NOT_BESIDE_CODE: Final = re.compile(rb"[|~@]|\]\(|://|www\.", re.IGNORECASE)
"""What some readers look for before code."""

# control characters, which these texts do not hold, stand for a while where something is added
_TEXT, _BREAK, _QUOTE, _QUOTE_BREAK, _QUOTE_EMPTY, _TEXT_QUOTE, _TEXT_EMPTY, _TAG, _IMAGE = range(9)
_DOLLARS: Final = 0x0B
_ADDED: Final = {
    _BREAK: b"  \n",
    _QUOTE: b"\n> ",
    _QUOTE_BREAK: b"  \n> ",
    _QUOTE_EMPTY: b"\n>",
    _TEXT_QUOTE: b"\0> ",
    _TEXT_EMPTY: b"\0>",
    _TAG: b"\\<",
    _IMAGE: b"!\\",
    _DOLLARS: b"\\$",
}


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
    """Some texts, and which of them are ``active`` beyond themselves, and which ones no quote contains."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        self._texts = texts
        self._table = table = LineTable(texts)
        codes = table.codes
        tags, images, dollars = table.places(b"<"), table.places(b"!"), table.places(b"$")
        self._dangers = {
            _TAG: tags[_BEGINS_TAG[codes[tags + 1]]],
            _IMAGE: images[codes[images + 1 + (codes[images + 1] == _BACKSLASH)] == 0x5B],
            _DOLLARS: dollars[(codes[dollars + 1] == 0x24) | (codes[dollars - 1] == 0x24)],
        }
        others = table.breaks[table.prose & (table.forms == OTHER)]
        others = others[_BEGINS_BLOCK[codes[others + 1]]].tolist()
        dangers = [place for place in others if LINE.pattern.match(table.data, place)]
        deep = [place for place in others if MAY_BE_DEEP.match(table.data, place)]
        is_block = (table.forms == HEADING) | (table.forms == FENCE)
        self._active = self._with(table.breaks[is_block], dangers, *self._dangers.values())
        for index in np.flatnonzero(self._with(self._definitions())).tolist():
            self._active[index] |= DEFINITION.found_in(texts[index])
        self._unquotable = self._with(*self._controls())
        for index in np.flatnonzero(self._with(deep)).tolist():
            self._unquotable[index] |= is_nested_too_deep(texts[index])

    def shown(self, *, in_quotes: bool) -> list[bytes]:
        """Return what is shown of each text."""
        self._active |= in_quotes
        table, shown = self._table, list(self._texts)
        joined = table.after & (table.forms == WORD)
        joined[1:] &= table.forms[:-1] != HEADING
        quoted_ones = self._active & ~self._unquotable
        is_hard, escapes = self._escapes(quoted_ones) if quoted_ones.any() else (table.hard, {})
        for index in np.flatnonzero(self._unquotable).tolist():
            shown[index] = fenced_text(shown[index])
        for index in np.flatnonzero(quoted_ones & is_hard).tolist():
            shown[index] = quoted(shown[index]) or fenced_text(shown[index])
        kept = ~(self._active | self._unquotable)
        for index in np.flatnonzero(kept & table.hard & self._with(table.breaks[table.after])).tolist():
            shown[index] = lines_kept(shown[index])
        easy_quotes = quoted_ones & ~is_hard
        changed = easy_quotes | (kept & ~table.hard & self._with(table.breaks[joined]))
        if changed.any():
            indexes = np.flatnonzero(changed).tolist()
            rewritten = self._rewritten(changed, easy_quotes, joined, escapes)
            for index, text in zip(indexes, rewritten, strict=True):
                shown[index] = text
        return shown

    def _rewritten(
        self, changed: Flags, is_quoted: Flags, joined: Flags, escapes: dict[int, Numbers]
    ) -> list[bytes]:
        """Return the changed texts, in quotes or not, with their line breaks and escapes."""
        table = self._table
        begins, breaks, codes = table.begins, table.breaks, table.codes.copy()
        joined = joined & ~((codes[breaks - 1] == _SPACE) & (codes[breaks - 2] == _SPACE))
        codes[breaks[joined]] = _BREAK
        for mark, places in escapes.items():
            codes[places] = mark
        first_lines = np.searchsorted(breaks, begins)
        lines = np.flatnonzero(np.repeat(is_quoted, np.diff(first_lines))) + first_lines[0]
        marks = np.where(joined[lines], _QUOTE_BREAK, _QUOTE)
        codes[breaks[lines]] = np.where(table.forms[lines] == EMPTY, _QUOTE_EMPTY, marks)
        codes[begins[1:] - 1] = _NEWLINE
        first_marks = np.where(table.forms[first_lines[:-1]] == EMPTY, _TEXT_EMPTY, _TEXT_QUOTE)
        codes[begins[:-1]] = np.where(is_quoted, first_marks, _TEXT)
        data = codes.tobytes()
        starts, stops = begins[:-1][changed].tolist(), begins[1:][changed].tolist()
        data = b"".join([data[start:stop] for start, stop in zip(starts, stops, strict=True)])
        for mark, added in _ADDED.items():
            data = data.replace(b"%c" % mark, added)
        return data[1:-2].split(b" \n\0")

    def _escapes(self, is_quoted: Flags) -> tuple[Flags, dict[int, Numbers]]:
        """Return for which texts it is hard to tell what to escape, and for the others where."""
        table = self._table
        codes, breaks = table.codes, table.breaks
        dangers = {mark: table.in_prose(places) for mark, places in self._dangers.items()}
        places = np.concatenate(list(dangers.values()))
        may_be_code = table.prose & ~table.after & (codes[breaks + 1] == _SPACE)
        is_hard = table.hard | (self._with(breaks[may_be_code]) & self._with(places))
        is_hard |= self._with(table.in_prose(self._definitions()), self._addresses(places))
        if not table.data.isascii():
            lines = breaks[_MAY_BEGIN_BLANK[codes[breaks + 1]]]
            lines = lines[is_quoted[table.texts_at(lines)]].tolist()
            is_hard |= self._with([place for place in lines if ODD_BLANK.match(table.data, place)])
        ticks = table.in_prose(table.ticks)
        ticks = ticks[~table.hard[table.texts_at(ticks)]]
        for index in np.flatnonzero(self._with(dangers[_IMAGE])).tolist():
            is_hard[index] |= MAY_BE_IN_LINK.search(self._texts[index]) is not None
        for mark, places in dangers.items():
            before = np.searchsorted(ticks, places)
            in_span = before % 2 == 1
            openers = ticks[before[in_span] - 1]
            for index in np.flatnonzero(self._with(openers)).tolist():
                is_hard[index] |= _NOT_BESIDE_CODE.search(self._texts[index]) is not None
            dangers[mark] = self._unescaped(places[~in_span]) if mark != _IMAGE else places[~in_span]
        return is_hard, dangers

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
            for number in np.flatnonzero(is_suspect).tolist():
                begin = place = int(places[number])
                while data[begin - 1] == _BACKSLASH:
                    begin -= 1
                is_suspect[number] = (place - begin) % 2 == 1
        unescaped: Numbers = places[~is_suspect]
        return unescaped

    def _definitions(self) -> Numbers:
        """Return where a definition may be: a closing bracket and a colon."""
        brackets = self._table.places(b"]")
        definitions: Numbers = brackets[self._table.codes[brackets + 1] == 0x3A]
        return definitions

    def _controls(self) -> tuple[Numbers, ...]:
        """Return where control characters stand that are not layout, and line separators."""
        table = self._table
        codes, controls = table.codes, table.controls
        lone = (codes[controls] == _RETURN) & (codes[controls + 1] != _NEWLINE)
        c1 = table.places(b"\xc2")
        separators = [table.places(b"\xa8"), table.places(b"\xa9")]
        separators = [ends[(codes[ends - 1] == 0x80) & (codes[ends - 2] == 0xE2)] for ends in separators]
        is_layout = (codes[controls] == _TAB) | (codes[controls] == _RETURN)
        return (controls[lone | ~is_layout], table.places(b"\x7f"), c1[codes[c1 + 1] < 0xA0], *separators)

    def _with(self, *places: Any) -> Flags:
        """Tell which texts have something at one of these places."""
        flags = np.zeros(len(self._texts), bool)
        for some in places:
            if len(some):
                flags[self._table.texts_at(some)] = True
        return flags
