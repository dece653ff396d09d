"""Random arrays of plain objects that share each other, and what reading them must give.

    python tests/fuzz/shared_objects.py --files 100000 --seed 1

Each file is written by one of Python's two picklers, with protocol 2, 3 or 4, and read three times: by numpy
itself, as a whole, and as a stream whose blocks, cache and index are so small that everything crosses their
borders.
"""

from __future__ import annotations

import argparse
import io
import math
import pickle
import random
import sys
from pathlib import Path
from typing import Any, Final

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

import hostile  # noqa: E402  # the path comes first
import numpy as np  # noqa: E402  # the path comes first
from support import MemoryBytes  # noqa: E402  # the path comes first

from lib.npy.array_reader import read_whole  # noqa: E402  # the path comes first
from lib.npy.header import read_header  # noqa: E402  # the path comes first
from lib.npy.pickle_memo import loaded  # noqa: E402  # the path comes first
from lib.npy.pickle_reader import ItemStream, Sizes  # noqa: E402  # the path comes first
from lib.npy.values import plain  # noqa: E402  # the path comes first

SMALL: Final = Sizes(
    block_bytes=40, great_bytes=200, kept_bytes=60, kept_objects=8, index_step=12, cache_bytes=1 << 11
)
TINY: Final = Sizes(block_bytes=1, great_bytes=1, kept_bytes=1, kept_objects=1, index_step=1, cache_bytes=0)
MIDDLE: Final = Sizes(
    block_bytes=500, great_bytes=2000, kept_bytes=1000, kept_objects=64, index_step=64, cache_bytes=1 << 14
)
"""For files in which a short index would lead far from every object."""
LENGTHS: Final = (0, 1, 2, 3, 4, 5, 10, 254, 255, 256, 257, 1100, 5000)
COUNTS: Final = (0, 1, 2, 3, 4, 7, 12)
GREAT_COUNTS: Final = (320, 321, 999, 1000, 1001, 1999, 2000, 2001, 3000)


HEAVIEST: Final = 40
"""Values in an object that may come again: what is written out grows by it each time."""


def weight(value: Any) -> int:
    """Count the values in an object, each as often as it stands there."""
    if isinstance(value, dict):
        return 1 + sum(map(weight, value.values()))
    if isinstance(value, np.ndarray):
        return 1 + (sum(map(weight, value.ravel().tolist())) if value.dtype == object else value.size)
    return 1 + sum(map(weight, value)) if isinstance(value, (list, tuple)) else 1


class Dice:
    """Makes plain objects; what was made before comes again, by reference."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.made: list[Any] = []
        self.keys = ["role", "content", "", "k" * 300, 1, None, 2.5, True, b"raw", 10**30]

    def value(self, depth: int = 0) -> Any:
        """Return a new object, or one that was there before."""
        dice = self.random
        if self.made and dice.random() < 0.35:
            return dice.choice(self.made)
        value = self.atom() if depth > 4 or dice.random() < 0.6 else self.container(depth)
        if dice.random() < 0.7 and weight(value) <= HEAVIEST:
            self.made.append(value)
        return value

    def atom(self) -> Any:
        """Return a text, number or None."""
        dice = self.random
        kind = dice.randrange(12)
        length = dice.choice(LENGTHS[:7] if dice.random() < 0.97 else LENGTHS)
        if kind < 5:
            return "".join(dice.choices("ab\né漢😀\0", k=length)) + str(dice.random())
        return (
            None,
            dice.random() < 0.5,
            dice.choice((0, 1, 255, 256, -1, 65535, 65536, 2**31, -(2**31), 2**63, 2**2000)),
            dice.choice((0.5, -0.0, math.inf, math.nan)),
            dice.choice((b"", b"caf\xe9", b"x" * length)),
            dice.choice(("", "a", "role")),
            np.float32(dice.random()),
        )[kind - 5]

    def container(self, depth: int) -> Any:
        """Return a list, tuple, dictionary or array."""
        dice = self.random
        count = dice.choice((0, 1, 1, 2, 3, 4, 5))
        kind = dice.randrange(10)
        if kind == 0 and dice.random() < 0.1:
            return [dice.choice((None, 1, "x"))] * dice.choice(GREAT_COUNTS)
        if kind < 3:
            return [self.value(depth + 1) for _ in range(count)]
        if kind < 6:
            return tuple(self.value(depth + 1) for _ in range(count))
        if kind < 9:
            made = {dice.choice(self.keys): self.value(depth + 1) for _ in range(count)}
            if dice.random() < 0.01:
                made |= {str(number): None for number in range(dice.choice(GREAT_COUNTS))}
            return made
        return self.array((count,) if dice.random() < 0.7 else (2, count), depth + 1)

    def array(self, shape: tuple[int, ...], depth: int) -> Any:
        """Return an array of objects, or of numbers or texts."""
        dice = self.random
        if dice.random() < 0.4:
            dtype = dice.choice(("<i8", ">f4", "<U3", "S2", "bool"))
            return np.arange(math.prod(shape)).reshape(shape).astype(dtype)
        return self.objects(shape, depth)

    def objects(self, shape: tuple[int, ...], depth: int = 0) -> Any:
        """Return an array of objects in either order of memory."""
        array = np.empty(shape, dtype=object, order="F" if self.random.random() < 0.3 else "C")
        for place in np.ndindex(*shape):
            array[place] = self.value(depth if array.size < 100 else 4)
        return array


def shape_of(dice: random.Random) -> tuple[int, ...]:
    """Choose a shape: most arrays are small, some cross the borders of batches."""
    kind = dice.random()
    if kind < 0.002:
        return (dice.choice(GREAT_COUNTS),)
    if kind < 0.15:
        return (dice.choice(COUNTS[1:5]), dice.choice(COUNTS[:5]))
    return () if kind < 0.17 else (dice.choice(COUNTS),)


def file_of(array: Any, protocol: int, *, in_python: bool) -> bytes:
    """Write an array as numpy does, by the pickler that is asked for."""
    out = io.BytesIO()
    (pickle._Pickler if in_python else pickle.Pickler)(out, protocol).dump(array)
    shape = "(" + "".join(f"{size}, " for size in array.shape) + ")"
    return hostile.npy(out.getvalue(), shape=shape)


def as_lists(value: Any) -> Any:
    """Return what ``tolist`` gives, inside items as well."""
    if isinstance(value, (np.ndarray, np.generic)):
        return as_lists(value.tolist())
    if isinstance(value, (list, tuple)):
        return type(value)(map(as_lists, value))
    if isinstance(value, dict):
        return {key: as_lists(item) for key, item in value.items()}
    return value


def sharing(value: Any) -> list[int]:
    """Return the containers' places in order, each by when it was first met: what is one object is one."""
    seen: dict[int, int] = {}
    order: list[int] = []

    def visit(part: Any) -> None:
        if isinstance(part, (list, dict, tuple)):
            if part:
                order.append(seen.setdefault(id(part), len(seen)))
            for inner in part.values() if isinstance(part, dict) else part:
                visit(inner)

    visit(value)
    return order


def check(seed: int) -> int:
    """Write one file and read it three times; return its size."""
    dice = Dice(seed)
    array = dice.objects(shape_of(dice.random))
    protocol, in_python = dice.random.choice((2, 3, 4)), dice.random.random() < 0.3
    data = file_of(array, protocol, in_python=in_python)
    header = read_header(MemoryBytes(data))
    expected = as_lists(pickle.loads(data[header.data_offset :]).tolist())
    whole = read_whole(MemoryBytes(data))
    assert repr(whole) == repr(expected)
    flat = as_lists(array.ravel("C").tolist())
    small = dice.random.choice((SMALL, TINY)) if len(data) < 20_000 else MIDDLE
    for sizes in (small, Sizes()):
        stream = ItemStream(MemoryBytes(data), header.data_offset, header.shape, sizes=sizes)
        got = [plain(loaded(item)) for block in stream.blocks() for item in block]
        assert repr(got) == repr([plain(item) for item in flat]), sizes
    return len(data)


def check_all(seeds: range) -> int:
    """Check a file for each seed; return the bytes of all.  A failure names its seed."""
    size = seed = 0
    try:
        for seed in seeds:
            size += check(seed)
    except BaseException as error:
        error.args = (f"seed {seed}: {error}",)
        raise
    return size


def main() -> None:
    """Check many files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    size = check_all(range(given.seed, given.seed + given.files))
    sys.stdout.write(f"{given.files:,} files, {size:,} bytes\n")


if __name__ == "__main__":
    main()
