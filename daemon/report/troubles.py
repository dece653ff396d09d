"""What the status lists: encoded as it comes, so that a hundred thousand entries cost little."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from daemon.report.status import SourceReport


class TroubleTable:
    """Troubles, each under the key of its reporter.

    ``counts``: the number of troubles by state; ``version`` grows with every change.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.version = 0
        self._entries: dict[Hashable, tuple[str, str]] = {}

    def put(self, key: Hashable, trouble: SourceReport) -> None:
        """Add a trouble, or replace the one under its key."""
        self.drop(key)
        self.counts[trouble.state] += 1
        self.version += 1
        self._entries[key] = (trouble.state, json.dumps(asdict(trouble)))

    def drop(self, key: Hashable) -> None:
        """Remove the trouble under a key, if there is one."""
        state, _ = self._entries.pop(key, ("", ""))
        if state:
            self.counts[state] -= 1
            self.version += 1

    def entries(self) -> list[str]:
        """Return the JSON of every trouble."""
        return [text for _, text in self._entries.values()]
