"""The watcher: a process that turns watchdog's events into records, and is thrown away when it ails.

watchdog's threads can die, spin or fall silent while its observer looks alive, and rebuilding one inside a
process leaks descriptors.  A process of its own is ended by the kernel, wholly, and replaced.  So this
program mends nothing: any exception in any thread ends it, with its reason as the last record.  It lives as
long as its standard input and its parent.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import select
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from watchdog import events
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyFullEmitter, InotifyObserver
from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent

from daemon.watch.handlers import FENCE, QUEUE_DEFAULT, Burst, Canary, Handler, LogReader, Out
from daemon.watch.protocol import OVERFLOW, READY

if TYPE_CHECKING:
    from collections.abc import Sequence

EVENTS: Final[list[type[events.FileSystemEvent]]] = [
    events.FileClosedEvent,
    events.FileCreatedEvent,
    events.FileMovedEvent,
    events.FileDeletedEvent,  # no hint, but counts in a burst; the kernel sends them anyway
    events.DirCreatedEvent,
    events.DirMovedEvent,
    events.DirDeletedEvent,
]
"""Becomes the kernel's mask.  With none, watchdog 7 drowns in the events of its own walk."""

SAYS_OVERFLOW: Final = hasattr(InotifyEvent, "is_queue_overflow")
"""watchdog 7.1 logs that the kernel's queue overflowed; before it nobody is told."""


class UnlinkedEmitter(InotifyFullEmitter):
    """For watchdog 6, which lacks what 7 does: never put a watch on what a symbolic link leads to.

    It would report that directory's events under the link's path, and no longer under its own.
    """

    def get_event_mask_from_filter(self) -> Any:
        """Have the kernel refuse links; typed Any because 6 and 7 type this integer apart."""
        mask = super().get_event_mask_from_filter() or 0
        return mask | InotifyConstants.IN_DONT_FOLLOW | InotifyConstants.IN_ONLYDIR


def new_observer() -> BaseObserver:
    """Make an observer that follows no symbolic links, from either line of watchdog.

    Its events are "full": what is renamed from outside of the root is moved too, not created.
    """
    return InotifyObserver(generate_full_events=True) if SAYS_OVERFLOW else BaseObserver(UnlinkedEmitter)


def watch(roots: Sequence[str], canary: str, out: Out, lost: threading.Event) -> NoReturn:
    """Watch the roots for ever; ``lost`` is set when events were.  Raises OSError when the kernel refuses."""
    burst = Burst(limit("max_queued_events") or QUEUE_DEFAULT)
    observer = new_observer()
    observer.start()
    observer.schedule(Canary(out), canary, event_filter=[events.FileClosedEvent])
    handler = Handler(out, burst)
    for root in roots:
        schedule(observer, handler, root)
    if watch_limit_reached(canary):  # watchdog 7 keeps this to itself
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    out.send(READY)
    while True:
        if SAYS_OVERFLOW:
            lost.wait()
            lost.clear()
            fence(canary, out)
        else:
            burst.wait()
            out.send(OVERFLOW)


def schedule(observer: BaseObserver, handler: Handler, root: str) -> None:
    """Watch one root; a refusal names it."""
    try:  # the slash lets a root be a symbolic link, which nothing below it may be
        observer.schedule(handler, root.rstrip("/") + "/", recursive=True, event_filter=EVENTS)
    except OSError as error:
        raise OSError(error.errno, error.strerror, root) from error


def fence(canary: str, out: Out) -> None:
    """Have an overflow reported when watchdog 7's reader is through with it.

    The reader removes and makes all watches anew, and a file that is saved meanwhile is seen by no event; a
    sweep that began before might have passed it by.  This event waits in the kernel's queue until the reader
    is back.  Should it be lost too, there is another overflow behind it.
    """
    path = Path(canary, FENCE)
    try:
        path.touch()
        path.unlink()
    except OSError:
        out.send(OVERFLOW)


def limit(name: str) -> int | None:
    """Read one of the limits in ``/proc/sys/fs/inotify``; None where a sandbox hides them."""
    with suppress(OSError, ValueError):
        return int(Path("/proc/sys/fs/inotify", name).read_text(encoding="ascii"))
    return None


def watch_limit_reached(directory: str) -> bool:
    """Tell whether this user can have no further watch, by asking for one on ``directory``.

    Counting does not tell: the limit is the user's, over all of their processes.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_CLOEXEC)
    if fd == -1:
        return False
    try:
        refused = libc.inotify_add_watch(fd, os.fsencode(directory), InotifyConstants.IN_CLOSE_WRITE) == -1
        return refused and ctypes.get_errno() == errno.ENOSPC
    finally:
        os.close(fd)


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


def live_with(parent: int, canary: str) -> None:
    """End this process when standard input ends or the parent does, and take the canary's directory along.

    Both are needed: a worker that the parent forked may hold the pipe open after the parent was killed.
    """
    watched = [sys.stdin.fileno()]
    with suppress(OSError):  # no pidfd on old kernels and in some sandboxes: the pipe must do
        watched.append(os.pidfd_open(parent))
    if os.getppid() == parent:
        select.select(watched, [], [])
    with suppress(OSError):
        for path in Path(canary).iterdir():
            path.unlink()
        Path(canary).rmdir()
    os._exit(0)


def main(parent: int, canary: str, roots: Sequence[str]) -> NoReturn:
    """Run the watcher: records on standard output until ``parent`` goes or standard input ends."""
    out = Out(sys.stdout.fileno())
    warnings.simplefilter("ignore")  # one of watchdog 7's prints its whole map of watches, megabytes of it
    lost = threading.Event()
    logging.getLogger("watchdog").addHandler(LogReader(out, lost))
    threading.excepthook = lambda fault: out.give_up(died(type(fault.thread).__name__, fault.exc_value))
    sys.excepthook = lambda _type, fault, _traceback: out.give_up(died("the main thread", fault))
    threading.Thread(target=live_with, args=(parent, canary), name="lifeline", daemon=True).start()
    try:
        watch(roots, canary, out, lost)
    except OSError as error:
        out.give_up(in_words(error))
