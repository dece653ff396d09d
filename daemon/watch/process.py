"""The watcher: a process that turns watchdog's events into hints, and is replaced when anything goes wrong.

watchdog's threads can die, spin or fall silent while its observer looks alive, and rebuilding one inside a
process leaks descriptors.  So this program repairs nothing: an exception in any thread, an overflow and a
refused watch end it, with the reason as its last record.  It ends with its standard input, or its parent.

A record is a line of JSON on standard output, a pair of strings.  The kinds "closed", "seen" and "directory"
come with a path, "ended" with the reason, "ready", "alive" and "overflow" with nothing.
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
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from watchdog import events
from watchdog.observers import inotify_c
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyFullEmitter, InotifyObserver

from lib.names import kind_of, sources_of_metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

EVENTS: Final[list[type[events.FileSystemEvent]]] = [
    events.FileClosedEvent,
    events.FileCreatedEvent,
    events.FileMovedEvent,
    events.DirCreatedEvent,
    events.DirMovedEvent,
    events.DirDeletedEvent,
]
"""Becomes the kernel's mask.  Without it, watchdog 7 drowns in the events of its own walk."""

KINDS: Final = {
    events.EVENT_TYPE_CLOSED: "closed",
    events.EVENT_TYPE_MOVED: "closed",
    events.EVENT_TYPE_CREATED: "seen",
}
IS_WATCHDOG_6: Final = hasattr(inotify_c, "Inotify")
_ONLY_REAL_DIRECTORIES: Final = (
    inotify_c.InotifyConstants.IN_DONT_FOLLOW | inotify_c.InotifyConstants.IN_ONLYDIR
)
_PR_SET_PDEATHSIG: Final = 1


class Out:
    """The pipe to the service; whole records, from any thread."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def send(self, kind: str, text: str = "") -> None:
        """Write one record, waiting while the pipe is full; end the process when its reader has gone."""
        record = json.dumps([kind, text]).encode("ascii") + b"\n"
        with self._lock:
            try:
                while record:
                    record = record[os.write(self._fd, record) :]
            except OSError:
                os._exit(1)

    def end(self, reason: str) -> NoReturn:
        """Report the reason and end the process at once: joining watchdog's threads may never return."""
        self.send("ended", reason)
        os._exit(1)


class Handler(events.FileSystemEventHandler):
    """Reports one root's events.  It never raises, and waits for nothing but the pipe."""

    def __init__(self, out: Out, root: str) -> None:
        self._out = out
        self._base = len(root.rstrip("/"))

    def dispatch(self, event: events.FileSystemEvent) -> None:
        """Report one event, if it is of interest."""
        hint = hint_of(event)
        if hint is not None and "/." not in hint[1][self._base :]:  # hidden: neither a source nor entered
            self._out.send(*hint)


def hint_of(event: events.FileSystemEvent) -> tuple[str, str] | None:
    """Return the kind and path of an event's hint; None when the service does not need it."""
    path = os.fsdecode(event.dest_path or event.src_path)
    if event.is_directory:
        return "directory", path.rstrip("/") or "/"
    kind, name = KINDS.get(event.event_type), os.path.basename(path)
    has_left = event.event_type == events.EVENT_TYPE_MOVED and not event.dest_path
    if kind is None or has_left or (kind_of(name) is None and not sources_of_metadata(name)):
        return None
    return kind, path


class Watchdog6Emitter(InotifyFullEmitter):
    """Watches directories that were moved in from outside of the root, as watchdog 7 does by itself."""

    def queue_event(self, event: events.FileSystemEvent) -> None:
        """Add watches for what came, then report it."""
        if event.is_directory and event.event_type == events.EVENT_TYPE_MOVED and not event.src_path:
            inotify: Any = self._inotify._inotify  # type: ignore[union-attr]  # noqa: SLF001  # no other way
            for path, _, _ in os.walk(os.fsencode(event.dest_path)):
                with suppress(OSError):  # it has gone meanwhile, or is a link
                    inotify.add_watch(path)
        super().queue_event(event)


def end_at_watch_limit(out: Out) -> None:
    """Have a refused watch end the process: watchdog ignores that.

    The kernel refuses symbolic links too: watchdog 6 would report the target's events under the link's path.
    """
    inotify: Any = inotify_c
    add_watch = inotify.inotify_add_watch

    def add(fd: int, path: bytes, mask: int) -> int:
        descriptor: int = add_watch(fd, path, mask | _ONLY_REAL_DIRECTORIES)
        if descriptor == -1 and ctypes.get_errno() == errno.ENOSPC:
            out.end(in_words(OSError(errno.ENOSPC, "")))
        return descriptor

    inotify.inotify_add_watch = add


def end_at_overflow(out: Out) -> None:
    """Have lost events end the process: the directories among them are not watched.

    watchdog 6 goes on without those; watchdog 7 makes all its watches anew, which overflows the queue of a
    large tree again, for ever.
    """
    reader: Any = vars(inotify_c)["Inotify" if IS_WATCHDOG_6 else "InotifyFD"]
    parse = reader._parse_event_buffer  # noqa: SLF001  # no other place sees an overflow in both lines

    def parse_or_end(buffer: bytes) -> list[Any]:
        found = list(parse(buffer))
        if any(mask & inotify_c.InotifyConstants.IN_Q_OVERFLOW for _, mask, _, _ in found):
            out.send("overflow")
            out.end("events came faster than they could be read")
        return found

    reader._parse_event_buffer = staticmethod(parse_or_end)  # noqa: SLF001  # as above


def watch(roots: Sequence[str], out: Out) -> None:
    """Watch the roots.  Raises OSError when the kernel refuses; it names the root.

    Events are "full": what is renamed from outside of the root is moved too, not created.
    """
    end_at_watch_limit(out)
    end_at_overflow(out)
    observer = BaseObserver(Watchdog6Emitter) if IS_WATCHDOG_6 else InotifyObserver(generate_full_events=True)
    observer.start()
    for root in roots:
        schedule(observer, Handler(out, root), root)
    out.send("ready")


def schedule(observer: BaseObserver, handler: Handler, root: str) -> None:
    """Watch one root; a refusal names it."""
    try:  # the slash lets a root be a symbolic link, which nothing below it may be
        observer.schedule(handler, root.rstrip("/") + "/", recursive=True, event_filter=EVENTS)
    except OSError as error:
        raise OSError(error.errno, error.strerror, root) from error


def limit(name: str) -> int:
    """Return one of the limits in ``/proc/sys/fs/inotify``; 0 where a sandbox hides them."""
    with suppress(OSError, ValueError):
        return int(Path("/proc/sys/fs/inotify", name).read_text(encoding="ascii"))
    return 0


def in_words(error: OSError) -> str:
    """Return what the kernel refused, and which limit to raise to what."""
    limits = {errno.ENOSPC: ("max_user_watches", 524288), errno.EMFILE: ("max_user_instances", 512)}
    if error.errno not in limits:
        return f"{error.filename} could not be watched: {error.strerror}"
    name, floor = limits[error.errno]
    now = limit(name)
    raised = max(floor, 2 * now)
    return f"the limit fs.inotify.{name}={now} is reached; try sysctl -w fs.inotify.{name}={raised}"


def main(parent: int, roots: Sequence[str]) -> NoReturn:
    """Run the watcher: records on standard output until ``parent`` or standard input ends.

    Every byte on standard input is answered.
    """
    # a terminal and systemd send these to all processes; the service decides
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    # a worker that the parent forked may hold the pipe open after the parent was killed
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    warnings.simplefilter("ignore")  # one of watchdog 7's prints its whole map of watches, megabytes of it
    out = Out(sys.stdout.fileno())
    threading.excepthook = lambda fault: out.end(
        f"{type(fault.thread).__name__} died of {fault.exc_type.__name__}: {fault.exc_value}"
    )
    try:
        watch(roots, out)
    except OSError as error:
        out.end(in_words(error))
    while os.read(sys.stdin.fileno(), 64):
        out.send("alive")
    os._exit(0)
