"""Temporary files: litter is removed, a live writer's file stays, and nothing piles up in any directory."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import Refusing, wait_for

from lib.errors import Storage
from lib.files.atomic import AtomicFile
from lib.files.reader import open_directory
from lib.files.temporary import check_renaming, remove_litter
from lib.names import is_temporary

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "n1_completions.json"
LITTER = ".generation-sidecars-0123456789abcdef.tmp"


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    """Open the test's own directory."""
    with open_directory(str(tmp_path)) as descriptor:
        yield descriptor


WRITER = """
import sys
from lib.files.atomic import AtomicFile
from lib.files.reader import open_directory
with open_directory(sys.argv[1]) as directory:
    draft = AtomicFile(directory)
    draft.write(b"half")
    print(draft.name, flush=True)
    sys.stdin.read()
"""


def test_a_killed_writers_file_is_removed_and_a_live_writers_file_stays(
    directory: int, tmp_path: Path
) -> None:
    """The lock tells them apart: the kernel releases it when a process dies."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with writer:
        assert writer.stdout
        name = writer.stdout.readline().strip()
        assert remove_litter(directory, [name]) == 0
        assert (tmp_path / name).exists()
        writer.kill()
        writer.wait()
        wait_for(lambda: remove_litter(directory, [name]) == 1)
    assert os.listdir(tmp_path) == []


def test_only_our_own_files_are_litter(directory: int, tmp_path: Path) -> None:
    """Other names stay, and so do links, directories and FIFOs with names like ours."""
    others = ["notes.tmp", ".generation-sidecars-0.tmp", LITTER + ".txt", NAME, "a_completions.npy"]
    for name in others:
        (tmp_path / name).write_text("keep")
    kinds = [LITTER.replace("0", digit, 1) for digit in "abcd"]
    (tmp_path / kinds[0]).mkdir()
    (tmp_path / kinds[1]).symlink_to(NAME)
    os.mkfifo(tmp_path / kinds[2])
    (tmp_path / kinds[3]).symlink_to("nowhere")
    (tmp_path / LITTER).write_text("left by a crash")
    names = os.listdir(tmp_path)
    assert remove_litter(directory, [*names, "gone"]) == 1
    assert sorted(os.listdir(tmp_path)) == sorted({*names} - {LITTER})
    for name in kinds[1:]:
        (tmp_path / name).unlink()


def test_a_file_that_takes_the_name_of_litter_meanwhile_stays(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder may remove it between opening and locking, and the next holder makes another file."""
    (tmp_path / LITTER).touch()
    flock = fcntl.flock

    def lock_too_late(descriptor: int, operation: int) -> None:
        (tmp_path / LITTER).unlink()
        (tmp_path / LITTER).write_text("the next holder's")
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_too_late)
    assert remove_litter(directory, [LITTER]) == 0
    assert (tmp_path / LITTER).read_text() == "the next holder's"


def test_a_draft_taken_for_litter_before_it_is_locked_gets_another_name(tmp_path: Path) -> None:
    """A writer that loses its new file to a sweep makes another one, and all that it writes is published."""
    code = """
import sys, os
from lib.files.temporary import remove_litter
from lib.files.reader import open_directory
with open_directory(sys.argv[1]) as directory:
    print("ready", flush=True)
    while not os.path.exists("stop"):
        remove_litter(directory, os.listdir(directory))
"""
    with open_directory(str(tmp_path)) as directory:
        arguments = [sys.executable, "-c", code, str(tmp_path)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        with subprocess.Popen(arguments, cwd=tmp_path, env=environment, stdout=subprocess.PIPE) as sweeper:
            assert sweeper.stdout
            sweeper.stdout.readline()
            for number in range(300):
                draft = AtomicFile(directory)
                draft.write(b"%d" % number)
                draft.publish(NAME)
                assert (tmp_path / NAME).read_bytes() == b"%d" % number
            (tmp_path / "stop").touch()
    assert sorted(os.listdir(tmp_path)) == [NAME, "stop"]


# --- directories in which files would pile up


def test_a_directory_whose_files_can_be_renamed_is_left_as_it_was(directory: int, tmp_path: Path) -> None:
    """The probe is removed, and so is one that was interrupted."""
    for _ in range(2):
        check_renaming(directory)
        assert os.listdir(tmp_path) == []
        (tmp_path / f".generation-sidecars-{0:016x}.tmp").touch()


@pytest.mark.parametrize("calls", [("os.rename",), ("os.rename", "os.unlink")])
def test_a_directory_whose_files_cannot_be_renamed_is_refused(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: tuple[str, ...]
) -> None:
    """However often it is tried, at most one hidden file stays."""
    Refusing(monkeypatch, errno.EPERM, *calls)
    for _ in range(3):
        with pytest.raises(Storage, match="no file in its directory can be renamed"):
            check_renaming(directory)
        assert len(os.listdir(tmp_path)) == len(calls) - 1
        assert all(is_temporary(name) for name in os.listdir(tmp_path))


def test_a_directory_whose_files_cannot_be_removed_keeps_one(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file that cannot be removed replaces the one before."""
    Refusing(monkeypatch, errno.EPERM, "os.unlink")
    for _ in range(3):
        check_renaming(directory)
        AtomicFile(directory).discard()
        assert len(os.listdir(tmp_path)) == 1


def test_somebody_elses_link_with_the_name_of_the_probe_stays(directory: int, tmp_path: Path) -> None:
    """The directory is not refused for it."""
    stranger = tmp_path / f".generation-sidecars-{0:016x}.tmp"
    stranger.symlink_to("nowhere")
    check_renaming(directory)
    assert os.listdir(tmp_path) == [stranger.name]
