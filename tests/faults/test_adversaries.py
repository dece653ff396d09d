"""Faults 36 to 38, 41 and 42: what stands where a file belongs, links, names, and trees without an end."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from doubles import Log, sweep_once
from faults.service import counts, is_right, names_of, save, serving, sidecars
from support import BACKFILL, events_of, need, sync, types

from lib.errors import Unsafe
from lib.options import Options
from lib.sync.walk import Folder, walk

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "the secret"
AT_ONCE_SECONDS = 20.0
"""A sweep that blocks does so for ever; a slow machine needs a second."""


def sweep(root: Path, *flags: str) -> tuple[int, list[dict[str, Any]]]:
    """Sweep in a process of its own; return its exit status and its events, of which each is one line."""
    done = types(root.parent, *BACKFILL, root, "--log-format", "json", *flags)
    return done.returncode, events_of(done.stderr)


def contents(root: Path) -> dict[str, tuple[int, int, int]]:
    """Return every path below a directory with what would betray a write."""
    found = [root, *root.rglob("*")]
    return {str(path): (it.st_ino, it.st_mtime_ns, it.st_size) for path in found for it in [path.lstat()]}


def make_fifo(path: Path) -> None:
    """Make a FIFO: who opens it waits for its other end."""
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    """Make a socket; its short name is bound in its directory, as a long path may not be."""
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(path.parent)
        with socket.socket(socket.AF_UNIX) as it:
            it.bind(path.name)
    finally:
        os.chdir(here)
        os.close(here)


def make_device(path: Path) -> None:
    """Make another /dev/zero."""
    need(os.geteuid() == 0, "only root can make devices")
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this container may not make devices")


def link_to(target: str) -> Callable[[Path], None]:
    """Give a function that links to a path beside the link, or to an absolute one."""
    return lambda path: path.symlink_to(target)


STRANGERS: dict[str, Callable[[Path], None]] = {
    "link_to_a_secret": link_to("../outside/secret"),
    "link_to_zeros": link_to("/dev/zero"),
    "link_to_itself": lambda path: path.symlink_to(path.name),
    "link_to_nothing": link_to("nowhere"),
    "fifo": make_fifo,
    "socket": make_socket,
    "device": make_device,
    "directory": Path.mkdir,
}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Make a directory that no sweep may reach, with a secret and a source."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text(SECRET)
    save(outside / "n1_completions.npy", SECRET)
    return outside


@pytest.fixture
def root(tmp_path: Path, outside: Path) -> Path:
    """Make an empty tree."""
    root = tmp_path / "experiments"
    root.mkdir()
    return root


@pytest.mark.parametrize("stranger", STRANGERS)
def test_fault_36_a_source_that_is_not_a_file_is_refused_at_once(
    root: Path, outside: Path, stranger: str
) -> None:
    """Neither opened nor followed, whatever is asked for."""
    source = root / "n1_completions.npy"
    STRANGERS[stranger](source)
    before = contents(outside) | contents(root)
    began = time.monotonic()
    for options in ({}, {"force": True}, {"dry_run": True}):
        outcome = sync(source, **options)
        assert (outcome.result, outcome.error, outcome.passing) == ("failed", Unsafe, False)
        assert "not a file" in outcome.reason
    assert time.monotonic() - began < AT_ONCE_SECONDS
    assert contents(outside) | contents(root) == before


def test_fault_36_strangers_do_not_keep_a_sweep_from_the_rest(root: Path, outside: Path) -> None:
    """Each is reported once, with its reason; the file beside them is converted; exit status 1."""
    strangers = [name for name in STRANGERS if name != "device"]
    for name in strangers:
        STRANGERS[name](root / f"{name}_completions.npy")
    good = save(root / "zz_completions.npy", "good")
    before = contents(outside)
    status, events = sweep(root)
    assert status == 1
    failed = [event for event in events if event["event"] == "source.failed"]
    assert sorted(names_of(failed)) == sorted(f"{name}_completions.npy" for name in strangers)
    assert all(event["reason"] for event in failed)
    assert is_right(good)
    assert contents(outside) == before


@pytest.mark.faults
def test_fault_36_the_service_refuses_strangers_once(tmp_path: Path, root: Path, outside: Path) -> None:
    """No retry before something changes, and the others go on."""
    with serving(tmp_path, sweep_seconds=1) as service:
        for name in ("link_to_a_secret", "link_to_zeros", "fifo", "directory"):
            STRANGERS[name](root / f"{name}_completions.npy")
        good = save(root / "good_completions.npy", "good")
        service.until(lambda: is_right(good))
        service.until(lambda: len(service.failures()) >= 4)
        swept = len(service.named("sweep.finished"))
        service.until(lambda: len(service.named("sweep.finished")) >= swept + 3)
        assert len(service.failures()) == 4


@pytest.mark.parametrize("fmt", ["json", "md"])
@pytest.mark.parametrize("stranger", STRANGERS)
def test_fault_37_a_stranger_in_the_sidecars_place_stays(
    root: Path, outside: Path, stranger: str, fmt: str
) -> None:
    """Never followed, opened, written through or replaced; the other sidecar is made all the same."""
    source = save(root / "n1_completions.npy", "text")
    place, other = source.with_suffix(f".{fmt}"), source.with_suffix(".md" if fmt == "json" else ".json")
    STRANGERS[stranger](place)
    before, there = contents(outside), place.lstat()
    for options in ({}, {"force": True}):
        outcome = sync(source, **options)
        assert outcome.result == "failed"
        assert "stands where the sidecar belongs" in outcome.reason or "stands" in str(outcome.verdicts)
        assert other.exists()
    assert contents(outside) == before
    assert (place.lstat().st_ino, place.lstat().st_mode) == (there.st_ino, there.st_mode)


@pytest.mark.parametrize("stranger", STRANGERS)
def test_fault_37_metadata_that_is_not_a_file_is_not_shown(root: Path, outside: Path, stranger: str) -> None:
    """A page is made without it: no secret gets out, nobody waits."""
    source = save(root / "n1_completions.npy", "text")
    STRANGERS[stranger](root / "n1_metadata.json")
    outcome = sync(source)
    assert outcome.result == "rendered"
    page = sidecars(source)[1].read_text()
    assert "**Model:** unknown" in page
    assert SECRET not in page


_SWAPPER = """
import os, select, sys
os.chdir(sys.argv[1])
for number in range(int(sys.argv[2])):
    os.rename("way", "kept")
    os.symlink(sys.argv[3], "way")
    select.select([], [], [], number % 7 * 0.0001)
    os.unlink("way")
    os.rename("kept", "way")
    select.select([], [], [], number % 5 * 0.0001)
"""


@counts(500, 20_000)
def test_fault_38_a_directory_swapped_for_a_link_leads_nowhere(root: Path, outside: Path, count: int) -> None:
    """Swapped again and again while sweeps write everything anew: no write outside."""
    save(root / "way" / "n1_completions.npy", "inside")
    save(root / "way" / "deep" / "n2_completions.npy", "inside")
    (outside / "deep").mkdir()
    save(outside / "deep" / "n2_completions.npy", SECRET)
    before = contents(outside)
    log, sweeps = Log(), 0
    swapper = subprocess.Popen([sys.executable, "-c", _SWAPPER, root, str(count), outside])
    try:
        while swapper.poll() is None or not sweeps or not is_right(root / "way" / "n1_completions.npy"):
            sweep_once(root, log, force=True)
            sweeps += 1
    finally:
        swapper.kill()
        swapper.wait()
    assert swapper.returncode == 0
    assert is_right(root / "way" / "n1_completions.npy")
    assert len(log.of("sidecars.written")) > 1
    escaped = {path: figures for path, figures in contents(outside).items() if before.get(path) != figures}
    assert escaped == {}


NAMES: list[bytes] = [
    b"n" * 239 + b"_completions.npy",
    b"n" * 238 + b"_completions.npy",
    b"n" * 238 + b"_full_texts.npy",
    b"\xff\xfe\x80_completions.npy",
    b"new\nline_completions.npy",
    b"\x1b]0;title\x07\x1b[2J_completions.npy",
    b"-rf_completions.npy",
    b"--help_completions.npy",
    b"'quote\"`$(id)`_completions.npy",
    b" \t\r\x7f\x01_completions.npy",
    b"_completions.npy",
    "\u202egnp.\u2028\u0085_completions.npy".encode(),
    b"%s%n{0}\\x00_completions.npy",
]


def save_under(directory: Path, name: bytes) -> None:
    """Save a text under a name of any bytes."""
    data = save(directory / "model.npy", "text").read_bytes()
    Path(os.fsdecode(os.path.join(os.fsencode(directory), name))).write_bytes(data)


@pytest.mark.parametrize("name", NAMES, ids=[repr(name[-40:]) for name in NAMES])
def test_fault_41_any_name_gets_sidecars_or_a_clear_refusal(root: Path, name: bytes) -> None:
    """And each event about it is one line, without a control character, in either style."""
    save_under(root, name)
    places = [os.fsdecode(name[: -len(b"npy")]) + fmt for fmt in ("json", "md")]
    fits = all(len(os.fsencode(place)) <= 255 for place in places)
    status, events = sweep(root)
    assert status == (0 if fits else 1)
    assert [event["event"] for event in events[:1]] == ["sweep.started"]
    told = [event for event in events if "source" in event]
    assert [event["event"] for event in told] == ["sidecars.written" if fits else "source.failed"]
    made = [place for place in places if os.path.lexists(root / place)]
    assert made == (places if fits else made)
    assert fits or "too long" in told[0]["reason"]
    assert not any(path.name.endswith(".tmp") for path in root.iterdir())
    again, events = sweep(root)
    assert (again, len([event for event in events if "source" in event])) == (status, not fits)


@pytest.mark.parametrize("style", ["console", "json"])
def test_fault_41_no_name_breaks_a_line_of_the_log(root: Path, style: str) -> None:
    """As many lines as events, and no control character in them."""
    for name in NAMES:
        save_under(root, name)
    done = types(root.parent, *BACKFILL, root, "--log-format", style)
    lines = done.stderr.split("\n")
    assert lines.pop() == ""
    assert len(lines) == len(NAMES) + 2
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for line in lines for character in line)
    plans = types(root.parent, *BACKFILL, root, "--dry-run").stdout
    assert {row.count("\t") for row in plans.splitlines()} == {2}


@pytest.mark.faults
def test_fault_42_own_outputs_cause_no_work(tmp_path: Path, root: Path) -> None:
    """Each source is worked on once, however many sweeps follow."""
    with serving(tmp_path, sweep_seconds=1) as service:
        sources = [save(root / f"d{n % 3}" / f"n{n}_completions.npy", f"text {n}") for n in range(20)]
        service.until(lambda: all(map(is_right, sources)))
        service.until(lambda: len(service.named("sidecars.written")) >= 20)
        before = contents(root)
        swept = len(service.named("sweep.finished"))
        service.until(lambda: len(service.named("sweep.finished")) >= swept + 3)
        assert contents(root) == before
        assert sorted(names_of(service.named("sidecars.written"))) == sorted(it.name for it in sources)


def make_deep(root: Path, depth: int, every: int) -> int:
    """Make directories within directories, beyond what a path may hold; return how many got a source."""
    data = save(root / "model.npy", "deep").read_bytes()
    here, made = os.open(root, os.O_RDONLY), 0
    for level in range(depth):
        os.mkdir("directory", dir_fd=here)
        deeper = os.open("directory", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
        if level % every == every - 1:
            file = os.open("n1_completions.npy", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=here)
            os.write(file, data)
            os.close(file)
            made += 1
    os.close(here)
    return made


@pytest.mark.faults
def test_fault_42_a_sweep_of_a_thousand_levels_ends(root: Path) -> None:
    """Paths of 10,000 bytes are walked by name, level by level."""
    made = make_deep(root, 1000, 20)
    try:
        status, events = sweep(root)
        assert (status, events[-1]["rendered"]) == (0, 2 * made)
    finally:  # Python's own rmtree would go too deep
        subprocess.run(["rm", "-rf", root / "directory"], check=True)


@pytest.mark.faults
def test_fault_42_the_service_lives_with_a_thousand_levels(tmp_path: Path, root: Path) -> None:
    """Where a watch cannot reach, a sweep does; above, all is as ever."""
    made = make_deep(root, 1000, 100)
    try:
        with serving(tmp_path, sweep_seconds=2) as service:
            service.until(lambda: len(service.named("sidecars.written")) >= made)
            source = save(root / "top" / "n1_completions.npy", "top")
            service.until(lambda: is_right(source))
    finally:
        subprocess.run(["rm", "-rf", root / "directory"], check=True)


def test_fault_42_loops_of_links_end(root: Path, outside: Path) -> None:
    """Links to a parent, to each other and to other trees are not followed."""
    deep = root / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "up").symlink_to(root)
    (deep / "here").symlink_to(".")
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    (root / "away").symlink_to(outside)
    source = save(deep / "n1_completions.npy", "once")
    before = contents(outside)
    status, events = sweep(root)
    assert (status, events[-1]["rendered"]) == (0, 2)
    assert is_right(source)
    assert contents(outside) == before
    folders = [step for step in walk(str(root), Options(), frozenset()) if isinstance(step, Folder)]
    assert len(folders) == 3
