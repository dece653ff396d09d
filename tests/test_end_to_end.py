"""The built wheel as a real process on a real directory: save, and the sidecars are there."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from faults.service import DEADLINE_SECONDS, Daemon, holds, is_fresh, litter, save, sidecars
from support import REPOSITORY, processes_with, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Starter = Callable[..., "Daemon"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and unpack it where nothing of the checkout is, once for all processes of the run."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "wheel"
    target = place / "installed-wheel"
    place.mkdir(exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            source = place / "source"
            ignored = shutil.ignore_patterns(
                ".*", "__pycache__", "build", "*.egg-info", "tests", "benchmarks"
            )
            shutil.copytree(REPOSITORY, source, ignore=ignored)
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target]
            subprocess.run([*command, source], check=True)
    return target


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make an empty experiments directory."""
    root = tmp_path / "experiments"
    root.mkdir()
    return root


@pytest.fixture
def start(wheel: Path, tmp_path: Path) -> Iterator[Starter]:
    """Give a function that starts a service; all end with the test and leave no process behind."""
    running = []

    def starter(*arguments: str | Path, directory: Path = tmp_path) -> Daemon:
        running.append(Daemon(wheel, *arguments, directory=directory))
        return running[-1]

    yield starter
    for daemon in running:
        daemon.stop()
    wait_for(lambda: not processes_with(str(tmp_path)))


@pytest.fixture
def daemon(start: Starter, root: Path) -> Daemon:
    """Run the service over the root."""
    running = start(root)
    running.wait_for("service.ready")
    return running


def inodes_and_times(root: Path) -> dict[Path, tuple[int, ...]]:
    """Return what any write to a file of the tree would change."""
    files = {path: path.stat() for path in root.rglob("*.*")}
    return {path: (it.st_ino, it.st_mtime_ns, it.st_ctime_ns) for path, it in files.items()}


def test_a_saved_array_gets_both_sidecars(daemon: Daemon, root: Path) -> None:
    """np.save is all a person does."""
    source = save(root / "n2_completions.npy", "Hello", "world")
    wait_for(lambda: is_fresh(source))
    assert sidecars(source)[0].read_text() == '[\n  "Hello",\n  "world"\n]'
    assert "## Completion 2\n\nworld\n" in sidecars(source)[1].read_text()
    daemon.wait_for("sidecars.written")
    (event,) = daemon.named("sidecars.written")
    assert (event["records"], event["blank"], event["distinct"]) == (2, 0, 2)


def test_a_rename_into_place_is_seen(daemon: Daemon, root: Path) -> None:
    """Careful writers rename."""
    save(root / "draft.npy", "x")
    source = root / "n1_full_texts.npy"
    (root / "draft.npy").rename(source)
    wait_for(lambda: holds(source, "x"))


def test_a_hard_link_is_seen(daemon: Daemon, root: Path) -> None:
    """A link gives no closed event."""
    source = root / "n1_completions.npy"
    os.link(save(root / "kept.npy", "linked"), source)
    wait_for(lambda: holds(source, "linked"))


def test_an_overwrite_follows(daemon: Daemon, root: Path) -> None:
    """The sidecar is of the last version."""
    source = save(root / "n1_completions.npy", "one")
    wait_for(lambda: holds(source, "one"))
    save(source, "two")
    wait_for(lambda: holds(source, "two") and is_fresh(source))


def test_metadata_that_comes_late_reaches_the_page(daemon: Daemon, root: Path) -> None:
    """The page says unknown until the metadata is there."""
    source = save(root / "n1_completions.npy", "x")
    page = sidecars(source)[1]
    wait_for(lambda: page.exists() and "**Model:** unknown" in page.read_text())
    (root / "n1_metadata.json").write_text(json.dumps({"model_name": "org/late"}))
    wait_for(lambda: "**Model:** org/late" in page.read_text())


def test_a_bad_file_is_reported_once_and_others_are_converted(daemon: Daemon, root: Path) -> None:
    """One bad file never stops the work on others."""
    (root / "bad_completions.npy").write_bytes(b"\x93NUMPY\x09\x09 not an array at all")
    source = save(root / "good_completions.npy", "x")
    wait_for(lambda: holds(source, "x"))
    daemon.wait_for("source.failed")
    (event,) = daemon.named("source.failed")
    assert "version 9.9" in str(event["reason"])
    assert event["hint"]


def test_an_edited_page_is_kept(daemon: Daemon, root: Path) -> None:
    """What a person wrote after us is theirs."""
    source = save(root / "n1_completions.npy", "x")
    wait_for(lambda: is_fresh(source))
    page = sidecars(source)[1]
    page.write_text(page.read_text() + "my notes\n")
    edited = page.stat()
    save(root / "n2_completions.npy", "y")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("sidecar.kept")
    assert page.stat().st_mtime_ns == edited.st_mtime_ns
    assert page.read_text().endswith("my notes\n")


def test_what_was_there_before_is_done_at_start(start: Starter, root: Path, tmp_path: Path) -> None:
    """Watch, then sweep."""
    source = save(root / "old" / "n1_completions.npy", "old")
    daemon = start(root)
    wait_for(lambda: is_fresh(source))
    assert daemon.stop() == 0
    assert daemon.named("service.stopped")


def test_killed_and_started_again_catches_up(daemon: Daemon, root: Path) -> None:
    """Kill -9 leaves no process, no litter, and nothing undone."""
    for i in range(50):
        save(root / f"n{i}_completions.npy", *["text"] * 200)
    daemon.stop(signal.SIGKILL)
    daemon.start()
    sources = list(root.glob("*.npy"))
    wait_for(lambda: all(is_fresh(source) for source in sources))
    wait_for(lambda: not litter(root))


def test_a_second_daemon_says_so_and_leaves(
    daemon: Daemon, start: Starter, root: Path, tmp_path: Path
) -> None:
    """One daemon a root."""
    (tmp_path / "second").mkdir()
    second = start(root, directory=tmp_path / "second")
    assert second.process.wait(DEADLINE_SECONDS) == 1
    (stopped,) = second.named("service.stopped")
    assert stopped["reason"] == f"another service watches {root} already"
    assert stopped["hint"] == "Stop one of the two services."
    source = save(root / "n_completions.npy", "x")
    wait_for(lambda: is_fresh(source))


def test_a_root_replaced_is_followed(daemon: Daemon, root: Path) -> None:
    """Renaming the root away and making a new one is noticed."""
    root.rename(root.with_name("old"))
    root.mkdir()
    source = save(root / "n_completions.npy", "new root")
    wait_for(lambda: holds(source, "new root"))


def test_a_root_that_is_missing_is_waited_for(start: Starter, tmp_path: Path) -> None:
    """A root on a disk that is mounted later comes alive."""
    root = tmp_path / "later"
    daemon = start(root)
    daemon.wait_for("watch.degraded")
    source = save(root / "n_completions.npy", "there")
    wait_for(lambda: is_fresh(source))
    assert daemon.stop() == 0


def test_a_watcher_that_dies_is_replaced(daemon: Daemon, root: Path) -> None:
    """The watch is something that can be thrown away."""
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    source = save(root / "n_completions.npy", "meanwhile")
    wait_for(lambda: holds(source, "meanwhile"))
    daemon.wait_for("watch.degraded")


def test_reload_takes_a_valid_file_and_refuses_a_bad_one(start: Starter, root: Path, tmp_path: Path) -> None:
    """SIGHUP reads the configuration again; an invalid one changes nothing."""
    config = tmp_path / "config.toml"
    config.write_text(f"roots = [{json.dumps(str(root))}]\n")
    daemon = start("--config", config)
    daemon.wait_for("service.ready")
    config.write_text('rots = ["x"]\n[work]\njobs = 0\n')
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("config.rejected")
    (event,) = daemon.named("config.rejected")
    assert len(event["problems"]) == 2
    config.write_text(f'roots = [{json.dumps(str(root))}]\n[sidecars]\nformats = ["json"]\n')
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("config.reloaded")
    source = save(root / "n_completions.npy", "x")
    wait_for(lambda: holds(source, "x"))
    assert not sidecars(source)[1].exists()
    assert daemon.stop(signal.SIGINT) == 0


def test_a_stop_in_the_middle_of_a_large_file_is_quick(daemon: Daemon, root: Path) -> None:
    """SIGTERM ends the work at the end of its block, and leaves no litter."""
    large = root / "large_completions.npy"
    np.save(root / "large.npy", np.full(200_000, "x" * 500))
    (root / "large.npy").rename(large)
    wait_for(lambda: litter(root))
    began = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - began < 30
    assert not litter(root)


def test_backfill_writes_nothing_the_second_time(wheel: Path, root: Path, tmp_path: Path) -> None:
    """A complete tree is left alone: inode and times of every sidecar stay."""
    for i in range(20):
        save(root / f"d{i % 3}" / f"n{i}_completions.npy", f"text {i}")
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    command = [sys.executable, "-m", "daemon", "--backfill", str(root), "--jobs", "2"]
    subprocess.run(command, check=True, env=environment, cwd=tmp_path, capture_output=True)
    before = inodes_and_times(root)
    assert len(before) == 60
    subprocess.run(command, check=True, env=environment, cwd=tmp_path, capture_output=True)
    assert inodes_and_times(root) == before


def test_a_long_source_has_a_worker_of_its_own(daemon: Daemon, root: Path) -> None:
    """So that no small one waits for it: beside the watcher there are two workers afterwards."""
    save(root / "small_completions.npy", "text")
    wait_for((root / "small_completions.md").exists)
    np.save(root / "draft.npy", np.zeros(70, dtype="<U250000"))
    (root / "draft.npy").rename(root / "long_completions.npy")
    wait_for((root / "long_completions.md").exists)
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children]
    assert sum(b"daemon.watch.process" not in command for command in commands) == 2


def test_status_shows_the_running_service(daemon: Daemon, root: Path) -> None:
    """--status is healthy with 0, and 1 when a file failed."""
    command = [sys.executable, "-m", "daemon", "--status"]

    def status() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, check=False, env=daemon.environment, cwd=daemon.directory, capture_output=True, text=True
        )

    wait_for(lambda: status().returncode == 0)
    assert str(root) in status().stdout
    (root / "bad_completions.npy").write_bytes(b"not an array")
    wait_for(lambda: status().returncode == 1)
    assert "bad_completions.npy" in status().stdout
    daemon.stop()
    assert status().returncode == 3
