"""Who may read a sidecar: those who may read its source, or fewer where the system cannot express that."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from lib.errors import Storage
from lib.files.reader import FileBytes, where_offered

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ACCESS_LIST: Final = "system.posix_acl_access"
"""The extended attribute in which the kernel keeps a POSIX access control list (acl(5))."""
_PERMISSION_BITS: Final = 0o666
_EVERYBODY: Final = 0o444
_OTHER_READERS: Final = 0o044
_NO_LIST: Final = frozenset({errno.ENODATA, errno.ENOTSUP, errno.ENOSYS})


def permission_bits(file: FileBytes) -> int:
    """Return who may read and write a file, as the bits of a mode."""
    return stat.S_IMODE(file.status.st_mode) & _PERMISSION_BITS


def copy_permissions(descriptor: int, inputs: Sequence[FileBytes]) -> int:
    """Give a file the owner, group, access list and permission bits of its first input, or narrower ones.

    Only users who can read all inputs can read it.  A mount that does not offer one of these keeps its own,
    unless that lets more people read the file than its first input.  Returns the permission bits that the
    file should have; it may have fewer.

    :raises Storage: more people could read it.
    :raises OSError: the disk is faulty.
    """
    mine, like, access_list = os.fstat(descriptor), inputs[0].status, access_list_of(inputs[0].descriptor)
    mode, is_owned = permission_bits(inputs[0]), (mine.st_uid, mine.st_gid) == (like.st_uid, like.st_gid)
    is_like = is_owned and len(inputs) == 1 and stat.S_IMODE(mine.st_mode) == mode
    if is_like and access_list_of(descriptor) == access_list:
        return mode
    gid = mine.st_gid if is_owned else _set_owner(descriptor, like)
    mode = _common_mode(gid, [file.status for file in inputs])
    lists = {access_list, *(access_list_of(file.descriptor) for file in inputs[1:])}
    if lists != {None} and (len(lists) > 1 or gid != like.st_gid):  # who is in both is not known
        mode, access_list = mode & stat.S_IRWXU, None
    if not _set_access_list(descriptor, access_list):
        mode &= stat.S_IRWXU
    _set_mode(descriptor, mode)
    return mode


def _common_mode(gid: int, inputs: Iterable[os.stat_result]) -> int:
    """Return the permission bits of a file of this group that shows these inputs, the source first.

    The source says who may write it, and every input who may read it.
    """
    source, *others = inputs
    mode = _bits_for(gid, source)
    for other in others:
        readers = _bits_for(gid, other) & _OTHER_READERS
        mode &= stat.S_IRWXU | readers | readers >> 1
    return mode


def is_wider(sidecar: os.stat_result, inputs: Iterable[os.stat_result]) -> bool:
    """Tell whether more people can read a sidecar than each of its inputs."""
    readers, gid = sidecar.st_mode & _OTHER_READERS, sidecar.st_gid
    for status in inputs:  # a sweep asks this of every sidecar
        allowed = status.st_mode if status.st_gid == gid else narrowed_to_any_group(status.st_mode)
        if readers & ~allowed:
            return True
    return False


def may_show(source: os.stat_result, other: os.stat_result) -> bool:
    """Tell whether a sidecar may show a file beside its source: of the same owner, or open to everybody."""
    return other.st_uid == source.st_uid or stat.S_IMODE(other.st_mode) & _EVERYBODY == _EVERYBODY


def _bits_for(gid: int, status: os.stat_result) -> int:
    bits = stat.S_IMODE(status.st_mode) & _PERMISSION_BITS
    return bits if status.st_gid == gid else narrowed_to_any_group(bits)


def _set_owner(descriptor: int, like: os.stat_result) -> int:
    """Give a file another's owner and group, or its group alone; return the group that it has then."""
    for uid in (like.st_uid, -1):
        with contextlib.suppress(OSError):
            os.fchown(descriptor, uid, like.st_gid)
            break
    return os.fstat(descriptor).st_gid


def narrowed_to_any_group(mode: int) -> int:
    """Let group and others do what both the source's group and others may: who is who is not known."""
    both = (mode >> 3) & mode & stat.S_IRWXO
    return (mode & stat.S_IRWXU) | both << 3 | both


def access_list_of(descriptor: int) -> bytes | None:
    """Return a file's access list, or None."""
    try:
        return os.getxattr(descriptor, ACCESS_LIST)
    except OSError:
        return None


def _set_access_list(descriptor: int, access_list: bytes | None) -> bool:
    """Give a file this access list, or take away the one its directory gave it; False if it cannot be given.

    :raises Storage: the one that its directory gave it cannot be taken away.
    """
    try:
        if access_list is not None:
            os.setxattr(descriptor, ACCESS_LIST, access_list)
        elif access_list_of(descriptor) is not None:
            os.removexattr(descriptor, ACCESS_LIST)
    except OSError as error:
        if access_list is None and error.errno not in _NO_LIST:
            raise Storage(
                "the access list that its directory gives it cannot be removed",
                hint="Remove the directory's default access list (setfacl -k), or run as the source's owner.",
            ) from error
        return access_list is None
    return True


def _set_mode(descriptor: int, mode: int) -> None:
    with where_offered():
        os.fchmod(descriptor, mode)
    # a mount may also say yes and keep what it had
    if stat.S_IMODE(os.fstat(descriptor).st_mode) & _PERMISSION_BITS & ~mode:
        raise Storage(
            "its file system gives it to more people than its source",
            hint="Mount it with narrower permissions (umask=, fmask=), or open the source to them too.",
        )
