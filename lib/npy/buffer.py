"""Bytes that can be read anywhere, and a cursor that reads them forward through a window."""

from __future__ import annotations

from typing import Final, Protocol

from lib.errors import Corrupt, Unfinished

WINDOW_BYTES: Final = 1 << 17
"""What fits into the processor's cache."""
REFILL_BYTES: Final = 1 << 13


class Bytes(Protocol):
    """Bytes that can be read anywhere: one version of a file."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``; fewer only at the end."""


class Cursor:
    """Reads forward from an offset (bytes) to the end.

    Its window is ``window_bytes`` long at first, and grows with each refill.
    """

    def __init__(self, source: Bytes, start: int, window_bytes: int = WINDOW_BYTES) -> None:
        self.source = source
        self.end = source.size
        self._window_bytes = window_bytes
        self._window = b""
        self._base = start
        self._at = 0

    @property
    def position(self) -> int:
        """Offset of the next byte in the file."""
        return self._base + self._at

    def window(self) -> tuple[bytes, int]:
        """Return the window and the place of the next byte; 8 kB or more follow, except at the end."""
        if len(self._window) - self._at < REFILL_BYTES:
            self._refill()
        return self._window, self._at

    def skip(self, length: int) -> None:
        """Skip the next ``length`` bytes.

        :raises Unfinished: the file ends before.
        """
        if self._at + length <= len(self._window):
            self._at += length
            return
        position = self.position + length
        if position > self.end:
            raise Unfinished("it ends inside its data")
        self._window, self._base, self._at = b"", position, 0

    def byte(self) -> int:
        """Return the next byte.

        :raises Unfinished: the file ends before.
        """
        at = self._at
        if at < len(self._window):
            self._at = at + 1
            return self._window[at]
        return self._take_far(1)[0]

    def take(self, length: int) -> bytes:
        """Return the next ``length`` bytes.

        :raises Unfinished: the file ends before.
        """
        stop = self._at + length
        if stop > len(self._window):
            return self._take_far(length)
        data = self._window[self._at : stop]
        self._at = stop
        return data

    def line(self, limit: int) -> bytes:
        """Return the bytes before the next newline, and go on after it.

        :raises Corrupt: there is none within ``limit`` bytes.
        :raises Unfinished: the file ends before.
        """
        window, at = self.window()
        stop = window.find(b"\n", at, at + limit)
        if stop < 0 and at + limit > len(window):
            raise Unfinished("it ends inside its data")
        if stop < 0:
            raise Corrupt("its pickle holds a name or a number that does not end")
        self._at = stop + 1
        return window[at:stop]

    def _take_far(self, length: int) -> bytes:
        start = self.position
        if length > self.end - start:
            raise Unfinished("it ends inside its data")
        if length <= self._window_bytes:
            self._refill()
            data = self._window[:length]
            self._at = length
        else:
            data = self.source.read_at(start, length)
            self._window, self._base, self._at = b"", start + length, 0
        if len(data) != length:
            raise Unfinished("it ends inside its data")
        return data

    def _refill(self) -> None:
        start, rest = self.position, self._window[self._at :]
        wanted = min(self._window_bytes, self.end - start) - len(rest)
        if wanted > 0:
            rest += self.source.read_at(start + len(rest), wanted)
        self._window, self._base, self._at = rest, start, 0
        self._window_bytes = min(4 * self._window_bytes, WINDOW_BYTES)
