"""Keeps a sound watch over the roots: it is thrown away and replaced whenever anything is wrong with it.

The cure is always the same, a new watch and a sweep, because what the old one missed cannot be known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from daemon.report.logging import WATCH_DEGRADED, WATCH_RESTORED
from daemon.watch.mounts import shared_with_others

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from daemon.report.status import Mode
    from daemon.watch.protocol import Hint, Hints
    from daemon.watch.roots import Root

CHECK_SECONDS: Final = 2.0
CALM_CHECK_SECONDS: Final = 5.0
_CALM_AFTER_SECONDS: Final = 60.0
"""So long after the last hint the watch is looked at less often: an idle service costs next to nothing."""
_DOUBT_SECONDS: Final = 4.0
_REPLACE_FIRST_SECONDS: Final = 1.0
_REPLACE_LAST_SECONDS: Final = 120.0
_SOUND_AFTER_SECONDS: Final = 30.0


class Guard:
    """Owns the watch and the roots.  ``now`` is monotonic seconds; ``make`` starts a watch over paths."""

    def __init__(self, roots: list[Root], make: Callable[[list[str]], Hints], log: Any) -> None:
        self.roots = roots
        self.watch: Hints | None = None
        self.degraded = ""
        self._make = make
        self._log = log
        self._next_check = 0.0
        self._doubt_until = 0.0
        self._replace_at = 0.0
        self._replaced = 0
        self._opened = 0.0
        self._heard = True
        self._calm_since = 0.0
        self._was_ready = False
        self._missing: set[str] = set()
        self._shared: dict[str, str] = {}

    @property
    def is_ready(self) -> bool:
        """Tell whether a watch stands over every root that is there."""
        return self.watch is not None and self.watch.ready

    @property
    def is_settled(self) -> bool:
        """Tell whether nothing better than what is now can be waited for at the start."""
        return self.is_ready or bool(self.degraded) or not any(root.is_there for root in self.roots)

    @property
    def mode(self) -> Mode:
        """Say in words what the service can do."""
        if not any(root.is_there for root in self.roots):
            return "waiting for root"
        return "watching" if self.is_ready else "sweeping only"

    @property
    def unheard(self) -> str:
        """Say why events cannot be relied on; empty when they can."""
        return self.degraded or next(iter(self._shared.values()), "")

    def next_due(self) -> float:
        """Say when to check next."""
        return self._next_check

    def check(self, now: float, directories: Collection[int] | None) -> bool:
        """Look at roots and watch, replace what is unsound; True when a sweep must follow.

        ``directories``: inodes that a sweep saw, once after each sweep.
        """
        if now < self._next_check and directories is None:
            return self._became_ready(now)
        self._next_check = now + self._seconds_between_checks(now)
        if directories is not None:
            self._look_at_file_systems()
        if self._roots_changed():
            self.close_watch()
            self._open(now)
            return True
        if self.watch is None:
            self._open(now)
            return False
        self.watch.ping()
        trouble = self.watch.trouble(now, directories)
        if trouble:
            self._fail(trouble, now)
            self._open(now)
            return False
        if self.watch.doubtful and now >= self._doubt_until:
            # the directories may be newer than the watch's own look at them: a second sweep tells
            self._doubt_until = now + _DOUBT_SECONDS
            return directories is None
        if self.degraded and self.is_ready and now - self._opened > _SOUND_AFTER_SECONDS:
            self._log.info(WATCH_RESTORED)
            self.degraded, self._replaced = "", 0
        return self._became_ready(now)

    def read(self) -> list[Hint]:
        """Return the hints that came in, without waiting; a watch that ended is checked at once."""
        if self.watch is None:
            return []
        hints = self.watch.read()
        if self.watch.ended:
            self._next_check = 0.0
        self._heard = self._heard or bool(hints)
        return hints

    def close(self) -> None:
        """Throw the watch away and release the roots; may be called twice."""
        self.close_watch()
        for root in self.roots:
            root.unlock()

    def _seconds_between_checks(self, now: float) -> float:
        if self._heard or not self.is_ready or self.unheard:
            self._heard, self._calm_since = False, now
        return CALM_CHECK_SECONDS if now - self._calm_since > _CALM_AFTER_SECONDS else CHECK_SECONDS

    def _became_ready(self, now: float) -> bool:
        """Tell once that the watch stands: what appeared before is for the sweep."""
        if self.is_ready and not self._was_ready:
            self._was_ready = True
            self._opened = now
            return True
        return False

    def _roots_changed(self) -> bool:
        changed = [root for root in self.roots if root.look()]
        for root in changed:
            if not root.is_there:
                self._missing.add(root.path)
                hint = "It is waited for; make it, or correct the root."
                self._log.warning(
                    WATCH_DEGRADED, root=root.path, reason="the directory is not there", hint=hint
                )
            elif not root.lock():
                hint = "Stop the other service, or leave the root to it."
                self._log.warning(
                    WATCH_DEGRADED, root=root.path, reason="another service watches it", hint=hint
                )
            elif root.path in self._missing:
                self._missing.discard(root.path)
                self._log.info(WATCH_RESTORED, root=root.path)
        return bool(changed)

    def _look_at_file_systems(self) -> None:
        """Find roots with a network file system in them: one may have come, or gone, since the last sweep."""
        for root in self.roots:
            kind = shared_with_others(root.path)
            reason = f"what other hosts write there gives no event: {kind} is mounted in {root.path}"
            if kind and self._shared.get(root.path) != reason:
                self._shared[root.path] = reason
                hint = "Sweeps run more often instead; nothing is lost, it only takes a little longer."
                self._log.warning(WATCH_DEGRADED, root=root.path, reason=reason, hint=hint)
            elif not kind and root.path in self._shared:
                del self._shared[root.path]
                self._log.info(WATCH_RESTORED, root=root.path)

    def _open(self, now: float) -> None:
        present = [root.path for root in self.roots if root.is_there]
        if now < self._replace_at or not present:
            return
        try:
            self.watch = self._make(present)
        except OSError as error:
            self._fail(f"it could not be started: {error.strerror or error}", now)
            return
        self._was_ready = False
        self._opened = now

    def _fail(self, reason: str, now: float) -> None:
        self.close_watch()
        if reason != self.degraded:
            hint = "The watch is replaced; sweeps carry on meanwhile."
            self._log.warning(WATCH_DEGRADED, reason=reason, hint=hint)
        self.degraded = reason
        wait = (
            min(_REPLACE_LAST_SECONDS, _REPLACE_FIRST_SECONDS * 2.0**self._replaced)
            if self._replaced
            else 0.0
        )
        self._replaced = min(self._replaced + 1, 10)
        self._replace_at = now + wait

    def close_watch(self) -> None:
        """Throw the watch away; the next check makes another."""
        if self.watch is not None:
            self.watch.close()
            self.watch = None
