"""A cursor over the bytes of a file: a window that fits the processor's cache and moves as it is used."""

from __future__ import annotations

from typing import Final, Protocol

from lib.errors import Corrupt, Unfinished, Unsafe

WINDOW_BYTES: Final = 1 << 17
_REFILL_BYTES: Final = 1 << 13


class Bytes(Protocol):
    """A run of bytes that can be read anywhere: a file at one moment, or bytes in memory."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``; fewer only at the end."""


class Cursor:
    """Reads forward from ``start`` to ``end`` (offsets in bytes), no more than ``length_limit`` at a time."""

    def __init__(self, source: Bytes, start: int, end: int) -> None:
        self.source = source
        self.end = end
        self.length_limit = _REFILL_BYTES
        self._window = b""
        self._base = start
        self._at = 0

    @property
    def position(self) -> int:
        """Offset of the next byte in the file."""
        return self._base + self._at

    def window(self) -> tuple[bytes, int]:
        """Return the bytes at hand (8 kB or more before the end of the file) and where the next one is."""
        if len(self._window) - self._at < _REFILL_BYTES:
            self._refill()
        return self._window, self._at

    def advance(self, at: int) -> None:
        """Go on at this index of the window."""
        self._at = at

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

        :raises Unsafe: they are more than ``length_limit``.
        :raises Unfinished: the file ends before.
        """
        stop = self._at + length
        if stop > len(self._window):
            return self._take_far(length)
        data = self._window[self._at : stop]
        self._at = stop
        return data

    def line(self, limit: int) -> bytes:
        """Return the bytes before the next newline, at most ``limit``.

        :raises Corrupt: there is none so near.
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
        if length > self.length_limit:
            raise Unsafe(f"its pickle asks for {length:,} bytes at once")
        start = self.position
        if length > self.end - start:
            raise Unfinished("it ends inside its data")
        if length <= WINDOW_BYTES:
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
        wanted = min(WINDOW_BYTES, self.end - start) - len(rest)
        if wanted > 0:
            rest += self.source.read_at(start + len(rest), wanted)
        self._window, self._base, self._at = rest, start, 0
