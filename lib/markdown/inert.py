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

from lib.markdown.blocks import is_nested_too_deep

if TYPE_CHECKING:
    from collections.abc import Callable

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
_DEFINITION: Final = re.compile(rb"\n(?=[ \t]*[>0-9*+\[-])%b\*?\[" % _RUN)
# a quote or list item that may stand in four others, each of which takes a mark, a tab or two spaces
_MAY_BE_DEEP: Final = re.compile(
    rb"\n(?=[ \t>0-9.)*+-]{5})(?:(?:[ ]|%b)?\t|  |[ ]?(?:%b)){4,100}[ ]?(?:%b)" % ((_CONTAINER,) * 3)
)
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\xc2](?:(?<!\xc2)|(?<=\xc2)[\x80-\x9f])")


@dataclass(frozen=True, slots=True)
class Danger:
    """One way in which a text could act beyond itself.

    ``pattern`` finds it in a text with a line break put before it, and is searched only when ``needle`` is
    there.  Where the pattern only raises a suspicion, ``confirm`` decides about the text.
    """

    name: str
    needle: bytes
    pattern: re.Pattern[bytes]
    confirm: Callable[[bytes], bool] | None = None

    def found_in(self, text: bytes) -> bool:
        """Tell whether a text holds the danger."""
        if self.needle not in text or self.pattern.search(b"\n" + text) is None:
            return False
        return self.confirm is None or self.confirm(text)


LINE: Final = Danger("a line that opens or closes a block", b"", _LINE)
DEFINITION: Final = Danger("a definition", b"]:", _DEFINITION)
TOO_DEEP: Final = Danger("containers nested too deep", b"", _MAY_BE_DEEP, is_nested_too_deep)
CONTROLS: Final = (
    Danger("a control character", b"", _CONTROLS),
    Danger("a carriage return without a newline", b"\r", re.compile(rb"\r(?!\n)")),
    # no line break for CommonMark, but they are for the regular expressions of readers written in JavaScript
    Danger("a line or paragraph separator", b"\xe2\x80", re.compile(rb"\xe2(?=\x80[\xa8\xa9])")),
)
DANGERS: Final[tuple[Danger, ...]] = (
    LINE,
    DEFINITION,
    Danger("raw HTML", b"<", re.compile(rb"<[A-Za-z/!?]")),
    # in the text of a link, marked takes a backslash before a bracket away
    Danger("an image", b"!", re.compile(rb"!\\?\[")),
    Danger("a block of mathematics", b"$$", re.compile(rb"\$\$")),
    TOO_DEEP,
    *CONTROLS,
)


def is_inert(text: bytes) -> bool:
    r"""Tell whether a text holds none of the dangers.

    >>> is_inert(b"- a *list*\n- of [two](https://example.org)"), is_inert(b"1. ```python")
    (True, False)
    """
    return not any(danger.found_in(text) for danger in DANGERS)
