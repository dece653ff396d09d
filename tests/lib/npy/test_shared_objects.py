"""Objects that stand in an array several times by reference: read in any pattern."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import hostile
import numpy as np
import pytest
from faults.service import rounds
from fuzz.shared_objects import check_all, file_of
from support import MemoryBytes, flat_items, objects

from lib.errors import Corrupt, Unsafe
from lib.npy.array_reader import read_whole
from lib.npy.header import read_header
from lib.npy.pickle_reader import ItemStream, Sizes
from lib.npy.values import plain

if TYPE_CHECKING:
    from collections.abc import Callable

DICE = random.Random(11)
TEXTS = [f"{number} " + "x" * 1000 for number in range(3000)]
MESSAGES = [{"role": "user", "content": f"{number} " + "y" * 700} for number in range(2000)]
PAIRS = [(f"{number} prompt " * 150, f"{number} answer " * 150) for number in range(1500)]

SHAPES: dict[str, Callable[[], list[Any]]] = {
    "a bootstrap sample": lambda: DICE.choices(TEXTS, k=6000),
    "half an array away": lambda: TEXTS + TEXTS,
    "in reverse": lambda: TEXTS + TEXTS[::-1],
    "tuples that use earlier prompts": lambda: PAIRS + [(PAIRS[n][0], "new") for n in (1, 700, 3)],
    "every tenth is None": lambda: [None if n % 10 == 0 else t for n, t in enumerate(TEXTS)] + TEXTS[:1500],
    "messages from a pool": lambda: [[DICE.choice(MESSAGES), DICE.choice(MESSAGES)] for _ in range(3000)],
    "whole tuples": lambda: PAIRS + PAIRS[::-1],
    "parts of a great item": lambda: [MESSAGES, *DICE.choices(MESSAGES, k=3000)],
    "lists of exactly a batch": lambda: (
        [[str(n)] * 1000 for n in range(40)] * 2 + [[n] * 2000 for n in range(9)]
    ),
}


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_fault_43_what_repeats_by_reference_is_read(shape: str, protocol: int) -> None:
    """Both as a stream for a page and as a whole for load."""
    items = SHAPES[shape]()
    data = file_of(objects(items), protocol, in_python=False)
    assert [plain(item) for item in flat_items(data)] == [plain(item) for item in items]
    assert read_whole(MemoryBytes(data)) == items


def test_what_is_one_object_in_the_file_is_one_object_in_memory() -> None:
    """A megabyte that is referred to ten thousand times is a megabyte."""
    great, message = "x" * 1_000_000, {"role": "user"}
    data = file_of(objects([great] * 10_000 + [message, (message,)]), 4, in_python=False)
    got = read_whole(MemoryBytes(data))
    assert all(text is got[0] for text in got[:10_000])
    assert got[10_000] is got[10_001][0]


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("count", [1, 1500])
def test_arrays_that_several_items_share_are_their_values(count: int, protocol: int) -> None:
    """One without dimensions is a number wherever it is referred to, near or far; load shares the others."""
    number, numbers = np.array(1.5), np.arange(3)
    items = [{"a": number, "b": [number, numbers]}, *([number, numbers, "t" * 2000] for _ in range(count))]
    data = file_of(objects(items), protocol, in_python=False)
    expected = [{"a": 1.5, "b": [1.5, [0, 1, 2]]}, *([1.5, [0, 1, 2], "t" * 2000] for _ in range(count))]
    assert [plain(item) for item in flat_items(data)] == expected
    got = read_whole(MemoryBytes(data))
    assert got == expected
    assert got[0]["b"][1] is got[-1][1]


@pytest.mark.parametrize("around", [b"%b", b"]%ba"], ids=["an item", "part of an item"])
def test_an_array_that_is_never_filled_is_not_an_item(around: bytes) -> None:
    """What would make an array stands there, and nothing that it holds."""
    ndarray = hostile.name("numpy", "ndarray")
    made = hostile.call(
        hostile.name("numpy.core.multiarray", "_reconstruct"), ndarray, b"K\x00\x85", b"C\x01b"
    )
    data = hostile.inside(around % made)
    with pytest.raises(Corrupt, match="a part of an array"):
        flat_items(data)
    with pytest.raises(Corrupt, match="a part of an array"):
        read_whole(MemoryBytes(data))


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_an_array_without_dimensions_may_hold_what_was_read_long_before(protocol: int) -> None:
    """It is its value, also where that is found again by its number."""
    pair, filler = ("a", "b"), [f"{number} " + "t" * 30 for number in range(500)]
    held = np.empty((), object)
    held[()] = pair
    data = file_of(objects([pair, *filler, [held], *filler, [held]]), protocol, in_python=False)
    assert _plain_items(data) == [["a", "b"], *filler, [["a", "b"]], *filler, [["a", "b"]]]


def _plain_items(data: bytes) -> list[Any]:
    """Read all items by a stream that forgets objects soon."""
    header = read_header(MemoryBytes(data))
    sizes = Sizes(block_bytes=64, great_bytes=2000, kept_bytes=100, kept_objects=5)
    stream = ItemStream(MemoryBytes(data), header.data_offset, header.shape, sizes=sizes)
    return [plain(item) for block in stream.blocks() for item in block]


def _list_in_itself() -> list[Any]:
    held: list[Any] = []
    held.append({"again": (held,)})
    return held


def _array_in_itself() -> list[Any]:
    held = np.empty((), object)
    held[()] = held
    return [held]


def _array_in_its_list() -> list[Any]:
    held = np.empty((), object)
    held[()] = ["a", held]
    return [held]


@pytest.mark.parametrize("make", [_list_in_itself, _array_in_itself, _array_in_its_list])
def test_a_cycle_is_refused(make: Callable[[], list[Any]]) -> None:
    """An item that holds itself is no plain data."""
    data = file_of(objects(["x", make(), "y"]), 4, in_python=False)
    with pytest.raises(Unsafe, match="holds itself"):
        read_whole(MemoryBytes(data))
    with pytest.raises(Unsafe, match="nests deeper"):
        [plain(item) for item in flat_items(data)]


def test_a_cycle_is_refused_whose_beginning_was_forgotten() -> None:
    """It is not taken for complete where it refers to itself."""
    held: list[Any] = [f"{number} " + "t" * 30 for number in range(2300)]
    held.append(held)
    data = file_of(objects(["x" * 500, held, "y"]), 4, in_python=False)
    with pytest.raises(Unsafe, match="nests deeper"):
        _plain_items(data)


def test_fault_18_a_name_that_does_not_end_is_refused_behind_a_great_item() -> None:
    """There, opcodes are followed ahead of the items."""
    data = file_of(objects(["x" * 3000, ["y" * 3000, 1], "z"]), 4, in_python=False)
    with pytest.raises(Corrupt, match="does not end"):
        _plain_items(data.replace(b"\x8c\x01z", b"caz"))


def test_fault_45_a_dtype_of_objects_with_metadata_is_read() -> None:
    """The strings of h5py are objects whose dtype says what they are."""
    array = objects(["a", "b"]).astype(np.dtype("O", metadata={"vlen": str}))
    assert flat_items(file_of(array, 4, in_python=False)) == ["a", "b"]


def test_a_text_above_the_limit_is_refused_by_its_number() -> None:
    """Unless fewer items are shown."""
    data = file_of(objects(["a", "b", "x" * (64 << 20) + "x", "c"]), 4, in_python=False)
    with pytest.raises(Unsafe, match="item 3: its pickle asks for 67,108,865 bytes"):
        flat_items(data)
    assert flat_items(data, limit=2) == ["a", "b"]


@pytest.mark.faults
def test_fault_44_more_items_than_an_array_inside_an_item_may_have() -> None:
    """As a stream for a page and as a whole for load."""
    count = (1 << 22) + 1
    data = file_of(objects(["x"] * count), 4, in_python=False)
    assert [plain(item) for item in flat_items(data)].count("x") == count
    assert read_whole(MemoryBytes(data)).count("x") == count


def test_hundreds_of_random_arrays_are_read_as_numpy_reads_them() -> None:
    """Plain objects shared among each other, of every protocol, pickler, shape and order."""
    check_all(range(700))


@pytest.mark.faults
@pytest.mark.timeout(0)
def test_fault_43_very_many_random_arrays_are_read_as_numpy_reads_them() -> None:
    """A hundred thousand others; FAULT_ROUNDS asks for more."""
    check_all(range(10_000, 10_000 + rounds(100_000)))
