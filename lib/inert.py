"""Telling whether a text can stand in a Markdown page as it is.

A text is inert when no CommonMark or GFM reader, and no terminal, could let it act beyond itself: nothing in
it opens or closes a block that could reach the next item, defines a reference, or is markup that is not
Markdown's.  The test is conservative: what it lets through is harmless, what it stops may be harmless too.

Texts are tested as the UTF-8 that stands in the page.

Specification: CommonMark 0.31 (leaf blocks and container blocks), GitHub Flavored Markdown 0.29.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

JOINT: Final = b" \n"
"""What stands between texts that are tested as one.

No danger spans it, and it hides none: a mere line break would make a CRLF of a text's last carriage return.
"""

_END: Final = rb"[ \t]*\r?(?:\n|\Z)"
_CONTAINER: Final = rb">|(?:[-+*]|[0-9]{1,9}[.)])[ \t](?!%b)" % _END
# What a line may begin with before its own content: indentation, quotes, list markers.  The look-ahead with a
# back reference makes the run atomic, its bound keeps memory small: the search is linear in any text.
_RUN: Final = rb"(?=((?:[ \t]+|%b){0,100}))\1" % _CONTAINER
_SPACES: Final = (
    rb"[\t-\r\x1c-\x20]|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80"
)
_BLOCKS: Final = (
    rb"```|~~~",  # a fence opens or closes
    rb"#{1,6}(?:%b|\Z)" % _SPACES,  # a heading; some readers take any space of Unicode after it
    rb"[-_*=+][-_*=+ \t\r]*(?:\n|\Z)",  # a setext underline ("- " is one), a thematic break, an empty item
    rb"[ \t]*(?:%b)" % _CONTAINER,  # nested deeper than readers agree on
)
# Patterns begin with one literal character, which `re` finds quickly; the look-ahead after it drops most
# lines.
_LINE: Final = re.compile(rb"\n(?=[ \t]*[>0-9`~#*+_=-])%b(?:%b)" % (_RUN, b"|".join(_BLOCKS)))
_LINE_BEGINS: Final = b" \t>0123456789`~#*+_=-"
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
    some 15 µs a megabyte, one of two 800 µs: it stands after those that make it needless.
    """

    name: str
    needles: tuple[bytes, ...]
    pattern: re.Pattern[bytes]

    def found_in(self, lines: bytes) -> bool:
        """Tell whether the danger is in ``lines``: a text with a line break put before it."""
        for needle in self.needles:
            if needle not in lines:
                return False
        return self.pattern.search(lines) is not None


LINE: Final = Danger("a line that opens or closes a block", (), _LINE)
CONTROL: Final = Danger("a control character", (), _CONTROLS)
LONE_RETURN: Final = Danger("a carriage return without a newline", (b"\r",), re.compile(rb"\r(?!\n)"))

DANGERS: Final[tuple[Danger, ...]] = (
    LINE,
    Danger("a definition", (b"[", b"]", b"]:"), _DEFINITION),
    Danger("raw HTML", (b"<",), re.compile(rb"<[A-Za-z/!?]")),
    Danger("an image", (b"!", b"["), re.compile(rb"!(?=\[)")),
    Danger("a block of mathematics", (b"$",), re.compile(rb"\$(?=\$)")),
    # no line breaks for CommonMark, but they are for the regular expressions of readers written in JavaScript
    Danger("a line separator", (b"\xe2", b"\xa8"), re.compile(rb"\xe2(?=\x80\xa8)")),
    Danger("a paragraph separator", (b"\xe2", b"\xa9"), re.compile(rb"\xe2(?=\x80\xa9)")),
    LONE_RETURN,
    CONTROL,
)


class _Layout:
    """What numpy sees of a block at a glance: its control characters, and how its lines begin."""

    def __init__(self, lines: bytes) -> None:
        # numpy is slow to import, and needed only where there is something to render
        import numpy as np

        codes = np.frombuffer(lines + b"\n", dtype=np.uint8)
        low = np.flatnonzero(codes < 0x20)
        breaks = low[codes[low] == 0x0A][:-1]
        begins = np.zeros(256, dtype=bool)
        begins[list(_LINE_BEGINS)] = True
        self._lines = lines
        self._low = codes[low].tobytes()
        self._suspects: list[int] = breaks[begins[codes[breaks + 1]]].tolist()

    def may_hold(self, danger: Danger) -> bool:
        """Tell whether a search for the danger is worth its time."""
        if danger is LINE:
            return len(self._suspects) * _FEW > len(self._lines) or self._line_found()
        if danger is CONTROL:
            return (
                bool(self._low.translate(None, _LAYOUT)) or b"\x7f" in self._lines or b"\xc2" in self._lines
            )
        return True

    def _line_found(self) -> bool:
        return any(_LINE.match(self._lines, place) for place in self._suspects)


def active_dangers(block: bytes, among: Iterable[Danger] = DANGERS) -> tuple[Danger, ...]:
    """Return the dangers in a text, or in several put together with :data:`JOINT`.

    A text of the block can hold no other danger, so that each needs to be tested for these alone.
    """
    lines = b"\n" + block
    if len(block) <= _SEEN_AT_ONCE:
        layout = _Layout(lines)
        among = [danger for danger in among if layout.may_hold(danger)]
    return tuple(danger for danger in among if danger.found_in(lines))


def is_inert(text: bytes, among: Iterable[Danger] = DANGERS) -> bool:
    r"""Tell whether a text holds none of the dangers.

    >>> is_inert(b"- a *list*\n- of [two](https://example.org)"), is_inert(b"1. ```python")
    (True, False)
    """
    lines = b"\n" + text
    return not any(danger.found_in(lines) for danger in among)
