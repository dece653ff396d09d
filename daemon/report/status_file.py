"""The status file of a running service, which ``--status`` reads.

Each service replaces its own file, ``<pid>.json``, in a private directory.  Each version of it is locked
(flock) before it gets this name, and until the next one has it: a file without a lock was left by a service
that was killed.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from contextlib import ExitStack, suppress
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from daemon.report.status import NAME, Reading, Status, Trouble, iso, moment
from lib.errors import SidecarError
from lib.files.reader import open_file
from lib.files.temporary import hold, remove_abandoned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_RUN: Final = Path("/run")
_TMP: Final = Path("/tmp")  # noqa: S108  # a directory of another user in it is refused
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LIMIT_BYTES: Final = 1 << 28
_BUFFER_BYTES: Final = 1 << 20
_TROUBLE: Final = itemgetter(*Trouble.__slots__)


def own_directories(
    environ: Mapping[str, str] = os.environ, *, run: Path = _RUN, tmp: Path = _TMP
) -> tuple[Path, ...]:
    """Return the directories in which services of this user may put their files; nothing is created.

    ``RUNTIME_DIRECTORY``, see systemd.exec(5), is the only one when it is set.
    """
    if given := _given(environ):
        return (given,)
    uid = os.getuid()
    session = environ.get("XDG_RUNTIME_DIR", "")
    user = run / "user" / str(uid)
    places = (
        (Path(session, NAME), os.path.isabs(session) and _is_own(session)),  # su(1) may keep another user's
        (user / NAME, _is_own(user)),
        (tmp / f"{NAME}-{uid}", True),
    )
    return tuple(dict.fromkeys(path for path, is_there in places if is_there))


def _given(environ: Mapping[str, str]) -> Path | None:
    first = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]  # it may list several
    return Path(first) if os.path.isabs(first) else None


def _is_own(path: str | Path) -> bool:
    try:
        return os.stat(path).st_uid == os.getuid()
    except OSError:
        return False


class StatusFile:
    """The status file of one service, at ``path``."""

    def __init__(self, place: Path, pid: int) -> None:
        with suppress(FileExistsError):
            os.mkdir(place, 0o700)
        self._directory = _open_directory(place)
        for name in os.listdir(self._directory):
            if name.endswith((".json", ".tmp")):  # left by a service that was killed, if nobody holds it
                remove_abandoned(self._directory, name)
        self._name = f"{pid}.json"
        self._temporary = f".{pid}.tmp"
        self._file = -1
        self.path = place / self._name

    @classmethod
    def open(cls, places: Iterable[Path], pid: int) -> StatusFile:
        """Use the first directory that is private or can be created.

        :raises OSError: none of the directories can be used.
        """
        *first, last = places
        for place in first:
            with suppress(OSError):
                return cls(place, pid)
        return cls(last, pid)

    def write(self, status: Status, troubles: Iterable[str] = ()) -> None:
        """Replace the file: readers see the old one or the new one.  ``troubles`` are JSON already.

        :raises OSError: it cannot be written.
        """
        with suppress(FileNotFoundError):
            os.unlink(self._temporary, dir_fd=self._directory)
        file = os.open(self._temporary, _CREATE, 0o644, dir_fd=self._directory)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with open(file, "w", _BUFFER_BYTES, encoding="ascii", closefd=False) as stream:
                stream.writelines(_pieces(status, troubles))
            os.replace(self._temporary, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except BaseException:
            os.close(file)
            raise
        self._let_go()
        self._file = file

    def renew(self) -> None:
        """Set the file's time, which shows that the service is alive and nothing has changed.

        :raises OSError: the file has been removed.
        """
        os.utime(self._name, dir_fd=self._directory, follow_symlinks=False)

    def close(self) -> None:
        """Remove the file; may be called twice, never raises."""
        for name in (self._name, self._temporary):
            with suppress(OSError):
                os.unlink(name, dir_fd=self._directory)
        self._let_go()
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    def _let_go(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _pieces(status: Status, troubles: Iterable[str]) -> Iterator[str]:
    """Yield the status as JSON."""
    fields = {name: getattr(status, name) for name in Status.__slots__ if name != "troubles"}
    yield f'{json.dumps(fields)[:-1]}, "troubles": ['
    for number, trouble in enumerate(troubles):
        yield f",{trouble}" if number else trouble
    yield "]}"


def _open_directory(path: Path, *, may_be_systems: bool = False) -> int:
    """Open a directory that this user owns and nobody else can write to.

    ``may_be_systems``: it may also be one that only root can have created, such as a directory in ``/run``.
    """
    directory = os.open(path, _DIRECTORY)
    is_private = _is_private(os.fstat(directory), os.getuid())
    if is_private or (may_be_systems and _is_private(os.stat(path.parent), 0)):
        return directory
    os.close(directory)
    raise PermissionError(errno.EPERM, "another user owns it or can write to it", str(path))


def _is_private(status: os.stat_result, uid: int) -> bool:
    return status.st_uid == uid and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def read(directory: Path) -> tuple[Reading, ...]:
    """Return the readings in a directory, sorted by pid; other files are ignored.  Never raises."""
    with suppress(OSError), ExitStack() as stack:
        descriptor = _open_directory(directory, may_be_systems=True)
        stack.callback(os.close, descriptor)
        names = [name for name in os.listdir(descriptor) if name.endswith(".json")]
        found = [reading for name in names if (reading := _read_one(descriptor, name)) is not None]
        return tuple(sorted(found, key=lambda reading: reading.status.pid))
    return ()


def read_all(
    environ: Mapping[str, str] = os.environ, *, run: Path = _RUN, tmp: Path = _TMP
) -> tuple[Reading, ...]:
    """Return the readings of this user's services; if none is alive, those of the system's as well.

    A service that died is left out if another one has taken over its roots.
    """
    found = [one for directory in own_directories(environ, run=run, tmp=tmp) for one in read(directory)]
    if not _given(environ) and not any(one.is_alive for one in found):
        found += (one for one in read(run / NAME) if one not in found)
    served = {root for one in found if one.is_alive for root in one.status.roots}
    return tuple(one for one in found if one.is_alive or not served.issuperset(one.status.roots))


def _read_one(directory: int, name: str) -> Reading | None:
    """Read one file, whose service is alive if it cannot be locked; None if it does not hold a status."""
    is_alive = True
    with suppress(OSError):  # it is locked, or was just replaced or removed: the service did that
        os.close(hold(directory, name, fcntl.LOCK_SH))
        is_alive = False
    with suppress(SidecarError), open_file(directory, name) as file:
        status = _parsed(file.read_at(0, _LIMIT_BYTES), file.status)
        return None if status is None else Reading(status, is_alive)
    return None


def _parsed(content: bytes, found: os.stat_result) -> Status | None:
    """Return the status in a file, updated at the file's time; None if the file does not hold one."""
    try:
        raw = json.loads(content)
        known = {name: raw[name] for name in Status.__slots__ if name in raw}
        troubles = tuple(Trouble(*_TROUBLE(entry)) for entry in raw["troubles"])
        status = Status(**known | {"troubles": troubles})
        for time in filter(None, (status.since, status.last_sweep_ended)):
            moment(time)
        return replace(
            status,
            pid=int(status.pid),
            updated=iso(found.st_mtime),
            roots=tuple(map(os.fspath, status.roots)),
            rejected=tuple(status.rejected),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
        return None  # incomplete, or another program's
