"""Keeps a sound watch over the roots: replaces it whenever anything is wrong with it, and once a day.

A new watch and a sweep are the only remedy, because what the old watch missed cannot be known.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Literal

from daemon.report.events import WATCH_DEGRADED, WATCH_RESTORED
from daemon.watch.health import Announcements
from daemon.watch.mounts import mounts_of, read_table, shared_kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.watch.client import Hint, Watch
    from daemon.watch.roots import Root
    from lib.sync.walk import Found, Task

Mode = Literal["watching", "sweeping only", "waiting for root"]

CHECK_SECONDS: Final = 2.0
_REPLACE_FIRST_SECONDS: Final = 1.0
_REPLACE_LAST_SECONDS: Final = 120.0
_SOUND_AFTER_SECONDS: Final = 30.0
_WATCH: Final = ""
"""Stands for the watch itself where a root's path may stand."""
_LIFE_SECONDS: Final = 86_400.0
"""watchdog 6 keeps something of every rename for ever."""


class Supervisor:
    """Owns the watch and the roots.  ``now`` is monotonic seconds; ``make`` starts a watch over paths.

    ``clock`` returns the time as files have it, in seconds since the epoch.
    """

    def __init__(
        self,
        roots: list[Root],
        make: Callable[[list[str]], Watch],
        log: Any,
        *,
        clock: Callable[[], float] = time.time,
        mount_table: Callable[[], str] = read_table,
    ) -> None:
        self.roots = roots
        self.watch: Watch | None = None
        self._make = make
        self._log = log
        self._clock = clock
        self._mount_table = mount_table
        self._announcements = Announcements()
        self._next_check = 0.0
        self._replace_at = 0.0
        self._failures = 0
        self._ready_since: float | None = None
        self._has_overflowed = False
        self._seen: object = None
        self._places: object = None
        self._reasons: dict[str, str] = {}
        self._shared: dict[str, str] = {}

    @property
    def is_ready(self) -> bool:
        """Tell whether the watch reports every root that can be watched."""
        return self._ready_since is not None

    @property
    def degraded(self) -> str:
        """Why the last watch was replaced, until the new one has proved sound; empty then."""
        return self._reasons.get(_WATCH, "")

    @property
    def is_settled(self) -> bool:
        """Tell whether the start is over: the watch is ready, or cannot be for now."""
        return self.is_ready or bool(self.degraded) or not any(root.is_usable for root in self.roots)

    @property
    def mode(self) -> Mode:
        """What the service is doing."""
        if not any(root.is_usable for root in self.roots):
            return "waiting for root"
        return "watching" if self.is_ready else "sweeping only"

    @property
    def unheard(self) -> str:
        """Why events are unreliable; empty when they are not."""
        return self.degraded or next(iter(self._shared.values()), "")

    @property
    def unusable(self) -> dict[str, str]:
        """Why roots are not watched."""
        return {root.path: self._reasons.get(root.path, "") for root in self.roots if not root.is_usable}

    @property
    def paths_to_sweep(self) -> list[str]:
        """The roots, except those of another service."""
        return [root.path for root in self.roots if not root.is_taken]

    def next_due(self) -> float:
        """Return when to check next."""
        return self._next_check

    def check(self, now: float) -> bool:
        """Check the roots, and replace an unsound watch; return whether a sweep must follow."""
        must_sweep = False
        if now >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            must_sweep = self._roots_changed()
            if must_sweep:
                self.close_watch()
            elif self.watch is not None:
                self._judge(self.watch, now)
            if self.watch is None and now >= self._replace_at:
                self._open(now)
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
            self._next_check = 0.0
        self._has_overflowed = self._has_overflowed or any(hint.kind == "overflow" for hint in hints)
        return hints

    def announced(self, task: Task) -> None:
        """Record that a hint named a source."""
        self._announcements.announced(task, self._clock())

    def found_changed(self, found: Found, now: float) -> None:
        """Record that a sweep found a source out of date, and that it was not in the queue."""
        if self.is_ready and found.task.root not in self._shared:
            self._announcements.found(found, now, self._clock())

    def close(self) -> None:
        """Close the watch and release the roots; may be called twice."""
        self.close_watch()
        for root in self.roots:
            root.unlock()

    def close_watch(self) -> None:
        """Close the watch; the next check makes another."""
        if self.watch is not None:
            self.watch.close()
        self.watch = self._ready_since = None

    def _judge(self, watch: Watch, now: float) -> None:
        """Close a watch that is unsound, or a day old; report one that has proved sound."""
        reason = watch.trouble(now) or (self._announcements.verdict(now) if self.is_ready else None)
        age = 0.0 if self._ready_since is None else now - self._ready_since
        if reason:
            self._fail(reason, now)
        elif age > _LIFE_SECONDS:
            self.close_watch()
        elif age > _SOUND_AFTER_SECONDS:
            self._report(_WATCH)
            self._failures = 0

    def _open(self, now: float) -> None:
        usable = [root.path for root in self.roots if root.is_usable]
        try:
            self.watch = self._make(usable) if usable else None
        except OSError as error:
            self._fail(f"it could not be started: {error.strerror or error}", now)
        self._has_overflowed = False

    def _fail(self, reason: str, now: float) -> None:
        """Close the watch; it is replaced at once the first time, then after 1 s, doubling, up to 2 min."""
        self.close_watch()
        is_first = self._failures == 0
        if not (is_first and self._has_overflowed):  # which has an event of its own
            self._report(_WATCH, reason, "The watch is replaced; sweeps continue in the meantime.")
        wait = 0.0 if is_first else _REPLACE_FIRST_SECONDS * 2.0 ** (self._failures - 1)
        self._failures = min(self._failures + 1, 10)
        self._replace_at = now + min(_REPLACE_LAST_SECONDS, wait)

    def _roots_changed(self) -> bool:
        """Look at the roots and their mounts; report roots without reliable events."""
        for root in self.roots:
            root.look()
        table, looks = self._mount_table(), [(root.identity, root.is_taken) for root in self.roots]
        if (table, looks) == self._seen:
            return False
        self._seen = table, looks
        mounts = {root.path: mounts_of(root.path, table) for root in self.roots if root.is_usable}
        self._shared = {
            path: f"changes by other hosts give no events: {kind} is mounted in {path}"
            for path, found in mounts.items()
            if (kind := shared_kind(found))
        }
        for root in self.roots:
            self._report(root.path, *self._reason_and_hint(root))
        before, self._places = self._places, (looks, mounts)
        return self._places != before

    def _report(self, root: str, reason: str = "", hint: str = "") -> None:
        """Log once why events of a root, or of all, are unreliable, and once that they are reliable again."""
        where = {"root": root} if root != _WATCH else {}
        if reason and self._reasons.get(root) != reason:
            self._reasons[root] = reason
            self._log.warning(WATCH_DEGRADED, **where, reason=reason, hint=hint)
        elif not reason and self._reasons.pop(root, ""):
            self._log.info(WATCH_RESTORED, **where)

    def _reason_and_hint(self, root: Root) -> tuple[str, str]:
        if root.path in self._shared:
            return self._shared[root.path], "Sweeps run more often instead: sidecars are made, only later."
        if root.is_usable:
            return "", ""
        if not root.is_taken:
            return "no such directory", "It is watched as soon as it exists: create it, or correct the root."
        if reason := root.overlap(self.roots):
            return reason, "That root covers it."
        return "another service watches it", "Stop one of the two services."
