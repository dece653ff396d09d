"""Directories are opened many levels down in one call, no link followed; or name by name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest
from faults.service import CHECKOUT, need
from support import unmeasured

from lib.beneath import open_beneath
from lib.source import open_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@pytest.fixture
def top(tmp_path: Path) -> Iterator[int]:
    """Open a directory with something below it, and a link beside that."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "link").symlink_to("b")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "file").touch()
    descriptor = os.open(tmp_path, FLAGS)
    yield descriptor
    os.close(descriptor)


def test_a_directory_is_opened_in_one_call(top: int, tmp_path: Path) -> None:
    """It is the right one, and no child process inherits it."""
    descriptor = open_beneath(top, ["a", "b"], FLAGS)
    assert descriptor is not None, "a kernel of 5.6 or newer is needed for this test"
    try:
        assert os.path.samestat(os.fstat(descriptor), (tmp_path / "a" / "b").stat())
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    "parts", [["link"], ["link", "b"], ["a", "link"], ["file"], ["none"], [".."], ["a", "..", ".."], ["/"]]
)
def test_nothing_else_is_opened(top: int, parts: list[str]) -> None:
    """Links anywhere on the way, files, what is not there, and the way out."""
    assert open_beneath(top, parts, FLAGS) is None


_OPEN: Final = """
import os, sys
from lib.source import open_directory
with open_directory(sys.argv[1], ["a", "b"]) as directory:
    print(os.fstat(directory).st_ino)
"""


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM", "E2BIG"])
def test_where_a_sandbox_forbids_the_call_the_way_is_walked(top: int, tmp_path: Path, error: str) -> None:
    """By the tool that makes the kernel say so."""
    assert top
    need(shutil.which("strace"), "strace is not installed")
    command = ["strace", "-qq", "-e", "trace=openat2", "-e", f"inject=openat2:error={error}"]
    done = subprocess.run(
        [*command, sys.executable, "-c", _OPEN, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**unmeasured(os.environ), "PYTHONPATH": str(CHECKOUT)},
    )
    assert done.stdout == f"{(tmp_path / 'a' / 'b').stat().st_ino}\n", done.stderr
    assert "(INJECTED)" in done.stderr


def test_a_way_too_long_for_one_call_is_walked(tmp_path: Path) -> None:
    """A kernel takes paths of 4,095 bytes."""
    parts = ["d" * 250] * 20
    before = os.listdir("/proc/self/fd")
    descriptor = os.open(tmp_path, FLAGS)
    for part in parts:
        os.mkdir(part, dir_fd=descriptor)
        deeper = os.open(part, FLAGS, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = deeper
    inode = os.fstat(descriptor).st_ino
    os.close(descriptor)
    with open_directory(str(tmp_path), parts) as directory:
        assert os.fstat(directory).st_ino == inode
    assert os.listdir("/proc/self/fd") == before
