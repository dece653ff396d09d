"""The daemon against tools that start a script for each event: how soon, and how many."""

from __future__ import annotations

import contextlib
import io
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np
from data import copies, texts
from measuring import ENVIRONMENT, HERE, OURS, Row, family, percentile, seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SAVES: Final = 200
_SAVES_OF_TOOLS: Final = 20
_DIRECTORIES, _EACH = 500, 20
_TOOLS_DIRECTORIES: Final = 10
_PATIENCE_SECONDS: Final = 10.0
_SETTLE_SECONDS: Final = 5.0
_IDLE_ROUNDS: Final = 3

_SCRIPT: Final = f"{shlex.quote(sys.executable)} {shlex.quote(str(HERE / 'plain.py'))}"
_INOTIFYWAIT: Final = (
    "inotifywait -m -r -q -e close_write -e moved_to --format %w%f ROOT | "
    f'while read -r path; do case "$path" in *_completions.npy) {_SCRIPT} "$path";; esac; done'
)
_WATCHMEDO: Final = (
    f"{shlex.quote(sys.executable)} -m watchdog.watchmedo shell-command --recursive --wait "
    f"--patterns '*_completions.npy' --command 'test ${{watch_event_type}} != closed || "
    f"{_SCRIPT} ${{watch_src_path}}' ROOT"
)


def rows(directory: Path) -> Iterator[Row]:
    """Measure single saves and a burst."""
    with _daemon(directory / "single") as root:
        ours = [_save_and_wait(root / f"n{number}_completions.npy") for number in range(_SAVES)]
        idle = [_after_an_idle_hour(root, number) for number in range(_IDLE_ROUNDS)]
    middle, late = median(ours) * 1e3, percentile(ours, 99) * 1e3
    tools = {"inotifywait": _tool(directory, _INOTIFYWAIT), "watchmedo": _tool(directory, _WATCHMEDO)}
    best = min(tools.values())
    told = "; ".join(
        f"{name} " + ("never" if seconds == math.inf else f"{seconds * 1e3:.0f} ms")
        for name, seconds in tools.items()
    )
    what = "np.save closed → both sidecars visible"
    yield Row(
        f"{what}, median of {_SAVES}", f"{middle:.0f} ms", f"{told}: {best * 1e3 / middle:.1f} × as long"
    )
    yield Row(f"{what}, 99 of 100", f"{late:.0f} ms")
    yield Row(f"{what}, the first after all workers left", f"{max(idle) * 1e3:.0f} ms")
    yield from _burst(directory)


def _burst(directory: Path) -> Iterator[Row]:
    count = _DIRECTORIES * _EACH
    with _daemon(directory / "burst") as root:
        rate, missed = _rate(root, _DIRECTORIES)
        for path in [*root.rglob("*.json"), *root.rglob("*.md")]:
            path.unlink()
        os.kill(_DAEMONS[-1].pid, signal.SIGTERM)
        _DAEMONS[-1].wait()
        sweep = count / seconds_of([*OURS, "--backfill", root, "--log-level", "error"])
    tools = {}
    lost = 0
    for name, command in (("inotifywait", _INOTIFYWAIT), ("watchmedo", _WATCHMEDO)):
        with _running(command, directory / name) as root:
            tools[name], without = _rate(root, _TOOLS_DIRECTORIES)
            lost += without
    best = max(tools.values())
    told = "; ".join(f"{name} {each:.1f}/s" for name, each in tools.items())
    what = f"burst of {count:,} files in {_DIRECTORIES} new directories"
    beside = f"{told} ({lost} of {2 * _TOOLS_DIRECTORIES * _EACH} missed); `--backfill` {sweep:.0f} files/s"
    yield Row(what, f"{rate:.0f} files/s, {missed} missed", f"{beside}: {rate / best:.0f} × the better tool")


_DAEMONS: list[subprocess.Popen[bytes]] = []


@contextlib.contextmanager
def _daemon(root: Path) -> Iterator[Path]:
    """Run the daemon over a new directory, until it is warm."""
    root.mkdir(parents=True)
    state = root.parent / f"{root.name}.run"
    environment = {**ENVIRONMENT, "RUNTIME_DIRECTORY": str(state)}
    process = subprocess.Popen([*OURS, root], env=environment, stderr=subprocess.DEVNULL)
    _DAEMONS.append(process)
    try:
        for number in range(3):
            _save_and_wait(root / f"warm{number}_completions.npy")
        yield root
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        shutil.rmtree(root)
        shutil.rmtree(state, ignore_errors=True)


@contextlib.contextmanager
def _running(command: str, root: Path) -> Iterator[Path]:
    """Run a tool over a new directory."""
    root.mkdir(parents=True)
    shell = ["bash", "-c", command.replace("ROOT", shlex.quote(str(root)))]
    process = subprocess.Popen(
        shell, env=ENVIRONMENT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(2)
        yield root
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(root)


def _tool(directory: Path, command: str) -> float:
    """Measure a tool; one that has not seen the first save after a while never will."""
    with _running(command, directory / "tool") as root:
        taken: list[float] = []
        while len(taken) < _SAVES_OF_TOOLS and math.inf not in taken:
            taken.append(_save_and_wait(root / f"n{len(taken)}_completions.npy", sidecars_grow=True))
        return median(taken) if math.inf not in taken else math.inf


def _save_and_wait(source: Path, *, sidecars_grow: bool = False) -> float:
    """Save a small cache; return the seconds from its close to both sidecars; theirs may grow for a while."""
    array = np.array(list(texts(20, 200)), dtype=object)
    np.save(source, array, allow_pickle=True)
    began = time.perf_counter()
    json, page = source.with_suffix(".json"), source.with_suffix(".md")
    while not (json.exists() and page.exists() and (not sidecars_grow or page.stat().st_size > 4000)):
        if time.perf_counter() - began > _PATIENCE_SECONDS:
            return math.inf
        time.sleep(0.0005)
    return time.perf_counter() - began


def _after_an_idle_hour(root: Path, number: int) -> float:
    """Wait until the workers have left, as after an hour; then save."""
    watcher_alone = 2
    while len(family(_DAEMONS[-1].pid)) > watcher_alone:
        time.sleep(1)
    return _save_and_wait(root / f"idle{number}_completions.npy")


def _rate(root: Path, directories: int) -> tuple[float, int]:
    """Write caches as fast as possible; return pages a second until no more come, and how many miss."""
    buffer = io.BytesIO()
    np.save(buffer, np.array(list(texts(20, 200)), dtype=object), allow_pickle=True)
    began = time.perf_counter()
    copies(root / "burst", buffer.getvalue(), directories, _EACH)
    last = time.perf_counter()
    count, made = directories * _EACH, 0
    while made < count and time.perf_counter() - last < _SETTLE_SECONDS:
        time.sleep(0.05)
        now = len(list((root / "burst").glob("*/*.md")))
        if now > made:
            made, last = now, time.perf_counter()
    return made / max(last - began, 0.05), count - made
