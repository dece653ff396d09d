"""How much of the machine a sweep takes: as many jobs as it may use processors, at lowered priority."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

JOBS_LIMIT: Final = 8
JOB_BYTES: Final = 600 << 20
"""Memory that one job takes at most: its worker for a long source beside the one for short ones."""
_NICENESS: Final = 10
_CGROUPS: Final = Path("/sys/fs/cgroup")
_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30}
_IOPRIO_IDLE: Final = 3 << 13
_WHO_PROCESS: Final = 1


def default_jobs(cgroups: Path = _CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """Return the number of jobs for the processors and the memory that this process may use, 1 to 8."""
    limits = [limit for folder in _folders(cgroups, membership) for limit in _limits(folder)]
    return max(1, min(len(os.sched_getaffinity(0)), JOBS_LIMIT, *limits))


def lower_priority() -> None:
    """Lower the priority for the processors, unless it was set already (``Nice=``)."""
    with suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, 0) == 0:
            os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)


def lower_disk_priority() -> None:
    """Take the lowest priority for the disk, where the system allows it; see ioprio_set(2)."""
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        import ctypes  # Python has no function for it

        ctypes.CDLL(None).syscall(number, _WHO_PROCESS, 0, _IOPRIO_IDLE)


def _folders(cgroups: Path, membership: Path) -> list[Path]:
    """List the cgroups of this process, v2 and v1, and all above them: each may set a limit."""
    folders = []
    for line in _text(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        hierarchy = cgroups / controllers if controllers else cgroups
        own = hierarchy / path.lstrip("/")
        folders += [folder for folder in (own, *own.parents) if folder.is_relative_to(hierarchy)]
    return folders


def _limits(folder: Path) -> list[int]:
    """Return the number of jobs for each limit that a cgroup sets; "max" in v2 and -1 in v1 are none."""
    limits = []
    cpu = _text(folder / "cpu.max") or _text(folder / "cpu.cfs_quota_us") + _text(
        folder / "cpu.cfs_period_us"
    )
    quota = [int(word) for word in cpu.split() if word.isdigit()]
    if len(quota) == 2 and quota[1]:
        limits.append(quota[0] // quota[1])
    memory = _text(folder / "memory.max") or _text(folder / "memory.limit_in_bytes")
    if memory.strip().isdigit():
        limits.append(int(memory) // JOB_BYTES)
    return limits


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, ValueError):
        return ""
