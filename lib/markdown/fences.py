"""Fences that no back-ticks inside can close, quotes, and pictures in the place of control characters."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from lib.markdown.blocks import RUN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# cmark, GitHub's parser, counts no more than 255 of the back-ticks that open a fence.
_FENCE_COUNTED: Final = 255
# a tab is two columns wide in a quote
_CLOSES_ANY_FENCE: Final = re.compile(
    rb"^(?=(?: {0,3}| ?\t ?)`{%d,}[ \t\r]*$)" % _FENCE_COUNTED, re.MULTILINE
)
_TICKS_AT_ONCE: Final = 1 << 16
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_LONE_RETURN: Final = re.compile(r"\r(?!\n)")
_PICTURED: Final = str.maketrans(
    {
        **{chr(code): chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n\r"},
        "\x7f": "\u2421",
        **{chr(code): "\ufffd" for code in range(0x80, 0xA0)},
    }
)


def fenced(text: bytes, language: bytes) -> bytes:
    r"""Put a text (UTF-8) into a fence of back-ticks longer than any run of them inside it.

    Only a line of nothing but 255 or more back-ticks is changed: for some readers it closes any fence, so it
    is indented by four spaces.

    >>> fenced(b"a", b"text")
    b'```text\na\n```'
    """
    return b"".join(fenced_pieces(lambda: (text,), language))


def fenced_text(text: bytes) -> bytes:
    """Put a text into a fence, and show its control characters as pictures."""
    return fenced(pictured(text.decode()).encode(), b"text")


def fenced_pieces(pieces: Callable[[], Iterable[bytes]], language: bytes) -> Iterator[bytes]:
    """Yield a text in a fence, as :func:`fenced` does; ``pieces`` returns it, cut at line breaks, twice."""
    longest = max(2, _longest_run_of(pieces()))
    yield from _ticks(longest + 1)
    yield b"%b\n" % language
    for piece in pieces():
        yield _CLOSES_ANY_FENCE.sub(b"    ", piece) if longest >= _FENCE_COUNTED else piece
    yield b"\n"
    yield from _ticks(longest + 1)


def _ticks(count: int) -> Iterator[bytes]:
    for start in range(0, count, _TICKS_AT_ONCE):
        yield b"`" * min(_TICKS_AT_ONCE, count - start)


def longest_run(text: bytes) -> int:
    """Return the length of the longest run of back-ticks."""
    return max(map(len, RUN.findall(text)), default=0) if b"`" in text else 0


def _longest_run_of(parts: Iterable[bytes]) -> int:
    """Return the same for a text that comes in parts."""
    longest = running = 0
    for part in parts:
        begin, end = len(part) - len(part.lstrip(b"`")), len(part) - len(part.rstrip(b"`"))
        longest = max(longest, running + begin, longest_run(part))
        running = running + begin if begin == len(part) else end
    return longest


def pictured(text: str) -> str:
    """Replace control characters by their pictures, so that no terminal obeys them.

    Newline, tab and the carriage return of a CRLF stay; C1 controls, which have no pictures, become U+FFFD.
    """
    text = _LONE_RETURN.sub("\u240d", text)
    return text.translate(_PICTURED) if _CONTROL.search(text) else text


def in_quote(text: bytes) -> bytes:
    r"""Put a quote's mark before every line.

    >>> in_quote(b"a\n\nb")
    b'> a\n>\n> b'
    """
    return b"".join(quote_pieces([text]))


def quote_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Do what :func:`in_quote` does with a text that comes in pieces."""
    held = b"\n"  # a last line break waits until it is known whether an empty line follows
    begin = 1
    for piece in pieces:
        text = held + piece
        held = b"\n" if text.endswith(b"\n") else b"\n\r" if text.endswith(b"\n\r") else b""
        marked = text.replace(b"\n", b"\n> ")
        for end in (b"\n", b"\r\n") if b"\r" in text else (b"\n",):
            for _ in range(2):  # an empty line shares its line breaks with the next one
                marked = marked.replace(b"\n> " + end, b"\n>" + end)
        if shown := marked[begin : len(marked) - len(held) - 2 * bool(held)]:
            yield shown
            begin = 0
    if held:
        yield (b"\n>" + held[1:])[begin:]
