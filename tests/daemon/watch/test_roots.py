"""The roots: which directory stands there, whose it is, and what lies below it."""

from __future__ import annotations

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


def test_a_look_tells_what_changed(tmp_path: Path) -> None:
    """The first look, coming, going, being replaced, becoming a file; and nothing in between."""
    path = tmp_path / "root"
    root = Root(str(path))
    assert root.look()
    assert (root.look(), root.is_there) == (False, False)
    path.mkdir()
    assert root.look()
    assert (root.look(), root.is_there) == (False, True)
    path.rename(tmp_path / "old")
    path.mkdir()
    assert (root.look(), root.is_there) == (True, True)
    path.rmdir()
    path.touch()
    assert (root.look(), root.is_there) == (True, False)


def test_a_root_may_be_a_link(tmp_path: Path) -> None:
    """The way to a root is followed; pointing it elsewhere is a change."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    link = tmp_path / "link"
    link.symlink_to("one")
    root = Root(str(link))
    root.look()
    link.unlink()
    link.symlink_to("two")
    assert (root.look(), root.is_there) == (True, True)


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
    """The second one is refused until the first one lets go; no file is left."""
    first, second = Root(str(tmp_path)), Root(str(tmp_path))
    assert first.lock()
    assert first.lock()
    assert not second.lock()
    first.unlock()
    first.unlock()
    assert second.lock()
    second.unlock()
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_is_not_there_needs_no_lock(tmp_path: Path) -> None:
    """There is nothing to share."""
    root = Root(str(tmp_path / "missing"))
    assert root.lock()
    root.unlock()
