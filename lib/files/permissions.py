"""Who may read a sidecar: whoever may read its source, or fewer where the system does not let us say so."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from lib.files.reader import ACCESS_LIST

if TYPE_CHECKING:
    from lib.files.reader import FileBytes

_PERMISSION_BITS: Final = 0o666


def take_after(descriptor: int, source: FileBytes) -> None:
    """Give a new file a source's owner, group, access list and permission bits, or fewer where it cannot.

    :raises OSError: the permission bits cannot be set.
    """
    like, access_list = source.status, source.access_list()
    mode = stat.S_IMODE(like.st_mode) & _PERMISSION_BITS
    if _own(descriptor, like).st_gid != like.st_gid:
        mode = _for_any_group(mode) if access_list is None else mode & stat.S_IRWXU
        access_list = None
    if not _set_access_list(descriptor, access_list):
        mode &= stat.S_IRWXU
    os.fchmod(descriptor, mode)


def _own(descriptor: int, like: os.stat_result) -> os.stat_result:
    mine = os.fstat(descriptor)
    if (mine.st_uid, mine.st_gid) == (like.st_uid, like.st_gid):
        return mine
    for uid in (like.st_uid, -1):
        with contextlib.suppress(OSError):
            os.fchown(descriptor, uid, like.st_gid)
            break
    return os.fstat(descriptor)


def _for_any_group(mode: int) -> int:
    """Let group and others do what both the source's group and others may: who is who is not known."""
    both = (mode >> 3) & mode & stat.S_IRWXO
    return (mode & stat.S_IRWXU) | both << 3 | both


def _set_access_list(descriptor: int, access_list: bytes | None) -> bool:
    """Give a file this access list, or take away the one its directory gave it; False if it cannot."""
    try:
        if access_list is None:
            os.removexattr(descriptor, ACCESS_LIST)
        else:
            os.setxattr(descriptor, ACCESS_LIST, access_list)
    except OSError as error:
        return access_list is None and error.errno in {errno.ENODATA, errno.ENOTSUP}
    return True


def take_defaults(descriptor: int) -> None:
    """Give a new file the permission bits of any new file.

    :raises OSError: they cannot be set.
    """
    os.fchmod(descriptor, _PERMISSION_BITS & ~_umask())


def _umask() -> int:
    """Read the umask from the kernel: ``os.umask`` can read it only by changing it for every thread."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        line = next((line for line in status if line.startswith("Umask:")), "Umask: 0077")
    return int(line.split()[1], 8)
