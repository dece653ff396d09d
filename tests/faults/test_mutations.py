"""Fault 18: damaged copies of good files of every age, read and rendered in one process."""

from __future__ import annotations

import os
import random
from functools import partial
from typing import TYPE_CHECKING, Final

import hostile
import pytest
from faults.service import rounds
from support import AGES, DATA, is_read, peak_kilobytes, promptly

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST: Final = 6000
"""Bytes of a file to start from: short ones are damaged where it matters more often."""
ROOM_KILOBYTES: Final = 700_000
OPCODES: Final = b"(.012BCIJKLMNPQRSTUVX]acde}bghijlopqrstu)" + bytes([*range(0x80, 0x98)])
NUMBERS: Final = (0, 1, 127, 128, 255, 256, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)


def good_files() -> list[bytes]:
    """Give the short files of the whole corpus, and two that are put together by hand."""
    paths = [path for age in AGES for path in sorted((DATA / age).glob("*.npy"))]
    files = [path.read_bytes() for path in paths if path.stat().st_size <= LARGEST]
    return [*files, hostile.good_u_file(), hostile.good_object_file(3), hostile.good_object_file(4)]


def flip(data: bytearray, at: int, dice: random.Random) -> None:
    """Turn one bit over."""
    data[at] ^= 1 << dice.randrange(8)


def put_an_opcode(data: bytearray, at: int, dice: random.Random) -> None:
    """Write an opcode over a byte, or between two."""
    data[at : at + dice.randrange(2)] = bytes([dice.choice(OPCODES)])


def put_a_number(data: bytearray, at: int, dice: random.Random) -> None:
    """Write a number at the edge of its width."""
    width = dice.choice((1, 2, 4, 8))
    data[at : at + width] = (dice.choice(NUMBERS) % 256**width).to_bytes(width, "little")


def cut(data: bytearray, at: int, dice: random.Random) -> None:
    """Take some bytes out."""
    del data[at : at + dice.choice((1, 2, 4, 16, 100))]


def repeat(data: bytearray, at: int, dice: random.Random) -> None:
    """Say something again, and again."""
    data[at:at] = data[at : at + dice.randrange(1, 64)] * dice.choice((1, 1, 2, 50))


def change_a_digit(data: bytearray, at: int, dice: random.Random) -> None:
    """Write another digit into the header, where shape and item size are."""
    digits = [place for place in range(10, min(len(data), 128)) if 48 <= data[place] < 58]
    data[dice.choice(digits) if digits else at] = dice.choice(b"0123456789,-L")


WAYS: Final[tuple[Callable[[bytearray, int, random.Random], None], ...]] = (
    flip,
    put_an_opcode,
    put_a_number,
    cut,
    repeat,
    change_a_digit,
)


def damaged(files: list[bytes], dice: random.Random) -> bytes:
    """Damage one file in a few places, or join the halves of two; most keep their header."""
    data = bytearray(dice.choice(files))
    if dice.random() < 0.1:
        other = dice.choice(files)
        data[dice.randrange(len(data)) :] = other[dice.randrange(len(other)) :]
    for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
        start = 0 if dice.random() < 0.15 or len(data) <= 128 else 128
        if len(data) > start:
            dice.choice(WAYS)(data, dice.randrange(start, len(data)), dice)
    keep_end = not data.endswith(b".") and dice.random() < 0.5  # a reader of objects looks there first
    return bytes(data) + b"." if keep_end else bytes(data)


@pytest.mark.parametrize(
    ("count", "seed"),
    [(5000, 18), *(pytest.param(rounds(250_000), n, marks=pytest.mark.faults) for n in range(4))],
)
def test_fault_18_mutated_files_are_read_or_refused(count: int, seed: int) -> None:
    """One type of error, none over a second, memory bounded; a million files in all."""
    dice, files = random.Random(seed), good_files()
    assert len(files) > 300
    read, before = 0, peak_kilobytes(os.getpid()) + ROOM_KILOBYTES // 2
    for _ in range(count):
        data = damaged(files, dice)
        read += promptly(1, partial(is_read, data))
    assert count * 0.005 < read < count
    assert peak_kilobytes(os.getpid()) < max(before, ROOM_KILOBYTES)
