"""Faults 48 and 56: what docs/FILE_SYSTEMS.md says of each file system and mount, on the real thing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from faults.tools import need_loop_devices, sweep_here
from support import SECOND_NS, as_nobody, mounted, need, save, small_disk, unmount, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.faults

TEXTS: Final = ["one", "two"]
NAME: Final = "a_completions.npy"
ODD_NS: Final = 1_700_000_001_123_456_789
FRESH: Final = {"fresh": 2}
ODD_TIMES: Final = ("ignored", "refused", "up", "down", "fat")


@contextmanager
def disk(folder: Path, kind: str, *flags: str, megabytes: int = 16) -> Iterator[Path]:
    """Make a file system of a kind in a file, and mount it."""
    need_loop_devices()
    if kind not in Path("/proc/filesystems").read_text().split():
        pytest.skip(f"the kernel has no {kind}")
    need(shutil.which(f"mkfs.{kind}"), f"mkfs.{kind} is not installed")
    image = folder / f"{kind}.image"
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    subprocess.run([f"mkfs.{kind}", *flags, str(image)], check=True, capture_output=True)
    with mounted(folder / kind, "-t", kind, "-o", "loop", str(image)) as made:
        yield made


@contextmanager
def served(mount: Path, *command: str) -> Iterator[Path]:
    """Mount a file system that a program serves."""
    mount.mkdir()
    need(Path("/dev/fuse").exists() and os.geteuid() == 0, "FUSE needs root and /dev/fuse")
    process = subprocess.Popen(command)
    try:
        wait_for(lambda: process.poll() is not None or os.path.ismount(mount))
        assert os.path.ismount(mount), f"{command[0]} did not mount"
        yield mount
    finally:
        if os.path.ismount(mount):
            unmount(mount)
        process.wait(30)


@contextmanager
def odd_disk(folder: Path, times: str) -> Iterator[Path]:
    """Mount a file system with other ideas of time."""
    pytest.importorskip("mfusepy")
    (folder / "below").mkdir()
    script = str(Path(__file__).with_name("odd_disk.py"))
    with served(
        folder / "odd", sys.executable, script, str(folder / "below"), str(folder / "odd"), times
    ) as mount:
        yield mount


def sweep(root: Path, **options: Any) -> dict[str, int]:
    """Sweep; return what is not zero."""
    sums, _ = sweep_here(root, **options)
    return {name: count for name, count in sums.items() if count}


def converges(root: Path) -> None:
    """Check: rendered once, fresh from then on; an edit is kept, and a new source has new sidecars."""
    source = save(root / NAME, TEXTS, time_ns=ODD_NS)
    assert sweep(root) == {"rendered": 2}
    assert sweep(root) == FRESH
    assert sweep(root) == FRESH
    page = source.with_suffix(".md")
    page.write_text("edited")
    assert sweep(root) == {"fresh": 1, "kept": 1}
    assert page.read_text() == "edited"
    page.unlink()
    assert sweep(root) == {"fresh": 1, "rendered": 1}
    save(source, ["three"])
    assert sweep(root) == {"rendered": 2}
    assert sweep(root) == FRESH


@pytest.mark.parametrize("times", ODD_TIMES)
def test_fault_48_a_stamp_that_does_not_stick(tmp_path: Path, times: str) -> None:
    """Ignored, refused, rounded: sidecars are not made again by every sweep, nor reported."""
    with odd_disk(tmp_path, times) as root:
        save(root / NAME, TEXTS)
        os.utime(tmp_path / "below" / NAME, ns=(ODD_NS, ODD_NS))
        assert sweep(root) == {"rendered": 2}
        before = [(path.name, path.stat().st_ino) for path in sorted(root.iterdir())]
        for _ in range(2):
            sums, log = sweep_here(root)
            assert {name: count for name, count in sums.items() if count} == FRESH
        assert [(path.name, path.stat().st_ino) for path in sorted(root.iterdir())] == before
        assert "sidecars.written" not in log.names


@pytest.mark.parametrize("times", ODD_TIMES)
def test_fault_48_an_edit_is_kept_where_times_are_odd(tmp_path: Path, times: str) -> None:
    """And a source that is saved again has new sidecars."""
    with odd_disk(tmp_path, times) as root:
        source = save(root / NAME, TEXTS)
        os.utime(tmp_path / "below" / NAME, ns=(ODD_NS, ODD_NS))
        sweep(root)
        source.with_suffix(".md").write_text("edited")
        assert sweep(root) == {"fresh": 1, "kept": 1}
        save(source, ["three"])
        sweep(root, force=True)
        assert "three" in source.with_suffix(".md").read_text()
        assert sweep(root) == FRESH


def save_in_an_earlier_second(source: Path) -> None:
    """Save a source, and wait: a change time is cut to its second once the kernel has put an inode away."""
    changed = save(source, TEXTS, time_ns=ODD_NS).stat().st_ctime_ns
    wait_for(lambda: time.time_ns() // SECOND_NS > changed // SECOND_NS)


def test_fault_48_a_layer_that_keeps_whole_seconds(tmp_path: Path) -> None:
    """The source on ext4, its sidecars on an upper layer of ext3 with small inodes."""
    with disk(tmp_path, "ext4") as lower, disk(tmp_path, "ext3", "-I", "128") as upper:
        save_in_an_earlier_second(lower / NAME)
        for name in ("upper", "work"):
            (upper / name).mkdir()
        layers = f"lowerdir={lower},upperdir={upper / 'upper'},workdir={upper / 'work'}"
        with mounted(tmp_path / "merged", "-t", "overlay", "-o", layers, "overlay") as root:
            assert sweep(root) == {"rendered": 2}
            assert root.joinpath("a_completions.md").stat().st_mtime_ns == ODD_NS // SECOND_NS * SECOND_NS
            assert sweep(root) == FRESH
            root.joinpath("a_completions.md").write_text("edited")
            assert sweep(root) == {"fresh": 1, "kept": 1}


@pytest.mark.parametrize(
    ("kind", "flags"),
    [("ext4", []), ("ext3", ["-I", "128"]), ("xfs", []), ("btrfs", [])],
    ids=["ext4", "ext3", "xfs", "btrfs"],
)
def test_file_systems_in_a_file(tmp_path: Path, kind: str, flags: list[str]) -> None:
    """Each converges, whatever it keeps of a time."""
    megabytes = {"xfs": 320, "btrfs": 128}.get(kind, 16)
    with disk(tmp_path, kind, *flags, megabytes=megabytes) as root:
        converges(root)


def test_a_disk_in_memory(tmp_path: Path) -> None:
    """It keeps nanoseconds."""
    with small_disk(tmp_path / "disk", "size=2m") as root:
        converges(root)


def test_bindfs_that_refuses_permissions(tmp_path: Path) -> None:
    """As Windows drives and many network mounts do."""
    need(shutil.which("bindfs"), "bindfs is not installed")
    (tmp_path / "below").mkdir()
    mount = tmp_path / "mount"
    command = (
        "bindfs",
        "-f",
        "-p",
        "0777",
        "--chmod-deny",
        "--chown-deny",
        str(tmp_path / "below"),
        str(mount),
    )
    with served(mount, *command) as root:
        converges(root)


def test_mergerfs(tmp_path: Path) -> None:
    """Branches of two file systems: a source on ext4, sidecars on whole seconds."""
    need(shutil.which("mergerfs"), "mergerfs is not installed")
    mount = tmp_path / "mount"
    with disk(tmp_path, "ext4") as fine, disk(tmp_path, "ext3", "-I", "128") as coarse:
        save_in_an_earlier_second(fine / NAME)
        branches = f"{fine}=NC:{coarse}"
        with served(
            mount, "mergerfs", "-f", "-o", "category.create=mfs,minfreespace=0", branches, str(mount)
        ) as root:
            assert sweep(root) == {"rendered": 2}
            assert (coarse / "a_completions.md").exists()
            assert sweep(root) == FRESH


def test_a_read_only_mount_says_so_once_and_what_is_made_is_fresh(tmp_path: Path) -> None:
    """One clear sentence a source; sidecars that are there need nothing."""
    with small_disk(tmp_path / "disk", "size=2m") as root:
        save(root / NAME, TEXTS)
        sweep(root)
        save(root / "b_completions.npy", TEXTS)
        subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
        sums, log = sweep_here(root)
        assert (sums["fresh"], sums["failed"]) == (2, 2)
        (failure,) = log.of("source.failed")
        assert failure["reason"] == "no file can be made in its directory: Read-only file system"
        assert "read-only" in failure["hint"]


def test_fault_56_a_colleagues_sidecars_are_not_a_failure() -> None:
    """The same bytes with another time: compared, and fresh."""
    with tempfile.TemporaryDirectory() as folder:  # anybody may enter it, unlike pytest's
        Path(folder).chmod(0o755)
        with small_disk(Path(folder, "disk"), "size=2m,mode=0777") as root:
            source = save(root / NAME, TEXTS)
            sweep(root)
            for suffix in (".json", ".md"):
                os.utime(source.with_suffix(suffix))
            with as_nobody():
                assert sweep(root) == FRESH
