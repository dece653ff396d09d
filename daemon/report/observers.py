"""Observers of the work, and the events that they are told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from daemon.report.status import Status
    from lib.outcome import Outcome
    from lib.sync.walk import Found, PathFailure, Task


@dataclass(frozen=True, slots=True)
class Done:
    """A source had its turn; ``outcome`` is None when it was not worked on."""

    task: Task
    outcome: Outcome | None


class Walk(Enum):
    """A sweep begins to walk, or has seen everything that is there."""

    BEGUN = "begun"
    ENDED = "ended"


Event: TypeAlias = "Found | PathFailure | Done | Walk | Status"
"""``Found``: a sweep found this source fresh.  ``PathFailure``: a path could not be looked at or written."""


class Observer(Protocol):
    """Something that is told of the work, from one thread."""

    def notice(self, event: Event, now: float) -> None:
        """Act on an event; ``now`` is monotonic seconds."""
