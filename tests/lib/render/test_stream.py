"""The pass over the items: blocks that are neither long nor short, whatever comes in."""

from __future__ import annotations

import pytest

from lib.render.stream import pieces_of


@pytest.mark.parametrize("length", [0, 1, 100_000])
def test_no_block_is_long_however_short_its_texts(length: int) -> None:
    """Work can be stopped between two blocks, and memory holds one: empty texts count as well."""
    blocks = [["x" * length] * 1000] * (1000 if length < 2 else 2)
    pieces = list(pieces_of(blocks))
    assert sum(map(len, pieces)) == len(blocks) * 1000
    assert max(sum(map(len, values)) + 32 * len(values) for values in pieces) < 1_000_000
