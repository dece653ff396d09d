"""What passes between the watcher process and the service: hints, and the records that carry them.

A record is one letter, a payload of bytes without NUL, and a NUL: paths hold every other byte, newlines too,
so nothing needs to be quoted.  Letters are a private matter of one version's two ends of one pipe.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

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
"""Every watch stands: what happens from here on is reported."""
PONG: Final = b"p"
"""The canary's file N was closed; the payload is N."""
BUSY: Final = b"b"
"""Events arrive, but none that would make a hint: alive, not spinning."""
FATAL: Final = b"f"
"""The last record of a watcher that gives up; the payload is the reason in words."""
END: Final = b"\0"


@dataclass(frozen=True, slots=True)
class Hint:
    """Something may have happened at ``path``; only the disk knows.

    ``closed``: a source or metadata file was closed after writing · ``moved``: renamed to ``path``, from
    wherever · ``seen``: it appeared (created, linked) · ``directory``: a directory appeared, moved to
    ``path`` or went · ``overflow``: events were lost, or may have been; ``path`` is empty and only a sweep
    helps.
    """

    kind: HintKind
    path: str


class Hints(Protocol):
    """A source of hints, as the service sees it; tests bring one that is fed with lists.

    All calls come from one thread.  None of them blocks but ``close``, and none raises because the watch
    broke: that is what ``trouble`` says.
    """

    @property
    def ready(self) -> bool:
        """True once whatever happens in the roots is reported.  Sweep after this, not before."""
        ...

    @property
    def doubtful(self) -> bool:
        """True while directories that a sweep saw seem unwatched: sweep again in seconds to make sure."""
        ...

    @property
    def ended(self) -> bool:
        """True once a read found that no hint will ever come again: ask ``trouble`` why."""
        ...

    def fileno(self) -> int:
        """Return the descriptor to select on for reading; valid until ``close``.

        After the watch ended it stays readable.
        """
        ...

    def read(self) -> list[Hint]:
        """Return the hints that have arrived, oldest first; may be empty."""
        ...

    def ping(self) -> None:
        """Ask for a sign of life.  Call it every two to four seconds."""
        ...

    def trouble(self, now: float, directories: Collection[int] | None = None) -> str | None:
        """Say why the watch must be replaced, or None while it seems sound.

        ``now`` is monotonic, in seconds.  ``directories`` are inode numbers of the directories below the
        roots, roots included, that a sweep which has just ended could list.
        """
        ...

    def close(self, timeout: float = 2.0) -> None:
        """End the watch and leave nothing behind.  May be called twice."""
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
