"""Faults 49 and 24, mounts: disks below a root that look alike, come and go; and an unmount is possible."""

from __future__ import annotations

import signal
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

from faults.service import Service, is_right, save, serving
from faults.tools import real_disk
from support import small_disk

if TYPE_CHECKING:
    from pathlib import Path

HOUR_SECONDS = 3600.0


class Configured(Service):
    """The service over the roots of its configuration; the default one is ``experiments``."""

    def start(self) -> None:
        """Start it without a root on its command line, so that a reload may change the roots."""
        self.arguments = [argument for argument in self.arguments if argument != str(self.root)]
        super().start()


def can_be_unmounted(disk: Path) -> bool:
    """Try to."""
    return not subprocess.run(["umount", str(disk)], check=False, capture_output=True).returncode


def test_fault_49_disks_with_the_same_inode_numbers_are_watched(tmp_path: Path) -> None:
    """One was there at the start, one is mounted later, with an array on it; no sweep is due for an hour."""
    root = tmp_path / "experiments"
    root.mkdir()
    with ExitStack() as disks:
        first = disks.enter_context(real_disk(tmp_path / "first.img", root / "first", 16))
        (first / "run").mkdir()
        with serving(tmp_path, sweep_seconds=HOUR_SECONDS) as service:
            saved = save(first / "run" / "n1_completions.npy", "on the first")
            service.until(lambda: is_right(saved), 10.0)
            second = disks.enter_context(real_disk(tmp_path / "second.img", root / "second", 16))
            (second / "run").mkdir()
            assert (first / "run").stat().st_ino == (second / "run").stat().st_ino
            for number in range(3):
                source = save(second / "run" / f"n{number}_completions.npy", "on the second")
                service.until(lambda source=source: is_right(source), 10.0)
            assert service.named("watch.degraded") == []


def test_fault_49_a_disk_below_a_root_can_be_unmounted(tmp_path: Path) -> None:
    """Nothing of the service holds it; what was below its place before is watched again."""
    root = tmp_path / "experiments"
    (root / "place").mkdir(parents=True)
    with ExitStack() as disks:
        disk = disks.enter_context(small_disk(root / "place", "size=4m"))
        with serving(tmp_path, sweep_seconds=HOUR_SECONDS) as service:
            on_it = save(disk / "run" / "n1_completions.npy", "on it")
            service.until(lambda: is_right(on_it), 10.0)
            disks.close()
            assert not disk.is_mount()
            below = save(disk / "run" / "n1_completions.npy", "below it")
            service.until(lambda: is_right(below), 10.0)


def test_fault_49_the_disk_of_a_root_can_be_unmounted_once_the_root_is_taken_out(tmp_path: Path) -> None:
    """The lock holds it; a reload without the root lets go, and with it takes hold again."""
    config, second = tmp_path / "config.toml", tmp_path / "second"
    watch = f"[watch]\nsweep_seconds = {HOUR_SECONDS}\n"
    with ExitStack() as disks:
        disk = disks.enter_context(small_disk(second, "size=4m"))
        with serving(tmp_path, sweep_seconds=HOUR_SECONDS, kind=Configured) as service:
            both = f'roots = ["experiments", "{disk}"]\n{watch}'

            def reload(text: str) -> None:
                before = len(service.named("config.reloaded"))
                config.write_text(text)
                service.process.send_signal(signal.SIGHUP)
                service.until(lambda: len(service.named("config.reloaded")) > before)

            reload(both)
            source = save(disk / "n1_completions.npy", "on it")
            service.until(lambda: is_right(source), 10.0)
            assert not can_be_unmounted(disk)
            reload(watch)
            disks.close()
            assert not disk.is_mount()
            reload(both)
            source = save(disk / "n2_completions.npy", "below it")
            service.until(lambda: is_right(source), 10.0)
