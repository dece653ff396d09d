"""The watcher's inside without its process: events and records, bursts, words."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import pytest
from watchdog import events

from daemon.watch import process as watcher


def records_of(root: str, *happened: events.FileSystemEvent) -> list[list[str]]:
    """Return what a root's handler writes."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as records:
        with os.fdopen(writing, "w") as out, pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            for event in happened:
                watcher.Handler(root).dispatch(event)
        return [json.loads(line) for line in records]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (events.FileClosedEvent("r/n1_completions.npy"), ["closed", "r", "n1_completions.npy"]),
        (events.FileClosedEvent("r/n1_full_texts.npy"), ["closed", "r", "n1_full_texts.npy"]),
        (events.FileClosedEvent("r/n1_metadata.json"), ["closed", "r", "n1_metadata.json"]),
        (events.FileClosedEvent(b"r/\xff_completions.npy"), ["closed", "r", "\udcff_completions.npy"]),
        (events.FileCreatedEvent("r/n1_completions.npy"), ["seen", "r", "n1_completions.npy"]),
        (events.FileMovedEvent("r/tmp", "r/n1_completions.npy"), ["closed", "r", "n1_completions.npy"]),
        (events.FileMovedEvent("", "r/n1_completions.npy"), ["closed", "r", "n1_completions.npy"]),
        (events.FileMovedEvent("r/n1_completions.npy", ""), None),
        (events.DirMovedEvent("", "r/d"), ["directory", "r", "d"]),
        (events.DirMovedEvent("r/d", ""), ["directory", "r", "d"]),
        (events.DirCreatedEvent("r/d"), ["directory", "r", "d"]),
        (events.DirMovedEvent("r/d", "r/e"), ["directory", "r", "e"]),
        (events.DirDeletedEvent("r/d"), ["directory", "r", "d"]),
        (events.DirDeletedEvent("r/"), ["directory", "r"]),
        (events.FileMovedEvent("r/n1_completions.npy", "r/old"), None),
        (events.FileDeletedEvent("r/n1_completions.npy"), None),
        (events.FileClosedEvent("r/n1_completions.json"), None),
        (events.FileClosedEvent("r/n1_completions.md"), None),
        (events.FileClosedEvent("r/.generation-sidecars-0123456789abcdef.tmp"), None),
        (events.FileClosedEvent("completions.npy"), None),
        (events.FileClosedEvent("r_completions.npy/x"), None),
    ],
)
def test_each_event_makes_its_hint_or_none(event: events.FileSystemEvent, expected: list[str] | None) -> None:
    """Sources and metadata that were closed, renamed or made, and directories; nothing else."""
    assert records_of("r", event) == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("root", "path", "parts"),
    [
        ("/data", "/data/a/b", ["a", "b"]),
        ("/data/", "/data/a/", ["a"]),
        ("/data", "/data/", []),
        ("/", "/a", ["a"]),
        ("exp", "exp/a", ["a"]),
        ("./exp/", "./exp/a", ["a"]),
        (".", "./a", ["a"]),
        ("..", "../a", ["a"]),
        ("/r", "/r/\udcff\n", ["\udcff\n"]),
    ],
)
def test_paths_are_split_below_their_root(root: str, path: str, parts: list[str]) -> None:
    """However the root is written."""
    assert records_of(root, events.DirCreatedEvent(path)) == [["directory", root, *parts]]


@pytest.mark.parametrize(
    ("number", "name"), [(errno.ENOSPC, "max_user_watches"), (errno.EMFILE, "max_user_instances")]
)
def test_a_limit_is_named_with_a_command_that_raises_it(number: int, name: str) -> None:
    """The value in the command is above the present one."""
    _, _, setting = watcher.in_words(OSError(number, "no")).partition("; raise it with sysctl -w fs.inotify.")
    assert setting.startswith(f"{name}=")
    assert int(setting.removeprefix(f"{name}=")) > int(Path("/proc/sys/fs/inotify", name).read_text())


def test_other_refusals_name_the_root() -> None:
    """The sentence is for a person."""
    words = watcher.in_words(OSError(errno.EIO, "Input/output error"), "/data")
    assert words == "/data could not be watched: Input/output error"
