"""The watcher's inside without its process: events and records, bursts, words."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

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


def test_the_handler_tells_once_a_second_that_it_is_busy_with_other_things(pipe: tuple[int, int]) -> None:
    """So that work on foreign files is not taken for spinning, and costs no record each."""
    handler = watch_events.Handler(watch_events.Out(pipe[1]), watch_events.Burst(16384))
    for n in range(100):
        handler.dispatch(events.FileClosedEvent(f"r/{n}.txt"))
    assert os.read(pipe[0], 1000) == b"b\0"


def test_a_burst_is_suspect_from_a_quarter_of_the_queue_on() -> None:
    """Events without a second of rest between them."""
    burst = watch_events.Burst(400)
    for n in range(99):
        burst.add(n * 0.01)
    assert not burst.suspected.is_set()
    burst.add(1.0)
    assert burst.suspected.is_set()


def test_a_big_queue_does_not_make_bursts_rare() -> None:
    """A machine may allow millions; what a burst may lose is then little, what it may hide is not."""
    burst = watch_events.Burst(10**7)
    for _ in range(4096):
        burst.add(0.0)
    assert burst.suspected.is_set()


def test_rests_and_minutes_end_a_burst() -> None:
    """A tree where something always happens is not suspect for that."""
    burst = watch_events.Burst(400)
    for n in range(1000):
        burst.add(n * 1.5)
    for n in range(1000):
        burst.add(2000 + n * 0.9)
    assert not burst.suspected.is_set()


def test_a_suspect_burst_is_reported_when_it_is_over() -> None:
    """The wait ends after a rest, and the next wait is for the next burst."""
    burst = watch_events.Burst(4)
    burst.add(time.monotonic() - 5)
    burst.wait()
    assert not burst.suspected.is_set()


def test_watchdogs_word_of_an_overflow_is_noted_and_other_warnings_are_not(pipe: tuple[int, int]) -> None:
    """The words are those of watchdog 7.1."""
    lost = threading.Event()
    reader = watch_events.LogReader(watch_events.Out(pipe[1]), lost)

    def say(text: str) -> None:
        reader.emit(logging.LogRecord("watchdog", logging.WARNING, "", 0, text, (), None))

    say("something else")
    assert not lost.is_set()
    say("Inotify queue overflowed; filesystem events were lost")
    assert lost.is_set()


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
