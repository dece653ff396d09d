"""Faults 31 to 33, 35, 39 and 40: full and faulty disks, missing rights, no stderr, and planted names."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest
from faults.service import Service, is_right, litter, names_of, save, serving, sidecars
from faults.tools import (
    convert,
    fill,
    injected,
    memory_disk,
    quick_directory,
    real_disk,
    sweep_here,
    use_up_inodes,
)
from support import METADATA, SOURCE
from support import save as save_items

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OLD_NS: Final = 1_700_000_000_000_000_000
NEW_NS: Final = 1_710_000_000_000_000_000
FAULTS: Final = {
    "openat": ("EACCES", "EROFS", "EMFILE", "ENOSPC", "EDQUOT", "EIO"),
    "pread64": ("EIO",),
    "write": ("ENOSPC", "EDQUOT", "EIO", "EFBIG"),
    "fchmod": ("EPERM",),
    "utimensat": ("EROFS",),
    "fsync": ("EIO", "ENOSPC"),
    "renameat": ("EACCES", "EPERM", "EROFS", "ENOSPC", "EIO"),
    "newfstatat": ("EACCES", "EIO"),
    "flock": ("ENOLCK",),
    "close": ("EIO",),
}
SHORT: Final = {
    "openat": ("ENOSPC", "EMFILE"),
    "pread64": ("EIO",),
    "write": ("ENOSPC", "EIO"),
    "fsync": ("EIO",),
    "renameat": ("EIO",),
    "close": ("ENOSPC",),
}
ITEMS: Final = 1000


def rows(faults: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """Pair every system call with every error that it is to fail with."""
    return [(name, error) for name, errors in faults.items() for error in errors]


def make(directory: Path, items: int) -> Path:
    """Make a source that was converted before and has changed since, with metadata."""
    directory.mkdir()
    source = directory / SOURCE
    (directory / METADATA).write_text('{"model_name": "org/model"}')
    os.utime(directory / METADATA, ns=(OLD_NS, OLD_NS))
    save_items(source, [f"old {number} " * 20 for number in range(items)], time_ns=OLD_NS)
    sweep_here(directory)
    return save_items(source, [f"new {number} " * 20 for number in range(items)], time_ns=NEW_NS)


def contents(source: Path) -> tuple[bytes, ...]:
    """Return the bytes of both sidecars."""
    return tuple(path.read_bytes() for path in sidecars(source))


def fail_every_call(directory: Path, name: str, error: str, items: int) -> None:
    """Let each system call of this name fail once, in a conversion of its own, then sweep."""
    old = contents(make(directory / "old", items))
    whole = make(directory / "whole", items)
    calls = [call for call in convert(whole).calls if call.name == name]
    new = contents(whole)
    assert calls, "this call is not made at all: there is nothing to test"
    for call in calls:
        source = make(directory / f"{call.number:04}", items)
        done = convert(source, call.inject(f"error={error}"))
        assert [it.name for it in injected(done)] == [name], call
        if METADATA in call.line and error in {"EACCES", "EPERM"}:
            continue  # it may stay so for ever: the page says unknown, and a warning says why
        assert done.result in {"failed", "rendered"}, call
        if done.result == "failed":
            assert done.passing, call
            assert done.trouble, call
        for before, now, after in zip(old, contents(source), new, strict=True):
            assert now in {before, after}, call
        flushed = [it.line.partition(")")[0] for it in done.calls if it.name == "fsync"]
        assert len(flushed) == len(set(flushed)), "a second fsync says nothing"
        assert not litter(source.parent), call
        sums, _ = sweep_here(source.parent)
        assert sums["failed"] == 0, call
        assert contents(source) == new, call


@pytest.mark.parametrize(("name", "error"), rows(SHORT), ids=str)
def test_fault_31_and_32_a_system_call_fails(name: str, error: str) -> None:
    """Old sidecars stay whole, nothing is left over, and the next sweep makes it good."""
    with quick_directory() as directory:
        fail_every_call(directory, name, error, items=3)


@pytest.mark.faults
@pytest.mark.parametrize(("name", "error"), rows(FAULTS), ids=str)
def test_fault_31_to_33_any_system_call_fails(name: str, error: str) -> None:
    """The same for everything that a disk, a quota, a permission or a limit can say, over several blocks."""
    with quick_directory() as directory:
        fail_every_call(directory, name, error, items=ITEMS)
