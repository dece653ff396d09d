"""The watcher: a process that turns watchdog's events into hints, and is replaced when anything goes wrong.

watchdog's threads can die, spin or fall silent while its observer looks alive, and rebuilding one inside a
process leaks descriptors.  So this program repairs nothing: an exception in any thread, an overflow and a
refused watch end it, with the reason as its last record.  It ends with its standard input and its parent.

A record is a line of JSON on standard output, a list of texts: "ready" or "alive" alone, "ended" or
"overflow" with the reason, or the kind of a hint with its root and the names from there.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import sys
import threading
import warnings
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn

from watchdog import events
from watchdog.observers import inotify_c
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyFullEmitter
from watchdog.observers.inotify_c import InotifyConstants

from daemon.signals import end_with
from lib.names import kind_of, sources_concerned

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KINDS: Final[dict[type[events.FileSystemEvent], str]] = {
    events.FileClosedEvent: "closed",
    events.FileMovedEvent: "closed",
    events.FileCreatedEvent: "seen",
    events.DirCreatedEvent: "directory",
    events.DirMovedEvent: "directory",
    events.DirDeletedEvent: "directory",
}
"""Each event's kind of hint; the keys mask all other events: watchdog 7 drowns in those of its own walk."""
LIMITS: Final = {errno.ENOSPC: "max_user_watches=4194304", errno.EMFILE: "max_user_instances=8192"}
"""What to set where one is reached: several times the default of any kernel."""
IS_WATCHDOG_6: Final = hasattr(inotify_c, "Inotify")
_GONE_LIMIT: Final = 100_000
"""Sweeps find the others."""
_NO_LINKS: Final = InotifyConstants.IN_DONT_FOLLOW | InotifyConstants.IN_ONLYDIR


def write(kind: str, *texts: str) -> None:
    """Write one record, from any thread, waiting while the pipe is full; the next :func:`send` flushes it."""
    sys.stdout.buffer.write(json.dumps([kind, *texts]).encode("ascii") + b"\n")


def send(kind: str, *texts: str) -> None:
    """Write and flush one record."""
    write(kind, *texts)
    sys.stdout.buffer.flush()


def end(reason: str, kind: str = "ended") -> NoReturn:
    """Report the reason and end the process at once: joining watchdog's threads may never return."""
    send(kind, reason)
    os._exit(1)


class Handler(events.FileSystemEventHandler):
    """Reports one root's events.  It never raises, and waits for nothing but the pipe."""

    def __init__(self, root: str) -> None:
        self._root = root

    def dispatch(self, event: events.FileSystemEvent) -> None:
        """Report one event, if the service needs it."""
        kind, path = KINDS.get(type(event)), os.fsdecode(event.dest_path or event.src_path)
        parts = parts_below(self._root, path)
        has_left = isinstance(event, events.FileMovedEvent) and not event.dest_path
        if kind == "directory" or (kind and not has_left and sources_concerned(parts[-1])):
            send(kind, self._root, *parts)


def parts_below(root: str, path: str) -> list[str]:
    """Return the names on the way from a root to a path below it."""
    return list(filter(None, path[len(root.rstrip("/")) :].split("/")))


class Emitter(InotifyFullEmitter):
    """Collects the sources that were removed or renamed, in ``gone``: the root's path and theirs.

    They are reported with the next answer.  A turn of every thread for each file of an ``rm -rf`` would make
    the queue overflow, and a record for each would wake the service as often.
    """

    def __init__(self, *arguments: Any, gone: deque[tuple[str, str]], **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._gone = gone

    def queue_event(self, event: events.FileSystemEvent) -> None:
        """Collect what has gone, watch what came from outside, then report what the filter lets pass."""
        if isinstance(event, (events.FileDeletedEvent, events.FileMovedEvent)):
            path = os.fsdecode(event.src_path)
            if kind_of(os.path.basename(path)):
                self._gone.append((self.watch.path, path))
        elif IS_WATCHDOG_6 and isinstance(event, events.DirMovedEvent) and not event.src_path:
            self._add_watches(os.fsencode(event.dest_path))
        if not isinstance(event, events.FileDeletedEvent):
            super().queue_event(event)

    def _add_watches(self, top: bytes) -> None:
        """Watch a directory and all below it, as watchdog 7 does by itself."""
        inotify: Any = self._inotify._inotify  # type: ignore[union-attr]  # noqa: SLF001  # no other way
        for path, _, _ in os.walk(top):
            with suppress(OSError):  # it has gone meanwhile, or is a link
                inotify.add_watch(path)


def end_when_incomplete() -> None:
    """Have a refused watch and an overflow end the process.

    watchdog ignores a refused watch.  After an overflow, watchdog 6 lacks the new directories among the lost
    events; watchdog 7 makes all its watches anew, which overflows the queue of a large tree again, for ever.
    """
    inotify: Any = inotify_c
    reader = inotify.Inotify if IS_WATCHDOG_6 else inotify.InotifyFD
    add_watch, parse = inotify.inotify_add_watch, reader._parse_event_buffer  # noqa: SLF001  # see below

    def add_or_end(fd: int, path: bytes, mask: int) -> int:
        # no symbolic links: watchdog 6 would report the target's events under the link's path
        descriptor: int = add_watch(fd, path, mask | _NO_LINKS)
        if descriptor == -1 and ctypes.get_errno() == errno.ENOSPC:
            end(in_words(OSError(errno.ENOSPC, "")))
        return descriptor

    def parse_or_end(buffer: bytes) -> Iterator[Any]:
        for event in parse(buffer):
            if event[1] & InotifyConstants.IN_Q_OVERFLOW:
                end("events came faster than they could be read", "overflow")
            yield event

    inotify.inotify_add_watch = add_or_end
    reader._parse_event_buffer = staticmethod(parse_or_end)  # noqa: SLF001  # only it sees overflows in both


def watch(roots: Mapping[str, str], gone: deque[tuple[str, str]]) -> None:
    """Watch the roots, also for what is renamed into them; end the process when the kernel refuses.

    ``roots``: by the path with a slash, which lets a root be a symbolic link, as nothing below it may be.
    """
    end_when_incomplete()
    root = ""
    emitter: Any = partial(Emitter, gone=gone)
    try:
        observer = BaseObserver(emitter)
        observer.start()
        for place, root in roots.items():
            observer.schedule(Handler(root), place, recursive=True, event_filter=list(KINDS))
    except OSError as error:
        end(in_words(error, root))
    send("ready")


def in_words(error: OSError, root: str = "") -> str:
    """Return what the kernel refused, and which limit to raise."""
    if error.errno in LIMITS:
        return f"a limit of inotify is reached; raise it with sysctl -w fs.inotify.{LIMITS[error.errno]}"
    return f"{root} could not be watched: {error.strerror}"


def main() -> NoReturn:
    """Run the watcher; the arguments are its parent's process id and the roots.

    It writes records to standard output, answers every byte on standard input, and ends with that.
    """
    # a terminal and systemd send these to all processes; the service decides
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    # a worker that the parent forked may hold the pipe open after the parent was killed
    end_with(int(sys.argv[1]))
    warnings.simplefilter("ignore")  # one of watchdog 7's prints its whole map of watches, megabytes of it
    threading.excepthook = lambda fault: end(
        f"{type(fault.thread).__name__} died of {fault.exc_type.__name__}: {fault.exc_value}"
    )
    roots = {root.rstrip("/") + "/": root for root in sys.argv[2:]}
    gone: deque[tuple[str, str]] = deque(maxlen=_GONE_LIMIT)
    watch(roots, gone)
    while os.read(sys.stdin.fileno(), 64):
        for _ in range(len(gone)):
            place, path = gone.popleft()
            write("gone", roots[place], *parts_below(place, path))
        send("alive")
    os._exit(0)
