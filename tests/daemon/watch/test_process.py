"""The watcher's inside without its process: events and records, bursts, words."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from typing import TYPE_CHECKING, NoReturn

import pytest
from watchdog import events

from daemon.watch import handlers as watch_events
from daemon.watch import process as watcher
from daemon.watch.protocol import HINTS, Hint, hint_of

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


def hint(event: events.FileSystemEvent) -> Hint | None:
    """Say what an event tells the service."""
    found = watch_events.letter_and_path(event)
    return None if found is None else hint_of(*found)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (events.FileClosedEvent("r/n1_completions.npy"), Hint("closed", "r/n1_completions.npy")),
        (events.FileClosedEvent("r/n1_full_texts.npy"), Hint("closed", "r/n1_full_texts.npy")),
        (events.FileClosedEvent("r/n1_metadata.json"), Hint("closed", "r/n1_metadata.json")),
        (events.FileClosedEvent(b"r/\xff_completions.npy"), Hint("closed", "r/\udcff_completions.npy")),
        (events.FileCreatedEvent("r/n1_completions.npy"), Hint("seen", "r/n1_completions.npy")),
        (events.FileMovedEvent("r/tmp", "r/n1_completions.npy"), Hint("moved", "r/n1_completions.npy")),
        (events.FileMovedEvent("", "r/n1_completions.npy"), Hint("moved", "r/n1_completions.npy")),
        (events.FileMovedEvent("r/n1_completions.npy", ""), None),
        (events.DirMovedEvent("", "r/d"), Hint("directory", "r/d")),
        (events.DirMovedEvent("r/d", ""), Hint("directory", "r/d")),
        (events.DirCreatedEvent("r/d"), Hint("directory", "r/d")),
        (events.DirMovedEvent("r/d", "r/e"), Hint("directory", "r/e")),
        (events.DirDeletedEvent("r/d"), Hint("directory", "r/d")),
        (events.DirDeletedEvent("r/"), Hint("directory", "r")),
        (events.FileMovedEvent("r/n1_completions.npy", "r/old"), None),
        (events.FileDeletedEvent("r/n1_completions.npy"), None),
        (events.FileClosedEvent("r/n1_completions.json"), None),
        (events.FileClosedEvent("r/n1_completions.md"), None),
        (events.FileClosedEvent("r/.generation-sidecars-0123456789abcdef.tmp"), None),
        (events.FileClosedEvent("completions.npy"), None),
        (events.FileClosedEvent("r_completions.npy/x"), None),
    ],
)
def test_each_event_makes_its_hint_or_none(event: events.FileSystemEvent, expected: Hint | None) -> None:
    """Sources and metadata that were closed, renamed or made, and directories; nothing else."""
    assert hint(event) == expected


def test_every_kind_of_hint_has_its_letter() -> None:
    """One byte each, and none twice."""
    assert {len(letter) for letter in HINTS} == {1}
    assert len(set(HINTS.values())) == len(HINTS)


def test_a_handler_reports_no_hidden_name_below_its_root(pipe: tuple[int, int]) -> None:
    """Neither files nor directories; dots above the root, and inside of names, do not count."""
    told: list[str] = []
    handler = watch_events.Handler(watch_events.Out(pipe[1]), "/home/.x/r/", lambda: told.append("directory"))
    for path in ("/home/.x/r/.n_completions.npy", "/home/.x/r/.git/n_completions.npy"):
        handler.dispatch(events.FileClosedEvent(path))
    handler.dispatch(events.DirCreatedEvent("/home/.x/r/a/.b"))
    assert told == []
    handler.dispatch(events.FileClosedEvent("/home/.x/r/a.b_completions.npy"))
    handler.dispatch(events.DirCreatedEvent("/home/.x/r/a"))
    assert told == ["directory"]
    assert os.read(pipe[0], 1000) == b"c/home/.x/r/a.b_completions.npy\0d/home/.x/r/a\0"


class Ended(BaseException):
    """The end of a process that is not to end."""


@pytest.mark.parametrize(
    ("level", "text", "expected"),
    [
        (logging.WARNING, "something else", b""),
        (logging.WARNING, "Inotify queue overflowed; filesystem events were lost", b"o\0f"),
        (logging.ERROR, "Unable to rebuild", b"fwatchdog logged an error: Unable to rebuild\0"),
    ],
)
def test_what_watchdog_logs_of_lost_events_and_errors_ends_the_process(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, level: int, text: str, expected: bytes
) -> None:
    """The words are those of watchdog 7.1; other warnings are ignored."""

    def end(_status: int) -> NoReturn:
        raise Ended

    monkeypatch.setattr(os, "_exit", end)
    reader = watch_events.LogReader(watch_events.Out(pipe[1]))
    with contextlib.suppress(Ended):
        reader.emit(logging.LogRecord("watchdog", level, "", 0, text, (), None))
    os.write(pipe[1], b"END")
    assert os.read(pipe[0], 1000).startswith(expected or b"END")


def test_an_overflow_is_reported_from_the_events_of_watchdog_6() -> None:
    """It comes with the watch -1, which watchdog 6 passes over."""
    reported: list[str] = []
    rows = [(1, 8, 0, b"a"), (-1, 0x4000, 0, b""), (2, 8, 0, b"b")]
    parse = watcher.overflows_reported(lambda _buffer: iter(rows), lambda: reported.append("lost"))
    assert list(parse(b"")) == rows
    assert reported == ["lost"]


@pytest.mark.parametrize(
    ("number", "name"), [(errno.ENOSPC, "max_user_watches"), (errno.EMFILE, "max_user_instances")]
)
def test_a_limit_is_named_with_a_command_that_raises_it(number: int, name: str) -> None:
    """To at least twice of what it is."""
    words = watcher.in_words(OSError(number, "no"))
    now = watcher.limit(name)
    assert now is not None
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
    assert watcher.limit("no_such_limit") is None


def test_the_words_for_a_dead_thread_name_it_and_the_fault() -> None:
    """An operator may search for them."""
    assert watcher.died("InotifyFD", KeyError(b"/x")) == "InotifyFD died of KeyError: b'/x'"
