"""Sweeps: beside find on a complete tree, and beside the plain script over a tree of caches."""

from __future__ import annotations

import io
import os
import shutil
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
from data import complete_tree, copies, keep_sizes, set_sidecars_aside, texts
from measuring import HERE, OURS, Row, in_turn, peak_bytes, seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DIRECTORIES, _EACH = 10_000, 20
_CACHES: Final = 700
_ROUNDS: Final = 5


def rows(directory: Path) -> Iterator[Row]:
    """Measure a complete tree of 200,000 sources, then a tree of caches without sidecars."""
    root = directory / "complete"
    complete_tree(root, _cache(1, 10), _DIRECTORIES, _EACH)
    sweep = [*OURS, "--backfill", root, "--log-level", "error"]
    find = ["find", root, "-printf", "%p %s %T@\\n"]
    taken = in_turn({"ours": lambda: seconds_of(sweep), "find": lambda: seconds_of(find)}, _ROUNDS)
    ratio, peak = taken["ours"] / taken["find"], peak_bytes(sweep) / 1e6
    what = f"sweep of a complete tree, {_DIRECTORIES * _EACH:,} sources in {_DIRECTORIES:,} directories"
    beside = f"`find -printf` {taken['find']:.1f} s: ours takes {ratio:.1f} × as long"
    yield Row(what, f"{taken['ours']:.1f} s, {peak:.0f} MB", beside)
    shutil.rmtree(root)
    yield from _caches(directory / "caches")


def _caches(root: Path) -> Iterator[Row]:
    """Convert a typical tree: with as many jobs as there are processors, with one, and as others would.

    No source has a sidecar when a contestant begins.
    """
    copies(root, _cache(1374, 400), _CACHES // _EACH, _EACH)
    sweep = [*OURS, "--backfill", root, "--log-level", "error"]
    seconds_of(sweep)
    for source in root.rglob("*_completions.npy"):
        keep_sizes(source)
    script = [sys.executable, HERE / "contestants.py"]
    contestants = {
        "ours": sweep,
        "one job": [*sweep, "--jobs", "1"],
        "plain": [*script, "plain", root],
        "plain flushed": [*script, "plain flushed", root],
        "floor": [*script, "floor", root],
    }

    def seconds_anew(command: list[str | Path]) -> float:
        set_sidecars_aside(root, root.with_name("aside"))
        return seconds_of(command)

    taken = in_turn({name: partial(seconds_anew, it) for name, it in contestants.items()}, _ROUNDS)
    shutil.rmtree(root)
    others = ("plain", "plain flushed", "floor")
    what = f"sweep of {_CACHES:,} caches of 1,374 × 400 characters"
    for jobs, name in ((f"{os.cpu_count()} processors, as many jobs", "ours"), ("one job", "one job")):
        beside = "; ".join(f"{it} {taken[it]:.1f} s: {taken[it] / taken[name]:.2f} ×" for it in others)
        yield Row(f"{what}, {jobs}", f"{taken[name]:.1f} s", beside)


def _cache(count: int, length: int) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array(list(texts(count, length)), dtype=object), allow_pickle=True)
    return buffer.getvalue()
