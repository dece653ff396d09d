"""Telling whether a text can stand in a Markdown page as it is.

A text is inert when no CommonMark or GFM reader, and no terminal, could let it act beyond itself: nothing in it opens
or closes a block that could reach the next item, defines a reference, or is markup that is not Markdown's.  The test
is conservative: what it lets through is harmless, what it stops may be harmless too.

Specification: CommonMark 0.31 (leaf blocks and container blocks), GitHub Flavored Markdown 0.29.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

# After a line break: any run of what a line may begin with before its own content (indentation, quotes, list
# markers).  The look-ahead with a back reference makes the run atomic, so that the search stays linear.
_CONTAINERS: Final = rb"\n(?=((?:[ \t>]|[-+*][ \t]|[0-9]{1,9}[.)][ \t])*))\1"
_END: Final = rb"[ \t\r]*(?:\n|\Z)"
_LINE: Final = re.compile(
    _CONTAINERS
    + rb"(?:```|~~~"  # a fence opens or closes
    + rb"|\#{1,6}(?:[ \t\r\n]|\Z)"  # a heading
    + rb"|[-_*=+][-_*=+ \t]*\r?(?:\n|\Z)"  # a setext underline, a thematic break, a marker alone
    + rb"|(?<=[-+*.)][ \t])"
    + _END  # a marker with nothing but white space: "- " underlines too
    + rb"|(?<=[-+*.)][ \t][ \t])"
    + _END
    + rb")"
)
_DEFINITION: Final = re.compile(_CONTAINERS + rb"\[")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]|\r(?!\n)")
_FIRST_PRINTABLE: Final = 0x20
_NEWLINE: Final = 0x0A
_DELETE: Final = b"\x7f"
_LEAD_OF_C1: Final = b"\xc2"


@dataclass(frozen=True, slots=True)
class Danger:
    """One way in which a text could act beyond itself: its pattern is searched when its needles are there."""

    name: str
    needles: tuple[bytes, ...]
    pattern: re.Pattern[bytes]

    def found_in(self, lines: bytes) -> bool:
        """Tell whether the danger is in text that begins with a line break."""
        return all(needle in lines for needle in self.needles) and self.pattern.search(lines) is not None


class _Control(Danger):
    """Control characters, counted at memory speed before the pattern runs."""

    __slots__ = ()

    def found_in(self, lines: bytes) -> bool:
        """Tell whether a terminal could be driven by the text."""
        codes = np.frombuffer(lines, dtype=np.uint8)
        low = np.count_nonzero(codes < _FIRST_PRINTABLE)
        layout = np.count_nonzero(codes == _NEWLINE) + (lines.count(b"\t") if b"\t" in lines else 0)
        if low == layout and _DELETE not in lines and _LEAD_OF_C1 not in lines:
            return False
        return self.pattern.search(lines) is not None


DANGERS: Final[tuple[Danger, ...]] = (
    Danger("a line that opens or closes a block", (), _LINE),
    Danger("a definition", (b"]", b"]:"), _DEFINITION),
    Danger("raw HTML", (b"<",), re.compile(rb"<[A-Za-z/!?]")),
    Danger("an image", (b"[", b"!["), re.compile(rb"!\[")),
    Danger("a block of mathematics", (b"$", b"$$"), re.compile(rb"\$\$")),
    _Control("a control character", (), _CONTROL),
)


def dangers_in(text: bytes, among: tuple[Danger, ...] = DANGERS) -> tuple[Danger, ...]:
    """Return the dangers found in UTF-8 text, or in several texts joined by line breaks: none spans a join."""
    lines = b"\n" + text
    return tuple(danger for danger in among if danger.found_in(lines))


def is_inert(text: bytes, among: tuple[Danger, ...] = DANGERS) -> bool:
    """Tell whether UTF-8 text holds none of the dangers."""
    return not dangers_in(text, among)
