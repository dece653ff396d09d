"""The walk: every source once, no link followed, litter removed, nothing raised."""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from doubles import task_of
from support import SECOND_NS, as_nobody, needs_root, save

from lib.errors import Storage, Unsafe, Vanished
from lib.options import Options
from lib.sync import walk as module
from lib.sync.engine import sync_source
from lib.sync.walk import Folder, Found, PathFailure, Step, look, walk

if TYPE_CHECKING:
    import pytest


def steps(root: Path, *below: str, ignore: tuple[str, ...] = (), dry_run: bool = False) -> list[Step]:
    """Walk to the end."""
    return list(walk(str(root), Options(dry_run=dry_run), frozenset(ignore), below))


def names(found: list[Step]) -> list[str]:
    """List the sources below the root, in the order in which they were met."""
    return ["/".join([*step.task.parts, step.task.name]) for step in found if isinstance(step, Found)]


def put(root: Path, *names: str) -> None:
    """Save sources."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        save(root / name, ["text"], time_ns=SECOND_NS)


def test_sources_are_met_in_order_and_nothing_else_is(tmp_path: Path) -> None:
    """Directories in the order of their names, each with its sources in theirs."""
    put(tmp_path, "b_completions.npy", "a_full_texts.npy", "y/c_completions.npy", "x/z/d_completions.npy")
    for name in ("tokens.npy", "completions.npy", "a_metadata.json", "a_full_texts.json", ".hidden"):
        (tmp_path / name).touch()
    found = steps(tmp_path)
    assert names(found) == [
        "a_full_texts.npy", "b_completions.npy", "x/z/d_completions.npy", "y/c_completions.npy",
    ]  # fmt: skip
    folders = [(step.root, step.parts) for step in found if isinstance(step, Folder)]
    assert folders == [(str(tmp_path), parts) for parts in ((), ("x",), ("x", "z"), ("y",))]


def test_what_is_found_says_what_it_needs(tmp_path: Path) -> None:
    """A source without sidecars is not fresh; one with both is."""
    put(tmp_path, "a_completions.npy")
    [_, found] = steps(tmp_path)
    assert isinstance(found, Found)
    assert ([plan.action for plan in found.plans], found.is_fresh) == (["render", "render"], False)
    directory = os.open(tmp_path, os.O_RDONLY)
    sync_source(directory, "a_completions.npy", Options())
    os.close(directory)
    [_, found] = steps(tmp_path)
    assert isinstance(found, Found)
    assert found.is_fresh
    assert look(found.task, Options()) == found


def test_ignored_directories_are_passed_over(tmp_path: Path) -> None:
    """By name, at any depth; a file of that name is none."""
    put(tmp_path, "old/a_completions.npy", "x/wandb/b_completions.npy", "x/c_completions.npy")
    (tmp_path / "wandb").touch()
    assert names(steps(tmp_path, ignore=("old", "wandb"))) == ["x/c_completions.npy"]


def test_fault_55_hidden_names_are_neither_sources_nor_entered(tmp_path: Path) -> None:
    """AppleDouble, writers' temporary files, snapshots; a root may be hidden itself."""
    root = tmp_path / ".cache"
    put(
        root,
        "._a_completions.npy",
        ".tmp_completions.npy",
        ".snapshots/x/a_completions.npy",
        "a_completions.npy",
    )
    assert names(steps(root)) == ["a_completions.npy"]
    assert list(module.source_names([str(root)], frozenset())) == ["a_completions.npy"]


@needs_root
def test_lost_and_found_that_cannot_be_opened_is_not_a_failure() -> None:
    """It is root's, wherever a disk is mounted; any other closed directory is reported."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        for name in ("lost+found", "closed"):
            (root / name).mkdir(mode=0o700)
        with as_nobody():
            failures = [step.path for step in steps(root) if isinstance(step, PathFailure)]
        assert failures == [str(root / "closed")]


def test_a_part_of_a_tree_can_be_walked(tmp_path: Path) -> None:
    """Tasks keep their root."""
    put(tmp_path, "x/y/a_completions.npy", "z/b_completions.npy")
    found = steps(tmp_path, "x")
    assert names(found) == ["x/y/a_completions.npy"]
    assert {step.task.root for step in found if isinstance(step, Found)} == {str(tmp_path)}


def test_links_to_directories_are_not_followed(tmp_path: Path) -> None:
    """Not even in a circle; the root itself may be one."""
    put(tmp_path, "real/a_completions.npy")
    (tmp_path / "real" / "loop").symlink_to("..")
    (tmp_path / "link").symlink_to("real")
    assert names(steps(tmp_path)) == ["real/a_completions.npy"]
    assert names(steps(tmp_path / "link")) == ["a_completions.npy"]
    [failure] = steps(tmp_path, "link")
    assert isinstance(failure, PathFailure)
    assert isinstance(failure.error, Unsafe)


def test_a_missing_root_is_a_failure_and_a_missing_part_is_not(tmp_path: Path) -> None:
    """A root was asked for; a directory that was removed meanwhile is not reported."""
    [failure] = steps(tmp_path / "gone")
    assert isinstance(failure, PathFailure)
    assert isinstance(failure.error, Vanished)
    assert failure.path == str(tmp_path / "gone")
    assert steps(tmp_path, "gone") == []


def test_a_name_that_is_too_long_for_its_sidecars_is_a_failure_of_its_own(tmp_path: Path) -> None:
    """The neighbours are met all the same."""
    long = "x" * 240 + "_completions.npy"
    put(tmp_path, long[-255:], "a_completions.npy", "z_completions.npy")
    found = steps(tmp_path)
    assert names(found) == ["a_completions.npy", "z_completions.npy"]
    [failure] = [step for step in found if isinstance(step, PathFailure)]
    assert isinstance(failure.error, Storage)
    assert failure.path == str(tmp_path / long[-255:])


def test_a_tree_that_changes_during_the_walk_ends_no_walk(tmp_path: Path) -> None:
    """Sources and directories that went after they were listed are passed over."""
    put(tmp_path, "a_completions.npy", "b_completions.npy", "x/c_completions.npy")
    found = walk(str(tmp_path), Options(), frozenset())
    first = [next(found), next(found)]
    (tmp_path / "b_completions.npy").unlink()
    (tmp_path / "x" / "c_completions.npy").unlink()
    (tmp_path / "x").rmdir()
    assert names([*first, *found]) == ["a_completions.npy"]


def test_litter_of_crashes_is_removed_and_of_live_writers_is_not(tmp_path: Path) -> None:
    """Only exact names; a lock says that the writer lives; a dry run removes nothing."""
    dead, live = (tmp_path / f".generation-sidecars-{secrets.token_hex(8)}.tmp" for _ in range(2))
    other = tmp_path / ".generation-sidecars-notes.tmp"
    for path in (dead, live, other):
        path.touch()
    steps(tmp_path, dry_run=True)
    assert dead.exists()
    with live.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        steps(tmp_path)
    assert (dead.exists(), live.exists(), other.exists()) == (False, True, True)
    live.unlink()


def test_depth_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bottomless tree is not walked for ever."""
    monkeypatch.setattr(module, "_DEPTH_LIMIT", 2)
    put(tmp_path, "1/2/a_completions.npy", "1/2/3/b_completions.npy")
    assert names(steps(tmp_path)) == ["1/2/a_completions.npy"]


def test_a_directory_that_cannot_be_listed_is_a_failure() -> None:
    """It opens and then refuses, as a dead process's network in /proc does (proc_net.c: EINVAL)."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    _, failure = steps(Path("/proc", str(pid)), "net")
    os.waitpid(pid, 0)
    assert isinstance(failure, PathFailure)
    assert isinstance(failure.error, Storage)
    assert failure.error.reason.startswith("the directory cannot be read")


def test_looking_at_what_is_not_there_is_a_failure(tmp_path: Path) -> None:
    """A named source that is missing, in a directory or without one."""
    for path in (tmp_path / "a_completions.npy", tmp_path / "x" / "a_completions.npy"):
        failure = look(task_of(path), Options())
        assert isinstance(failure, PathFailure)
        assert isinstance(failure.error, Vanished)
        assert failure.path == str(path)
