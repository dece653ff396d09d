"""Shared by all benchmarks: rounds that alternate, medians, the cost of programs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

HERE: Final = Path(__file__).resolve().parent
OURS: Final = (sys.executable, "-m", "daemon")
ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": str(HERE.parent), "PYTHONDONTWRITEBYTECODE": ""}
"""Modules are compiled once, as they are where something is installed."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, this project's figure, and what stands beside it."""

    what: str
    ours: str
    beside: str = ""

    def __str__(self) -> str:
        """Write it as Markdown."""
        return f"| {self.what} | {self.ours} | {self.beside} |"


def in_turn(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Let all take their turns, round by round, so that a busy while is one for all; return the medians."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            taken[name].append(contestant())
    return {name: median(seconds) for name, seconds in taken.items()}


def seconds_of(command: Sequence[str | Path], cwd: Path | None = None) -> float:
    """Run a program to its end, in silence; return its seconds."""
    began = time.perf_counter()
    subprocess.run(command, check=True, env=ENVIRONMENT, cwd=cwd, capture_output=True)
    return time.perf_counter() - began


def percentile(values: Iterable[float], percent: int) -> float:
    """Return a percentile."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def family(pid: int) -> list[int]:
    """List a process and all that descend from it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [each for child in task.read_text().split() for each in family(int(child))]
    return found


def processor_seconds(pids: Iterable[int]) -> float:
    """Add up what processes have used, user and system."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / _TICKS


def proportional_bytes(pids: Iterable[int]) -> int:
    """Add up the proportional set sizes of processes."""
    return sum(_kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") for pid in pids) * 1024


def peak_bytes(command: Sequence[str | Path]) -> int:
    """Run a program; return the most that any one of its processes held at a time."""
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        try:
            peaks = [_kilobytes(Path(f"/proc/{pid}/status"), "VmHWM:") for pid in family(process.pid)]
        except (OSError, StopIteration):  # one of them has just ended
            continue
        peak = max(peak, *peaks)
        time.sleep(0.005)
    if process.returncode:
        raise SystemExit(f"{command} failed")
    return peak * 1024


def _kilobytes(path: Path, key: str) -> int:
    return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(key))
