"""What tests of a running service share: the service as a process, counts that grow overnight, and judges."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from support import REPOSITORY, processes_with, types, wait_for

from lib.names import is_temporary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

DEADLINE_SECONDS: Final = 60.0
PATIENCE_SECONDS: Final = 240.0
"""What a machine with two busy cores may take for anything that is not counted in thousands."""
_ROUNDS: Final = float(os.environ.get("FAULT_ROUNDS", "1"))


def rounds(count: int) -> int:
    """Return how often to do something: ``count`` times FAULT_ROUNDS, for a night's run."""
    return max(1, int(count * _ROUNDS))


def counts(short: int, long: int) -> pytest.MarkDecorator:
    """Give a test a small ``count`` each time, and a large one, times FAULT_ROUNDS, in the fault suites."""
    return pytest.mark.parametrize("count", [short, pytest.param(rounds(long), marks=pytest.mark.faults)])


class Daemon:
    """The service as a process of its own, with its log; ``before`` are words in front of its command."""

    before: tuple[str, ...] = ()

    def __init__(self, wheel: Path, *arguments: str | Path, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "daemon.log"
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(wheel),
            "RUNTIME_DIRECTORY": str(directory / "run"),
        }
        self.arguments = [str(argument) for argument in arguments]
        self.start()

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with self.log.open("ab") as log:
            log.write(b"\n")
            self.process = subprocess.Popen(
                [*self.before, sys.executable, "-m", "daemon", *self.arguments],
                stdin=subprocess.DEVNULL,
                stderr=log,
                env=self.environment,
                cwd=self.directory,
            )

    def events(self) -> list[dict[str, object]]:
        """Return what it logged so far; a line whose end is not there yet does not count."""
        whole = self.log.read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in whole if line.startswith(b"{")]

    def named(self, name: str) -> list[dict[str, object]]:
        """Return the events of one name."""
        return [event for event in self.events() if event["event"] == name]

    def failures(self) -> list[dict[str, object]]:
        """Return those that stay: a file may be seen half-saved, and is reported as retried."""
        return [event for event in self.named("source.failed") if event["retry_seconds"] is None]

    def wait_for(self, name: str, count: int = 1) -> None:
        """Wait until an event was logged this many times."""
        wait_for(lambda: len(self.named(name)) >= count or self.process.poll() is not None)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(DEADLINE_SECONDS)


class Service(Daemon):
    """The service from the checkout, as a process of its own over one root."""

    def __init__(self, root: Path, *flags: str, directory: Path) -> None:
        self.root = root
        super().__init__(REPOSITORY, root, *flags, directory=directory)

    def start(self) -> None:
        """Start it, and remember how often services of this log were ready before."""
        self._before = self._readies()
        super().start()

    @property
    def is_ready(self) -> bool:
        """Tell whether it has been ready since its last start; before that, SIGHUP would end it."""
        return self._readies() > self._before

    @property
    def watcher(self) -> int | None:
        """Return the process id of the watcher; None between two of them."""
        for pid in self._children():
            if b"daemon.watch.process" in _content(Path(f"/proc/{pid}/cmdline")):
                return int(pid)
        return None

    @property
    def workers(self) -> list[int]:
        """Return the process ids of those who convert."""
        return [
            int(pid)
            for pid in self._children()
            if b"daemon.watch.process" not in _content(Path(f"/proc/{pid}/cmdline"))
        ]

    def status(self) -> str:
        """Ask it how it is, as a person would."""
        return types(self.directory, "generation-sidecars", "--status").stdout

    def until(self, condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until a condition holds; a failure shows the end of the log."""
        try:
            wait_for(lambda: condition() or self.process.poll() is not None, seconds)
        except pytest.fail.Exception as failure:
            pytest.fail(f"{failure}; its log ends with\n{self.log_end()}")
        self.assert_alive()

    def assert_alive(self) -> None:
        """Fail, with how it ended and the end of its log, if it is not there any more."""
        status = self.process.poll()
        assert status is None, f"the service ended by itself, with {status}; its log:\n{self.log_end()}"

    def log_end(self) -> str:
        """Return the last lines of the log."""
        return "\n".join(self.log.read_text().splitlines()[-15:])

    def _readies(self) -> int:
        return self.log.read_text().count('"service.ready"') if self.log.exists() else 0

    def _children(self) -> list[str]:
        self.assert_alive()
        tasks = Path(f"/proc/{self.process.pid}/task")
        return [pid for task in tasks.iterdir() for pid in _content(task / "children").decode().split()]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has just ended
        return b""


def sidecars(source: Path) -> tuple[Path, Path]:
    """Name the sidecars of a source."""
    return source.with_suffix(".json"), source.with_suffix(".md")


def is_fresh(source: Path) -> bool:
    """Tell whether both sidecars carry the source's time."""
    try:
        stamp = source.stat().st_mtime_ns
        return all(path.stat().st_mtime_ns == stamp for path in sidecars(source))
    except FileNotFoundError:
        return False


def save(path: Path, *texts: str) -> Path:
    """Save texts as a generation script does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array(texts, dtype=object), allow_pickle=True)
    return path


def holds(source: Path, *texts: str) -> bool:
    """Tell whether the JSON beside a source holds these texts."""
    try:
        return json.loads(sidecars(source)[0].read_text()) == list(texts)
    except FileNotFoundError:
        return False


def litter(root: Path) -> list[Path]:
    """Find the temporary files of generation-sidecars."""
    return list(root.rglob(".generation-sidecars-*"))


@contextmanager
def serving(
    directory: Path, *flags: str, sweep_seconds: float | None = None, kind: type[Service] | None = None
) -> Iterator[Service]:
    """Run the service over ``directory/experiments`` until the block ends; then nothing of it is left."""
    root = directory / "experiments"
    root.mkdir(exist_ok=True)
    if sweep_seconds is not None:
        config = directory / "config.toml"
        config.write_text(f"[watch]\nsweep_seconds = {sweep_seconds}\n")
        flags = (*flags, "--config", str(config))
    service = (kind or Service)(root, *flags, directory=directory)
    try:
        service.until(lambda: service.is_ready)
        yield service
        assert service.stop() == 0, service.log_end()
        assert not [name for _, _, names in os.walk(root) for name in names if is_temporary(name)]
    finally:
        if service.process.poll() is None:
            service.stop(signal.SIGKILL)
        wait_for(lambda: not processes_with(str(directory)))


def unmade(root: Path) -> list[Path]:
    """Name the sources whose sidecars are missing, stale, or do not hold what the source does."""
    return [source for source in sorted(root.rglob("*.npy")) if not is_right(source)]


def is_right(source: Path) -> bool:
    """Tell whether both sidecars carry the source's time and the JSON holds its texts."""
    try:
        return is_fresh(source) and holds(source, *np.load(source, allow_pickle=True).tolist())
    except FileNotFoundError:
        return False


def is_complete(sources: Iterable[Path]) -> bool:
    """Tell whether every one of many sources has both its sidecars; quick, and without a look inside."""
    return all(path.exists() for source in sources for path in sidecars(source))


def pause(seconds: float) -> None:
    """Let time pass for a writer that is slow."""
    deadline = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() >= deadline, seconds + 10)


def names_of(events: Iterable[dict[str, Any]]) -> list[str]:
    """Return the file names of the sources that events tell of."""
    return [Path(str(event["source"])).name for event in events]
