"""The watcher's inside: watchdog's events and log messages become records on the pipe."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Final, NoReturn

from watchdog import events

from daemon.watch.protocol import CLOSED, DIRECTORY, FATAL, MOVED, OVERFLOW, SEEN, record
from lib.names import kind_of, sources_of_metadata

if TYPE_CHECKING:
    from collections.abc import Callable

LETTERS: Final = {
    events.EVENT_TYPE_CLOSED: CLOSED,
    events.EVENT_TYPE_MOVED: MOVED,
    events.EVENT_TYPE_CREATED: SEEN,
}
GIVEN_UP: Final = 1


class Out:
    """The pipe to the service; whole records, from any thread."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def send(self, letter: bytes, payload: bytes = b"") -> None:
        """Write one record, waiting while the pipe is full; end the process when nobody reads any more."""
        data = record(letter, payload)
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._fd, data) :]
            except OSError:
                os._exit(GIVEN_UP)

    def give_up(self, reason: str) -> NoReturn:
        """Report the reason and end the process at once: joining watchdog's threads may never return."""
        self.send(FATAL, reason.replace("\0", "").encode(errors="backslashreplace"))
        os._exit(GIVEN_UP)

    def overflowed(self) -> NoReturn:
        """Report lost events and end the process: the directories among them are not watched.

        watchdog 6 goes on without those; watchdog 7 makes all its watches anew, which overflows the queue of
        a large tree again, for ever.
        """
        self.send(OVERFLOW)
        self.give_up("events came faster than they could be read")


class Handler(events.FileSystemEventHandler):
    """Turns one root's events into records.  It never raises, and waits for nothing but the pipe.

    ``on_directory`` is called after each event of a directory.
    """

    def __init__(self, out: Out, root: str, on_directory: Callable[[], object]) -> None:
        self._out = out
        self._base = len(os.fsencode(root.rstrip("/")))
        self._on_directory = on_directory

    def dispatch(self, event: events.FileSystemEvent) -> None:
        """Report one event, if it is of interest."""
        found = letter_and_path(event)
        if found is None or b"/." in found[1][self._base :]:  # hidden: neither a source nor entered
            return
        self._out.send(*found)
        if found[0] == DIRECTORY:
            self._on_directory()


class LogReader(logging.Handler):
    """Acts on what watchdog logs: it reports an overflow in no other way."""

    def __init__(self, out: Out) -> None:
        super().__init__(logging.WARNING)
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        """End the process after an overflow or an error."""
        message = record.getMessage()
        if "overflow" in message.lower():
            self._out.overflowed()
        elif record.levelno >= logging.ERROR:
            self._out.give_up(f"watchdog logged an error: {message}")


def letter_and_path(event: events.FileSystemEvent) -> tuple[bytes, bytes] | None:
    """Return the letter and path of an event's record; None when nobody needs it."""
    path = os.fsencode(event.dest_path or event.src_path)
    if event.is_directory:
        return DIRECTORY, path.rstrip(b"/") or b"/"
    has_left = event.event_type == events.EVENT_TYPE_MOVED and not event.dest_path
    name = os.fsdecode(path.rpartition(b"/")[2])
    letter = LETTERS.get(event.event_type)
    if letter is None or has_left or (kind_of(name) is None and not sources_of_metadata(name)):
        return None
    return letter, path
