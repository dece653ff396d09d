"""Workers of real programs that hang, and a system without memory: work ends within seconds, or goes on."""

from __future__ import annotations

import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest
from faults.tools import finish_sweep, start_sweep
from support import freeze, save, wait_for

from lib.options import Options
from lib.sync.walk import walk

pytestmark = pytest.mark.faults

ENDING_SECONDS = 25.0
"""Ten for the worker, and as long again on a busy machine."""


def endless(path: Path) -> Path:
    """Save a source whose conversion takes minutes."""
    return save(path, ["text " * 200] * 2_000_000)


def tidy(root: Path) -> None:
    """Remove what killed workers left behind, as the next sweep would."""
    for _ in walk(str(root), Options(), frozenset()):
        pass


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_fault_63_a_sweep_ends_though_its_workers_are_stopped(tmp_path: Path, number: signal.Signals) -> None:
    """With the signal's status, and no traceback."""
    endless(tmp_path / "a_completions.npy")
    sweep = start_sweep(tmp_path, stderr=subprocess.PIPE)
    wait_for(lambda: list(tmp_path.glob(".generation-sidecars-*")))
    for worker in children_of(sweep.pid):
        freeze(worker)
    began = time.monotonic()
    sweep.send_signal(number)
    _, stderr = sweep.communicate(timeout=120)
    assert time.monotonic() - began < ENDING_SECONDS
    assert sweep.returncode == 128 + number
    assert b"Traceback" not in stderr
    assert stderr.splitlines()[-1].startswith(b"Stopped.")
    tidy(tmp_path)


def test_fault_64_without_memory_nothing_is_called_corrupt(tmp_path: Path) -> None:
    """What needs numpy cannot be loaded: every file fails for now, and the next sweep makes it."""
    for name in "abc":
        save(tmp_path / f"{name}_completions.npy", ["text"])
    limit = 60_000 << 10
    limited = start_sweep(
        tmp_path,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    status, events = finish_sweep(limited)
    failures = [event for event in events if event["event"] == "source.failed"]
    assert status == 1
    assert len(failures) == 3
    blames_the_file = ("Save it again", "Do not open it", "If its writer is gone")
    assert not [event for event in failures if event["hint"].startswith(blames_the_file)]
    assert finish_sweep(start_sweep(tmp_path, stderr=subprocess.PIPE))[0] == 0
