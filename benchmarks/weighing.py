"""What it weighs: the daemon when nothing happens, memory in large conversions, the start of a command."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

import numpy as np
from data import Kind, greedy, write
from measuring import (
    ENVIRONMENT,
    OURS,
    Row,
    family,
    in_turn,
    peak_bytes,
    processor_seconds,
    proportional_bytes,
    seconds_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FEW, _MANY = 1000, 11_000
_IDLE_SECONDS: Final = 60.0
_REST_SECONDS: Final = 15.0
_LARGE: Final[tuple[tuple[Kind, int, int], ...]] = (("U", 1_000_000, 1000), ("object", 2_000_000, 1000))
_GREEDY: Final = (
    "a text of 60 MB with an emoji",
    "a chat of two messages of 60 MB",
    "a chat of 110,000 messages with emoji",
)
_ROUNDS: Final = 15


def rows(directory: Path) -> Iterator[Row]:
    """Weigh the idle daemon, the largest conversions, and the start."""
    few, share = _idle(directory / "idle", _FEW)
    many, _ = _idle(directory / "idle", _MANY)
    growth = (many - few) / (_MANY - _FEW)
    yield Row(f"idle daemon, {_FEW:,} directories: processor", f"{share:.3%} of a core")
    yield Row(f"idle daemon, {_FEW:,} directories: memory", f"{few / 1e6:.0f} MB")
    yield Row("idle daemon: memory of each further directory", f"{growth:,.0f} bytes")
    for kind, count, length in _LARGE:
        source = write(directory / "large_completions.npy", kind, count, length)
        size = source.stat().st_size / 1e9
        peak = peak_bytes([*OURS, "--backfill", source, "--log-level", "error"]) / 1e6
        yield Row(f"memory: `{kind}` of {size:.1f} GB", f"{peak:.0f} MB")
        for path in directory.glob("large_completions.*"):
            path.unlink()
    for what in _GREEDY:
        yield _greedy(directory, what)
    for flag in ("--help", "--status"):
        yield _start(flag)


def _greedy(directory: Path, what: str) -> Row:
    """Weigh the conversion of one item that asks for much memory."""
    source, item = directory / "greedy_completions.npy", greedy(what)
    array = np.empty(1, dtype=object)
    array[0] = item
    np.save(source, array)
    peak = peak_bytes([*OURS, "--backfill", source, "--log-level", "error"]) / 1e6
    for path in directory.glob("greedy_completions.*"):
        path.unlink()
    return Row(f"memory: {what}", f"{peak:.0f} MB")


def _start(flag: str) -> Row:
    """Time a command from start to end; --status without a service ends with 3."""
    ours = f'"$@" -m daemon {flag} || test $? = 3'
    nothing = '"$@" -c pass'
    shells = {"ours": ours, "nothing": nothing}
    taken = in_turn(
        {
            name: lambda text=text: seconds_of(["sh", "-c", text, "sh", sys.executable])
            for name, text in shells.items()
        },
        _ROUNDS,
    )
    whole, bare = taken["ours"] * 1e3, taken["nothing"] * 1e3
    return Row(f"start to end of `{flag}`", f"{whole:.0f} ms", f"Python alone {bare:.0f} ms")


def _idle(root: Path, directories: int) -> tuple[int, float]:
    """Watch so many directories; return bytes (proportional set size) and share of a core, at rest."""
    for number in range(directories):
        os.makedirs(root / f"run{number}")
    environment = {**ENVIRONMENT, "RUNTIME_DIRECTORY": str(root.parent / "idle.run")}
    process = subprocess.Popen([*OURS, root], env=environment, stderr=subprocess.DEVNULL)
    time.sleep(_REST_SECONDS)
    pids = family(process.pid)
    before, began = processor_seconds(pids), time.monotonic()
    time.sleep(_IDLE_SECONDS)
    share = (processor_seconds(pids) - before) / (time.monotonic() - began)
    size = proportional_bytes(pids)
    process.send_signal(signal.SIGTERM)
    process.wait()
    shutil.rmtree(root)
    return size, share
