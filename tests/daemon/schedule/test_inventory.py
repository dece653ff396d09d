"""The set of known directories: what comes, what goes, and what lies below it."""

from __future__ import annotations

import pytest

from daemon.schedule.inventory import Inventory
from lib.sync.walk import Folder


@pytest.fixture
def tree() -> Inventory:
    """Make a set of a root with nested directories."""
    inventory = Inventory()
    inventory.begin_sweep()
    for parts in ((), ("a",), ("a", "b"), ("a", "b", "c"), ("d",)):
        inventory.add(Folder("/r", parts))
    inventory.end_sweep()
    return inventory


def test_a_directory_is_counted_once_however_often_it_is_seen(tree: Inventory) -> None:
    """Nested ones are named by their own events and by their parents'."""
    for _ in range(2):
        tree.add(Folder("/r", ("a", "b")))
        tree.add(Folder("/r", ("new",)))
    assert tree.directories == 6


def test_what_is_removed_takes_along_what_is_below(tree: Inventory) -> None:
    """A tree that is moved away is named by its top alone."""
    tree.remove(Folder("/r", ("a",)))
    tree.remove(Folder("/r", ("unknown",)))
    assert tree.forget_gone() == {("/r", "a"), ("/r", "unknown")}
    assert tree.directories == 2


def test_a_directory_that_came_back_counts(tree: Inventory) -> None:
    """Removed and made again before it was forgotten."""
    tree.remove(Folder("/r", ("d",)))
    tree.add(Folder("/r", ("d",)))
    assert not tree.forget_gone()
    assert tree.directories == 5


def test_a_sweep_forgets_what_it_did_not_see(tree: Inventory) -> None:
    """No event told of it; what came during the sweep stays."""
    tree.begin_sweep()
    tree.add(Folder("/r", ()))
    tree.add(Folder("/r", ("new",)))
    assert tree.directories == 6
    tree.end_sweep()
    assert tree.directories == 2
