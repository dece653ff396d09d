"""Ordinary Markdown, in which the blocks are easy to tell: the quick way for most texts, many at a time.

Texts are cut at their code fences.  The prose between them, of all texts together, is searched for what is
not so easy; elsewhere each line tells by itself whether it goes on with the line before it.  What is
not so easy is left to :mod:`lib.markdown.blocks`; both ways give the same.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from lib.markdown.blocks import is_table
from lib.markdown.escapes import ACTS_IN_CODE, ADDRESS_BEFORE, DANGER, backslash_prose, may_hold_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_FENCE: Final = b"```"
_INFO: Final = re.compile(rb"[A-Za-z0-9_+#.-]*(?:\n|\Z)")
_JOINT: Final = b"\n\n\0\n\n"
"""What stands between pieces of prose, which hold no control characters."""
_MARK: Final = b"\1"
"""What stands, for a while, before a line that goes on with no paragraph."""

_WORDS: Final = (
    rb"(?:(?:\*\*?|`)?[A-Za-z\"'(\[\\$<&%.,;@/{}?\x80-\xff]"
    rb"|[0-9]+(?:\.[0-9]|(?=[^0-9.)\n])))"  # a number that begins no item
)
_ITEM: Final = rb"(?: {0,3}[-*+]|[0-9]{1,3}[.)]) %b" % _WORDS
_HEADING: Final = rb"\#{1,6} [^\n]*"
_FOLD: Final = re.compile(rb"\n(?![\n\0])(?<!\n\n)(?<!  \n)(?= *%b)" % _WORDS)
_ABOVE_TEXT: Final = re.compile(rb"#(?<=\n#)\#{0,5} [^\n]*\n(?=[^\n])")
_HARD: Final = (
    (b"\t", re.compile(rb"\t")),
    (b"\r", re.compile(rb"\r")),
    (b"~", re.compile(rb"~(?=~~)")),
    (b"`", re.compile(rb"`(?=`)")),
    (b"\\", re.compile(rb"\\(?=[\n`])")),
)
_HARD_LINE: Final = re.compile(
    # a line next to another, of which the beginning does not tell what it is
    rb"\n(?![A-Za-z\n\0|])(?:(?! *%b|%b|%b|\Z)(?:(?<=[^\n]\n)|[^\n]*\n(?=[^\n]))"
    # several lines that may be code
    rb"|(?=    )(?<=\n\n)[^\n]*\n(?=[^\n])|(?=\#)%b\n(?=    ))" % (_WORDS, _ITEM, _HEADING, _HEADING)
)
_LATER_NUMBER: Final = re.compile(rb"\n(?!1[.)])[0-9]{1,3}[.)] ")
# such a number after the lines of a paragraph, where it begins no item; or a paragraph of very many lines
_HARD_NUMBER: Final = re.compile(
    rb"\n(?:(?<=\n\n)|%b\n)(?:%b{1,49}(?!1[.)])[0-9]{1,3}[.)] |%b{50})"
    % (_HEADING, *(rb"(?: *%b[^\n]*\n)" % _WORDS,) * 2)
)
_MAY_BE_CODE: Final = re.compile(rb"\n(?<=\n\n) ")
_ACTS_IN_WORD: Final = re.compile(rb"`(?<=[^\s]`)" + ACTS_IN_CODE.pattern[1:])
_NOT_BESIDE_CODE: Final = (b"|", b"~", b"](")
"""What some readers look for before code."""
_DEFINITION: Final = re.compile(rb"\]:")


def with_breaks(texts: Sequence[bytes], *, escape: bool = False) -> list[bytes | None]:
    r"""Return texts with line breaks in their paragraphs; None for each where those are not easy to tell.

    The texts hold no control characters.  With ``escape``, what would act beyond a quote is escaped.

    >>> with_breaks([b"A. eyes\nB. fur\n\n- a brain\n- a heart", b"> deeper\n> quotes"])
    [b'A. eyes  \nB. fur\n\n- a brain\n- a heart', None]
    """
    if not texts:
        return []
    cut = [text.split(_FENCE) for text in texts]
    prose = [part for parts in cut for part in parts[::2]]
    joined = b"\n\n%b\n\n" % _JOINT.join(prose)
    hard = _hard_pieces(prose, joined, escape=escape)
    if b"\n#" in joined:
        joined = _ABOVE_TEXT.sub(rb"\g<0>" + _MARK, joined)
    shown = _FOLD.sub(b"  \n", joined).replace(_MARK, b"")
    pieces: list[bytes | None] = [*(backslash_prose(shown) if escape else shown)[2:-2].split(_JOINT)]
    for index in hard:
        pieces[index] = None
    has_fences = any(len(parts) > 1 for parts in cut)
    return list(map(_put_together, cut, _shared_out(pieces, cut))) if has_fences else pieces


def _hard_pieces(prose: Sequence[bytes], joined: bytes, *, escape: bool) -> set[int]:
    """Return the indexes of the pieces of prose that are not so easy."""
    begins = list(accumulate(map(len(_JOINT).__add__, map(len, prose)), initial=1))

    def holding(pattern: re.Pattern[bytes]) -> Iterator[int]:
        place = 0
        while found := pattern.search(joined, place):
            index = bisect_right(begins, found.start()) - 1
            yield index
            place = begins[index + 1]

    hard = set(holding(_HARD_LINE))
    hard.update(index for sign, pattern in _HARD if sign in joined for index in holding(pattern))
    if _LATER_NUMBER.search(joined):
        hard.update(holding(_HARD_NUMBER))
    for sign, is_hard in ((b"|", _has_odd_bars), (b"`", _has_odd_ticks)):
        if sign in joined:
            hard |= {index for index, piece in enumerate(prose) if sign in piece and is_hard(piece)}
    if escape:
        hard.update(holding(_DEFINITION))
        if acting := set(holding(DANGER)):
            hard |= acting.intersection(holding(_MAY_BE_CODE))
            hard.update(holding(ADDRESS_BEFORE) if may_hold_address(joined) else ())
            coded = set(holding(ACTS_IN_CODE)) if b"`" in joined else ()
            hard.update(index for index in coded if any(sign in prose[index] for sign in _NOT_BESIDE_CODE))
            hard.update(holding(_ACTS_IN_WORD) if coded else ())
    return hard


def _has_odd_bars(piece: bytes) -> bool:
    """Tell whether there are bars among several lines that are not a whole table."""
    for chunk in piece.split(b"\n\n"):
        lines = chunk.strip(b"\n")
        if b"|" in lines and b"\n" in lines and not (lines[:1] == b"|" and is_table(lines.split(b"\n"))):
            return True
    return False


def _has_odd_ticks(piece: bytes) -> bool:
    """Tell whether a code span may go on from one line to the next."""
    return any(line.count(b"`") % 2 for line in piece.split(b"\n"))


def _shared_out(
    pieces: Sequence[bytes | None], cut: Iterable[list[bytes]]
) -> Iterator[Sequence[bytes | None]]:
    """Yield the pieces of each text's prose."""
    end = 0
    for parts in cut:
        start, end = end, end + (len(parts) + 1) // 2
        yield pieces[start:end]


def _put_together(parts: list[bytes], prose: Sequence[bytes | None]) -> bytes | None:
    """Return a text made of its new prose and its code; None if not all of it is so easy."""
    if None in prose or not _fences_stand_alone(parts):
        return None
    parts[::2] = prose  # type: ignore[assignment]
    return _FENCE.join(parts)


def _fences_stand_alone(parts: Sequence[bytes]) -> bool:
    """Tell whether the fences between prose and code, in turn, stand on lines of their own."""
    if len(parts) == 1:
        return True
    return (
        parts[0][-1:] in {b"", b"\n"}
        and all(part[-1:] == b"\n" for part in parts[1:-1])
        and all(part[:1] == b"\n" for part in parts[2:-1:2])
        and (len(parts) % 2 == 0 or parts[-1][:1] in {b"", b"\n"})
        and all(map(_INFO.match, parts[1::2]))
    )
