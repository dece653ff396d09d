"""The roots: which directory stands there, whose it is, and what lies below it."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from daemon.watch.roots import Root
from lib.errors import Storage

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("root", "path", "parts"),
    [
        ("/data", "/data", ()),
        ("/data", "/data/", ()),
        ("/data/", "/data/a/b", ("a", "b")),
        ("/data", "/data//a/./b", ("a", "b")),
        ("/data", "/database/a", None),
        ("/data", "/", None),
        ("/data", "/data/../etc", None),
        ("/", "/a", ("a",)),
        ("exp", "exp/a", ("a",)),
        ("./exp/", "exp/a", ("a",)),
        ("exp", "experiments/a", None),
        (".", "./a", ("a",)),
        (".", "a/b", ("a", "b")),
        (".", "../a", None),
        (".", "/a", None),
        ("..", "../a", ("a",)),
        ("/r", "/r/\udcff\n", ("\udcff\n",)),
    ],
)
def test_paths_are_split_below_their_root(root: str, path: str, parts: tuple[str, ...] | None) -> None:
    """By name alone; what is not below is not ours."""
    assert Root(root).parts_of(path) == parts


def test_paths_are_split_where_there_is_no_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service whose directory was deleted under it still reads its hints."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert Root("exp").parts_of("exp/a") == ("a",)


def looked_at(root: Root) -> tuple[bool, bool]:
    """Look, and tell whether the root is usable, and taken."""
    root.look()
    return root.is_usable, root.is_taken


def test_a_look_finds_which_directory_stands_there(tmp_path: Path) -> None:
    """None, one, another one, none, a file."""
    path = tmp_path / "root"
    root = Root(str(path))
    assert looked_at(root) == (False, False)
    path.mkdir()
    assert looked_at(root) == (True, False)
    before = root.identity
    path.rename(tmp_path / "old")
    path.mkdir()
    assert looked_at(root) == (True, False)
    assert root.identity != before
    path.rmdir()
    assert looked_at(root) == (False, False)
    path.touch()
    assert looked_at(root) == (False, False)
    root.unlock()


def test_a_root_may_be_a_link(tmp_path: Path) -> None:
    """The way to a root is followed; pointing it elsewhere is a change."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    link = tmp_path / "link"
    link.symlink_to("one")
    root = Root(str(link))
    root.look()
    before = root.identity
    link.unlink()
    link.symlink_to("two")
    root.look()
    assert root.identity not in {before, None}
    root.unlock()


def test_a_root_is_made_with_its_parents(tmp_path: Path) -> None:
    """Twice is fine; what cannot be made is an error with a hint."""
    root = Root(str(tmp_path / "a" / "b"))
    root.make()
    root.make()
    assert os.path.isdir(root.path)
    (tmp_path / "file").touch()
    with pytest.raises(Storage):
        Root(str(tmp_path / "file")).make()


def test_one_service_a_root(tmp_path: Path) -> None:
    """The second one is refused until the first one lets go, and tries again; no file is left."""
    first, second = Root(str(tmp_path)), Root(str(tmp_path))
    assert looked_at(first) == (True, False)
    assert looked_at(second) == (False, True)
    first.unlock()
    first.unlock()
    assert looked_at(second) == (True, False)
    second.unlock()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_never_let_go_while_its_directory_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No system call of a second look is about the lock, so nobody can slip in."""
    root = Root(str(tmp_path))
    root.look()
    monkeypatch.setattr(fcntl, "flock", None)
    monkeypatch.setattr(os, "close", None)
    for _ in range(3):
        assert looked_at(root) == (True, False)
    monkeypatch.undo()
    root.unlock()


def test_a_replaced_root_is_locked_before_the_old_one_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every moment the service holds one of the two."""
    path = tmp_path / "root"
    path.mkdir()
    root = Root(str(path))
    root.look()
    old = tmp_path / "old"
    path.rename(old)
    path.mkdir()
    free: list[bool] = []
    flock = fcntl.flock

    def observe(descriptor: int, operation: int) -> None:
        other = os.open(old, os.O_RDONLY)
        try:
            flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free.append(True)
        except BlockingIOError:
            free.append(False)
        finally:
            os.close(other)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", observe)
    assert looked_at(root) == (True, False)
    assert free == [False]
    assert looked_at(Root(str(path))) == (False, True)
    root.unlock()


def test_fault_53_where_directories_cannot_be_locked_it_does_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS wants a writable descriptor for an exclusive lock, which a directory never has."""

    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(fcntl, "flock", refuse)
    root = Root(str(tmp_path))
    assert looked_at(root) == (True, False)
    root.unlock()


def test_another_name_of_a_root_takes_its_lock_over(tmp_path: Path) -> None:
    """When the configuration calls the directory by another path from now on."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    old, new = Root(str(tmp_path / "real")), Root(str(tmp_path / "link"))
    old.look()
    new.look([old])
    assert (new.is_usable, new.is_taken) == (True, False)
    old.unlock()
    assert looked_at(Root(str(tmp_path / "real"))) == (False, True)
    new.unlock()


def test_two_names_of_one_directory_and_nested_roots_are_told_as_that(tmp_path: Path) -> None:
    """Through links too; what merely begins alike is apart, and so is what is not there."""
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "real-2").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "deep").symlink_to("real/inner")
    real, link, deep, apart, gone, gone_too = (
        Root(str(tmp_path / name)) for name in ("real", "link", "deep", "real-2", "gone", "gone-2")
    )
    assert link.overlap([real, link]) == f"{link.path} is the same directory as {real.path}"
    assert deep.overlap([real, deep]) == f"{deep.path} lies inside {real.path}"
    for root in (real, apart, gone, gone_too):
        assert root.overlap([real, deep, apart, gone, gone_too]) == ""
