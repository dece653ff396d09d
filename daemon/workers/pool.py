"""What every pool of workers does, and what pools share: jobs, batches of them, and their failures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from lib.errors import Interrupted, SidecarError
from lib.outcome import Outcome, failure

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterable

    from lib.options import Options
    from lib.sync.walk import Task

Finished: TypeAlias = "tuple[Task, Outcome]"
BATCH_TASKS: Final = 16
_BATCH_BYTES: Final = 8 << 20
STOPPED: Final = Interrupted("the workers were stopped")


class Pool(Protocol):
    """Workers that convert sources, all with the same options.

    Used from one thread, and no method waits longer than it says.
    """

    def fileno(self) -> int:
        """Return a descriptor for ``select``: readable when a task is done."""

    def __len__(self) -> int:
        """Count the tasks that were submitted and not yet returned by :meth:`done`."""

    def has_room(self) -> bool:
        """Tell whether another short task would start soon; more may be submitted, and wait."""

    def submit(self, task: Task, size: int = 0) -> None:
        """Accept a task whose source has ``size`` bytes; it starts with the next :meth:`done`."""

    def done(self) -> list[Finished]:
        """Return what was finished since the last call, and start what waits.

        Call it at least every two seconds: only here is a worker ended that does not answer.
        """

    def stop(self) -> None:
        """Drop what waits, accept nothing more, and ask the workers to stop after the current block."""

    def kill(self) -> None:
        """Drop what waits, accept nothing more, and end the work at once; sweeps remove its litter."""

    def close(self, patience_seconds: float = 5.0) -> None:
        """Stop, wait this long for running conversions, then kill them; may be called twice."""


@dataclass(frozen=True, slots=True)
class Job:
    """A task, the size of its source in bytes, and how often its worker was lost."""

    task: Task
    size: int
    losses: int = 0


def next_batch(waiting: deque[Job], width: int) -> list[Job]:
    """Take one job from those that wait, or a few small ones, leaving as many for each of ``width`` workers.

    Small sources are handed over together, so that they wait for the disk together.  One whose worker was
    lost goes by itself.
    """
    jobs = [waiting.popleft()]
    fair = min(BATCH_TASKS, (1 + len(waiting)) // width)
    size = jobs[0].size
    while waiting and len(jobs) < fair:
        size += waiting[0].size
        if size > _BATCH_BYTES or jobs[0].losses or waiting[0].losses:
            break
        jobs.append(waiting.popleft())
    return jobs


def all_failed(jobs: Iterable[Job], options: Options, error: SidecarError) -> list[Finished]:
    """Return the failure of each job for one reason."""
    return [(job.task, failure(job.task.name, options, error)) for job in jobs]
