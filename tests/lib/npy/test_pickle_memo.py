"""The memo: numbers in order, and what is asked of the past."""

from __future__ import annotations

from typing import Any

import pytest

from lib.errors import Corrupt
from lib.npy.pickle_memo import CYCLE, Memo, Reference, loaded


class FakePast:
    """Stands for what can be read again: an object's words are its number."""

    def recall(self, number: int) -> Any:
        """Return a reference to odd numbers, the object of others."""
        return Reference(self, number) if number % 2 else self.load(number, keep_encoded=False)

    def load(self, number: int, *, keep_encoded: bool) -> Any:  # noqa: ARG002 (as the reader calls it)
        """Return an object."""
        return f"again {number}"


def filled() -> Memo:
    """Make a memo of seven objects, the first four forgotten."""
    memo = Memo(past=FakePast())
    for number in range(7):
        memo.add(number, f"object {number}")
    memo.forget(4)
    return memo


def test_objects_are_found_by_number() -> None:
    """Near objects are simply there, the others are asked for, and read when they are needed."""
    memo = filled()
    assert [loaded(memo.get(number)) for number in range(7)] == [
        *(f"again {number}" for number in range(4)),
        *(f"object {number}" for number in range(4, 7)),
    ]
    assert type(memo.get(1)) is Reference
    assert memo.next_number == 7


def test_python_2_counts_from_one() -> None:
    """The first number may be 1; then there is no 0."""
    memo = Memo()
    memo.add(1, "a")
    memo.add(2, "b")
    assert memo.get(1) == "a"
    with pytest.raises(Corrupt):
        memo.get(0)


@pytest.mark.parametrize("number", [7, 8, 1_000_000_000, 2**32 - 1])
def test_numbers_to_come_are_refused(number: int) -> None:
    """Nobody refers to what is not yet there."""
    with pytest.raises(Corrupt, match="does not hold"):
        filled().get(number)


@pytest.mark.parametrize("number", [2, 5, 8, 1_000_000_000])
def test_numbers_out_of_order_are_refused(number: int) -> None:
    """PUT takes the next number: memory grows with the file, never with a number in it."""
    with pytest.raises(Corrupt):
        filled().add(number, "x")


def test_what_is_the_whole_array_is_refused() -> None:
    """An item that refers to the array holds itself."""
    memo = Memo()
    memo.add(None, CYCLE)
    with pytest.raises(Corrupt, match="contains itself"):
        memo.get(0)
