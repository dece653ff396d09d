"""Telling whether a text can stand in a Markdown page as it is.

A text is inert when no CommonMark or GFM reader, and no terminal, could let it act beyond itself: nothing in
it opens or closes a block that could reach the next item, defines a reference, or is markup that is not
Markdown's.  The test is conservative: what it lets through is harmless, what it stops may be harmless too.

Texts are tested as the UTF-8 that stands in the page.

Specification: CommonMark 0.31 (leaf blocks and container blocks), GitHub Flavored Markdown 0.29.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from lib.markdown.blocks import MAY_BE_DEEP, is_nested_too_deep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

JOINT: Final = b" \n\n"
"""What stands between texts that are tested as one.

No danger spans it, it hides none, and folds no line: a mere line break would make a CRLF of a text's last
carriage return.
"""

_END: Final = rb"[ \t]*\r?(?:\n|\Z)"
_CONTAINER: Final = rb">|(?:[-+*]|[0-9]{1,9}[.)])[ \t](?!%b)" % _END
# What a line may begin with before its own content: indentation, quotes, list markers.  The look-ahead with a
# back reference makes the run atomic, its bound keeps memory small: the search is linear in any text.
_RUN: Final = rb"(?=((?:[ \t]+|%b){0,100}))\1" % _CONTAINER
WIDE_SPACES: Final = (
    rb"\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80|\xef\xbb\xbf"
)
SPACES: Final = rb"[\t\x0b-\r\x1c-\x20]|" + WIDE_SPACES
"""White space for Python or JavaScript, other than a line feed: a regular expression of bytes."""
_MARKS: Final = rb"[-_*=+ \t\r]|" + WIDE_SPACES
# a setext underline ("- " is one), a thematic break, an empty item; its bound keeps memory small
_RULE: Final = rb"[-_*=+][-_*=+ \t\r]*(?:\n|\Z|(?=%b)(?:(?:%b){1,98}(?:\n|\Z)|(?:%b){99}))" % (
    WIDE_SPACES,
    _MARKS,
    _MARKS,
)
_BLOCKS: Final = (
    rb"```|~~~",  # a fence opens or closes
    rb"#{1,6}(?:%b|\n|\Z)" % SPACES,  # a heading; some readers take any space of Unicode after it
    _RULE,
    rb"[ \t]*(?:%b)" % _CONTAINER,  # nested deeper than readers agree on
)
# Patterns begin with one literal character, which `re` finds quickly; the look-ahead after it drops most
# lines.
_PLAIN_ITEM: Final = rb"[ \t]*(?:[-+*]|[0-9]{1,9}[.)])[ \t]+[A-Za-z]"
_LINE: Final = re.compile(
    rb"\n(?=[ \t]*[>0-9`~#*+_=-])(?!%b)%b(?:%b)" % (_PLAIN_ITEM, _RUN, b"|".join(_BLOCKS))
)
_IS_SUSPECT: Final = bytes(code in b" \t>0123456789`~#*+_=-" for code in range(256))
"""For each byte, 1 if a line that begins with it may open or close a block."""
_DEFINITION: Final = re.compile(rb"\n(?=[ \t]*[>0-9*+\[-])%b\*?\[" % _RUN)
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\xc2](?:(?<!\xc2)|(?<=\xc2)[\x80-\x9f])")
_LAYOUT: Final = b"\t\n\r"
_FEW: Final = 200
"""Trying a pattern at one line costs as much as searching so many bytes for it."""
_SEEN_AT_ONCE: Final = 1 << 18
"""Where the control characters of a block are takes up to nine times its memory."""


@dataclass(frozen=True, slots=True)
class Danger:
    """One way in which a text could act beyond itself.

    ``pattern`` finds it, and is searched only when all ``needles`` are there.  A needle of one byte costs
    some 15 µs a megabyte, one of two 800 µs: it stands after those that make it needless.  Where the pattern
    only raises a suspicion, ``confirm`` decides about the text.  ``begins_line``: a line break begins it.
    """

    name: str
    needles: tuple[bytes, ...]
    pattern: re.Pattern[bytes]
    confirm: Callable[[bytes], bool] | None = None
    begins_line: bool = False

    def found_in(self, lines: bytes) -> bool:
        """Tell whether the danger is in ``lines``: a text with a line break put before it."""
        for needle in self.needles:
            if needle not in lines:
                return False
        return self.pattern.search(lines) is not None

    def is_confirmed(self, text: bytes) -> bool:
        """Tell whether a text holds the danger, in which its pattern was found."""
        if not all(needle in text for needle in self.needles):
            return False
        return self.confirm is None or self.confirm(text)


LINE: Final = Danger("a line that opens or closes a block", (), _LINE, begins_line=True)
CONTROL: Final = Danger("a control character", (), _CONTROLS)
LONE_RETURN: Final = Danger("a carriage return without a newline", (b"\r",), re.compile(rb"\r(?!\n)"))

# no line breaks for CommonMark, but they are for the regular expressions of readers written in JavaScript
_LINE_SEPARATOR: Final = Danger("a line separator", (b"\xe2", b"\xa8"), re.compile(rb"\xa8(?<=\xe2\x80\xa8)"))
_PARAGRAPH_SEPARATOR: Final = Danger(
    "a paragraph separator", (b"\xe2", b"\xa9"), re.compile(rb"\xa9(?<=\xe2\x80\xa9)")
)
TOO_DEEP: Final = Danger("containers nested too deep", (), MAY_BE_DEEP, is_nested_too_deep, begins_line=True)
UNQUOTABLE: Final = (TOO_DEEP, _LINE_SEPARATOR, _PARAGRAPH_SEPARATOR, LONE_RETURN, CONTROL)
"""What would act in a quote, too, and cannot be escaped there."""
DANGERS: Final[tuple[Danger, ...]] = (
    LINE,
    Danger("a definition", (b"[", b"]", b"]:"), _DEFINITION),
    Danger("raw HTML", (b"<",), re.compile(rb"<[A-Za-z/!?]")),
    Danger("an image", (b"!", b"["), re.compile(rb"!(?=\[)")),
    Danger("a block of mathematics", (b"$",), re.compile(rb"\$(?=\$)")),
    *UNQUOTABLE,
)


class _Layout:
    """What numpy sees of a block at a glance: its control characters, and how its lines begin.

    ``suspects``: where a line may begin that opens or closes a block; None when there are too many to try.
    ``folds``: the line breaks between two lines that are not empty.
    """

    def __init__(self, lines: bytes) -> None:
        # numpy is slow to import, and needed only where there is something to render
        import numpy as np

        codes = np.frombuffer(lines + b"\n", dtype=np.uint8)
        places = np.flatnonzero(codes < 0x20)
        low = codes[places]
        breaks = places[low == 0x0A][:-1]
        suspects = breaks[np.frombuffer(_IS_SUSPECT, dtype=bool)[codes[breaks + 1]]]
        has_c0 = bool(low.tobytes().translate(None, _LAYOUT))
        self.folds = breaks[(codes[breaks - 1] != 0x0A) & (codes[breaks + 1] != 0x0A)]
        self.may_hold_controls = has_c0 or b"\x7f" in lines or b"\xc2" in lines
        self.suspects: list[int] | None = None
        if suspects.size * _FEW <= len(lines):
            self.suspects = suspects.tolist()


class Block:
    """Texts that are looked at together, so that most of them need not be by themselves."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        self._texts = texts
        self._lines = b"\n" + JOINT.join(texts)
        self._layout = _Layout(self._lines) if len(self._lines) <= _SEEN_AT_ONCE else None
        # where the line break before each text stands
        self._begins = list(accumulate(map(len(JOINT).__add__, map(len, texts)), initial=0))

    def dangers(self, among: Iterable[Danger] = DANGERS) -> tuple[Danger, ...]:
        """Return the dangers in it; no text of the block holds any other."""
        return tuple(danger for danger in among if self._holds(danger))

    def _holds(self, danger: Danger) -> bool:
        if self._layout is not None:
            if danger.begins_line and self._layout.suspects is not None:
                return any(danger.pattern.match(self._lines, place) for place in self._layout.suspects)
            if danger is CONTROL and not self._layout.may_hold_controls:
                return False
        return danger.found_in(self._lines)

    def active(self, dangers: Sequence[Danger]) -> list[int]:
        """Return the indexes of the texts that hold one of these dangers: those that are not inert."""
        if not dangers:
            return []
        active: set[int] = set()
        for danger in dangers:
            suspects = set(self._suspects(danger)) - active
            active |= {index for index in suspects if danger.is_confirmed(self._texts[index])}
        return sorted(active)

    def folded(self) -> Sequence[int]:
        """Return the indexes of the texts that may have a paragraph of several lines."""
        if self._layout is None:
            return range(len(self._texts))
        return sorted({bisect_right(self._begins, place) - 1 for place in self._layout.folds.tolist()})

    def _suspects(self, danger: Danger) -> Iterator[int]:
        """Yield the indexes of the texts in which the danger's pattern is found."""
        if danger.begins_line and self._layout is not None and self._layout.suspects is not None:
            hits = (place for place in self._layout.suspects if danger.pattern.match(self._lines, place))
            yield from (bisect_right(self._begins, place) - 1 for place in hits)
            return
        place = 0
        while match := danger.pattern.search(self._lines, place):
            index = bisect_right(self._begins, match.start()) - 1
            yield index
            place = self._begins[index + 1]  # the line break before the next text


def is_inert(text: bytes, among: Iterable[Danger] = DANGERS) -> bool:
    r"""Tell whether a text holds none of the dangers.

    >>> is_inert(b"- a *list*\n- of [two](https://example.org)"), is_inert(b"1. ```python")
    (True, False)
    """
    lines = b"\n" + text
    return not any(danger.found_in(lines) and danger.is_confirmed(text) for danger in among)
