"""Telling whether a text can stand in a Markdown page as it is.

A text is inert when no CommonMark or GFM reader, and no terminal, could let it act beyond itself: nothing in
it opens or closes a block that could reach the next item, defines a reference, or is markup that is not
Markdown's.  The test is conservative: what it lets through is harmless, what it stops may be harmless too.

Specification: CommonMark 0.31 (leaf blocks and container blocks), GitHub Flavored Markdown 0.29.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

JOINT: Final = " \n"
"""What stands between texts that are tested as one.

No danger spans it, and it hides none: a mere line break would make a CRLF of a text's last carriage return.
"""

_END: Final = r"[ \t]*\r?(?:\n|\Z)"
_CONTAINER: Final = rf">|(?:[-+*]|[0-9]{{1,9}}[.)])[ \t](?!{_END})"
# What a line may begin with before its own content: indentation, quotes, list markers.  The look-ahead with a
# back reference makes the run atomic, its bound keeps memory small: the search is linear in any text.
_RUN: Final = rf"(?=((?:[ \t]+|{_CONTAINER}){{0,100}}))\1"
_BLOCKS: Final = (
    r"```|~~~",  # a fence opens or closes
    r"#{1,6}(?:\s|\Z)",  # a heading; some readers take any space of Unicode after it
    r"[-_*=+][-_*=+ \t\r]*(?:\n|\Z)",  # a setext underline ("- " is one), a thematic break, an empty item
    rf"[ \t]*(?:{_CONTAINER})",  # nested deeper than readers agree on
)
# Patterns begin with one literal character, which `re` finds quickly; the look-ahead after it drops most
# lines.
_LINE: Final = re.compile(rf"\n(?=[ \t>0-9`~#*+_=-]){_RUN}(?:{'|'.join(_BLOCKS)})")
_DEFINITION: Final = re.compile(rf"\n(?=[ \t>0-9*+\[-]){_RUN}\*?\[")
_CONTROL_BYTES: Final = tuple(bytes((code,)) for code in (*range(0x20), 0x7F) if code not in b"\t\n\r")
_LEAD_OF_C1: Final = b"\xc2"
_C1_BYTES: Final = re.compile(b"\xc2[\x80-\x9f]")
_LONG_CHARACTERS: Final = 2000


@dataclass(frozen=True, slots=True)
class Danger:
    """One way in which a text could act beyond itself.

    ``pattern`` finds it, and is searched only when all ``needles`` are there.  A needle of one character
    costs some 12 µs a megabyte, one of two characters 800 µs: it stands after those that make it needless.
    """

    name: str
    needles: tuple[str, ...]
    pattern: re.Pattern[str]

    def found_in(self, lines: str) -> bool:
        """Tell whether the danger is in ``lines``: a text with a line break put before it."""
        for needle in self.needles:
            if needle not in lines:
                return False
        return self.pattern.search(lines) is not None


class _Control(Danger):
    """Control characters: too many for needles of text, so long texts are looked through as bytes."""

    __slots__ = ()

    def found_in(self, lines: str) -> bool:
        """Tell whether a terminal could be driven by the text."""
        if len(lines) > _LONG_CHARACTERS and not _has_control_bytes(lines.encode("utf-8", "replace")):
            return False
        return self.pattern.search(lines) is not None


def _has_control_bytes(data: bytes) -> bool:
    if any(byte in data for byte in _CONTROL_BYTES):
        return True
    return _LEAD_OF_C1 in data and _C1_BYTES.search(data) is not None


CONTROL: Final = _Control("a control character", (), re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"))
LONE_RETURN: Final = Danger("a carriage return without a newline", ("\r",), re.compile(r"\r(?!\n)"))

DANGERS: Final[tuple[Danger, ...]] = (
    Danger("a line that opens or closes a block", (), _LINE),
    Danger("a definition", ("[", "]", "]:"), _DEFINITION),
    Danger("raw HTML", ("<",), re.compile(r"<[A-Za-z/!?]")),
    Danger("an image", ("!", "["), re.compile(r"!(?=\[)")),
    Danger("a block of mathematics", ("$",), re.compile(r"\$(?=\$)")),
    # no line breaks for CommonMark, but they are for the regular expressions of readers written in JavaScript
    Danger("a line separator", ("\u2028",), re.compile("\u2028")),
    Danger("a paragraph separator", ("\u2029",), re.compile("\u2029")),
    LONE_RETURN,
    CONTROL,
)


def active_dangers(block_text: str, among: Iterable[Danger] = DANGERS) -> tuple[Danger, ...]:
    """Return the dangers in a text, or in several put together with :data:`JOINT`.

    A text of the block can hold no other danger, so that each needs to be tested for these alone.
    """
    lines = "\n" + block_text
    return tuple(danger for danger in among if danger.found_in(lines))


def is_inert(text: str, among: Iterable[Danger] = DANGERS) -> bool:
    r"""Tell whether a text holds none of the dangers.

    >>> is_inert("- a *list*\n- of [two](https://example.org)"), is_inert("1. ```python")
    (True, False)
    """
    lines = "\n" + text
    return not any(danger.found_in(lines) for danger in among)
