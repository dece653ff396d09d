"""Markdown that no text can break: a page's header, and one section an item.  Values in, bytes out.

The format is this project's own; what an inert text is, :mod:`lib.markdown.inert` says.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from lib.json_writer import dumps, dumps_numbers, encoded, pieces
from lib.markdown.chat import is_chat, rest_of, texts_of
from lib.markdown.inert import CONTROL, DANGERS, LONE_RETURN, UNQUOTABLE, Block, Danger, is_inert
from lib.markdown.quoted import in_quote, lines_kept, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lib.names import Kind
    from lib.options import Style

_TITLES: Final[dict[Kind, str]] = {
    "completions": "# Completions Only",
    "full_texts": "# Full Texts (Prompt + Completion)",
}
_HEADINGS: Final[dict[Kind, str]] = {"completions": "## Completion", "full_texts": "## Generation"}
_LOOKED_FOR: Final[dict[Style, tuple[Danger, ...]]] = {
    "auto": DANGERS,
    "fenced": (LONE_RETURN, CONTROL),
    "plain": (),
}
_NUMBERS: Final = frozenset({int, float, bool, type(None)})
_NUMBER: Final = b"```json\n%b\n```"
_BLANK: Final = b"*(blank)*"
_UNKNOWN: Final = "unknown"
_VALUE_CHARACTERS: Final = 1000
# The header's lines are one paragraph: only markup that pairs up with more than its own line, hides what it
# says or loads something does harm.  Two lone stars, or the underscores of a name, are emphasis at worst.
_ACTIVE_VALUE: Final = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029`$]"  # not one line; code; mathematics
    r"|<[A-Za-z/!?]|!\[|\]\(|\*\*"  # raw HTML, an image, a link, strong emphasis as the labels have
    r"|(?<![0-9A-Za-z])__|__(?![0-9A-Za-z])"  # the same with underscores, unless within a word
    r"|\\(?![0-9A-Za-z])"  # an escape, which would hide itself, or a hard line break
)
_TICKS: Final = re.compile(b"``*")  # `re` finds a first character more quickly than a repeated one
# cmark, GitHub's parser, counts the back-ticks that open a fence to 255 and no further, and knows no code
# span of more than 80.
_FENCE_COUNTED: Final = 255
_CLOSES_ANY_FENCE: Final = re.compile(rb"^(?= {0,3}`{%d,}[ \t\r]*$)" % _FENCE_COUNTED, re.MULTILINE)
LONG_TEXT_CHARACTERS: Final = 1 << 22
_CUT_CHARACTERS: Final = 1 << 18
_TOO_MANY_TICKS: Final = re.compile("`{20,}")
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_WORDS: Final = re.compile(r"\w(?:.*\w)?")
_LONE_RETURN: Final = re.compile(r"\r(?!\n)")
_REPLACEMENT: Final = "\ufffd"
_PICTURES: Final[dict[str, str]] = {
    **{chr(code): chr(0x2400 + code) for code in range(0x20)},
    "\x7f": "\u2421",
    **{chr(code): _REPLACEMENT for code in range(0x80, 0xA0)},
}
_PICTURED: Final = str.maketrans(
    {char: picture for char, picture in _PICTURES.items() if char not in "\t\n\r"}
)


def header(
    kind: Kind, metadata: Mapping[str, Any] | None, count: int, shown: int, more: Sequence[str] = ()
) -> bytes:
    """Return everything above the first item.

    ``metadata`` is the set's, None when it has none; ``count`` is the number of items in the source,
    ``shown`` how many of them the page has; ``more`` are lines that follow.
    """
    known: Mapping[str, Any] = metadata or {}
    cut = f"{shown} (showing first {shown} of {count})"
    lines = (
        _TITLES[kind],
        "",
        f"**Model:** {header_value(known.get('model_name'))}",
        f"**Generated:** {header_value(known.get('timestamp'))}",
        f"**Count:** {cut if shown < count else count}",
        *more,
        "",
        "---",
        "\n",
    )
    return encoded("\n".join(lines))


def items(
    kind: Kind,
    values: Sequence[Any],
    first_number: int,
    *,
    style: Style = "auto",
    all_text: bool,
) -> bytes:
    """Return the sections of some items; the page is the same however its items are cut into blocks.

    ``all_text`` promises that each is a ``str``.

    :raises Corrupt: an item cannot be said in JSON.
    """
    return sections(kind, bodies(values, style, all_text=all_text), first_number)


def bodies(values: Sequence[Any], style: Style, *, all_text: bool) -> Sequence[bytes]:
    """Return what is shown of each item; see :func:`items`."""
    if all_text:
        return _texts(values, style)
    kinds = list(map(type, values))
    texts = [value for value, kind in zip(values, kinds, strict=True) if kind is str]
    numbers = [value for value, kind in zip(values, kinds, strict=True) if kind in _NUMBERS]
    shown_texts, shown_numbers = iter(_texts(texts, style)), iter(dumps_numbers(numbers))
    return [
        next(shown_texts)
        if kind is str
        else _NUMBER % next(shown_numbers).encode()
        if kind in _NUMBERS
        else _body(value, style)
        for value, kind in zip(values, kinds, strict=True)
    ]


def sections(kind: Kind, shown: Sequence[bytes], first_number: int) -> bytes:
    """Return heading, what is shown and rule of each item in turn, formatted in one go."""
    section = f"{_HEADINGS[kind]} %d\n\n%b\n\n---\n\n".encode()
    fields: list[int | bytes] = [0] * (2 * len(shown))
    fields[0::2] = range(first_number, first_number + len(shown))
    fields[1::2] = shown
    return (section * len(shown)) % tuple(fields)


def _texts(texts: Sequence[str], style: Style) -> Sequence[bytes]:
    """Return what is shown of each text; all are looked at together before any is by itself."""
    shown = _utf8(texts)
    if style == "plain":
        return shown
    block = Block(shown)
    dangers = block.dangers(_LOOKED_FOR[style])
    if style == "auto":
        _show_each_safely(shown, block, dangers)
        return _with_blank_ones(texts, shown)
    drives = CONTROL in dangers or LONE_RETURN in dangers
    return [_fenced_text(text, pictures=drives) for text in shown]


def _show_each_safely(shown: list[bytes], block: Block, dangers: Sequence[Danger]) -> None:
    """Show each text of a block in the first way that is safe for it."""
    unquotable = tuple(danger for danger in dangers if danger in UNQUOTABLE)
    active, unsafe = block.active(dangers), set(block.active(unquotable))
    folded = sorted(set(block.folded()).difference(active))
    for index, kept in zip(folded, lines_kept([shown[index] for index in folded]), strict=True):
        shown[index] = kept
    quotable = [index for index in active if index not in unsafe]
    quotes = dict(zip(quotable, quoted([shown[index] for index in quotable]), strict=True))
    for index in active:
        quote = quotes.get(index)
        shown[index] = _fenced_text(shown[index], pictures=bool(unquotable)) if quote is None else quote


def _with_blank_ones(texts: Sequence[str], shown: list[bytes]) -> list[bytes]:
    if "" in texts or any(map(str.isspace, texts)):
        return [_BLANK if not text or text.isspace() else way for text, way in zip(texts, shown, strict=True)]
    return shown


def _fenced_text(text: bytes, *, pictures: bool) -> bytes:
    return fenced(pictured(text.decode()).encode() if pictures else text, b"text")


def _utf8(texts: Sequence[str]) -> list[bytes]:
    try:
        return list(map(str.encode, texts))
    except UnicodeEncodeError:
        return list(map(encoded, texts))


def _body(value: Any, style: Style) -> bytes:
    if style != "plain" and is_chat(value):
        return b"\n\n".join([_message(message, style) for message in value])
    return _json(value, pictures=style != "plain")


def _json(value: Any, *, pictures: bool = True) -> bytes:
    written = dumps(value)
    return fenced(encoded(pictured(written) if pictures else written), b"json")


def json_pieces(value: Any, style: Style) -> Iterator[bytes]:
    """Yield what is shown of an item that is neither text nor chat, in pieces of limited size."""

    def written() -> Iterator[bytes]:
        return (encoded(piece if style == "plain" else pictured(piece)) for piece in pieces(value))

    fence = b"`" * (max(2, _longest_run_of(written())) + 1)
    yield fence + b"json\n"
    yield from written()
    yield b"\n" + fence


def long_text_pieces(text: str, style: Style, size: int = _CUT_CHARACTERS) -> Iterator[bytes]:
    """Yield what is shown of a text of many megabytes, in pieces of about ``size`` characters.

    It stands as it is where each piece is inert, else in a fence; its lines are not looked at one by one.
    """
    if style == "plain" or (style == "auto" and _is_harmless(_cuts(text, size))):
        yield from map(encoded, _cuts(text, size))
        return

    def written() -> Iterator[bytes]:
        return (encoded(pictured(piece)) for piece in _cuts(text, size))

    longest = max(2, _longest_run_of(written()))
    fence = b"`" * (longest + 1)
    yield fence + b"text\n"
    for piece in written():
        yield _CLOSES_ANY_FENCE.sub(b"    ", piece) if longest >= _FENCE_COUNTED else piece
    yield b"\n" + fence


def _is_harmless(pieces: Iterable[str]) -> bool:
    """Tell whether each piece of a text is inert, whatever stands in the others, and no danger spans two."""
    is_cut_well = True
    for piece in pieces:
        lines = b"\n" + encoded(piece)
        if not is_cut_well or any(danger.pattern.search(lines) for danger in DANGERS):
            return False
        is_cut_well = piece.endswith(("\n", " "))
    return True


def _cuts(text: str, size: int) -> Iterator[str]:
    """Cut a text behind a line break, in a very long line behind a space, else anywhere."""
    start = 0
    while start < len(text):
        stop = start + size
        if stop < len(text):
            stop = (text.rfind("\n", start, stop) + 1) or (text.rfind(" ", start, stop) + 1) or stop
            stop += text[stop - 1] == "\r"
        yield text[start:stop]
        start = stop


def _message(message: Mapping[str, Any], style: Style) -> bytes:
    """Return a message's role, and in quotes its content and whatever else it has."""
    shown = [encoded(f"**{_role(message['role'])}**")]
    shown += [_quoted_text(text, style) for text in texts_of(message["content"])]
    if rest := rest_of(message):
        shown.append(in_quote(_json(rest)))
    return b"\n\n".join(shown)


def _role(role: str) -> str:
    """Show a role so that it can stand in bold: stars around a star would be a rule."""
    value = header_value(role)
    return value if value.startswith("`") or _WORDS.fullmatch(value) else f"`{value}`"


def _quoted_text(text: str, style: Style) -> bytes:
    """Show a text in a quote: as Markdown if a quote contains what it does, else in a fence."""
    if style == "auto" and (not text or text.isspace()):
        return in_quote(_BLANK)
    data = encoded(text)
    if style == "auto" and is_inert(data, UNQUOTABLE):
        (quote,) = quoted([data])
        if quote is not None:
            return quote
    return in_quote(_fenced_text(data, pictures=True))


def fenced(text: bytes, language: bytes) -> bytes:
    r"""Put a text (UTF-8) into a fence of back-ticks longer than any run of them inside it.

    Only a line of 255 and more back-ticks and nothing else is changed: no fence keeps it in for every reader,
    so it is indented by four spaces.

    >>> fenced(b"a", b"text")
    b'```text\na\n```'
    """
    longest = max(2, _longest_run(text))
    fence = b"`" * (longest + 1)
    if longest >= _FENCE_COUNTED:
        text = _CLOSES_ANY_FENCE.sub(b"    ", text)
    return b"%b%b\n%b\n%b" % (fence, language, text, fence)


def fenced_text(text: str) -> bytes:
    """Put any text into a fence, its controls pictured."""
    return fenced(encoded(pictured(text)), b"text")


def _longest_run(text: bytes) -> int:
    return max(map(len, _TICKS.findall(text)), default=0) if b"`" in text else 0


def _longest_run_of(parts: Iterable[bytes]) -> int:
    """Return the longest run of back-ticks in a text that comes in parts."""
    longest = running = 0
    for part in parts:
        begin, end = len(part) - len(part.lstrip(b"`")), len(part) - len(part.rstrip(b"`"))
        longest = max(longest, running + begin, _longest_run(part))
        running = running + begin if begin == len(part) else end
    return longest


def pictured(text: str) -> str:
    """Show control characters as their pictures, so that a terminal only shows them.

    Newline, tab and the carriage return of a CRLF stay; C1 controls, which have no pictures, become U+FFFD.
    """
    text = _LONE_RETURN.sub(_PICTURES["\r"], text)
    return text.translate(_PICTURED) if _CONTROL.search(text) else text


def header_value(value: Any) -> str:
    """Show a value from the metadata on one line, harmless; ``unknown`` when there is nothing to see.

    A plain one-line text stays as it is, with the spaces around it; anything else is put into a code span,
    cut after 1000 characters.
    """
    text = value if isinstance(value, str) else _one_line_json(value)
    line = text.strip()
    if not line:
        return _UNKNOWN
    for plain in (text, line):
        if len(plain) <= _VALUE_CHARACTERS and not _ACTIVE_VALUE.search(plain):
            return plain
    line = _TOO_MANY_TICKS.sub("```…", " ".join(pictured(line).split()))
    if len(line) > _VALUE_CHARACTERS:
        line = line[:_VALUE_CHARACTERS] + "…"
    ticks = "`" * (_longest_run(encoded(line)) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"


def _one_line_json(value: Any) -> str:
    """Write a value from the metadata for eyes; a page is not refused for what its header cannot say."""
    if value is None:
        return ""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, TypeError, RecursionError):
        return ""
