"""The progress of a sweep on a terminal: a bar with rate and time left, below the log lines."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from daemon.report.outcomes import Done
from lib.sync.walk import Found, PathFailure, source_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from daemon.report.outcomes import Event


class Bar:
    """An observer that shows on standard error how many sources are done."""

    def __init__(self) -> None:
        from tqdm import tqdm  # only needed on a terminal

        tqdm.monitor_interval = 0  # its thread would be running while workers are forked
        self._bar = tqdm(
            desc="counting",
            unit=" sources",
            file=sys.stderr,
            dynamic_ncols=True,
            leave=False,
            miniters=0,  # tqdm would learn it from the counting, which is much faster than the sweep
        )

    def count(self, paths: Sequence[str], ignore: frozenset[str], stop: Callable[[], bool]) -> None:
        """Count the sources, by name only, then begin again at zero."""
        for _ in source_names(paths, ignore):
            if stop():
                break
            self._advance()
        with suppress(OSError):
            self._bar.set_description("sweeping", refresh=False)
            self._bar.reset(self._bar.n)

    def notice(self, event: Event, _now: float) -> None:
        """Advance by a source, or by a path that cannot be read."""
        if isinstance(event, (Found, PathFailure, Done)):
            self._advance()

    def close(self) -> None:
        """Remove the bar from the terminal; may be called twice."""
        with suppress(OSError):
            self._bar.close()

    def aside(self) -> AbstractContextManager[object]:
        """Return a context in which a log line can be written above the bar."""
        context: AbstractContextManager[object] = self._bar.external_write_mode(file=sys.stderr)
        return context

    def _advance(self) -> None:
        with suppress(OSError):  # the terminal is gone
            self._bar.update()
