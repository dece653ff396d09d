"""The set of known directories: what comes, what goes, and what lies below it."""

from __future__ import annotations

import pytest

from daemon.schedule.directories import Directories
from lib.sync.walk import Folder


@pytest.fixture
def tree() -> Directories:
    """Make a set of a root with nested directories."""
    directories = Directories()
    directories.begin_sweep()
    for parts in ((), ("a",), ("a", "b"), ("a", "b", "c"), ("d",)):
        directories.add(Folder("/r", parts))
    directories.end_sweep()
    return directories


def test_a_directory_is_counted_once_however_often_it_is_seen(tree: Directories) -> None:
    """Nested ones are named by their own events and by their parents'."""
    for _ in range(2):
        tree.add(Folder("/r", ("a", "b")))
        tree.add(Folder("/r", ("new",)))
    assert len(tree) == 6


def test_what_is_removed_takes_along_what_is_below(tree: Directories) -> None:
    """A tree that is moved away is named by its top alone."""
    tree.remove(Folder("/r", ("a",)))
    tree.remove(Folder("/r", ("unknown",)))
    assert len(tree) == 2


def test_a_directory_that_came_back_counts(tree: Directories) -> None:
    """Removed and made again before anybody asked."""
    tree.remove(Folder("/r", ("d",)))
    tree.add(Folder("/r", ("d",)))
    assert len(tree) == 5


def test_a_sweep_forgets_what_it_did_not_see(tree: Directories) -> None:
    """No event told of it; what came during the sweep stays."""
    tree.begin_sweep()
    tree.add(Folder("/r", ()))
    tree.add(Folder("/r", ("new",)))
    assert len(tree) == 6
    tree.end_sweep()
    assert len(tree) == 2
