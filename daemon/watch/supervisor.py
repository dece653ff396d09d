"""Keeps a sound watch over the roots: replaces it whenever anything is wrong with it, and once a day.

A new watch and a sweep are the only remedy, because what the old watch missed cannot be known.
"""

from __future__ import annotations

import errno
import math
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from daemon.report.events import WATCH_DEGRADED, WATCH_OVERFLOW, WATCH_RESTORED

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.watch.client import Hint, Watch
    from daemon.watch.roots import Roots
    from lib.sync.walk import Found

    Clock = Callable[[], float]

CHECK_SECONDS: Final = 2.0
_REPLACE_FIRST_SECONDS: Final = 1.0
_REPLACE_LAST_SECONDS: Final = 120.0
_SOUND_AFTER_SECONDS: Final = 30.0
_WATCH: Final = ""  # in the place of a root's path: the watch over all of them
_LIFE_SECONDS: Final = 86_400.0
"""watchdog 6 keeps something of every rename for ever."""
GRACE_SECONDS: Final = 2.0
VERDICT_SECONDS: Final = 600.0
_WAYS_OUT: Final = {
    errno.EMFILE: "; raise the limit on open files (ulimit -n, LimitNOFILE=)",
    errno.EAGAIN: "; raise the limit on processes (ulimit -u, TasksMax=)",
}
REMEMBERED: Final = 10_000


class Supervisor:
    """Owns the watch over the roots.  ``now`` is monotonic seconds; ``make`` starts a watch over paths.

    ``clock`` returns the time as files have it, since the epoch.  ``next_check``: when a check is due.
    """

    def __init__(
        self, roots: Roots, make: Callable[[list[str]], Watch], log: Any, *, clock: Clock = time.time
    ) -> None:
        self.roots = roots
        self.watch: Watch | None = None
        self.next_check = 0.0
        self._make = make
        self._log = log
        self._clock = clock
        self._announcements = Announcements()
        self._ready_since = math.inf
        self._replace_at = 0.0
        self._replace_after = 0.0
        self._reasons: dict[str, str] = {}

    @property
    def is_ready(self) -> bool:
        """Tell whether the watch reports every root that can be watched."""
        return self._ready_since < math.inf

    @property
    def is_settled(self) -> bool:
        """Tell whether the start is over: the watch is ready, or cannot be for now."""
        return self.is_ready or _WATCH in self._reasons or not self.roots.usable

    @property
    def mode(self) -> str:
        """What the service is doing: watching, starting to watch, sweeping only or waiting for a root."""
        if self.is_ready:
            return "watching"
        if not self.roots.usable:
            return "waiting for root"
        return "sweeping only" if self.is_settled else "starting to watch"

    @property
    def unheard(self) -> str:
        """Why events are unreliable, which a new watch is until it has proved sound; else empty."""
        return self._reasons.get(_WATCH) or next(filter(None, (root.shared for root in self.roots.found)), "")

    def check(self, now: float) -> bool:
        """Check the roots, and replace an unsound watch; return whether a sweep must follow."""
        must_sweep = False
        if now >= self.next_check:
            self.next_check = now + CHECK_SECONDS
            must_sweep = self.roots.look()
            for root in self.roots.found:
                self._report(root.path, root.obstacle or root.shared, root.hint)
            if must_sweep or now - self._ready_since > _LIFE_SECONDS:
                self.close()
            self._renew(now)
        if self.is_ready or self.watch is None or not self.watch.ready:
            return must_sweep
        self._ready_since = now
        self._announcements.begin(self._clock())
        return True  # the sweep finds what appeared before the watch was ready

    def read(self) -> list[Hint]:
        """Return the hints that have arrived, without waiting; a watch that ended is checked at once."""
        if self.watch is None:
            return []
        hints = self.watch.read()
        if self.watch.ended:
            self.next_check = 0.0
        for hint in hints:
            self._announcements.announced(os.path.join(hint.root, *hint.parts), self._clock())
        return hints

    def found_changed(self, found: Found, now: float) -> None:
        """Record that a sweep found a source out of date, and that it was not in the queue."""
        if not any(root.shared for root in self.roots.found if root.path == found.task.root):
            self._announcements.found(found, now, self._clock())

    def close(self) -> None:
        """Close the watch; the next check makes another.  May be called twice."""
        if self.watch is not None:
            self.watch.close()
        self.watch, self._ready_since = None, math.inf
        self._announcements.begin(math.inf)

    def _renew(self, now: float) -> None:
        """Close a watch that is not sound, and start one when it is time for that."""
        if self.watch is not None:
            if reason := self.watch.trouble(now) or self._announcements.verdict(now):
                self._fail(reason, now)
            elif now - self._ready_since > _SOUND_AFTER_SECONDS:
                self._report(_WATCH)
                self._replace_after = 0.0
        if self.watch is None and self.roots.usable and now >= self._replace_at:
            try:
                self.watch = self._make([root.path for root in self.roots.usable])
            except OSError as error:
                what = error.filename or "the watcher"  # Python itself, which may have been removed
                way_out = _WAYS_OUT.get(error.errno or 0, "")
                self._fail(f"{what} could not be started: {error.strerror or error}{way_out}", now)

    def _fail(self, reason: str, now: float) -> None:
        """Close the watch; it is replaced at once the first time, then after 1 s, doubling, up to 2 min."""
        is_overflow = self.watch is not None and self.watch.has_overflowed
        self.close()
        if is_overflow:
            self._log.warning(WATCH_OVERFLOW, hint="A sweep follows, so nothing is missed.")
        if self._replace_after or not is_overflow:
            self._report(_WATCH, reason, "The watch is replaced; sweeps continue in the meantime.")
        self._replace_at = now + self._replace_after
        self._replace_after = min(_REPLACE_LAST_SECONDS, max(_REPLACE_FIRST_SECONDS, 2 * self._replace_after))

    def _report(self, root: str, reason: str = "", hint: str = "") -> None:
        """Log once why events of a root, or of all, are unreliable, and once that they are reliable again."""
        where = {"root": root} if root != _WATCH else {}
        if reason and self._reasons.get(root) != reason:
            self._reasons[root] = reason
            self._log.warning(WATCH_DEGRADED, **where, reason=reason, hint=hint)
        elif not reason and self._reasons.pop(root, ""):
            self._log.info(WATCH_RESTORED, **where)


class Announcements:
    """Remembers the last hints, which must have announced what sweeps find changed.

    watchdog can lose a directory in more ways than can be looked for.  A source that has changed since the
    watch was ready, that is at rest, and that no hint announced, proves that it did.

    ``now`` is monotonic, ``clock`` the time as files have it; ``changed_at`` returns a path's change time.
    """

    def __init__(self, changed_at: Callable[[str], float] = lambda path: os.lstat(path).st_ctime) -> None:
        self._changed_at = changed_at
        self._announced: dict[str, float] = {}
        self._since = math.inf
        self._suspect: tuple[Found, float] | None = None
        self._next_verdict = -math.inf

    def begin(self, clock: float) -> None:
        """Begin anew: a new watch reports all changes from now on."""
        self._announced.clear()
        self._since, self._suspect = clock, None

    def announced(self, path: str, clock: float) -> None:
        """Record a hint; the oldest one is forgotten when there are too many."""
        self._announced.pop(path, None)
        self._announced[path] = clock
        if len(self._announced) > REMEMBERED:
            self._since = max(self._since, self._announced.pop(next(iter(self._announced))))

    def found(self, found: Found, now: float, clock: float) -> None:
        """Record a source that a sweep found out of date, and that was not in the queue."""
        if self._suspect is None and not self._is_announced(found) and found.status.st_ctime <= clock:
            self._suspect = found, now + GRACE_SECONDS

    def verdict(self, now: float) -> str | None:
        """Return why the watch is incomplete; at most once in ten minutes.

        While its writer goes on, a source's event is still to come.  A memory-mapped writer changes its file
        without one, so the proof is not certain.
        """
        if self._suspect is None or now < self._suspect[1]:
            return None
        (found, _), self._suspect = self._suspect, None
        with suppress(OSError):  # it has gone
            is_at_rest = self._changed_at(found.task.path) == found.status.st_ctime
            if is_at_rest and now >= self._next_verdict and not self._is_announced(found):
                self._next_verdict = now + VERDICT_SECONDS
                return f"no event announced {found.task.path}"
        return None

    def _is_announced(self, found: Found) -> bool:
        return self._announced.get(found.task.path, self._since) >= found.status.st_ctime
