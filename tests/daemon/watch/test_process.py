"""The watcher's inside without its process: events and records, bursts, words."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING

import pytest
from watchdog import events

from daemon.watch import process as watcher

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Make a pipe that is never waited on."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (events.FileClosedEvent("r/n1_completions.npy"), ("closed", "r/n1_completions.npy")),
        (events.FileClosedEvent("r/n1_full_texts.npy"), ("closed", "r/n1_full_texts.npy")),
        (events.FileClosedEvent("r/n1_metadata.json"), ("closed", "r/n1_metadata.json")),
        (events.FileClosedEvent(b"r/\xff_completions.npy"), ("closed", "r/\udcff_completions.npy")),
        (events.FileCreatedEvent("r/n1_completions.npy"), ("seen", "r/n1_completions.npy")),
        (events.FileMovedEvent("r/tmp", "r/n1_completions.npy"), ("closed", "r/n1_completions.npy")),
        (events.FileMovedEvent("", "r/n1_completions.npy"), ("closed", "r/n1_completions.npy")),
        (events.FileMovedEvent("r/n1_completions.npy", ""), None),
        (events.DirMovedEvent("", "r/d"), ("directory", "r/d")),
        (events.DirMovedEvent("r/d", ""), ("directory", "r/d")),
        (events.DirCreatedEvent("r/d"), ("directory", "r/d")),
        (events.DirMovedEvent("r/d", "r/e"), ("directory", "r/e")),
        (events.DirDeletedEvent("r/d"), ("directory", "r/d")),
        (events.DirDeletedEvent("r/"), ("directory", "r")),
        (events.FileMovedEvent("r/n1_completions.npy", "r/old"), None),
        (events.FileDeletedEvent("r/n1_completions.npy"), None),
        (events.FileClosedEvent("r/n1_completions.json"), None),
        (events.FileClosedEvent("r/n1_completions.md"), None),
        (events.FileClosedEvent("r/.generation-sidecars-0123456789abcdef.tmp"), None),
        (events.FileClosedEvent("completions.npy"), None),
        (events.FileClosedEvent("r_completions.npy/x"), None),
    ],
)
def test_each_event_makes_its_hint_or_none(
    event: events.FileSystemEvent, expected: tuple[str, str] | None
) -> None:
    """Sources and metadata that were closed, renamed or made, and directories; nothing else."""
    assert watcher.hint_of(event) == expected


def test_a_handler_reports_no_hidden_name_below_its_root(pipe: tuple[int, int]) -> None:
    """Neither files nor directories; dots above the root, and inside of names, do not count."""
    handler = watcher.Handler(watcher.Out(pipe[1]), "/home/.x/r/")
    for path in ("/home/.x/r/.n_completions.npy", "/home/.x/r/.git/n_completions.npy"):
        handler.dispatch(events.FileClosedEvent(path))
    handler.dispatch(events.DirCreatedEvent("/home/.x/r/a/.b"))
    handler.dispatch(events.FileClosedEvent("/home/.x/r/a.b_completions.npy"))
    handler.dispatch(events.DirCreatedEvent("/home/.x/r/a"))
    records = [json.loads(line) for line in os.read(pipe[0], 1000).splitlines()]
    assert records == [["closed", "/home/.x/r/a.b_completions.npy"], ["directory", "/home/.x/r/a"]]


@pytest.mark.parametrize(
    ("number", "name"), [(errno.ENOSPC, "max_user_watches"), (errno.EMFILE, "max_user_instances")]
)
def test_a_limit_is_named_with_a_command_that_raises_it(number: int, name: str) -> None:
    """To at least twice of what it is."""
    words = watcher.in_words(OSError(number, "no"))
    now = watcher.limit(name)
    assert now
    assert f"fs.inotify.{name}={now} " in words
    assert int(words.rpartition("=")[2]) >= 2 * now


def test_other_refusals_name_the_root() -> None:
    """The sentence is for a person."""
    assert (
        watcher.in_words(OSError(errno.EIO, "Input/output error", "/data"))
        == "/data could not be watched: Input/output error"
    )


def test_a_limit_that_is_hidden_is_unknown() -> None:
    """Some sandboxes hide /proc/sys."""
    assert watcher.limit("no_such_limit") == 0
