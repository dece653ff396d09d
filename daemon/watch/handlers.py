"""The watcher's inside: events become records, and a burst of them a suspicion."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from typing import Final, NoReturn

from watchdog import events

from daemon.watch.protocol import BUSY, CLOSED, DIRECTORY, FATAL, MOVED, OVERFLOW, PONG, SEEN, record
from lib.names import kind_of, sources_of_metadata

LETTERS: Final = {
    events.EVENT_TYPE_CLOSED: CLOSED,
    events.EVENT_TYPE_MOVED: MOVED,
    events.EVENT_TYPE_CREATED: SEEN,
}

LULL_SECONDS: Final = 1.0
BURST_SECONDS: Final = 60.0
QUEUE_DEFAULT: Final = 16384
"""The kernel's own default for fs.inotify.max_queued_events."""
GIVEN_UP: Final = 1
FENCE: Final = "overflow"
"""The file in the canary's directory that this process makes for itself; see ``watcher.fence``."""


class Out:
    """The pipe to the parent; whole records, from any thread."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def send(self, letter: bytes, payload: bytes = b"") -> None:
        """Write one record, waiting while the pipe is full; without a reader, end the process."""
        data = record(letter, payload)
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._fd, data) :]
            except OSError:
                os._exit(GIVEN_UP)

    def give_up(self, reason: str) -> NoReturn:
        """Say why and end the process at once: joining watchdog's threads may never return."""
        self.send(FATAL, reason.replace("\0", "").encode(errors="backslashreplace"))
        os._exit(GIVEN_UP)


class Burst:
    """Counts events that come without a lull, to guess at an overflow that nobody reports.

    A burst is suspect from a quarter of the kernel's queue on, not from all of it: a directory's removal puts
    three events into the queue and one of them comes out here, a rename two.  After a minute a count starts
    anew, so that a tree that is merely always a little busy is not under suspicion.
    """

    def __init__(self, queue_size: int) -> None:
        self.suspected = threading.Event()
        self._threshold = min(queue_size // 4, QUEUE_DEFAULT // 4)
        self._start = self._last = float("-inf")
        self._count = 0

    def add(self, now: float) -> None:
        """Count one event at the monotonic time ``now``, in seconds."""
        if now - self._last > LULL_SECONDS or now - self._start > BURST_SECONDS:
            self._start, self._count = now, 0
        self._last = now
        self._count += 1
        if self._count == self._threshold:
            self.suspected.set()

    def wait(self) -> None:
        """Return when a suspect burst is over or has lasted a minute; costs nothing without one."""
        self.suspected.wait()
        deadline = time.monotonic() + BURST_SECONDS
        while (now := time.monotonic()) - self._last <= LULL_SECONDS and now < deadline:
            time.sleep(LULL_SECONDS / 4)
        self.suspected.clear()


class Handler(events.FileSystemEventHandler):
    """Turns events into records.  It never raises, and waits for nothing but the pipe."""

    def __init__(self, out: Out, burst: Burst) -> None:
        self._out = out
        self._burst = burst
        self._told = float("-inf")

    def dispatch(self, event: events.FileSystemEvent) -> None:
        """Report one event, or at least once a second that there are some."""
        now = time.monotonic()
        self._burst.add(now)
        found = letter_and_path(event)
        if found is not None:
            self._told = now
            self._out.send(*found)
        elif now - self._told > LULL_SECONDS:
            self._told = now
            self._out.send(BUSY)


class Canary(events.FileSystemEventHandler):
    """Answers when a file is closed in the parent's private directory: its name is the question's number.

    In watchdog 7 every schedule of an observer shares one reader thread, so an answer means that events are
    read.  In watchdog 6 each has a reader of its own, so it means only that this process runs and dispatches;
    a dead reader of a root is found by the excepthook, a watch that was never made by counting watches from
    outside.
    """

    def __init__(self, out: Out) -> None:
        self._out = out

    def dispatch(self, event: events.FileSystemEvent) -> None:
        """Answer the parent's question, or report the overflow that waited for this."""
        name = Path(os.fsdecode(event.src_path)).name
        if name == FENCE:
            self._out.send(OVERFLOW)
        else:
            self._out.send(PONG, os.fsencode(name))


class LogReader(logging.Handler):
    """Listens to what watchdog says of its own troubles."""

    def __init__(self, out: Out, lost: threading.Event) -> None:
        super().__init__(logging.WARNING)
        self._out = out
        self._lost = lost

    def emit(self, record: logging.LogRecord) -> None:
        """Note an overflow; end on an error."""
        message = record.getMessage()
        if "overflow" in message.lower():
            self._lost.set()
        elif record.levelno >= logging.ERROR:
            self._out.give_up(f"watchdog says: {message}")


def letter_and_path(event: events.FileSystemEvent) -> tuple[bytes, bytes] | None:
    """Pick the record an event is worth, or None."""
    path = os.fsencode(event.dest_path or event.src_path)
    if event.is_directory:
        return DIRECTORY, path.rstrip(b"/") or b"/"
    has_left = event.event_type == events.EVENT_TYPE_MOVED and not event.dest_path
    name = os.fsdecode(path.rpartition(b"/")[2])
    letter = LETTERS.get(event.event_type)
    if letter is None or has_left or (kind_of(name) is None and not sources_of_metadata(name)):
        return None
    return letter, path
