"""The progress of a sweep on a terminal: a bar with rate and time left, which lines of the log pass by."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class Progress(Protocol):
    """Hears how far a sweep is, in sources."""

    def begin(self, total: int | None) -> None:
        """Begin to count up to ``total``; None while that is being found out."""

    def advance(self) -> None:
        """Hear of one more."""

    def end(self) -> None:
        """Leave nothing on the terminal; may be called twice."""


class Silent:
    """Shows nothing."""

    def begin(self, total: int | None) -> None:
        """Nothing is shown."""

    def advance(self) -> None:
        """Nothing is shown."""

    def end(self) -> None:
        """Nothing was shown."""


class Bar:
    """Shows a bar on standard error."""

    def __init__(self) -> None:
        from tqdm import tqdm  # only who waits at a terminal needs it

        tqdm.monitor_interval = 0  # its thread would be there when workers are forked
        self._tqdm = tqdm
        self._bar: tqdm[None] | None = None

    def begin(self, total: int | None) -> None:
        """Begin a bar, or a count, in place of the one before."""
        self.end()
        label = "looking" if total is None else "sweeping"
        self._bar = self._tqdm(
            total=total, desc=label, unit=" sources", file=sys.stderr, dynamic_ncols=True, leave=False
        )

    def advance(self) -> None:
        """Move it on."""
        if self._bar is not None:
            self._bar.update()

    def end(self) -> None:
        """Take it away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def aside(self) -> AbstractContextManager[object]:
        """Make room for a line of somebody else's."""
        room: AbstractContextManager[object] = self._tqdm.external_write_mode(file=sys.stderr)
        return room


def on_terminal() -> bool:
    """Tell whether somebody watches standard error."""
    return sys.stderr is not None and sys.stderr.isatty()


def can_draw() -> bool:
    """Tell whether that terminal can draw over what it shows."""
    return on_terminal() and os.environ.get("TERM", "dumb") != "dumb"
