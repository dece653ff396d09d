"""The mark of a quote before every line, whether a text comes whole or in pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lib.markdown.fences import in_quote, quote_pieces


@given(st.lists(st.text("a\r\n ", max_size=6), max_size=6))
def test_a_text_is_put_in_a_quote_however_it_is_cut(pieces: list[str]) -> None:
    """Empty lines have a bare mark, where a piece ends as well."""
    data = [piece.encode() for piece in pieces]
    lines = b"".join(data).split(b"\n")
    expected = b"\n".join(b">" + line if line in {b"", b"\r"} else b"> " + line for line in lines)
    assert b"".join(quote_pieces(data)) == in_quote(b"".join(data))
    assert in_quote(b"".join(data)) == expected
