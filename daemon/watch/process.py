"""The watcher: a process that turns watchdog's events into records, and is replaced when anything goes wrong.

watchdog's threads can die, spin or fall silent while its observer looks alive, and rebuilding one inside a
process leaks descriptors.  So this program repairs nothing: an exception in any thread, an overflow and a
refused watch end it, with the reason as the last record.  It ends with its standard input, or its parent.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import signal
import sys
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from watchdog import events
from watchdog.observers import inotify_c
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyFullEmitter, InotifyObserver

from daemon.watch.handlers import Handler, LogReader, Out
from daemon.watch.protocol import PONG, READY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

EVENTS: Final[list[type[events.FileSystemEvent]]] = [
    events.FileClosedEvent,
    events.FileCreatedEvent,
    events.FileMovedEvent,
    events.DirCreatedEvent,
    events.DirMovedEvent,
    events.DirDeletedEvent,
]
"""Becomes the kernel's mask.  With none, watchdog 7 drowns in the events of its own walk."""

LOGS_OVERFLOW: Final = hasattr(inotify_c.InotifyEvent, "is_queue_overflow")
"""True for watchdog 7, false for watchdog 6, which drops the kernel's report of an overflow."""

_PROBE_SECONDS: Final = 1.0
_PR_SET_PDEATHSIG: Final = 1
_IN_CLOSE_WRITE: Final = 8


class Watchdog6Emitter(InotifyFullEmitter):
    """Does for watchdog 6 what watchdog 7 does by itself."""

    def get_event_mask_from_filter(self) -> Any:
        """Have the kernel refuse symbolic links; typed Any because 6 and 7 type this integer apart.

        Otherwise the target's events are reported under the link's path, and no longer under its own.
        """
        mask = super().get_event_mask_from_filter() or 0
        return mask | inotify_c.InotifyConstants.IN_DONT_FOLLOW | inotify_c.InotifyConstants.IN_ONLYDIR

    def queue_event(self, event: events.FileSystemEvent) -> None:
        """Watch a directory that was moved in from outside of the root."""
        if event.is_directory and event.event_type == events.EVENT_TYPE_MOVED and not event.src_path:
            inotify: Any = self._inotify._inotify  # type: ignore[union-attr]  # noqa: SLF001  # no other way
            for path, _, _ in os.walk(os.fsencode(event.dest_path)):
                with suppress(OSError):  # it went meanwhile, or is a link; the probe finds a limit
                    inotify.add_watch(path)
        super().queue_event(event)


def new_observer(out: Out) -> BaseObserver:
    """Make an observer that follows no symbolic links and reports overflows, from either line of watchdog.

    Its events are "full": what is renamed from outside of the root is moved too, not created.
    """
    if LOGS_OVERFLOW:
        return InotifyObserver(generate_full_events=True)
    inotify: Any = vars(inotify_c)["Inotify"]
    inotify._parse_event_buffer = staticmethod(  # noqa: SLF001  # the last place where watchdog 6 has it
        overflows_reported(inotify._parse_event_buffer, out.overflowed)  # noqa: SLF001  # as above
    )
    return BaseObserver(Watchdog6Emitter)


def overflows_reported(
    parse: Callable[[bytes], Iterator[tuple[int, int, int, bytes]]], report: Callable[[], object]
) -> Callable[[bytes], Iterator[tuple[int, int, int, bytes]]]:
    """Wrap watchdog 6's parser of the kernel's events: call ``report`` for an overflow."""

    def parse_and_report(buffer: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        for event in parse(buffer):
            if event[1] & inotify_c.InotifyConstants.IN_Q_OVERFLOW:
                report()
            yield event

    return parse_and_report


def watch(roots: Sequence[str], out: Out) -> NoReturn:
    """Watch the roots for ever.  Raises OSError when the kernel refuses."""
    directory_came = threading.Event()
    observer = new_observer(out)
    observer.start()
    for root in roots:
        schedule(observer, Handler(out, root, directory_came.set), root)
    refuse_at_watch_limit(roots[0])
    out.send(READY)
    while True:
        directory_came.wait()
        directory_came.clear()
        refuse_at_watch_limit(roots[0])
        time.sleep(_PROBE_SECONDS)


def schedule(observer: BaseObserver, handler: Handler, root: str) -> None:
    """Watch one root; a refusal names it."""
    try:  # the slash lets a root be a symbolic link, which nothing below it may be
        observer.schedule(handler, root.rstrip("/") + "/", recursive=True, event_filter=EVENTS)
    except OSError as error:
        raise OSError(error.errno, error.strerror, root) from error


def refuse_at_watch_limit(directory: str) -> None:
    """Raise OSError when this user can have no further watch: watchdog keeps that to itself.

    Asking for one is the only way to know, as the limit counts all processes of the user.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_CLOEXEC)
    if fd == -1:
        return
    try:
        refused = libc.inotify_add_watch(fd, os.fsencode(directory), _IN_CLOSE_WRITE) == -1
        if refused and ctypes.get_errno() == errno.ENOSPC:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(fd)


def limit(name: str) -> int | None:
    """Read one of the limits in ``/proc/sys/fs/inotify``; None where a sandbox hides them."""
    with suppress(OSError, ValueError):
        return int(Path("/proc/sys/fs/inotify", name).read_text(encoding="ascii"))
    return None


def in_words(error: OSError) -> str:
    """Say what the kernel refused and which limit to raise, and to what."""
    for number, name, floor in (
        (errno.ENOSPC, "max_user_watches", 524288),
        (errno.EMFILE, "max_user_instances", 512),
    ):
        if error.errno == number:
            now = limit(name) or 0
            raised = max(floor, 2 * now)
            return f"the limit fs.inotify.{name}={now} is reached; try sysctl -w fs.inotify.{name}={raised}"
    return f"{error.filename} could not be watched: {error.strerror}"


def died(thread: str, fault: BaseException | None) -> str:
    """Say which thread died of what."""
    return f"{thread} died of {type(fault).__name__}: {fault}"


def answer(parent: int, out: Out) -> None:
    """Answer every byte on standard input; end this process with it, or with the parent.

    A worker that the parent forked may hold the pipe open after the parent was killed.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == parent:
        while os.read(sys.stdin.fileno(), 64):
            out.send(PONG)
    os._exit(0)


def main(parent: int, roots: Sequence[str]) -> NoReturn:
    """Run the watcher: records on standard output until ``parent`` goes or standard input ends."""
    # a terminal and systemd send these to all processes; the service decides
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    out = Out(sys.stdout.fileno())
    warnings.simplefilter("ignore")  # one of watchdog 7's prints its whole map of watches, megabytes of it
    logging.getLogger("watchdog").addHandler(LogReader(out))
    threading.excepthook = lambda fault: out.give_up(died(type(fault.thread).__name__, fault.exc_value))
    sys.excepthook = lambda _type, fault, _traceback: out.give_up(died("the main thread", fault))
    threading.Thread(target=answer, args=(parent, out), name="answer", daemon=True).start()
    try:
        watch(roots, out)
    except OSError as error:
        out.give_up(in_words(error))
