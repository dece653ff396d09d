"""Sweeps: against find on a complete tree, and one worker against two."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING, Final

import numpy as np
from data import complete_tree, copies, texts
from measuring import OURS, Row, in_turn, peak_bytes, seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DIRECTORIES, _EACH = 10_000, 20
_ROUNDS: Final = 5
_FEW_ROUNDS: Final = 3


def rows(directory: Path) -> Iterator[Row]:
    """Measure a complete tree of 200,000 sources, then several workers."""
    root = directory / "complete"
    complete_tree(root, _cache(1, 10), _DIRECTORIES, _EACH)
    sweep = [*OURS, "--backfill", root, "--log-level", "error"]
    find = ["find", root, "-printf", "%p %s %T@\\n"]
    taken = in_turn({"ours": lambda: seconds_of(sweep), "find": lambda: seconds_of(find)}, _ROUNDS)
    ratio, peak = taken["ours"] / taken["find"], peak_bytes(sweep) / 1e6
    what = f"sweep of a complete tree, {_DIRECTORIES * _EACH:,} sources in {_DIRECTORIES:,} directories"
    figures = f"{taken['ours']:.1f} s; `find -printf` {taken['find']:.1f} s: {ratio:.1f} ×"
    yield Row(what, figures, "≤ 4 ×", ratio <= 4)
    yield Row(f"{what}: memory", f"{peak:.0f} MB", "≤ 120 MB", peak <= 120)
    shutil.rmtree(root)
    for directories, rounds in ((20, _ROUNDS), (80, _FEW_ROUNDS)):
        yield _workers(directory / "workers", directories, rounds)


def _workers(root: Path, directories: int, rounds: int) -> Row:
    copies(root, _cache(1374, 400), directories, _EACH)
    anew = [*OURS, "--backfill", root, "--force", "--log-level", "error", "--jobs"]
    taken = in_turn({jobs: lambda jobs=jobs: seconds_of([*anew, jobs]) for jobs in ("1", "2")}, rounds)
    shutil.rmtree(root)
    ratio = taken["1"] / taken["2"]
    figures = f"{taken['1']:.1f} s and {taken['2']:.1f} s: {ratio:.2f} ×"
    what = f"sweep of {directories * _EACH:,} caches of 1,374 × 400: one job and two"
    return Row(what, figures, "≥ 1.7 ×", ratio >= 1.7)


def _cache(count: int, length: int) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array(list(texts(count, length)), dtype=object), allow_pickle=True)
    return buffer.getvalue()
