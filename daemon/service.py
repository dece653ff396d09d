"""The service: one loop that owns all state, and does nothing slow.

Hints from the watch and finished work wake it; between them it walks a slice of a sweep, hands out what is
due, checks the watch, and tells how it is.  Conversions run in worker processes, the watch in a process of
its own.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from daemon import notify, status
from daemon.crew import Crew, local_processes
from daemon.desk import Desk
from daemon.guard import Guard
from daemon.roots import Root
from daemon.rounds import Rounds
from daemon.work import Task
from lib.errors import SidecarError
from lib.names import kind_of, sources_of_metadata
from lib.outcome import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    from daemon.config import Config
    from daemon.watch_records import Hint, Hints

_SLICE_SECONDS: Final = 0.02
_LONGEST_WAIT_SECONDS: Final = 2.0
_STATUS_SECONDS: Final = 2.0
_STATUS_AT_LEAST_SECONDS: Final = 10.0
_REST_AFTER_SECONDS: Final = 60.0
_DEGRADED_SWEEP_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 60.0
_LOCK_SECONDS: Final = 3.0
_TROUBLES_SHOWN: Final = 10_000


def options_of(config: Config, *, force: bool = False) -> Options:
    """Say how sidecars are made under a configuration."""
    sidecars = config.sidecars
    return Options(sidecars.formats, sidecars.limit, sidecars.markdown, config.work.max_output_bytes, force)


class Service:
    """Watches until it is told to stop: open, :meth:`run`, gone."""

    def __init__(
        self,
        config: Config,
        *,
        version: str,
        log: Any,
        make_watch: Callable[[list[str]], Hints],
        reload: Callable[[], Config | None],
        make_default_root: bool = False,
    ) -> None:
        self._config = config
        self._version = version
        self._log = log
        self._reload = reload
        self._make_watch = make_watch
        self._make_default_root = make_default_root
        self._stops = 0
        self._reloads = 0
        self._since = _iso(time.time())
        self._ready = False
        self._status_due = 0.0
        self._status_text = ""
        self._last_work = time.monotonic()
        self._notifier = notify.Notifier.from_environment()
        watchdog = notify.watchdog_seconds()
        self._watchdog_every = watchdog / 3 if watchdog else None
        self._watchdog_due = 0.0

    def run(self) -> int:
        """Watch and sweep until SIGTERM or SIGINT; return the exit status."""
        if not self._open_roots():
            return 1
        self._build()
        with contextlib.ExitStack() as stack:
            stack.callback(self._close)
            stack.enter_context(self._signals())
            self._log.info(
                "service.started", version=self._version, pid=os.getpid(), roots=list(self._config.roots)
            )
            while not self._stops:
                self._turn()
            self._stop()
        self._log.info("service.stopped")
        return 0

    def _open_roots(self) -> bool:
        """Make the default root, and lock those that are there."""
        self._roots = [Root(path) for path in self._config.roots]
        for root in self._roots:
            if self._make_default_root:
                try:
                    root.make()
                except SidecarError as error:
                    self._log.error("service.stopped", root=root.path, reason=error.reason, hint=error.hint)
                    return False
            if not _lock_soon(root):
                reason = f"another service watches {root.path} already"
                self._log.error(
                    "service.stopped",
                    root=root.path,
                    reason=reason,
                    hint="One is enough: leave it to that one.",
                )
                return False
        return True

    def _build(self) -> None:
        config = self._config
        options = options_of(config)
        self._crew = Crew(lambda: local_processes(config.work.jobs), config.work.jobs)
        self._desk = Desk(self._crew, options, config.watch.settle_seconds, self._log)
        self._rounds = Rounds(list(config.roots), self._desk, frozenset(config.watch.ignore), self._log)
        self._desk.on_finished = self._rounds.finished
        self._guard = Guard(self._roots, self._make_watch, self._log)

    @contextlib.contextmanager
    def _signals(self) -> Any:
        """Let signals wake the loop; the handlers only count."""
        self._wake, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        handlers = {
            signal.SIGTERM: self._on_stop,
            signal.SIGINT: self._on_stop,
            signal.SIGHUP: self._on_reload,
        }
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        before_wakeup = signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before_wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._wake)
            os.close(wake_write)

    def _on_stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stops += 1

    def _on_reload(self, _signal: int, _frame: FrameType | None) -> None:
        self._reloads += 1

    def _turn(self) -> None:
        """Go round the loop once."""
        hinted = self._wait()
        now = time.monotonic()
        if self._reloads:
            self._reloads = 0
            self._reload_config()
        if not self._take_hints(now) and hinted:
            self._guard.suspect()
        if self._desk.finish(now):
            self._last_work = now
        until = time.monotonic() + _SLICE_SECONDS
        self._desk.work(now, until)
        if self._guard.check(now, self._rounds.take_directories()):
            self._rounds.ask()
        self._rounds.step(now, until, self._sweep_seconds())
        self._rest(now)
        self._tell(now)

    def _wait(self) -> bool:
        """Sleep until something happens or is due; True when the watch has something to say."""
        now = time.monotonic()
        due = [self._guard.next_due(), self._rounds.next_due(), self._status_due]
        pending = self._desk.pending.next_due()
        if pending is not None and len(self._crew) < 3 * self._crew.width:
            due.append(pending)
        timeout = 0.0 if self._rounds.is_busy(now) else min(max(0.0, min(due) - now), _LONGEST_WAIT_SECONDS)
        with selectors.PollSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            selector.register(self._crew, selectors.EVENT_READ)
            if self._guard.watch is not None:
                selector.register(self._guard.watch, selectors.EVENT_READ)
            ready = [key.fileobj for key, _ in selector.select(timeout)]
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)
        return self._guard.watch in ready

    def _take_hints(self, now: float) -> int:
        hints = self._guard.read()
        for hint in hints:
            if hint.kind == "overflow":
                self._log.warning("watch.overflow", hint="A sweep follows; nothing is lost.")
                self._rounds.ask()
            else:
                self._take_path(hint, now)
        return len(hints)

    def _take_path(self, hint: Hint, now: float) -> None:
        root, parts = self._place(hint.path)
        if root is None or self._rounds.ignore.intersection(parts[:-1]):
            return
        if hint.kind == "directory":
            if not self._rounds.ignore.intersection(parts):
                self._rounds.ask_branch(root.path, parts, now, self._desk.settle_seconds)
            return
        if not parts:
            return
        name = parts[-1]
        names = (name,) if kind_of(name) else sources_of_metadata(name)
        for source in names:
            if not self._desk.hint(Task(root.path, parts[:-1], source), now, closed=hint.kind != "seen"):
                self._rounds.ask()

    def _place(self, path: str) -> tuple[Root | None, tuple[str, ...]]:
        for root in self._roots:
            parts = root.parts_of(path)
            if parts is not None:
                return root, parts
        return None, ()

    def _sweep_seconds(self) -> float:
        """Sweep more often when events cannot be relied on."""
        configured = self._config.watch.sweep_seconds
        return min(configured, _DEGRADED_SWEEP_SECONDS) if self._guard.degraded else configured

    def _rest(self, now: float) -> None:
        """Let idle workers go: they hold numpy's memory."""
        if not len(self._crew) and now - self._last_work > _REST_AFTER_SECONDS:
            self._crew.rest()
            self._last_work = now

    def _reload_config(self) -> None:
        self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        config = self._reload()
        if config is not None and self._apply(config):
            self._log.info("config.reloaded")
        self._notifier.send("READY=1")

    def _apply(self, config: Config) -> bool:
        """Put a new configuration into force: end what is in work, and build anew around the roots."""
        if config.roots != self._config.roots:
            return self._apply_roots(config)
        self._close_parts()
        self._config = config
        self._build()
        return True

    def _apply_roots(self, config: Config) -> bool:
        kept = {root.path: root for root in self._roots}
        fresh = {path: Root(path) for path in config.roots if path not in kept}
        for root in fresh.values():
            if not root.lock():
                self._log.error("config.rejected", reason=f"another service watches {root.path} already")
                _unlock(fresh.values())
                return False
        self._close_parts()
        _unlock(root for path, root in kept.items() if path not in config.roots)
        self._roots = [kept.get(path) or fresh[path] for path in config.roots]
        self._config = config
        self._build()
        return True

    def _tell(self, now: float) -> None:
        """Write the status file, and tell the service manager."""
        if self._watchdog_every is not None and now >= self._watchdog_due:
            self._watchdog_due = now + self._watchdog_every
            self._notifier.send("WATCHDOG=1")
        if not self._ready and self._guard.is_ready:
            self._ready = True
            self._log.info("service.ready", mode=self._mode())
            self._notifier.send("READY=1")
            self._status_due = now
        if now >= self._status_due:
            self._status_due = now + _STATUS_SECONDS
            self._write_status()

    def _write_status(self) -> None:
        current = self._status()
        with contextlib.suppress(OSError):  # no runtime directory: the service works all the same
            status.write(current, status.runtime_directory())
        failed = sum(trouble.state == "failed" for trouble in current.troubles)
        text = (
            f"{current.mode} {current.directories:,} directories, {current.sources:,} sources, "
            f"{current.pending:,} pending, {failed:,} failed"
        )
        if text != self._status_text:
            self._status_text = text
            self._notifier.send(f"STATUS={text}")

    def _status(self) -> status.Status:
        troubles = [
            status.Trouble(
                task.path, settled.outcome.result, *settled.outcome.reason_and_hint, _iso(settled.since)
            )
            for table in (self._desk.retrying, self._desk.settled)
            for task, settled in list(table.items())[:_TROUBLES_SHOWN]
        ]
        return status.Status(
            version=self._version,
            pid=os.getpid(),
            since=self._since,
            updated=_iso(time.time()),
            roots=tuple(os.path.abspath(root.path) for root in self._roots),
            mode=self._mode(),
            directories=self._rounds.directories,
            sources=self._rounds.sources,
            pending=len(self._desk.pending),
            last_sweep=self._rounds.last,
            troubles=tuple(troubles),
            interval_seconds=_STATUS_AT_LEAST_SECONDS,
        )

    def _mode(self) -> status.Mode:
        if not any(root.is_there for root in self._roots):
            return "waiting for root"
        return "watching" if self._guard.is_ready else "sweeping only"

    def _stop(self) -> None:
        """End what is in work at the end of its block; a second signal, or a minute, is impatient."""
        self._log.info("service.stopping")
        self._notifier.send("STOPPING=1")
        self._crew.ask_to_stop()
        began = time.monotonic()
        while len(self._crew):
            if self._stops > 1 or time.monotonic() - began > _STOP_SECONDS:
                self._crew.kill()
                self._stops = 1
            with contextlib.suppress(OSError):
                selector = selectors.PollSelector()
                selector.register(self._crew, selectors.EVENT_READ)
                selector.register(self._wake, selectors.EVENT_READ)
                selector.select(0.2)
                selector.close()
            self._desk.finish(time.monotonic())

    def _close_parts(self) -> None:
        self._crew.ask_to_stop()
        self._crew.close()
        self._guard.close_watch()

    def _close(self) -> None:
        self._crew.close()
        self._guard.close()
        status.remove(status.runtime_directory(), os.getpid())


def _lock_soon(root: Root) -> bool:
    """Lock a root, waiting a moment: workers of a service that was just killed may hold it still."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while not root.lock():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _unlock(roots: Iterable[Root]) -> None:
    for root in roots:
        root.unlock()


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
