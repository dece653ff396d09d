"""Workers of real programs that hang, and a system without memory: work ends within seconds, or goes on."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from faults.service import is_complete, is_right, serving
from faults.tools import finish_sweep, start_sweep
from support import freeze, need, needs_root, save, wait_for

from lib.options import Options
from lib.sync.walk import walk

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.faults

PIDS = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))
"""Where control groups of version 1 limit tasks, and those of version 2."""

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


@contextmanager
def limited_tasks(*pids: int) -> Iterator[Path]:
    """Put processes into a control group of their own that limits tasks; yield the file with the limit."""
    parent = next((path for path in PIDS if (path / "cgroup.procs").exists()), None)
    need(parent is not None and os.access(parent, os.W_OK), "no group can be made that limits tasks")
    assert parent is not None
    group = parent / f"generation-sidecars-test-{os.getpid()}"
    group.mkdir()
    need((group / "pids.max").exists(), "control groups here do not limit tasks")
    try:
        for pid in pids:
            (group / "cgroup.procs").write_text(str(pid))
        yield group / "pids.max"
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            (parent / "cgroup.procs").write_text(pid)
        group.rmdir()


@needs_root
def test_fault_63_a_limit_of_processes_that_is_lifted_again_loses_nothing(tmp_path: Path) -> None:
    """The service waits with what it cannot start a worker for, stays alive, and goes on by itself."""
    with serving(tmp_path, sweep_seconds=3600) as service:
        service.until(lambda: not service.workers)
        watcher = service.watcher
        assert watcher is not None
        with limited_tasks(service.process.pid, watcher) as limit:
            tasks = limit.with_name("pids.current").read_text()
            limit.write_text(tasks)
            source = save(service.root / "n1_completions.npy", ["text"])
            service.until(lambda: '"source.failed"' in service.log.read_text())
            assert not is_complete([source])
            limit.write_text("max")
            service.until(lambda: is_right(source))
        assert "Traceback" not in service.log.read_text()


def test_fault_63_a_service_ends_though_its_worker_is_stopped(tmp_path: Path) -> None:
    """SIGTERM while a worker is stopped by SIGSTOP: gone within seconds, with status 0."""
    with serving(tmp_path, sweep_seconds=3600) as service:
        endless(service.root / "a_completions.npy")
        service.until(lambda: list(service.root.glob(".generation-sidecars-*")))
        for worker in service.workers:
            freeze(worker)
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < ENDING_SECONDS
        assert "Traceback" not in service.log.read_text()
        tidy(service.root)
        service.start()
        service.until(lambda: service.is_ready)
        (service.root / "a_completions.npy").unlink()
