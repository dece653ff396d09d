"""Two crews behind one door: a long conversion has a lane of its own, so that no small one waits for it."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from daemon.workers.pool import Crew
    from lib.options import Options
    from lib.outcome import Outcome
    from lib.sync.walk import Task

LONG_BYTES: Final = 64 << 20
"""A source of so many bytes takes the better part of a second and more."""


class Lanes:
    """A crew to all appearances.  The processors are shared among the lanes by the kernel, evenly."""

    def __init__(self, quick: Crew, long: Crew) -> None:
        self._quick = quick
        self._crews = (quick, long)
        self._ready = select.epoll()
        for crew in self._crews:
            self._ready.register(crew, select.EPOLLIN)

    def fileno(self) -> int:
        """Return a descriptor for ``select``: readable when a task is done."""
        return self._ready.fileno()

    def __len__(self) -> int:
        """Count the tasks that were submitted and not yet taken by :meth:`done`."""
        return sum(map(len, self._crews))

    def has_room(self) -> bool:
        """Tell whether a small task would start soon."""
        return self._quick.has_room()

    def submit(self, task: Task, options: Options, size: int = 0) -> None:
        """Take a task on; ``size``: its source's, in bytes."""
        self._crews[size >= LONG_BYTES].submit(task, options, size)

    def done(self) -> list[tuple[Task, Outcome]]:
        """Return what was finished since the last call, without waiting."""
        return [pair for crew in self._crews for pair in crew.done()]

    def rest(self) -> None:
        """Let idle workers go; the next task starts new ones."""
        for crew in self._crews:
            crew.rest()

    def ask_to_stop(self) -> None:
        """Drop what waits for good, and ask the workers to stop at the end of the current block."""
        for crew in self._crews:
            crew.ask_to_stop()

    def kill(self) -> None:
        """End the workers at once, for good."""
        for crew in self._crews:
            crew.kill()

    def close(self) -> None:
        """Wait for the workers and let everything go; may be called twice."""
        for crew in self._crews:
            crew.close()
        self._ready.close()
