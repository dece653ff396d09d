"""Opening a directory many levels down in one call, no link followed on the way: openat2(2).

Python has no function for it.
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPENAT2: Final = 437
_MACHINES: Final = frozenset({"aarch64", "ppc64le", "riscv64", "s390x", "x86_64"})
"""Where the call is known to have that number."""
_NO_MAGICLINKS: Final = 0x02
_NO_SYMLINKS: Final = 0x04
_BENEATH: Final = 0x08

_libc: Final = ctypes.CDLL(None)
_is_offered: Final = os.uname().machine in _MACHINES


class _How(ctypes.Structure):
    """``struct open_how``."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(directory: int, parts: Sequence[str], flags: int) -> int | None:
    """Open what is ``parts`` below an open directory; return its descriptor.

    None when it was not opened, for whatever reason: the kernel is older than 5.6, a sandbox forbids the call
    (``RestrictSUIDSGID=``), the path is too long for one call, or there is no such directory.  Opening one
    name after the other then works, or tells why not.
    """
    if not _is_offered:
        return None
    how = _How(flags, 0, _NO_MAGICLINKS | _NO_SYMLINKS | _BENEATH)
    path = os.fsencode(os.path.join(*parts))
    descriptor: int = _libc.syscall(_OPENAT2, directory, path, ctypes.byref(how), ctypes.sizeof(how))
    return descriptor if descriptor >= 0 else None
