"""Texts that stay encoded: the same as decoded ones, piece by piece."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.encoded_text import EncodedText, characters_in, decoded, hash_of, is_blank, pieces_of, utf8

ANY_TEXT = st.text(st.characters(codec=None), max_size=30)


@given(text=ANY_TEXT, size=st.integers(1, 9))
def test_pieces_are_together_the_text(text: str, size: int) -> None:
    """Decoded or not; no character is cut."""
    kept = EncodedText(utf8(text))
    assert "".join(pieces_of(text, size)) == "".join(pieces_of(kept, max(size, 4))) == text
    assert decoded(kept) == decoded(text) == text
    assert (characters_in(kept), is_blank(kept), hash_of(kept)) == (len(text), not text.strip(), hash(text))


@given(data=st.binary(max_size=30), size=st.integers(4, 9))
def test_bytes_are_utf8_or_latin_1(data: bytes, size: int) -> None:
    """Whichever can be read; Latin-1 always can."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    assert "".join(pieces_of(data, size)) == decoded(data) == text
    assert utf8(data) == text.encode()
    assert characters_in(data) == len(text)


def test_what_is_not_utf8_is_an_error() -> None:
    """When its pieces are read."""
    with pytest.raises(UnicodeDecodeError):
        list(pieces_of(EncodedText(b"a\xff")))
