"""Faults 31 to 33, 35, 39 and 40: full and faulty disks, missing rights, no stderr, and planted names."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest
from faults.service import PATIENCE_SECONDS, counts, is_right, litter, names_of, save, serving, sidecars
from faults.tools import (
    convert,
    fill,
    finish_sweep,
    injected,
    quick_directory,
    real_disk,
    start_sweep,
    sweep_here,
    use_up_inodes,
)
from support import METADATA, REPOSITORY, SOURCE, need, small_disk, umask, unmeasured, wait_for
from support import save as save_items

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OLD_NS: Final = 1_700_000_000_000_000_000
NEW_NS: Final = 1_710_000_000_000_000_000
FAULTS: Final = {
    "openat": ("EACCES", "EROFS", "EMFILE", "ENOSPC", "EDQUOT", "EIO"),
    "pread64": ("EIO",),
    "write": ("ENOSPC", "EDQUOT", "EIO", "EFBIG"),
    "fchmod": ("EPERM",),
    "utimensat": ("EROFS",),
    "fsync": ("EIO", "ENOSPC"),
    "renameat": ("EACCES", "EPERM", "EROFS", "ENOSPC", "EIO"),
    "newfstatat": ("EACCES", "EIO"),
    "flock": ("ENOLCK",),
    "close": ("EIO",),
}
SHORT: Final = {
    "openat": ("ENOSPC",),
    "pread64": ("EIO",),
    "write": ("ENOSPC",),
    "fsync": ("EIO",),
    "renameat": ("EIO",),
    "close": ("ENOSPC",),
}
ITEMS: Final = 1000


def rows(faults: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """Pair every system call with every error that it is to fail with."""
    return [(name, error) for name, errors in faults.items() for error in errors]


def make(directory: Path, items: int) -> Path:
    """Make a source that was converted before and has changed since, with metadata."""
    directory.mkdir()
    source = directory / SOURCE
    (directory / METADATA).write_text('{"model_name": "org/model"}')
    os.utime(directory / METADATA, ns=(OLD_NS, OLD_NS))
    save_items(source, [f"old {number} " * 20 for number in range(items)], time_ns=OLD_NS)
    sweep_here(directory)
    return save_items(source, [f"new {number} " * 20 for number in range(items)], time_ns=NEW_NS)


def contents(source: Path) -> tuple[bytes, ...]:
    """Return the bytes of both sidecars."""
    return tuple(path.read_bytes() for path in sidecars(source))


def fail_every_call(directory: Path, name: str, error: str, items: int) -> None:
    """Let each system call of this name fail once, in a conversion of its own, then sweep."""
    old = contents(make(directory / "old", items))
    whole = make(directory / "whole", items)
    calls = [call for call in convert(whole).calls if call.name == name]
    new = contents(whole)
    assert calls, "this call is not made at all: there is nothing to test"
    for call in calls:
        source = make(directory / f"{call.number:04}", items)
        done = convert(source, call.inject(f"error={error}"))
        assert [it.name for it in injected(done)] == [name], call
        if METADATA in call.line and error in {"EACCES", "EPERM"}:
            continue  # it may stay so for ever: the page says unknown, and a warning says why
        assert done.result in {"failed", "rendered"}, call
        if done.result == "failed":
            assert done.passing, call
            assert done.reason, call
        for before, now, after in zip(old, contents(source), new, strict=True):
            assert now in {before, after}, call
        flushed = [it.line.partition(")")[0] for it in done.calls if it.name == "fsync"]
        assert len(flushed) == len(set(flushed)), "a second fsync says nothing"
        assert not litter(source.parent), call
        sums, _ = sweep_here(source.parent)
        assert sums["failed"] == 0, call
        assert contents(source) == new, call


@pytest.mark.parametrize(("name", "error"), rows(SHORT), ids=str)
def test_fault_31_and_32_a_system_call_fails(name: str, error: str) -> None:
    """Old sidecars stay whole, nothing is left over, and the next sweep makes it good."""
    with quick_directory() as directory:
        fail_every_call(directory, name, error, items=3)


@pytest.mark.faults
@pytest.mark.parametrize(("name", "error"), rows(FAULTS), ids=str)
def test_fault_31_to_33_any_system_call_fails(name: str, error: str) -> None:
    """The same for everything that a disk, a quota, a permission or a limit can say, over several blocks."""
    with quick_directory() as directory:
        fail_every_call(directory, name, error, items=ITEMS)


def make_backlog(root: Path) -> list[Path]:
    """Make five sources whose sidecars take about 100 kB each."""
    return [save(root / f"n{number}_completions.npy", *["text " * 20] * 1000) for number in range(5)]


def fail_then_mend(
    directory: Path, root: Path, make_fault: Callable[[], Callable[[], object]], word: str
) -> None:
    """Let every source fail in the running service, mend what was wrong, and wait until it notices."""
    sources = make_backlog(root)
    mend = make_fault()
    with serving(directory) as service:
        service.until(lambda: len(set(names_of(service.named("source.failed")))) == len(sources))
        failures = service.named("source.failed")
        assert len(failures) == len({(event["source"], event["reason"]) for event in failures})
        assert all(word in str(event["reason"]) and event["hint"] for event in failures), failures
        assert not [path for source in sources for path in sidecars(source) if path.exists()]
        service.until(lambda: not litter(root))  # the first one may just be tried again
        mend()
        service.until(lambda: all(is_right(source) for source in sources))
        service.until(lambda: len(service.named("source.recovered")) == len(sources))


def remove(*paths: Path) -> None:
    """Remove files."""
    for path in paths:
        path.unlink()


def test_fault_31_a_full_disk_in_memory(tmp_path: Path) -> None:
    """The service goes on by itself when there is room."""
    with small_disk(tmp_path / "experiments", "size=4m") as disk:

        def make_fault() -> Callable[[], object]:
            filler = fill(disk)
            return lambda: remove(filler)

        fail_then_mend(tmp_path, disk, make_fault, "No space left")


def test_fault_31_a_full_ext4(tmp_path: Path) -> None:
    """The same where blocks are found only when they are flushed."""
    with real_disk(tmp_path / "disk.img", tmp_path / "experiments", 16) as disk:

        def make_fault() -> Callable[[], object]:
            filler = fill(disk)
            return lambda: remove(filler)

        fail_then_mend(tmp_path, disk, make_fault, "No space left")


def test_fault_31_no_inode_is_left(tmp_path: Path) -> None:
    """A disk may be full of files."""
    with small_disk(tmp_path / "experiments", "nr_inodes=40") as disk:

        def make_fault() -> Callable[[], object]:
            files = use_up_inodes(disk / "files")
            return lambda: remove(*files)

        fail_then_mend(tmp_path, disk, make_fault, "No space left")


def test_fault_33_a_disk_that_is_mounted_read_only(tmp_path: Path) -> None:
    """It can be mounted for writing again."""
    with small_disk(tmp_path / "experiments", "size=4m") as disk:

        def make_fault() -> Callable[[], object]:
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            return lambda: subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)

        fail_then_mend(tmp_path, disk, make_fault, "Read-only file system")


def test_fault_33_a_directory_that_may_not_be_changed(tmp_path: Path) -> None:
    """Even root may not, in a directory that chattr(1) closed."""
    with real_disk(tmp_path / "disk.img", tmp_path / "experiments", 16) as disk:

        def make_fault() -> Callable[[], object]:
            need(shutil.which("chattr"), "chattr is not installed")
            subprocess.run(["chattr", "+i", str(disk)], check=True)
            return lambda: subprocess.run(["chattr", "-i", str(disk)], check=True)

        fail_then_mend(tmp_path, disk, make_fault, "ermi")


def test_fault_33_a_sidecar_that_may_not_be_replaced(tmp_path: Path) -> None:
    """One sidecar waits; its page and the other sources go on."""
    with real_disk(tmp_path / "disk.img", tmp_path / "experiments", 16) as disk:
        need(shutil.which("chattr"), "chattr is not installed")
        sources = make_backlog(disk)
        sweep_here(disk)
        closed = sidecars(sources[0])[0]
        before = closed.read_bytes()
        subprocess.run(["chattr", "+i", str(closed)], check=True)
        try:
            for source in sources:
                save(source, "another")
            sums, _ = sweep_here(disk)
            assert closed.read_bytes() == before
        finally:
            subprocess.run(["chattr", "-i", str(closed)], check=True)
        assert sums["rendered"] >= 2 * (len(sources) - 1)
        assert sums["failed"] >= 1
        assert all(is_right(source) for source in sources[1:])
        assert not litter(disk)
        sweep_here(disk)
        assert is_right(sources[0])


def test_fault_33_no_more_open_files(tmp_path: Path) -> None:
    """The service survives a limit on open files, and goes on when it is lifted."""
    with serving(tmp_path) as service:
        ready = save(service.root / "n0_completions.npy", "before")
        service.until(lambda: is_right(ready))
        pids = [service.process.pid, *map(int, service._children())]
        limits = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids}
        for pid, (_, hard) in limits.items():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
        source = save(service.root / "n1_completions.npy", "after")
        service.until(lambda: service.named("source.failed"))
        assert "open files" in str(service.named("source.failed")[0])
        for pid, limit in limits.items():
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
        service.until(lambda: is_right(source))
        failures = service.named("source.failed")
        assert len(failures) <= 5, "the log was flooded"


def test_fault_33_a_write_that_ends_short(tmp_path: Path) -> None:
    """A limit on the size of files cuts one write short and refuses the next; small sources go on."""
    large, small = make_backlog(tmp_path)[0], save(tmp_path / "small_completions.npy", "small")
    sweep = start_sweep(tmp_path, "--log-format", "json", stderr=subprocess.PIPE, preexec_fn=limit_file_size)
    status, events = finish_sweep(sweep)
    assert status == 1
    assert is_right(small)
    assert not any(path.exists() for path in sidecars(large))
    failed = [event for event in events if event["event"] == "source.failed"]
    assert len(failed) == 5
    assert all("File too large" in event["reason"] for event in failed)
    assert not litter(tmp_path)


def limit_file_size() -> None:
    """Let this process write no file beyond 50,001 bytes: in the middle of a block."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_001, 50_001))


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "2>&1 | true"])
def test_fault_35_stderr_is_closed_full_or_gone(tmp_path: Path, redirection: str) -> None:
    """The service lives and works, and ends when it is asked to."""
    root = tmp_path / "experiments"
    root.mkdir()
    status = tmp_path / "status"
    script = f'{{ "$0" -m daemon "$1" & echo $! > "$2.pid"; wait $!; echo $? > "$2"; }} {redirection}'
    environment = {
        **unmeasured(os.environ),
        "PYTHONPATH": str(REPOSITORY),
        "RUNTIME_DIRECTORY": str(tmp_path / "run"),
    }
    command = ["sh", "-c", script, sys.executable, str(root), str(status)]
    shell = subprocess.Popen(command, env=environment, cwd=tmp_path, stdin=subprocess.DEVNULL)
    try:
        for number in range(3):
            source = save(root / f"n{number}_completions.npy", "x")
            (root / f"bad{number}_completions.npy").write_bytes(b"not an array")
            wait_for(lambda source=source: is_right(source), PATIENCE_SECONDS)
    finally:
        wait_for(status.with_suffix(".pid").exists, PATIENCE_SECONDS)
        os.kill(int(status.with_suffix(".pid").read_text()), signal.SIGTERM)
        shell.wait(PATIENCE_SECONDS)
    wait_for(status.exists, PATIENCE_SECONDS)
    assert status.read_text() == "0\n"


def planted(directory: Path, secret: Path) -> list[Path]:
    """Plant what is named as ours and is not: links, a directory, a FIFO; and what is named almost so."""
    names = [f".generation-sidecars-{number:016x}.tmp" for number in range(4)]
    link, loop, folder, fifo = (directory / name for name in names)
    link.symlink_to(secret)
    loop.symlink_to(loop)
    folder.mkdir()
    (folder / "kept").touch()
    os.mkfifo(fifo)
    almost = [".generation-sidecars-.tmp", f"{names[0]}~", names[0].upper(), f"x{names[0]}", "draft.tmp"]
    for name in almost:
        (directory / name).write_text("not ours")
    return [link, loop, folder, fifo, *(directory / name for name in almost)]


def sweep_over_planted_names(directory: Path, count: int) -> None:
    """Sweep where a stranger planted names, among as many stale ones as a long life of crashes leaves."""
    secret = directory / "secret"
    secret.write_text("the secret")
    root = directory / "experiments"
    source = save(root / "n1_completions.npy", "x")
    left = planted(root, secret)
    for number in range(count):
        (root / f".generation-sidecars-{number + 16:016x}.tmp").touch()
    held = root / f".generation-sidecars-{'f' * 16}.tmp"
    with held.open("wb") as live:
        fcntl.flock(live, fcntl.LOCK_EX)
        sums, _ = sweep_here(root)
        assert held.exists(), "a live writer's file was removed"
    assert sums["failed"] == 0
    assert is_right(source)
    assert all(os.path.lexists(path) for path in left)
    assert secret.read_text() == "the secret"
    found = set(root.iterdir())
    assert found == {source, *sidecars(source), held, *left}


@counts(2_000, 100_000)
def test_fault_39_planted_and_stale_temporary_names(count: int) -> None:
    """Only our own, regular and abandoned files are removed; nothing is written through any of them."""
    with quick_directory() as directory:
        sweep_over_planted_names(directory, count)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604, 0o644, 0o400])
def test_fault_40_a_sidecar_is_read_by_no_more_people(tmp_path: Path, mode: int) -> None:
    """Whatever the umask, and whatever the directory's own access list would give to new files."""
    need(shutil.which("setfacl"), "acl is not installed")
    source = save(tmp_path / "n1_completions.npy", "x")
    source.chmod(mode)
    given = subprocess.run(["setfacl", "-d", "-m", "u:65534:rwx,o::rwx", str(tmp_path)], check=False)
    need(given.returncode == 0, "the file system has no access lists")
    with umask(0):
        sweep_here(tmp_path)
    for path in sidecars(source):
        assert stat.S_IMODE(path.stat().st_mode) == mode
        listed = subprocess.run(["getfacl", "-nc", str(path)], check=True, capture_output=True, text=True)
        assert "user:65534" not in listed.stdout
