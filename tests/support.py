"""What tests share: caches on disk, sources in memory, commands, and waiting with a deadline."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import math
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import tracemalloc
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import pytest
from make_caches import MANIFEST

from lib.errors import Corrupt, SidecarError, Unsafe
from lib.files.reader import open_directory
from lib.npy.array_reader import read_items
from lib.npy.header import read_header
from lib.options import Options
from lib.render.page import Page
from lib.render.statistics import Statistics
from lib.render.stream import rendered
from lib.sync.engine import sync_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lib.outcome import Outcome

Made = TypeVar("Made")

REPOSITORY: Final = Path(__file__).resolve().parents[1]
PROGRAMS: Final[Mapping[str, tuple[str, ...]]] = {
    "generation-sidecars": ("-m", "daemon"),
    "decode-generations": (str(REPOSITORY / "decode_generations.py"),),
}
BACKFILL: Final = ("generation-sidecars", "--backfill")
DATA: Final = Path(__file__).parent / "data"
AGES: Final = sorted(path.name for path in DATA.glob("numpy-*"))
SOURCE: Final = "n3_completions.npy"
METADATA: Final = "n3_metadata.json"
NUMPY_2: Final = not np.__version__.startswith("1.")
SECOND_NS: Final = 1_000_000_000
LONG_AGO_NS: Final = 1_700_000_000 * SECOND_NS

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change owners and mount disks")


SLOWDOWN: Final = 5.0 if "coverage" in sys.modules else 1.0
"""How many times longer pure Python takes while its coverage is measured."""


def need(there: object, reason: str) -> None:
    """Skip a test whose ground is not there; where CI=true that is a failure, or nobody would notice."""
    if not there and os.environ.get("CI") == "true":
        pytest.fail(f"this must not be skipped in CI: {reason}")
    if not there:
        pytest.skip(reason)


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Ask again and again until it holds; fail at the deadline."""
    deadline = time.monotonic() + seconds
    pause, is_late = threading.Event(), False
    while not condition():
        if is_late:
            pytest.fail(f"not so within {seconds} s")
        pause.wait(0.01)
        is_late = time.monotonic() > deadline  # once more then, as the machine may have stood still


def promptly(seconds: float, act: Callable[[], Made]) -> Made:
    """Return what an act makes; fail when each of three tries takes more processor time than allowed.

    More than one, as the machine is shared: what takes squares or powers takes them each time.
    """
    for _ in range(3):
        began = time.process_time()
        made = act()
        took = time.process_time() - began
        if took < seconds * SLOWDOWN:
            return made
    pytest.fail(f"it took {took:.2f} s of processor time, more than {seconds * SLOWDOWN}")


def frugally(limit: int, act: Callable[[], Made]) -> Made:
    """Return what an act makes; fail when it takes this many bytes of memory."""
    tracemalloc.start()
    try:
        made = act()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit
    return made


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Make files with this mask."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def is_running(pid: int) -> bool:
    """Tell whether a process is there and no zombie, proc(5)."""
    return (stat_of(pid) or ["Z"])[0] not in "ZX"


def stat_of(pid: int) -> list[str]:
    """Return a process's state, parent, group and so on, proc(5); nothing when it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return []


def processor_seconds(*pids: int | None) -> float:
    """Sum what running processes have used of the processor."""
    found = [Path(f"/proc/{pid}/stat").read_text("ascii", "replace") for pid in pids if pid]
    used = [fields.rpartition(")")[2].split()[11:13] for fields in found]
    return sum(int(user) + int(system) for user, system in used) / os.sysconf("SC_CLK_TCK")


def processes_with(word: str) -> list[int]:
    """Find processes, zombies aside, whose command line holds a word."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if word in command:
                found.append(int(entry.name))
    return found


@contextmanager
def closing_fails(*names: str) -> Iterator[None]:
    """Have the system close files of these names, and report a fault each time, as NFS does."""

    def close(descriptor: int) -> None:
        name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
        whole(descriptor)
        if name in names:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    whole, os.close = os.close, close
    try:
        yield
    finally:
        os.close = whole


def freeze(pid: int) -> None:
    """Stop a process, and return when all its threads have stopped: ``kill`` alone does not wait for that."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: {stat.read_text().rsplit(") ", 1)[1][0] for stat in threads_of(pid)} == {"T"})


def threads_of(pid: int) -> list[Path]:
    """Return where the kernel tells of each thread of a process."""
    return list(Path(f"/proc/{pid}/task").glob("*/stat"))


def command_of(words: Sequence[str | bytes | Path]) -> list[str | bytes | Path]:
    """Return how Python runs what a person would type."""
    return [sys.executable, *PROGRAMS[str(words[0])], *words[1:]]


def environment_of(directory: Path, **more: str) -> dict[str, str]:
    """Return an environment in which only this directory counts."""
    own = {"PYTHONPATH": str(REPOSITORY), "RUNTIME_DIRECTORY": str(directory / "run")}
    return {**os.environ, **own, **more}


def types(
    directory: Path, *words: str | bytes | Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command line in a directory, to its end."""
    return subprocess.run(
        command_of(words),
        cwd=directory,
        env=environment_of(directory, **environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        timeout=300,
    )


class Terminal:
    """A program on a pseudo-terminal, and all that it shows there."""

    def __init__(
        self, command: Sequence[Any], directory: Path, environment: Mapping[str, str], columns: int = 100
    ) -> None:
        self._controller, terminal = os.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        attributes = termios.tcgetattr(terminal)
        attributes[1] &= ~termios.OPOST
        termios.tcsetattr(terminal, termios.TCSANOW, attributes)
        self.process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        self.raw = b""

    def end(self) -> int:
        """Read to the end; return the exit status."""
        with suppress(OSError):  # Linux's way to say that nobody holds the terminal any more
            while more := os.read(self._controller, 1 << 16):
                self.raw += more
        os.close(self._controller)
        return self.process.wait(60)

    @property
    def screen(self) -> str:
        """Return what is left: of each line, what was written over the rest of it last."""
        return "\n".join(line.rpartition("\r")[2] for line in self.raw.decode().split("\n"))


def events_of(log: str) -> list[dict[str, Any]]:
    """Return the events of a log, one a line."""
    return [json.loads(line) for line in log.splitlines()]


def unmeasured(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave a program's coverage out: measuring writes files of its own, and cannot bear every signal."""
    return {name: value for name, value in environment.items() if not name.startswith("COVERAGE")}


def python(code: str, *arguments: object, **environment: str) -> str:
    """Run a program of Python in a process of its own, to its end; return what it printed."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    own = {**unmeasured(os.environ), "PYTHONPATH": str(REPOSITORY), **environment}
    return subprocess.run(command, env=own, stdout=subprocess.PIPE, text=True, check=True).stdout


def manifest_of(age: str) -> list[dict[str, Any]]:
    """Read the manifest of one age of the corpus."""
    entries: list[dict[str, Any]] = json.loads((DATA / age / MANIFEST).read_text("ascii"))
    return entries


def finite(value: Any) -> Any:
    """Put None where JSON has no number."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return value


def keys_are_plain(value: Any) -> bool:
    """Tell whether no dictionary has a tuple for a key."""
    if isinstance(value, list):
        return all(map(keys_are_plain, value))
    if isinstance(value, dict):
        return not any(isinstance(key, tuple) for key in value) and all(map(keys_are_plain, value.values()))
    return True


def as_json(value: Any) -> bytes:
    """Write JSON as the contract says."""
    written = json.dumps(value, indent=2, ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", "\ufffd", written).encode()


def objects(items: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Make a one-dimensional object array of exactly these items, whatever they are."""
    array = np.empty(len(items), dtype=object)
    for position, item in enumerate(items):
        array[position] = item
    return array


def npy(array: Any) -> bytes:
    """Return the bytes of the file that numpy makes of an array."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def save(path: Path, items: Any, *, time_ns: int | None = None) -> Path:
    """Save an array, or a list as an object array, under this name; give it a time."""
    array = items if isinstance(items, np.ndarray) else objects(items)
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=True)
    if time_ns is not None:
        os.utime(path, ns=(time_ns, time_ns))
    return path


class Refusing:
    """Makes system calls such as ``os.fsync`` fail with one error, as a mount would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int, *calls: str) -> None:
        for call in calls:
            monkeypatch.setattr(call, lambda *_, **__: self.fail())
        self.number = number
        self.failed = 0

    def fail(self) -> None:
        """Raise the error."""
        self.failed += 1
        raise OSError(self.number, os.strerror(self.number))


class MemoryBytes:
    """Bytes in memory, to be read as a file is."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self._data)

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``."""
        return self._data[offset : offset + length]


def flat_items(data: bytes, limit: int | None = None) -> list[Any]:
    """Read all items of a file in memory."""
    return [item for block in read_items(MemoryBytes(data), limit=limit) for item in block]


def render_bytes(data: bytes, *, output_limit: int = 1 << 25) -> tuple[bytes, bytes]:
    """Read and render a file in memory as the engine does: ``(json, md)``.

    :raises SidecarError: it cannot be, or would grow beyond ``output_limit`` bytes.
    """
    source = MemoryBytes(data)
    header = read_header(source)
    page = Page("completions", None, header.count, header.count, not header.shape)
    statistics = Statistics()
    out = (bytearray(), bytearray())
    for pieces in rendered(page, read_items(source, header), ("json", "md"), statistics):
        out[0].extend(pieces[0])
        out[1].extend(pieces[1])
        if sum(map(len, out)) > output_limit:
            raise Unsafe("more than the limit")
    if statistics.figures().records != header.count:
        raise Corrupt("another number of items")
    return bytes(out[0]), bytes(out[1])


def is_read(data: bytes, *, output_limit: int = 1 << 25) -> bool:
    """Read and render bytes; True when they could be, and then it is sound JSON and UTF-8.

    False when they were refused.  Anything else is raised with the bytes in its words.
    """
    try:
        json_bytes, page = render_bytes(data, output_limit=output_limit)
    except SidecarError:
        return False
    except BaseException as error:
        error.args = (f"{data!r}: {error}",)
        raise
    json.loads(json_bytes, parse_constant=lambda word: pytest.fail(f"{word} in the JSON of {data!r}"))
    page.decode()
    return True


def sync(path: Path, *, stop: Callable[[], bool] | None = None, **options: Any) -> Outcome:
    """Bring the sidecars of the source at ``path`` up to date."""
    with open_directory(str(path.parent)) as directory:
        if stop is None:
            return sync_source(directory, path.name, Options(**options))
        return sync_source(directory, path.name, Options(**options), stop)


def results(outcome: Outcome) -> dict[str, str]:
    """Say what became of each format."""
    return {verdict.fmt: verdict.result for verdict in outcome.verdicts}


def peak_kilobytes(pid: int) -> int:
    """Return the greatest resident size that a running process ever had."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise LookupError(pid)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Do what follows as a user without rights.  Needs root; modules must be imported before."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(65_534)
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def unmount(directory: Path) -> None:
    """Unmount a disk; the kernel holds it a moment longer than the processes that used it."""
    wait_for(lambda: subprocess.run(["umount", str(directory)], check=False).returncode == 0)


@contextmanager
def mounted(directory: Path, *arguments: str) -> Iterator[Path]:
    """Mount a disk there until the block ends, or skip the test.  ``arguments`` are those of mount(8)."""
    need(os.geteuid() == 0, "only root can mount disks")
    directory.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *arguments, str(directory)], capture_output=True, text=True, check=False)
    need(done.returncode == 0, f"no disk can be mounted here: {done.stderr}")
    try:
        yield directory
    finally:
        unmount(directory)


def small_disk(directory: Path, options: str) -> AbstractContextManager[Path]:
    """Mount a small disk in memory: ``size=1m``, ``nr_inodes=20``."""
    return mounted(directory, "-t", "tmpfs", "-o", options, "tmpfs")
