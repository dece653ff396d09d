"""Keeps a sound watch over the roots: it is replaced whenever anything is wrong with it, and once a day.

The cure is always the same, a new watch and a sweep, because what the old one missed cannot be known.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Literal

from daemon.report.events import WATCH_DEGRADED, WATCH_RESTORED
from daemon.watch.health import Announcements
from daemon.watch.mounts import mounts_of, read_table, shared_kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.watch.mounts import Mount
    from daemon.watch.protocol import Hint, Hints
    from daemon.watch.roots import Root
    from lib.sync.walk import Found, Task

Mode = Literal["watching", "sweeping only", "waiting for root"]

CHECK_SECONDS: Final = 2.0
_REPLACE_FIRST_SECONDS: Final = 1.0
_REPLACE_LAST_SECONDS: Final = 120.0
_SOUND_AFTER_SECONDS: Final = 30.0
_LIFE_SECONDS: Final = 86_400.0
"""watchdog 6 keeps something of every rename for ever."""


class Supervisor:
    """Owns the watch and the roots.  ``now`` is monotonic seconds; ``make`` starts a watch over paths.

    ``clock`` returns the time as files have it, in seconds since the epoch.
    """

    def __init__(
        self,
        roots: list[Root],
        make: Callable[[list[str]], Hints],
        log: Any,
        *,
        clock: Callable[[], float] = time.time,
        mount_table: Callable[[], str] = read_table,
    ) -> None:
        self.roots = roots
        self.watch: Hints | None = None
        self.degraded = ""
        self._make = make
        self._log = log
        self._clock = clock
        self._read_table = mount_table
        self._table = ""
        self._mounts: dict[str, tuple[object, tuple[Mount, ...]]] = {}
        self._announcements = Announcements()
        self._next_check = 0.0
        self._replace_at = 0.0
        self._failures = 0
        self._opened = 0.0
        self._has_overflowed = False
        self._was_ready = False
        self._seen: list[object] = []
        self._reported: dict[str, str] = {}
        self._shared: dict[str, str] = {}

    @property
    def is_ready(self) -> bool:
        """Tell whether a watch stands over every root that can be watched."""
        return self.watch is not None and self.watch.ready

    @property
    def is_settled(self) -> bool:
        """Tell whether the start is over: a watch stands, or cannot for now."""
        return self.is_ready or bool(self.degraded) or not any(root.is_usable for root in self.roots)

    @property
    def mode(self) -> Mode:
        """What the service can do."""
        if not any(root.is_usable for root in self.roots):
            return "waiting for root"
        return "watching" if self.is_ready else "sweeping only"

    @property
    def unheard(self) -> str:
        """Why events cannot be relied on; empty when they can."""
        return self.degraded or next(iter(self._shared.values()), "")

    @property
    def paths_to_sweep(self) -> list[str]:
        """The roots but those that another service holds."""
        return [root.path for root in self.roots if not root.is_taken]

    def next_due(self) -> float:
        """Return when to check next."""
        return self._next_check

    def check(self, now: float) -> bool:
        """Look at roots and watch, replace what is unsound; True when a sweep must follow."""
        if now < self._next_check:
            return self._became_ready(now)
        self._next_check = now + CHECK_SECONDS
        if self._roots_changed():
            self.close_watch()
            self._open(now)
            self._became_ready(now)  # one that stands at once needs no second sweep
            return True
        if self.watch is None:
            self._open(now)
            return False
        if reason := self.watch.trouble(now) or self._announcements.verdict(now):
            self._fail(reason, now)
            self._open(now)
            return False
        if now - self._opened > _LIFE_SECONDS:
            self.close_watch()
            self._open(now)
            return False
        if self.is_ready and now - self._opened > _SOUND_AFTER_SECONDS:
            self._recover()
        return self._became_ready(now)

    def read(self) -> list[Hint]:
        """Return the hints that came in, without waiting; a watch that ended is checked at once."""
        if self.watch is None:
            return []
        hints = self.watch.read()
        if self.watch.ended:
            self._next_check = 0.0
        self._has_overflowed = self._has_overflowed or any(hint.kind == "overflow" for hint in hints)
        return hints

    def announced(self, task: Task) -> None:
        """Take note that a hint named a source."""
        self._announcements.announced(task, self._clock())

    def found_changed(self, found: Found, now: float) -> None:
        """Take note that a sweep found a source out of date that nothing was known about."""
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
            self.watch = None
        self._announcements.end()

    def _became_ready(self, now: float) -> bool:
        """Tell once that the watch stands: what appeared before is for the sweep."""
        if self.is_ready and not self._was_ready:
            self._was_ready = True
            self._opened = now
            self._announcements.begin(self._clock())
            return True
        return False

    def _roots_changed(self) -> bool:
        """Look at the roots and what is mounted there; report what cannot be watched."""
        seen: list[object] = []
        before, self._table = self._table, self._read_table()
        if before != self._table:
            self._mounts.clear()
        for root in self.roots:
            root.look()
            mounts = self._mounts_of(root) if root.is_usable else ()
            seen.append((root.identity, root.is_taken, mounts))
            self._report_root(root)
            self._report_shared(root, shared_kind(mounts))
        has_changed, self._seen = self._seen != seen, seen
        return has_changed

    def _mounts_of(self, root: Root) -> tuple[Mount, ...]:
        identity, mounts = self._mounts.get(root.path, (None, ()))
        if identity != root.identity:
            mounts = mounts_of(root.path, self._table)
            self._mounts[root.path] = root.identity, mounts
        return mounts

    def _report_root(self, root: Root) -> None:
        reason, hint = "", ""
        if root.is_taken and (reason := root.overlap(self.roots)):
            hint = "It is left to that root."
        elif root.is_taken:
            reason, hint = "another service watches it", "Stop the other service, or leave the root to it."
        elif not root.is_usable:
            reason = "no such directory"
            hint = "It is watched once it is there; make it, or correct the root."
        self._report(root, self._reported, reason, hint)

    def _report_shared(self, root: Root, kind: str) -> None:
        reason = f"what other hosts write there gives no event: {kind} is mounted in {root.path}"
        hint = "Sweeps run more often instead; nothing is lost, it only takes a little longer."
        self._report(root, self._shared, reason if kind else "", hint)

    def _report(self, root: Root, reported: dict[str, str], reason: str, hint: str) -> None:
        """Log a reason once, and once that it is gone."""
        if reason and reported.get(root.path) != reason:
            reported[root.path] = reason
            self._log.warning(WATCH_DEGRADED, root=root.path, reason=reason, hint=hint)
        elif not reason and reported.pop(root.path, ""):
            self._log.info(WATCH_RESTORED, root=root.path)

    def _open(self, now: float) -> None:
        usable = [root.path for root in self.roots if root.is_usable]
        if now < self._replace_at or not usable:
            return
        try:
            self.watch = self._make(usable)
        except OSError as error:
            self._fail(f"it could not be started: {error.strerror or error}", now)
            return
        self._was_ready = self._has_overflowed = False
        self._opened = now

    def _fail(self, reason: str, now: float) -> None:
        """Close the watch; it is replaced at once the first time, then after 1 s, doubling, up to 2 min."""
        self.close_watch()
        first = self._failures == 0
        if reason != self.degraded and not (first and self._has_overflowed):  # that was logged by its name
            hint = "The watch is replaced; sweeps carry on meanwhile."
            self._log.warning(WATCH_DEGRADED, reason=reason, hint=hint)
            self.degraded = reason
        wait = 0.0 if first else _REPLACE_FIRST_SECONDS * 2.0 ** (self._failures - 1)
        self._failures = min(self._failures + 1, 10)
        self._replace_at = now + min(_REPLACE_LAST_SECONDS, wait)

    def _recover(self) -> None:
        """Report that the watch is sound again."""
        if self.degraded:
            self._log.info(WATCH_RESTORED)
        self.degraded, self._failures = "", 0
