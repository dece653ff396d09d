"""A soak: one service among writers, editors and faults; afterwards all is right, and it is as it was.

``SOAK_SECONDS`` says for how long.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from faults.service import Service, holds, is_right, litter, pause, save, serving, sidecars
from faults.tools import fill
from support import need, small_disk

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS: Final = float(os.environ.get("SOAK_SECONDS", "600"))
SWEEP_SECONDS: Final = 3.0
STEP_SECONDS: Final = 0.01
CALM_SECONDS: Final = 120.0
MORE_DESCRIPTORS, MORE_THREADS, MORE_KILOBYTES = 8, 3, 15_000
"""By so much a service at rest may differ from itself: workers come and go."""
EDIT: Final = "My note.\n"
SECRET: Final = "what lies outside"


class Writers:
    """People and scripts, doing one thing after the other to a tree; of one seed."""

    def __init__(self, root: Path, secret: Path, seed: int) -> None:
        self.root = root
        self.secret = secret
        self.done: Counter[str] = Counter()
        self.edited: list[Path] = []
        self._dice = random.Random(seed)
        self._half: dict[Path, bytes] = {}

    def step(self) -> None:
        """Do one thing; what the disk refuses is left as it is then."""
        saving = (self.save, self.save, self.save_fixed, self.rename_into_place, self.begin, self.end)
        others = (
            self.damage,
            self.delete,
            self.delete_sidecar,
            self.describe,
            self.move,
            self.link,
            self.edit,
        )
        deed: Callable[[Path], None] = self._dice.choice((*saving, *others))
        self.done[deed.__name__] += 1
        with suppress(OSError):
            deed(self._source())

    def finish(self) -> None:
        """Have nothing half-written, damaged or linked left."""
        self._half.clear()
        for source in self.root.rglob("*_completions.npy"):
            if source.is_symlink() or not _is_whole(source):
                source.unlink()

    def save(self, source: Path) -> None:
        """Save as a script does."""
        save(source, *self._texts())

    def save_fixed(self, source: Path) -> None:
        """Save a ``U`` array."""
        source.parent.mkdir(parents=True, exist_ok=True)
        np.save(source, np.array(self._texts()))

    def rename_into_place(self, source: Path) -> None:
        """Write under another name first."""
        save(source.with_name("draft.npy"), *self._texts()).replace(source)

    def begin(self, source: Path) -> None:
        """Write half of a file."""
        whole = save(source.with_name("draft.npy"), *self._texts()).read_bytes()
        self._half[source] = whole
        source.write_bytes(whole[: len(whole) // 2])

    def end(self, _source: Path) -> None:
        """Write the other half of one."""
        if self._half:
            source, whole = self._half.popitem()
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_bytes(whole)

    def damage(self, source: Path) -> None:
        """Cut a file, or write nonsense into it."""
        if self._dice.random() < 0.5:
            os.truncate(source, self._dice.randrange(source.stat().st_size + 1))
        else:
            source.write_bytes(self._dice.randbytes(200))

    def delete(self, source: Path) -> None:
        """Remove a source."""
        source.unlink()

    def delete_sidecar(self, source: Path) -> None:
        """Remove a sidecar."""
        self._dice.choice(sidecars(source)).unlink()

    def describe(self, source: Path) -> None:
        """Write the metadata, good or bad, or remove it."""
        metadata = _metadata(source)
        text = self._dice.choice(
            [json.dumps({"model_name": f"org/m{self._dice.randrange(9)}"}), "{broken", ""]
        )
        if text:
            metadata.write_text(text)
        else:
            metadata.unlink()

    def move(self, source: Path) -> None:
        """Put a directory in another one's place."""
        target = self.root / f"d{self._dice.randrange(4)}"
        if target not in {source.parent, source.parent.parent}:
            shutil.rmtree(target, ignore_errors=True)
            source.parent.rename(target)

    def link(self, source: Path) -> None:
        """Put a link to a secret in a source's place."""
        source.unlink()
        source.symlink_to(self.secret)

    def edit(self, _source: Path) -> None:
        """Save something that nobody touches again; once it has its page, write a note into that."""
        page = self.root / "edited" / f"n{len(self.edited)}_completions.md"
        if not page.with_suffix(".npy").exists():
            save(page.with_suffix(".npy"), "to be edited")
        elif is_right(page.with_suffix(".npy")) and len(self.edited) < 50:
            with page.open("a") as file:
                file.write(EDIT)
            self.edited.append(page)

    def _source(self) -> Path:
        folder = self.root.joinpath(
            *(f"d{self._dice.randrange(4)}" for _ in range(self._dice.randrange(1, 3)))
        )
        return folder / f"n{self._dice.randrange(6)}_completions.npy"

    def _texts(self) -> list[str]:
        return [f"text {self.done.total()} " * self._dice.randrange(1, 200)] * self._dice.randrange(1, 40)


def _is_whole(source: Path) -> bool:
    try:
        if not source.read_bytes().startswith(b"\x93NUMPY"):  # numpy would unpickle it
            return False
        np.load(source, allow_pickle=True)
    except (OSError, ValueError, EOFError, pickle.UnpicklingError):
        return False
    return True


class Faults:
    """What befalls a service and its disk."""

    def __init__(self, service: Service, seed: int) -> None:
        self.done: Counter[str] = Counter()
        self._service = service
        self._dice = random.Random(seed)

    def strike(self, *, deadly: bool) -> None:
        """Let one thing happen; a service is killed only if it may be ``deadly``."""
        faults = [
            self.fill_the_disk,
            self.stop_the_watcher,
            self.kill_the_watcher,
            self.kill_a_worker,
            self.reload,
        ]
        fault = self._dice.choice([*faults, self.kill_the_service] if deadly else faults)
        self.done[fault.__name__] += 1
        with suppress(ProcessLookupError):
            fault()

    def rest(self) -> float:
        """Say for how many seconds nothing happens."""
        return self._dice.uniform(0.5, 2)

    def fill_the_disk(self) -> None:
        """Leave no room for a while."""
        filler = fill(self._service.root)
        pause(self._dice.random())
        filler.unlink()

    def stop_the_watcher(self) -> None:
        """Have nobody read events for a while."""
        if watcher := self._service.watcher:
            os.kill(watcher, signal.SIGSTOP)
            pause(self._dice.random())
            os.kill(watcher, signal.SIGCONT)

    def kill_the_watcher(self) -> None:
        """Have nobody read events at all."""
        if watcher := self._service.watcher:
            os.kill(watcher, signal.SIGKILL)

    def kill_a_worker(self) -> None:
        """Kill a worker."""
        for pid in self._service.workers[:1]:
            os.kill(pid, signal.SIGKILL)

    def reload(self) -> None:
        """Have it read its configuration again."""
        if self._service.is_ready:
            self._service.process.send_signal(signal.SIGHUP)

    def kill_the_service(self) -> None:
        """Kill it, and start it again."""
        self._service.process.kill()
        self._service.process.wait()
        self._service.start()


def figures(service: Service) -> tuple[int, int, int]:
    """Count a service's descriptors, threads, and kilobytes of memory."""
    process = Path(f"/proc/{service.process.pid}")
    pages = int((process / "statm").read_text().split()[1])
    kilobytes = pages * os.sysconf("SC_PAGE_SIZE") // 1024
    return len(os.listdir(process / "fd")), len(os.listdir(process / "task")), kilobytes


def wrong(root: Path) -> list[Path]:
    """Name the sources without right sidecars, those aside whose page somebody edited."""
    sources = [path for path in root.rglob("*_completions.npy") if path.parent.name != "edited"]
    return [source for source in sources if not _is_made(source)]


def _is_made(source: Path) -> bool:
    """Tell whether the JSON holds its texts, and the page is as old as the newer of source and metadata."""
    _, page = sidecars(source)
    newest = max(path.stat().st_mtime_ns for path in (source, _metadata(source)) if path.exists())
    try:
        texts = np.load(source, allow_pickle=True).tolist()
        return holds(source, *texts) and page.stat().st_mtime_ns == newest
    except FileNotFoundError:
        return False


def _metadata(source: Path) -> Path:
    return source.with_name(source.name.replace("_completions.npy", "_metadata.json"))


def live(service: Service, writers: Writers, faults: Faults, seconds: float, *, deadly: bool) -> None:
    """Let writers work, and a fault strike every second or so; then let everything become right."""
    deadline, strike = time.monotonic() + seconds, time.monotonic() + 1
    while time.monotonic() < deadline:
        writers.step()
        pause(STEP_SECONDS)
        if time.monotonic() > strike:
            faults.strike(deadly=deadly)
            strike = time.monotonic() + faults.rest()
    writers.finish()
    service.until(lambda: not wrong(service.root) and not litter(service.root), CALM_SECONDS)


def soak(directory: Path, seconds: float) -> dict[str, Any]:
    """Live through a quarter with deaths, take the measure, live through the rest, and compare."""
    need(os.geteuid() == 0, "only root can mount a disk of its own for it")
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 (shown when the test fails)
    secret = save(directory / "secret_completions.npy", SECRET)
    with (
        small_disk(directory / "experiments", "size=64m"),
        serving(directory, sweep_seconds=SWEEP_SECONDS) as service,
    ):
        writers, faults = Writers(service.root, secret, seed), Faults(service, seed)
        live(service, writers, faults, seconds / 4, deadly=True)
        before = figures(service)
        live(service, writers, faults, seconds * 3 / 4, deadly=False)
        after = figures(service)
        assert after[0] <= before[0] + MORE_DESCRIPTORS, f"seed {seed}"
        assert after[1] <= before[1] + MORE_THREADS, f"seed {seed}"
        assert after[2] < before[2] + MORE_KILOBYTES, f"seed {seed}"
        assert [page for page in writers.edited if not page.read_text().endswith(EDIT)] == [], f"seed {seed}"
        assert SECRET not in "".join(path.read_text() for path in service.root.rglob("*.json"))
        return {"seed": seed, "before": before, "after": after, **writers.done, **faults.done}


@pytest.mark.soak
@pytest.mark.faults
def test_a_soak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten minutes, or as long as ``SOAK_SECONDS`` says."""
    done = soak(tmp_path, SECONDS)
    with capsys.disabled():
        print(json.dumps(done))  # noqa: T201 (what a long run did is worth a line)
