"""The lock of a cache: one saver or many loaders, with and without locks of the file system."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from support import Refusing

from lib.files.lock import SetLock
from lib.files.reader import open_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class MustWait(Exception):  # noqa: N818 -- what a saver that has to wait is stopped by
    """Raised instead of waiting."""


def stop() -> None:
    """Stop a saver that waits."""
    raise MustWait


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    """Open the test's own directory."""
    with open_directory(str(tmp_path)) as descriptor:
        yield descriptor


@pytest.fixture(params=["locks", "no locks"])
def _locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test on a file system that has locks, and on one that has none."""
    if request.param == "no locks":
        Refusing(monkeypatch, errno.ENOLCK, "fcntl.flock")


@pytest.mark.usefixtures("_locks")
def test_a_saver_keeps_other_savers_out_and_leaves_no_file(directory: int, tmp_path: Path) -> None:
    """Those of another cache do not wait."""
    for _ in range(2):
        with SetLock(directory, "n5").for_saver(stop):
            assert SetLock(directory, "n5").exists()
            with pytest.raises(MustWait), SetLock(directory, "n5").for_saver(stop):
                pass
            with SetLock(directory, "n6").for_saver(stop):
                pass
        assert os.listdir(tmp_path) == []


def test_without_a_saver_a_loader_needs_no_lock(directory: int, tmp_path: Path) -> None:
    """It makes no file."""
    with SetLock(directory, "n5").for_loader() as is_held:
        assert not is_held
        assert os.listdir(tmp_path) == []


def test_loaders_share_what_a_killed_saver_left_and_keep_savers_out(directory: int, tmp_path: Path) -> None:
    """The next saver uses the file again, and removes it."""
    lock = SetLock(directory, "n5")
    with lock.for_saver(stop):
        [name] = os.listdir(tmp_path)
    (tmp_path / name).touch()
    with lock.for_loader() as is_held, SetLock(directory, "n5").for_loader() as is_held_too:
        assert is_held
        assert is_held_too
        with pytest.raises(MustWait), lock.for_saver(stop):
            pass
    with lock.for_saver(stop):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("is_link", [False, True])
def test_a_directory_or_link_with_the_name_of_the_lock_stops_nobody(
    directory: int, tmp_path: Path, is_link: bool
) -> None:
    """Nobody waits for it, and no link is followed."""
    lock = SetLock(directory, "n5")
    with lock.for_saver(stop):
        [name] = os.listdir(tmp_path)
    (tmp_path / name).symlink_to("nowhere") if is_link else (tmp_path / name).mkdir()
    with lock.for_loader() as is_held:
        assert not is_held
    with lock.for_saver(stop):
        pass
    assert os.listdir(tmp_path) == [name]


def test_a_file_that_cannot_be_removed_stays_and_can_be_locked_again(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is in an append-only directory."""
    Refusing(monkeypatch, errno.EPERM, "os.unlink")
    lock = SetLock(directory, "n5")
    for _ in range(2):
        with lock.for_saver(stop):
            pass
        assert lock.stays
        assert len(os.listdir(tmp_path)) == 1
