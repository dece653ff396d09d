"""The tools of the fault suites: system calls that fail or kill, small and full disks, sweeps to judge by."""

from __future__ import annotations

import compileall
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from doubles import Log, sweep_once
from support import (
    BACKFILL,
    REPOSITORY,
    command_of,
    environment_of,
    events_of,
    mounted,
    need,
    unmeasured,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

KILLED: Final = -9
LONGEST_SECONDS: Final = 120.0
"""After this, what runs for a second or two even on a busy machine is taken to hang."""
_CONVERT: Final = """
import sys
from daemon.workers.worker import convert
from lib.sync.walk import Task
from lib.options import Options
(outcome,) = convert([Task(sys.argv[1], (), sys.argv[2])], Options())
print(outcome.result, outcome.passing, outcome.reason, outcome.hint, sep="|")
"""
_CALL: Final = re.compile(r"(\w+)\(")
_RELEVANT: Final = (
    "openat,read,pread64,write,close,flock,newfstatat,fstat,fgetxattr,fremovexattr,fsetxattr,fchown,"
    "fchmod,utimensat,fsync,renameat,unlinkat"
)


@dataclass(frozen=True, slots=True)
class Call:
    """The ``number``-th system call of this ``name`` in a conversion, as strace numbers them: from 1."""

    name: str
    number: int
    line: str

    def inject(self, fault: str) -> str:
        """Word an injection at this call, for strace: ``signal=KILL``, ``error=EIO``."""
        return f"inject={self.name}:{fault}:when={self.number}"


@dataclass(frozen=True, slots=True)
class Converted:
    """How a conversion in a process of its own ended, and the calls it made upon its directory."""

    status: int
    result: str
    passing: bool
    reason: str
    hint: str
    calls: tuple[Call, ...]


def modules_of_a_conversion(directory: Path) -> Path:
    """Lay out, once, all that a conversion imports in a directory that nobody else writes to; compile it.

    Python lists a directory of its path once more when that was changed, and opens a source once more that
    was not compiled: whoever runs beside would shift the numbers of a conversion's system calls.
    """
    modules = directory / "modules"
    if not modules.exists():
        modules.mkdir()
        for name in ("lib", "daemon", "numpy", "orjson"):
            spec = importlib.util.find_spec(name)
            assert spec is not None
            assert spec.submodule_search_locations
            (modules / name).symlink_to(spec.submodule_search_locations[0])
        for name in ("lib", "daemon"):
            compileall.compile_dir(REPOSITORY / name, quiet=1)
    return modules


def _environment(modules: Path) -> dict[str, str]:
    return {**unmeasured(os.environ), "PYTHONPATH": str(modules), "PYTHONHASHSEED": "0"}


def convert(source: Path, *injections: str) -> Converted:
    """Bring one source up to date in a process of its own, under strace with these faults injected."""
    need(shutil.which("strace"), "strace is not installed")
    modules = modules_of_a_conversion(source.parent.parent)
    log = source.parent.with_name(f"{source.parent.name}.strace")
    flags = [flag for injection in injections for flag in ("-e", injection)]
    command = ["strace", "-y", "-qq", "-e", f"trace={_RELEVANT}", "-e", "signal=none", *flags, "-o", str(log)]
    command += [sys.executable, "-S", "-B", "-c", _CONVERT, str(source.parent), source.name]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=modules,
        env=_environment(modules),
        timeout=LONGEST_SECONDS,
    )
    if "ptrace" in done.stderr.lower():
        need(False, f"strace may not trace here: {done.stderr}")
    assert done.returncode in {0, KILLED}, done.stderr
    result, passing, reason, hint = (done.stdout.strip() or "|||").split("|", 3)
    return Converted(done.returncode, result, passing == "True", reason, hint, _calls(log, source.parent))


def _calls(log: Path, directory: Path) -> tuple[Call, ...]:
    """Count the calls of a log, each name for itself, and keep those upon a directory and its files."""
    numbers: dict[str, int] = {}
    calls = []
    for line in log.read_text(errors="replace").splitlines():
        if match := _CALL.match(line):
            name = match[1]
            numbers[name] = numbers.get(name, 0) + 1
            if f"<{directory}" in line or f'"{directory}' in line:
                calls.append(Call(name, numbers[name], line))
    return tuple(calls)


def injected(converted: Converted) -> list[Call]:
    """Return the calls upon the directory that did not happen, but failed as they were told."""
    return [call for call in converted.calls if "(INJECTED)" in call.line]


def sweep_here(root: Path, **options: Any) -> tuple[dict[str, int], Log]:
    """Sweep a tree in this process; return the sums and the log."""
    log = Log()
    return sweep_once(root, log, **options), log


def start_sweep(root: Path, *flags: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start a sweep of two workers as a process, and process group, of its own."""
    command = command_of([*BACKFILL, root, "--jobs", "2", *flags])
    options.setdefault("stderr", subprocess.DEVNULL)
    environment = unmeasured(environment_of(root.parent))
    return subprocess.Popen(command, env=environment, cwd=REPOSITORY, start_new_session=True, **options)


def finish_sweep(sweep: subprocess.Popen[bytes]) -> tuple[int, list[dict[str, Any]]]:
    """Wait for a sweep whose stderr is a pipe; return its exit status and its events."""
    _, stderr = sweep.communicate(timeout=LONGEST_SECONDS)
    return sweep.returncode, events_of(stderr.decode())


@contextmanager
def quick_directory() -> Iterator[Path]:
    """Give a directory in memory where there is one: what is tested there is not how fast a disk flushes."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as directory:
        yield Path(directory)


@contextmanager
def real_disk(image: Path, directory: Path, megabytes: int, *flags: str) -> Iterator[Path]:
    """Make an ext4 in a file and mount it; ``flags`` are those of mkfs.ext4(8)."""
    need_loop_devices()
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", *flags, str(image)], check=True, capture_output=True)
    with mounted(directory, "-o", "loop", str(image)) as disk:
        yield disk


def need_loop_devices() -> None:
    """Skip a test where disks in files cannot be; a kernel without them is nobody's omission, CI or not."""
    if not Path("/dev/loop-control").exists() or "ext4" not in Path("/proc/filesystems").read_text():
        pytest.skip("the kernel has no loop devices, or no ext4")
    need(shutil.which("mkfs.ext4"), "e2fsprogs is not installed")


def fill(disk: Path) -> Path:
    """Write a file until the disk is full; removing it gives the space back."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 16, 1 << 12, 1 << 9):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass
    return filler


def use_up_inodes(directory: Path) -> list[Path]:
    """Make empty files until there can be no more; return them."""
    directory.mkdir()
    made = []
    try:
        while True:
            path = directory / f"{len(made)}"
            path.touch(exist_ok=False)
            made.append(path)
    except OSError:
        return made
