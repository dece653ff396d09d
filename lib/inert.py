"""Telling whether a text can stand in a Markdown page as it is.

A text is inert when no CommonMark or GFM reader, and no terminal, could let it act beyond itself: nothing in it opens
or closes a block that could reach the next item, defines a reference, or is markup that is not Markdown's.  The test
is conservative: what it lets through is harmless, what it stops may be harmless too.

Specification: CommonMark 0.31 (leaf blocks and container blocks), GitHub Flavored Markdown 0.29.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

# After a line break: any run of what a line may begin with before its own content (indentation, quotes, list
# markers).  The look-ahead with a back reference makes the run atomic, so that the search stays linear.
_CONTAINERS: Final = r"\n(?=((?:[ \t>]|[-+*][ \t]|[0-9]{1,9}[.)][ \t])*))\1"
_END: Final = r"[ \t\r]*(?:\n|\Z)"
_LINE: Final = re.compile(
    _CONTAINERS
    + r"(?:```|~~~"  # a fence opens or closes
    + r"|\#{1,6}(?:[ \t\r\n]|\Z)"  # a heading
    + r"|[-_*=+][-_*=+ \t]*\r?(?:\n|\Z)"  # a setext underline, a thematic break, a marker alone
    + r"|(?<=[-+*.)][ \t])" + _END  # a marker with nothing but white space: "- " underlines too
    + r"|(?<=[-+*.)][ \t][ \t])" + _END
    + r")"
)
_DEFINITION: Final = re.compile(_CONTAINERS + r"\[")
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|\r(?!\n)")
_FIRST_PRINTABLE: Final = 0x20
_LEAD_OF_C1: Final = b"\xc2"


@dataclass(frozen=True, slots=True)
class Danger:
    """One way in which a text could act beyond itself: only when all needles are in it, the pattern is searched."""

    name: str
    needles: tuple[str, ...]
    pattern: re.Pattern[str]

    def found_in(self, text: str) -> bool:
        """Tell whether the danger is in a text that begins with a line break."""
        return all(needle in text for needle in self.needles) and self.pattern.search(text) is not None


class _Control(Danger):
    """Control characters: counted at memory speed before any pattern runs."""

    __slots__ = ()

    def found_in(self, text: str) -> bool:
        """Tell whether a terminal could be driven by the text."""
        data = text.encode("utf-8", "replace")
        controls = np.count_nonzero(np.frombuffer(data, dtype=np.uint8) < _FIRST_PRINTABLE)
        layout = data.count(b"\n") + data.count(b"\t") + (data.count(b"\r\n") if b"\r" in data else 0)
        if controls == layout and b"\x7f" not in data and _LEAD_OF_C1 not in data:
            return False
        return self.pattern.search(text) is not None


DANGERS: Final[tuple[Danger, ...]] = (
    Danger("a line that opens or closes a block", ("\n",), _LINE),
    Danger("a definition", ("]", "]:"), _DEFINITION),
    Danger("raw HTML", ("<",), re.compile(r"<[A-Za-z/!?]")),
    Danger("an image", ("[", "!["), re.compile(r"!\[")),
    Danger("a block of mathematics", ("$", "$$"), re.compile(r"\$\$")),
    _Control("a control character", (), _CONTROL),
)


def dangers_in(text: str, among: Iterable[Danger] = DANGERS) -> tuple[Danger, ...]:
    """Return the dangers found in a text, or in several joined by line breaks: none spans a line break."""
    lines = "\n" + text
    return tuple(danger for danger in among if danger.found_in(lines))


def is_inert(text: str, among: Iterable[Danger] = DANGERS) -> bool:
    """Tell whether a text holds none of the dangers."""
    lines = "\n" + text
    return not any(danger.found_in(lines) for danger in among)
