"""The protocol between the watcher process and the service: hints, and the records that carry them.

A record is one letter, a payload of bytes without NUL, and a NUL.  Paths hold every other byte, newlines too,
so nothing needs quoting.  The letters are private to the two ends of one pipe.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final, Literal, Protocol

HintKind = Literal["closed", "moved", "seen", "directory", "overflow"]

HINTS: Final[dict[bytes, HintKind]] = {
    b"c": "closed",
    b"m": "moved",
    b"s": "seen",
    b"d": "directory",
    b"o": "overflow",
}
CLOSED, MOVED, SEEN, DIRECTORY, OVERFLOW = (bytes(letter) for letter in HINTS)
READY: Final = b"r"
"""Every watch is in place: what happens from now on is reported."""
PONG: Final = b"p"
"""The answer to a byte on standard input."""
FATAL: Final = b"f"
"""The last record of a watcher that ends by itself; the payload is the reason."""
END: Final = b"\0"


@dataclass(frozen=True, slots=True)
class Hint:
    """Something may have happened at ``path``; only the disk knows.

    ``closed``: a source or metadata file was closed after writing · ``moved``: it was renamed to ``path`` ·
    ``seen``: it appeared (created, linked) · ``directory``: a directory appeared, moved to ``path`` or went ·
    ``overflow``: events were lost, and only a sweep helps; ``path`` is empty.
    """

    kind: HintKind
    path: str


class Hints(Protocol):
    """A source of hints, as the supervisor sees it.

    All calls come from one thread.  None of them waits, and none raises because the watch broke: ``trouble``
    reports that.
    """

    ready: bool
    """True once everything that happens in the roots is reported.  Sweep after this, not before."""
    ended: bool
    """True once a read found that no hint will come any more; ``trouble`` has the reason."""

    def fileno(self) -> int:
        """Return the descriptor to select on for reading; valid until ``close``.

        It stays readable after the watch ended.
        """
        ...

    def read(self) -> list[Hint]:
        """Return the hints that have arrived, oldest first; may be empty."""
        ...

    def trouble(self, now: float) -> str | None:
        """Return why the watch must be replaced, or None while it seems sound.

        Call it every few seconds; ``now`` is monotonic, in seconds.
        """
        ...

    def close(self) -> None:
        """End the watch.  May be called twice."""
        ...


def record(letter: bytes, payload: bytes = b"") -> bytes:
    r"""Frame one record.

    >>> record(CLOSED, b"x/a_completions.npy")
    b'cx/a_completions.npy\x00'
    """
    return letter + payload + END


def hint_of(letter: bytes, payload: bytes) -> Hint | None:
    """Turn a record into a hint, or None when it carries none.

    >>> hint_of(b"c", b"x/a_completions.npy")
    Hint(kind='closed', path='x/a_completions.npy')
    """
    kind = HINTS.get(letter)
    return None if kind is None else Hint(kind, os.fsdecode(payload))
