"""A sweep by the workers of a real Dask scheduler, on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import BACKFILL, command_of, environment_of, save, types, wait_for

from lib.names import is_temporary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCES = 400
IMPATIENCE = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s"}
"""Dask's own word for how long it looks for a scheduler, and for one that went away."""


class Cluster:
    """A scheduler and two workers of one thread each, as processes of their own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / "scheduler.json"
        self.environment = environment_of(directory, **IMPATIENCE, PYTHONWARNINGS="")
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-show")
        self._processes = [self.scheduler]
        wait_for(self._file.exists, 60)
        self.workers = [
            self._start("worker", "--no-nanny", "--nthreads", "1", "--host", "127.0.0.1") for _ in range(2)
        ]
        self._processes += self.workers
        wait_for(lambda: all(log.count("Registered to") for log in self._logs("worker")), 60)

    @property
    def address(self) -> str:
        """Return what the scheduler calls itself."""
        import json

        address: str = json.loads(self._file.read_text("utf-8"))["address"]
        return address

    def sweep(self, *words: str) -> subprocess.Popen[str]:
        """Start a sweep with this cluster."""
        command = command_of([*BACKFILL, "--scheduler", self.address, "--log-format", "json", *words])
        return subprocess.Popen(
            command, env=self.environment, cwd=self._directory, stderr=subprocess.PIPE, text=True
        )

    def close(self) -> None:
        """End all processes; Dask's own end takes its time when it has nobody left to say goodbye to."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait(30)

    def _start(self, what: str, *flags: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", what, "--scheduler-file", str(self._file), *flags]
        command += [] if what == "worker" else ["--no-dashboard"]
        number = len(list(self._directory.glob(f"{what}*.log")))
        with (self._directory / f"{what}{number}.log").open("wb") as log:
            here = self._directory
            return subprocess.Popen(command, env=self.environment, cwd=here, stdout=log, stderr=log)

    def _logs(self, what: str) -> list[str]:
        return [path.read_text() for path in sorted(self._directory.glob(f"{what}*.log"))]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Start a cluster."""
    directory = tmp_path / "cluster"
    directory.mkdir()
    cluster = Cluster(directory)
    yield cluster
    cluster.close()


def made(root: Path) -> int:
    """Count the pages."""
    return len(list(root.rglob("*.md")))


def fill(root: Path) -> None:
    """Save enough sources to be killed among."""
    for number in range(SOURCES):
        folder = root / f"run{number % 20}"
        folder.mkdir(parents=True, exist_ok=True)
        save(folder / f"n{number}_completions.npy", [f"text {number} {i} " * 40 for i in range(300)])


def sweep_here(root: Path) -> str:
    """Sweep without the cluster, which removes what the killed left; return the log."""
    again = types(root.parent, *BACKFILL, root)
    assert again.returncode == 0
    assert not [path for path in root.rglob("*") if is_temporary(path.name)]
    return again.stderr


@pytest.mark.faults
def test_a_worker_that_is_killed_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    """Its sources are done by the other one; what it was writing is litter for the next sweep."""
    root = tmp_path / "experiments"
    fill(root)
    sweep = cluster.sweep(os.path.relpath(root, tmp_path / "cluster"))
    wait_for(lambda: made(root) > 10, 60)
    cluster.workers[0].kill()
    assert made(root) < SOURCES, "the worker was killed too late to tell"
    _, log = sweep.communicate(timeout=240)
    assert sweep.returncode == 0, log
    assert made(root) == SOURCES
    again = sweep_here(root)
    assert f'"fresh": {2 * SOURCES}' in again


@pytest.mark.faults
def test_a_scheduler_that_goes_away_ends_the_sweep(cluster: Cluster, tmp_path: Path) -> None:
    """What was not done is reported as failed, and the command ends."""
    root = tmp_path / "experiments"
    fill(root)
    sweep = cluster.sweep(str(root))
    wait_for(lambda: made(root) > 10, 60)
    cluster.scheduler.kill()
    _, log = sweep.communicate(timeout=240)
    assert sweep.returncode == 1, log
    assert "the scheduler is gone" in log
    assert "Traceback" not in log
    cluster.close()
    sweep_here(root)


@pytest.mark.faults
def test_ctrl_c_ends_a_sweep_that_nobody_works_for(cluster: Cluster, tmp_path: Path) -> None:
    """All workers are gone, and nothing would ever come back."""
    root = tmp_path / "experiments"
    fill(root)
    sweep = cluster.sweep(str(root))
    wait_for(lambda: made(root) > 10, 60)
    for worker in cluster.workers:
        worker.kill()
    sweep.send_signal(signal.SIGINT)
    _, log = sweep.communicate(timeout=240)
    assert sweep.returncode == 130, log
    assert "Stopped." in log
    assert "Traceback" not in log
    sweep_here(root)


def test_a_scheduler_that_does_not_answer_is_reported_with_its_address(tmp_path: Path) -> None:
    """A wrong port is a sentence, not a traceback."""
    run = types(tmp_path, *BACKFILL, "--scheduler", "tcp://127.0.0.1:1", ".", **IMPATIENCE)
    assert run.returncode == 1
    assert run.stderr.startswith("tcp://127.0.0.1:1: no Dask scheduler answers there")
    assert "dask scheduler" in run.stderr
    assert "Traceback" not in run.stderr


def test_without_dask_the_error_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is an extra: nobody else needs it."""
    from daemon.cli import main as cli

    monkeypatch.setitem(sys.modules, "distributed", None)
    assert cli.main(["--backfill", str(tmp_path), "--scheduler", "tcp://127.0.0.1:1"]) == 1
    assert "pip install 'generation-sidecars[dask]'" in capsys.readouterr().err
