"""Faults 19 to 22: writers that are slow, in a hurry, indirect, or gone again."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from faults.service import (
    PATIENCE_SECONDS,
    Service,
    counts,
    holds,
    is_fresh,
    is_right,
    names_of,
    pause,
    save,
    serving,
    sidecars,
    unmade,
)
from support import SECOND_NS, npy, objects

if TYPE_CHECKING:
    from collections.abc import Callable

TEXTS = [f"text {number}" for number in range(2000)]


def append_slowly(path: Path, data: bytes, seconds: float, *, reopen: bool) -> None:
    """Write a header, pause, then the rest in chunks; ``reopen``: let go of the file after each."""
    pieces = [data[:128], *(data[start : start + 4096] for start in range(128, len(data), 4096))]
    file = path.open("wb")
    for number, piece in enumerate(pieces):
        file.write(piece)
        file.flush()
        pause(seconds / 3 if number == 0 else seconds * 2 / 3 / len(pieces))
        if reopen:
            file.close()
            file = path.open("ab")
    file.close()


@counts(3, 60)
def test_fault_19_a_writer_that_appends_gets_one_right_sidecar(tmp_path: Path, count: int) -> None:
    """Four of them take ``count`` seconds, longer than what the service calls young: nothing half appears."""
    arrays = {"u": npy(np.array(TEXTS)), "o": npy(objects(TEXTS))}
    with serving(tmp_path, sweep_seconds=1) as service:
        writers = []
        for kind, data in arrays.items():
            for reopen in (False, True):
                path = service.root / f"{kind}{reopen:d}_completions.npy"
                keywords = {"reopen": reopen}
                writers.append(
                    threading.Thread(target=append_slowly, args=(path, data, count), kwargs=keywords)
                )
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            for page in service.root.glob("*.json"):
                assert json.loads(page.read_text()) == TEXTS
            pause(0.05)
        for writer in writers:
            writer.join()
        sources = sorted(service.root.glob("*.npy"))
        assert len(sources) == 4
        service.until(lambda: all(map(is_right, sources)))
        service.until(lambda: len(service.named("sidecars.written")) == 4)
        assert sorted(names_of(service.named("sidecars.written"))) == [source.name for source in sources]


@counts(100, 1000)
def test_fault_20_save_over_a_file_while_it_is_read(tmp_path: Path, count: int) -> None:
    """Versions of equal size and not: each JSON that is seen is a whole one, and the last is the last."""
    seen = set()
    with serving(tmp_path) as service:
        source = service.root / "n1_completions.npy"
        page = sidecars(source)[0]
        for number in range(count):
            texts = [f"version {number:06d}"] * (500 if number % 3 else 2000)
            save(source, *texts)
            if page.exists():
                items = json.loads(page.read_text())
                (version,) = set(items)
                assert len(items) == (500 if int(version.split()[1]) % 3 else 2000)
                seen.add(version)
            if number == 0:
                service.until(page.exists)  # from now on there is always one
            elif number % 10 == 0:
                pause(0.05)
        service.until(lambda: holds(source, *texts) and is_fresh(source))
    assert seen


def date_back(path: Path) -> None:
    """Set a file's time back by twenty days; each is still a time of its own, as every version has."""
    then = path.stat().st_mtime_ns - 20 * 86_400 * SECOND_NS
    os.utime(path, ns=(then, then))


def rename_like_rsync(path: Path, data: bytes) -> None:
    """Write a hidden name beside it, date it back, rename."""
    hidden = path.with_name(f".{path.name}.Xq3zPf")
    hidden.write_bytes(data)
    date_back(hidden)
    hidden.rename(path)


def hard_link(path: Path, data: bytes) -> None:
    """Give a file that lies ready its second name: only a created event."""
    ready = path.with_name("ready.npy")
    ready.write_bytes(data)
    path.hardlink_to(ready)
    ready.unlink()


def copy(path: Path, data: bytes) -> None:
    """Copy with times, as cp -p does."""
    ready = path.with_name("ready.npy")
    ready.write_bytes(data)
    date_back(ready)
    shutil.copy2(ready, path)
    ready.unlink()


def move_from_another_disk(path: Path, data: bytes) -> None:
    """Move from memory, where there is such a file system: a copy, then the old times."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as elsewhere:
        ready = Path(elsewhere, "ready.npy")
        ready.write_bytes(data)
        shutil.move(ready, path)


def link_a_nameless_file(path: Path, data: bytes) -> None:
    """Write a file without a name and link it into place (open(2), O_TMPFILE)."""
    try:
        descriptor = os.open(path.parent, os.O_TMPFILE | os.O_RDWR, 0o644)
    except OSError:  # a file system without: another way of linking
        hard_link(path, data)
        return
    try:
        os.write(descriptor, data)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.link(f"/proc/self/fd/{descriptor}", path.name, dst_dir_fd=directory, follow_symlinks=True)
        finally:
            os.close(directory)
    finally:
        os.close(descriptor)


def truncate(path: Path, data: bytes) -> None:
    """Cut a file that was too long: no event but modified, which nobody asks for."""
    path.write_bytes(data + b"too much")
    pause(1.0)
    os.truncate(path, len(data))


def map_into_memory(path: Path, data: bytes) -> None:
    """Fill a mapped array: closed at full size while it holds zeros, filled when nobody tells."""
    texts = np.load(io.BytesIO(data))
    mapped = np.lib.format.open_memmap(path, mode="w+", dtype=texts.dtype, shape=texts.shape)
    pause(1.0)
    half = len(texts) // 2
    mapped[:half] = texts[:half]
    mapped.flush()
    pause(1.0)
    mapped[half:] = texts[half:]
    mapped.flush()
    del mapped


WAYS: dict[str, Callable[[Path, bytes], None]] = {
    "rsync": rename_like_rsync,
    "link": hard_link,
    "copy": copy,
    "move": move_from_another_disk,
    "nameless": link_a_nameless_file,
    "truncate": truncate,
    "memmap": map_into_memory,
}


def test_fault_21_every_way_to_arrive_converges(tmp_path: Path) -> None:
    """Rename, link, copy, move, link of a nameless file, truncate, mapped memory: each first and again."""
    with serving(tmp_path, sweep_seconds=1) as service:
        for version in ("first", "again"):
            texts = [f"{version} {number}" for number in range(100)]
            for name, arrive in WAYS.items():
                path = service.root / name / "n1_completions.npy"
                path.parent.mkdir(exist_ok=True)
                if name in {"link", "nameless"}:
                    path.unlink(missing_ok=True)
                arrive(path, npy(np.array(texts)))
            sources = sorted(service.root.rglob("*_completions.npy"))
            assert len(sources) == len(WAYS)
            service.until(lambda texts=texts, sources=sources: all(holds(it, *texts) for it in sources))
            service.until(lambda: not unmade(service.root))


def vanish_while_queued(service: Service, count: int) -> None:
    """Take sources away in every way and at every moment; what is left over converges."""
    for number in range(count):
        folder = service.root / f"d{number}"
        for name in range(4):
            save(folder / f"n{name}_completions.npy", *["text"] * (1 + 500 * name))
        pause(number % 5 * 0.02)
        if number % 4 == 0:
            remove(folder)
        elif number % 4 == 1:
            folder.rename(service.root / f"moved{number}")
        elif number % 4 == 2:
            folder.rename(service.directory / f"out{number}")
        else:
            (folder / "n0_completions.npy").rename(folder / "renamed_completions.npy")
            (folder / "n1_completions.npy").unlink()
            with (folder / "n2_completions.npy").open("r+b"):
                (folder / "n2_completions.npy").rename(service.root / f"open{number}_full_texts.npy")


def remove(folder: Path) -> None:
    """Remove a directory in which somebody may be making files."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)


def test_fault_22_what_vanishes_is_quiet_and_stays_away(tmp_path: Path) -> None:
    """Deleted, moved and renamed while queued or open: no failure is reported, no directory comes back."""
    with serving(tmp_path) as service:
        vanish_while_queued(service, 40)
        service.until(lambda: not unmade(service.root))
        last = save(service.root / "last_completions.npy", "last")
        service.until(lambda: is_right(last))
        assert service.failures() == []
        assert sorted(path.name for path in service.root.iterdir() if path.is_dir()) == sorted(
            f"moved{number}" if number % 4 == 1 else f"d{number}"
            for number in range(40)
            if number % 4 in {1, 3}
        )


@pytest.mark.faults
def test_fault_22_a_half_written_file_that_vanishes_is_forgotten(tmp_path: Path) -> None:
    """At most its one failure is reported; nothing is retried for ever."""
    with serving(tmp_path, sweep_seconds=1) as service:
        path = service.root / "half_completions.npy"
        data = npy(np.array(TEXTS))
        with path.open("wb") as file:
            file.write(data[:500])
            file.flush()
            service.until(lambda: service.named("source.failed"))
            path.unlink()
            file.write(data[500:])
        (service.root / "other").mkdir()
        last = save(service.root / "other" / "last_completions.npy", "last")
        service.until(lambda: is_right(last))
        swept = len(service.named("sweep.finished"))
        service.until(lambda: len(service.named("sweep.finished")) >= swept + 2)
        assert len(service.named("source.failed")) == 1
        assert sorted(os.listdir(service.root)) == ["other"]
