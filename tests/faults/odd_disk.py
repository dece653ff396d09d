"""A file system that shows a directory, with other times than it is told: ``odd_disk.py SOURCE MOUNT TIMES``.

TIMES: ``ignored`` (accepted, and the time stays that of the last write), ``refused``, ``up`` or ``down`` (to
whole seconds), ``fat`` (down to two seconds).
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

from mfusepy import FUSE, FuseOSError, Operations

_SECOND = 1_000_000_000


class OddDisk(Operations):
    """Passes everything on to a directory, except for times."""

    use_ns = True

    def __init__(self, source: str, times: str) -> None:
        self._source = source
        self._times = times

    def at(self, path: str) -> str:
        """Return where a path of the mount really is."""
        return self._source + path

    def getattr(self, path: str, _fh: int | None = None) -> dict[str, int]:
        """Look a path up."""
        status = os.lstat(self.at(path))
        names = ("mode", "ino", "dev", "nlink", "uid", "gid", "size")
        found = {f"st_{name}": getattr(status, f"st_{name}") for name in names}
        times = {f"st_{name}": getattr(status, f"st_{name}_ns") for name in ("atime", "mtime", "ctime")}
        return found | times

    def readdir(self, path: str, _fh: int) -> list[str]:
        """List a directory."""
        return [".", "..", *os.listdir(self.at(path))]

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        """Keep a time as far as this disk does."""
        if self._times == "refused":
            raise FuseOSError(errno.EPERM)
        if self._times != "ignored" and times is not None:
            tick = 2 * _SECOND if self._times == "fat" else _SECOND
            down = times[1] - times[1] % tick
            kept = down + tick * (self._times == "up" and down != times[1])
            os.utime(self.at(path), ns=(kept, kept))
        return 0

    def create(self, path: str, mode: int, _fi: Any = None) -> int:
        """Create a file."""
        return os.open(self.at(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def open(self, path: str, flags: int) -> int:
        """Open a file."""
        return os.open(self.at(path), flags)

    def read(self, _path: str, size: int, offset: int, fh: int) -> bytes:
        """Read from a file."""
        return os.pread(fh, size, offset)

    def write(self, _path: str, data: bytes, offset: int, fh: int) -> int:
        """Write to a file."""
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, _fh: int | None = None) -> int:
        """Cut a file."""
        os.truncate(self.at(path), length)
        return 0

    def release(self, _path: str, fh: int) -> int:
        """Close a file."""
        os.close(fh)
        return 0

    def chmod(self, path: str, mode: int) -> int:
        """Set permissions."""
        os.chmod(self.at(path), mode)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        """Set the owner."""
        os.chown(self.at(path), uid, gid)
        return 0

    def mkdir(self, path: str, mode: int) -> int:
        """Make a directory."""
        os.mkdir(self.at(path), mode)
        return 0

    def unlink(self, path: str) -> int:
        """Remove a file."""
        os.unlink(self.at(path))
        return 0

    def rename(self, old: str, new: str) -> int:
        """Rename a file."""
        os.rename(self.at(old), self.at(new))
        return 0


if __name__ == "__main__":
    FUSE(OddDisk(sys.argv[1], sys.argv[3]), sys.argv[2], foreground=True, nothreads=True)
