"""How the watcher is judged from outside: what ``/proc`` says, and a small judge for each way to fail.

A judge remembers what it needs between two looks, is told the monotonic time in seconds, and answers with the
trouble in words or None.  See proc(5) for ``stat``, ``statm`` and the ``inotify`` lines of ``fdinfo``.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

DEAF_SECONDS: Final = 10.0
SPIN_SECONDS: Final = 5.0
SPIN_SHARE: Final = 0.9
GAP_SECONDS: Final = 3.0
GROWTH_BYTES: Final = 256 * 2**20


class Deafness:
    """A question has gone unanswered, and nothing else was heard either."""

    def __init__(self) -> None:
        self._since: float | None = None

    def look(self, now: float, *, asked: bool, heard: bool) -> str | None:
        """Judge; ``asked``: a question is open; ``heard``: some record arrived since the last look."""
        if not asked:
            self._since = None
        elif heard or self._since is None:
            self._since = now
        elif now - self._since >= DEAF_SECONDS:
            return f"it did not answer for {DEAF_SECONDS:.0f} s"
        return None


class Spin:
    """It works all the time and nothing comes of it: watchdog 7 after an overflow on a big tree, for one."""

    def __init__(self) -> None:
        self._start: tuple[float, float] | None = None

    def look(self, now: float, cpu_seconds: float, *, eventful: bool) -> str | None:
        """Judge; ``eventful``: an event was reported since the last look."""
        if eventful or self._start is None:
            self._start = now, cpu_seconds
            return None
        seconds = now - self._start[0]
        if seconds < SPIN_SECONDS:
            return None
        share = (cpu_seconds - self._start[1]) / seconds
        self._start = now, cpu_seconds
        return "it burns a processor without events" if share >= SPIN_SHARE else None


class Growth:
    """It holds far more memory than at first: watchdog 6 keeps something of every rename for ever."""

    def __init__(self) -> None:
        self._first: int | None = None

    def look(self, resident_bytes: int) -> str | None:
        """Judge."""
        if self._first is None:
            self._first = resident_bytes
        grown = resident_bytes - self._first
        return f"it has grown by {grown >> 20} MiB" if grown > max(GROWTH_BYTES, 2 * self._first) else None


class Gaps:
    """Directories that a sweep listed have no watch, and had none a few seconds ago.

    Once is no proof: a directory may be younger than its event, or have gone since the sweep.
    """

    def __init__(self) -> None:
        self._since = 0.0
        self.suspects: frozenset[int] = frozenset()

    def look(self, now: float, directories: Collection[int], watched: Collection[int]) -> str | None:
        """Judge; both are inode numbers."""
        missing = unwatched(directories, watched)
        still = missing & self.suspects
        if still and now - self._since >= GAP_SECONDS:
            return (
                f"{len(still)} directories are not watched"
                if len(still) > 1
                else "a directory is not watched"
            )
        if not still:
            self._since = now
        self.suspects = still or missing
        return None


def unwatched(directories: Collection[int], watched: Collection[int]) -> frozenset[int]:
    """Return which directories have no watch.

    Stacked filesystems may show other numbers to stat than to inotify; then no number agrees and only counts
    can.
    """
    missing = frozenset(directories).difference(watched)
    if len(missing) == len(directories) <= len(watched):
        return frozenset()
    return missing


def cpu_seconds(pid: int) -> float | None:
    """Return the processor time a process has used; None when that is not to be seen."""
    with suppress(OSError, IndexError, ValueError):
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return None


def resident_bytes(pid: int) -> int | None:
    """Return the memory a process holds; None when that is not to be seen."""
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGESIZE")
    return None


def watched_inodes(pid: int) -> list[int] | None:
    """Return the inode number of every inotify watch of a process; None when that is not to be seen.

    The kernel writes them as ``inotify wd:1 ino:2a3 sdev:…``, in hexadecimal.  Takes 8 ms for 1,000 watches.
    """
    with suppress(OSError, IndexError, ValueError):
        lines = (line for entry in Path(f"/proc/{pid}/fdinfo").iterdir() for line in _lines(entry))
        return [
            int(line.partition(b"ino:")[2].split()[0], 16)
            for line in lines
            if line.startswith(b"inotify wd:")
        ]
    return None


def _lines(entry: Path) -> list[bytes]:
    """Read the lines of one descriptor; none when it was closed since it was listed."""
    with suppress(FileNotFoundError):
        return entry.read_bytes().splitlines()
    return []
