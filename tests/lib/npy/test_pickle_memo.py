"""The memo: numbers in order, checkpoints, and objects that are read again."""

from __future__ import annotations

from typing import Any

import pytest

from lib.errors import Corrupt, Unsafe
from lib.files.reader import MemoryBytes
from lib.npy.pickle_memo import Memo

SOURCE = MemoryBytes(b"")


class Replays:
    """Stands for the reader: gives each block's objects again and remembers that it was asked."""

    def __init__(self, blocks: dict[int, list[Any]]) -> None:
        self.blocks = blocks
        self.asked: list[tuple[int, int]] = []

    def __call__(self, memo: Memo, start: int, end: int) -> list[Any]:
        """Put the block's objects into the new memo, as a reader would."""
        self.asked.append((start, end))
        for value in self.blocks[start]:
            memo.add(memo.next_index, value)
        return memo.near


def never(memo: Memo, start: int, end: int) -> list[Any]:
    """Fail: nothing needs to be read again."""
    raise AssertionError((memo, start, end))


def filled(block_bytes: int = 100) -> Memo:
    """Make a memo with a scaffold (0, 1) and blocks (2, 3), (4, 5) and (6)."""
    memo = Memo(SOURCE)
    for number in range(7):
        if number in {2, 4, 6}:
            memo.checkpoint(block_bytes * number)
        memo.add(number, f"object {number}")
    return memo


def test_objects_are_found_by_number() -> None:
    """Near objects and those of the scaffold are simply there."""
    memo = filled()
    assert [memo.recall(number, never) for number in (0, 1, 6)] == ["object 0", "object 1", "object 6"]
    assert memo.next_index == 7


def test_forgotten_objects_are_read_again_once() -> None:
    """Two objects of one block cost one reading."""
    memo, replays = filled(), Replays({200: ["object 2", "object 3"], 400: ["object 4", "object 5"]})
    assert [memo.recall(number, replays) for number in (3, 2, 5, 3)] == [
        "object 3",
        "object 2",
        "object 5",
        "object 3",
    ]
    assert replays.asked == [(200, 400), (400, 600)]


def test_python_2_counts_from_one() -> None:
    """The first number may be 1; then there is no 0."""
    memo = Memo(SOURCE)
    memo.add(1, "a")
    memo.add(2, "b")
    assert memo.recall(1, never) == "a"
    memo.checkpoint(9)
    assert memo.recall(2, never) == "b"
    with pytest.raises(Corrupt):
        memo.recall(0, never)


@pytest.mark.parametrize("number", [7, 8, 1_000_000_000, 2**32 - 1])
def test_numbers_to_come_are_refused(number: int) -> None:
    """Nobody refers to what is not yet there."""
    with pytest.raises(Corrupt, match="does not hold"):
        filled().recall(number, never)


@pytest.mark.parametrize("number", [2, 5, 8, 1_000_000_000])
def test_numbers_out_of_order_are_refused(number: int) -> None:
    """PUT takes the next number: memory grows with the file, never with a number in it."""
    with pytest.raises(Corrupt):
        filled().add(number, "x")


def test_a_block_that_reads_otherwise_the_second_time_is_refused() -> None:
    """A file that changed has fewer objects there than it had."""
    with pytest.raises(Corrupt):
        filled().recall(3, Replays({200: ["object 2"]}))


def test_references_back_and_forth_have_a_depth() -> None:
    """A block whose reading needs a block whose reading needs a block... ends."""
    memo = Memo(SOURCE)
    for number in range(100):
        memo.checkpoint(number)
        memo.add(number, number)

    def replay(inner: Memo, start: int, end: int) -> list[Any]:
        assert end == start + 1
        inner.add(start, inner.recall(start - 1, replay))
        return inner.near

    with pytest.raises(Unsafe, match="back and forth"):
        memo.recall(98, replay)


def test_opcodes_interpreted_again_have_a_number() -> None:
    """A great file of tiny values takes twice the time of its reading, and no more."""
    memo = filled()
    for _ in range(4):
        memo.charge(1_000_000)
    with pytest.raises(Unsafe, match="back and forth"):
        memo.charge(1)


def test_reading_again_has_a_limit() -> None:
    """References to ever other blocks of a great file cost no more than some gigabytes of reading."""
    block = 4 << 30
    memo, replays = filled(block), Replays({block * 2: [2, 3], block * 4: [4, 5]})
    memo.recall(2, replays)
    memo.recall(4, replays)
    with pytest.raises(Unsafe, match="back and forth"):
        memo.recall(2, replays)
    assert len(replays.asked) == 2
