"""Conversions: this project against the script that everybody writes, and against the machine itself."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from data import Kind, half_quoted, inert, keep_sizes, remove_sidecars, repeated, write, written_out
from measuring import HERE, Row, in_turn

if TYPE_CHECKING:
    from collections.abc import Iterator

_LARGE: Final[tuple[tuple[Kind, int, int], ...]] = (
    ("U", 300_000, 100),
    ("U", 100_000, 1000),
    ("U", 25_000, 4000),
    ("U", 500_000, 1000),
    ("object", 300_000, 100),
    ("object", 100_000, 1000),
    ("object", 25_000, 4000),
    ("object", 2_000_000, 1000),
)
_HALF_QUOTED: Final = ((1374, 400), (100_000, 1000))
_REPEATED: Final = (100_000, 1000)
_ROUNDS: Final = 5
_FEW_ROUNDS: Final = 3
_HUGE_BYTES: Final = 1 << 30
_SMALL: Final = (1374, 400)
_REPEATS: Final = 20


def rows(directory: Path) -> Iterator[Row]:
    """Measure large caches on the disk of ``directory``, small ones in memory and there."""
    for kind, count, length in _LARGE:
        yield from _large(directory, kind, count, length)
    for kind in ("U", "object"):
        yield _small(directory, kind)
    for count, length in _HALF_QUOTED:
        yield _half_quoted(directory, count, length)
    yield _references(directory)


def _large(directory: Path, kind: Kind, count: int, length: int) -> Iterator[Row]:
    source = write(directory / "large_completions.npy", kind, count, length)
    _seconds("ours", source)
    keep_sizes(source)
    size = source.stat().st_size
    rounds = _FEW_ROUNDS if size > _HUGE_BYTES else _ROUNDS
    names = ("plain", "plain flushed", "ours", "floor")
    taken = in_turn({name: lambda name=name: _seconds(name, source) for name in names}, rounds)
    what = f"`{kind}`, {count:,} × {length:,} characters, {size / 1e6:,.0f} MB"
    ours = taken["ours"]
    plain, flushed, floor = (taken[name] / ours for name in ("plain", "plain flushed", "floor"))
    beside = (
        f"plain script {taken['plain']:.2f} s: {plain:.1f} × as long; flushed too "
        f"{taken['plain flushed']:.2f} s: {flushed:.1f} ×; floor {taken['floor']:.2f} s: {floor:.2f} ×"
    )
    yield Row(what, f"{ours:.2f} s, flushed", beside)
    for path in directory.glob("large_completions.*"):
        path.unlink()


def _small(directory: Path, kind: Kind) -> Row:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        name = "small_completions.npy"
        source = write(Path(memory) / name, kind, *_SMALL)
        on_disk = write(directory / name, kind, *_SMALL)
        contestants = {
            "plain": lambda: _seconds("plain", source, _REPEATS),
            "ours": lambda: _seconds("ours", source, _REPEATS),
            "on disk": lambda: _seconds("ours", on_disk, _REPEATS),
        }
        taken = in_turn(contestants, _ROUNDS)
    remove_sidecars(on_disk)
    on_disk.unlink()
    ours, ratio = taken["ours"] * 1e3, taken["plain"] / taken["ours"]
    return Row(
        f"`{kind}`, {_SMALL[0]:,} × {_SMALL[1]} characters",
        f"{ours:.1f} ms in memory; on disk, flushed: {taken['on disk'] * 1e3:.1f} ms",
        f"plain script {taken['plain'] * 1e3:.1f} ms in memory: {ratio:.1f} × as long",
    )


def _half_quoted(directory: Path, count: int, length: int) -> Row:
    sources = {
        name: write(directory / f"{name}_completions.npy", "object", count, length, make)
        for name, make in (("half", half_quoted), ("inert", inert))
    }
    repeats = _REPEATS if count < 10_000 else 1
    taken = in_turn(
        {name: lambda name=name: _seconds("ours", sources[name], repeats) for name in sources}, _ROUNDS
    )
    for source in sources.values():
        remove_sidecars(source)
        source.unlink()
    half, bare = taken["half"] * 1e3, taken["inert"] * 1e3
    return Row(
        f"`object`, {count:,} × {length:,} characters, every second text quoted",
        f"{half:,.1f} ms, flushed",
        f"none quoted {bare:,.1f} ms: {half / bare:.2f} × as long with quotes",
    )


def _references(directory: Path) -> Row:
    sources = {
        name: write(directory / f"{name}_completions.npy", "object", *_REPEATED, make)
        for name, make in (("repeated", repeated), ("written_out", written_out))
    }
    taken = in_turn({name: lambda name=name: _seconds("ours", sources[name]) for name in sources}, _ROUNDS)
    for source in sources.values():
        remove_sidecars(source)
        source.unlink()
    ratio = taken["repeated"] / taken["written_out"]
    count, length = _REPEATED
    return Row(
        f"`object`, {count:,} × {length:,} characters, drawn from half as many by reference",
        f"{taken['repeated']:.2f} s, flushed",
        f"the same texts without references {taken['written_out']:.2f} s: {ratio:.2f} × as long with them",
    )


def _seconds(contestant: str, source: Path, repeats: int = 1) -> float:
    """Let one contestant convert in a process of its own; with repeats, the median one counts."""
    command = [sys.executable, str(HERE / "contestants.py"), contestant, str(source), str(repeats)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return sorted(map(float, run.stdout.split()))[repeats // 2]
