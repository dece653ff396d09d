"""How many jobs a sweep takes, and at which priority."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support import python

from daemon.workers.capacity import default_jobs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MIB = 1 << 20
UNLIMITED_V1 = "9223372036854771712"


def jobs(folder: Path, membership: str, files: Mapping[str, str]) -> int:
    """Return the number of jobs among cgroups of these files."""
    for name, content in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    (folder / "membership").write_text(membership)
    return default_jobs(folder / "cgroup", folder / "membership")


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {}, 8),
        ("", {}, 8),
        ("0::/\n", {"cpu.max": "max 100000", "memory.max": "max"}, 8),
        ("0::/\n", {"cpu.max": "300000 100000"}, 3),
        ("0::/\n", {"cpu.max": "50000 100000"}, 1),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, 2),
        ("0::/a/b\n", {"a/memory.max": str(1300 * MIB), "a/b/cpu.max": "500000 100000"}, 2),
        ("0::/a\n", {"a/memory.max": str(100 * MIB)}, 1),
        ("0::/elsewhere\n", {"cpu.max": "400000 100000"}, 4),
        ("4:cpu,cpuacct:/x\n", {"cpu,cpuacct/x/cpu.cfs_quota_us": "250000",
                                "cpu,cpuacct/x/cpu.cfs_period_us": "100000"}, 2),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ("9:memory:/x\n", {"memory/x/memory.limit_in_bytes": str(1900 * MIB)}, 3),
        ("9:memory:/x\n", {"memory/x/memory.limit_in_bytes": UNLIMITED_V1}, 8),
    ],
)  # fmt: skip
def test_jobs_follow_processors_quota_and_memory(
    membership: str, files: Mapping[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all limits, of both versions and of every cgroup above, the least; at least 1, at most 8."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)))
    assert jobs(tmp_path, membership, files) == expected


def test_jobs_follow_the_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is bound to three processors has three."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {1, 5, 7})
    assert jobs(tmp_path, "0::/\n", {}) == 3


_PRIORITIES = """
import os, sys
from pathlib import Path
from daemon.workers.capacity import lower_disk_priority, lower_priority
os.setpriority(os.PRIO_PROCESS, 0, int(sys.argv[1]))
lower_priority()
lower_disk_priority()
print(os.getpriority(os.PRIO_PROCESS, 0))
"""


@pytest.mark.parametrize(("before", "after"), [(0, 10), (5, 5), (19, 19)])
def test_a_sweep_is_nice_unless_it_is_already(before: int, after: int) -> None:
    """What an administrator set stays."""
    assert python(_PRIORITIES, before) == f"{after}\n"
