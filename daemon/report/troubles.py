"""What the status lists: encoded as it comes, so that a hundred thousand entries cost little."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from daemon.report.status import Trouble


class _Entry(NamedTuple):
    state: str
    reason: str
    since: str
    text: str


class TroubleTable:
    """Troubles, each under the key of its reporter.

    ``counts``: the number of troubles by state; ``version`` grows with every change.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.version = 0
        self._entries: dict[Hashable, _Entry] = {}

    def state_of(self, key: Hashable) -> str:
        """Return the state under a key, "" if there is none."""
        return self._entries[key].state if key in self._entries else ""

    def put(self, key: Hashable, trouble: Trouble) -> bool:
        """Add a trouble, or replace the one under its key; a state keeps its beginning.

        Returns whether this state and reason are new.
        """
        before = self._entries.get(key)
        if before is not None and before.state == trouble.state:
            if before.reason == trouble.reason:
                return False
            trouble = replace(trouble, since=before.since)
        self.drop(key)
        self.counts[trouble.state] += 1
        self.version += 1
        text = json.dumps(asdict(trouble))
        self._entries[key] = _Entry(trouble.state, trouble.reason, trouble.since, text)
        return True

    def drop(self, key: Hashable) -> None:
        """Remove the trouble under a key, if there is one."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.counts[entry.state] -= 1
            self.version += 1

    def entries(self) -> Iterator[str]:
        """Yield the JSON of every trouble."""
        return (entry.text for entry in self._entries.values())
