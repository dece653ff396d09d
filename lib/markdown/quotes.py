"""Quotes: a mark before every line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


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
