"""The watch on the real kernel: what it reports, how it fails, what it leaves behind."""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import termios
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support import freeze, processor_seconds, wait_for

from daemon.watch.client import Hint, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHECKOUT = Path(__file__).resolve().parents[3]
QUEUE = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
PATIENCE = 60.0


class Ear:
    """Gathers a watch's hints until something is so."""

    def __init__(self, watch: Watch, *roots: Path) -> None:
        self.watch = watch
        self.roots = roots
        self.hints: list[Hint] = []

    @property
    def paths(self) -> list[str]:
        """The path of each hint."""
        return [os.path.join(hint.root, *hint.parts) for hint in self.hints]

    def until(self, so: Callable[[], object], seconds: float = PATIENCE) -> bool:
        """Gather until ``so()``, or give up after ``seconds``; the pipe wakes it, never a sleep."""
        deadline = time.monotonic() + seconds
        while not so():
            if time.monotonic() > deadline:
                return False
            select.select([self.watch], [], [], 0.02)
            self.hints += self.watch.read()
        return True

    def hears(self, kind: Any, path: Path, seconds: float = PATIENCE) -> bool:
        """Wait for one hint."""
        root = next(root for root in self.roots if path.is_relative_to(root))
        hint = Hint(kind, str(root), path.relative_to(root).parts)
        return self.until(lambda: hint in self.hints, seconds)

    def trouble(self, seconds: float = PATIENCE) -> str | None:
        """Wait for trouble, in real time."""
        self.until(lambda: self.watch.trouble(time.monotonic()), seconds)
        return self.watch.trouble(time.monotonic())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make an empty tree to watch."""
    path = tmp_path / "experiments"
    path.mkdir()
    return path


@contextmanager
def watching(*roots: Path) -> Iterator[Ear]:
    """Watch, wait until it stands, and close at the end."""
    watch = Watch([str(root) for root in roots])
    try:
        ear = Ear(watch, *roots)
        assert ear.until(lambda: watch.ready or watch.trouble(time.monotonic()))
        yield ear
    finally:
        watch.close()


@pytest.fixture
def ear(root: Path) -> Iterator[Ear]:
    """Watch one tree."""
    with watching(root) as ear:
        assert ear.watch.ready
        yield ear


def belongings() -> tuple[set[threading.Thread], set[str], int]:
    """Tell this process's threads, children and number of descriptors."""
    children = {
        pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
    }
    return set(threading.enumerate()), children, len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """Hold every test to leaving no thread, child or descriptor."""
    before = belongings()
    yield
    assert belongings() == before


def test_saving_an_array_gives_a_closed_hint(ear: Ear, root: Path) -> None:
    """What the generation run does reaches the service, under the name it was saved by."""
    np.save(root / "n1_completions.npy", np.array(["a"], dtype=object), allow_pickle=True)
    assert ear.hears("closed", root / "n1_completions.npy")


def test_a_rename_into_place_gives_a_closed_hint_with_the_new_name(ear: Ear, root: Path) -> None:
    """Careful writers rename; the temporary name is of no interest."""
    (root / "x.tmp").write_bytes(b"x")
    (root / "x.tmp").rename(root / "n1_full_texts.npy")
    assert ear.hears("closed", root / "n1_full_texts.npy")
    assert {Path(path).name for path in ear.paths} == {"n1_full_texts.npy"}


def test_a_hard_link_is_seen(ear: Ear, root: Path, tmp_path: Path) -> None:
    """A link is only ever created, never closed."""
    (tmp_path / "elsewhere").write_bytes(b"x")
    os.link(tmp_path / "elsewhere", root / "n1_completions.npy")
    assert ear.hears("seen", root / "n1_completions.npy")


def test_a_rename_from_outside_gives_a_closed_hint(ear: Ear, root: Path, tmp_path: Path) -> None:
    """Its writer is through with it, although the name that it had is not watched."""
    (tmp_path / "elsewhere").write_bytes(b"x")
    (tmp_path / "elsewhere").rename(root / "n1_completions.npy")
    assert ear.hears("closed", root / "n1_completions.npy")


def test_a_rename_to_outside_gives_no_hint(ear: Ear, root: Path, tmp_path: Path) -> None:
    """What has left is nobody's work."""
    (root / "n1_completions.npy").write_bytes(b"x")
    assert ear.hears("closed", root / "n1_completions.npy")
    (root / "n1_completions.npy").rename(tmp_path / "elsewhere")
    (root / "n2_completions.npy").write_bytes(b"x")
    assert ear.hears("closed", root / "n2_completions.npy")
    assert [hint.parts[-1][:2] for hint in ear.hints if hint.kind == "closed"] == ["n1", "n2"]


def test_a_root_in_a_hidden_directory_is_watched(tmp_path: Path) -> None:
    """What stands above a root does not count."""
    root = tmp_path / ".cache" / "experiments"
    root.mkdir(parents=True)
    with watching(root) as ear:
        (root / "n1_completions.npy").write_bytes(b"x")
        assert ear.hears("closed", root / "n1_completions.npy")


def test_a_directory_that_moved_in_is_watched(ear: Ear, root: Path, tmp_path: Path) -> None:
    """With all that is in it; watchdog 6 does not do that by itself."""
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere").rename(root / "run")
    assert ear.hears("directory", root / "run")
    (root / "run" / "deep" / "n1_completions.npy").write_bytes(b"x")
    assert ear.hears("closed", root / "run" / "deep" / "n1_completions.npy")


def test_metadata_is_reported_and_other_files_are_not(ear: Ear, root: Path) -> None:
    """The page shows the metadata; sidecars and foreign files would only cost."""
    for name in ("n1_completions.json", "n1_completions.md", "notes.txt", "x.npy", "n1_metadata.json"):
        (root / name).write_bytes(b"{}")
    assert ear.hears("closed", root / "n1_metadata.json")
    assert {Path(path).name for path in ear.paths} == {"n1_metadata.json"}


def test_directories_made_and_filled_at_once_are_reported(ear: Ear, root: Path) -> None:
    """A file in a directory too young to be watched is seen itself, or its directory is."""
    for n in range(50):
        deep = root / f"m{n}" / "generations" / "p"
        deep.mkdir(parents=True)
        (deep / "n1_completions.npy").write_bytes(b"x")
    for n in range(50):
        deep = root / f"m{n}" / "generations" / "p"

        def known(deep: Path = deep) -> bool:
            return str(deep / "n1_completions.npy") in ear.paths or str(deep) in ear.paths

        assert ear.until(known), deep
    assert ear.hears("directory", root / "m0")


def test_a_directory_that_is_removed_or_renamed_is_reported(ear: Ear, root: Path) -> None:
    """The service sweeps where directories change."""
    (root / "a").mkdir()
    assert ear.hears("directory", root / "a")
    (root / "a").rename(root / "b")
    assert ear.hears("directory", root / "b")
    ear.hints.clear()
    (root / "b").rmdir()
    assert ear.hears("directory", root / "b")


@pytest.mark.parametrize(
    "name", [b"a\nb_completions.npy", b"\xff\xfe_completions.npy", b"\x1b[2J;'\"_completions.npy"]
)
def test_names_pass_through_whatever_their_bytes(ear: Ear, root: Path, name: bytes) -> None:
    """Newlines, escapes and bytes that are not UTF-8 are names like others."""
    path = os.fsencode(root) + b"/" + name
    Path(os.fsdecode(path)).write_bytes(b"x")
    assert ear.hears("closed", Path(os.fsdecode(path)))


def test_a_root_may_be_a_symbolic_link_and_is_reported_as_given(root: Path, tmp_path: Path) -> None:
    """People link experiments to a bigger disk."""
    (root / "run").mkdir()
    link = tmp_path / "link"
    link.symlink_to(root)
    with watching(link) as ear:
        for path in (link / "n1_completions.npy", link / "run" / "n1_completions.npy"):
            path.write_bytes(b"x")
            assert ear.hears("closed", path)


def test_a_link_to_a_directory_does_not_take_its_events(ear: Ear, root: Path) -> None:
    """Watchdog 6 would watch the target through the link, and report it under that path from then on."""
    (root / "real").mkdir()
    assert ear.hears("directory", root / "real")
    for n in range(20):
        fresh = root / f"fresh{n}"
        fresh.mkdir()
        (fresh / "deep").mkdir()
        (fresh / "deep" / "latest").symlink_to(root / "real")
        assert ear.hears("directory", fresh)
    (root / "real" / "n1_completions.npy").write_bytes(b"x")
    assert ear.hears("closed", root / "real" / "n1_completions.npy")


def test_several_roots_are_watched_by_one_process(root: Path, tmp_path: Path) -> None:
    """Each root's files come under that root."""
    other = tmp_path / "other"
    other.mkdir()
    with watching(root, other) as ear:
        for path in (root / "a_completions.npy", other / "b_completions.npy"):
            path.write_bytes(b"x")
            assert ear.hears("closed", path)


def test_a_healthy_watch_answers(ear: Ear) -> None:
    """Every question in time, for as long as it lives; no hint is needed."""
    for now in range(0, 60, 9):
        assert ear.watch.trouble(float(now)) is None
        assert select.select([ear.watch], [], [], PATIENCE)[0]
        assert ear.watch.read() == []


def test_a_stopped_watcher_does_not_answer(ear: Ear) -> None:
    """Ten seconds of the clock that is passed in."""
    freeze(ear.watch.pid)
    assert ear.watch.trouble(100.0) is None
    assert ear.watch.trouble(109.0) is None
    assert ear.watch.trouble(110.0) == "it did not answer for 10 s"
    assert ear.watch.trouble(111.0) == "it did not answer for 10 s"


def test_a_watcher_that_is_not_ready_after_ten_minutes_is_replaced(root: Path) -> None:
    """It may hang in a directory of a server that is away, and answer all the same."""
    watch = Watch([str(root)])
    try:
        freeze(watch.pid)
        assert watch.trouble(0.0) is None
        assert watch.trouble(600.0) == "it did not answer for 600 s"
    finally:
        watch.close()


def test_a_killed_watcher_is_noticed(ear: Ear) -> None:
    """The pipe wakes the service, and the reason names the signal."""
    os.kill(ear.watch.pid, signal.SIGKILL)
    assert ear.trouble() == "the watcher ended: killed by SIGKILL"
    assert ear.watch.read() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_signals_that_go_to_everybody_are_left_to_the_service(
    ear: Ear, root: Path, number: signal.Signals
) -> None:
    """A terminal's Ctrl-C and systemd's SIGTERM reach every process of the service."""
    os.kill(ear.watch.pid, number)
    (root / "n1_completions.npy").write_bytes(b"x")
    assert ear.hears("closed", root / "n1_completions.npy")


def unread_bytes(watch: Watch) -> int:
    """Count the bytes that wait in the watcher's pipe."""
    return int.from_bytes(fcntl.ioctl(watch.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)


def test_hints_survive_the_watcher(ear: Ear, root: Path) -> None:
    """What was reported before the end is still read."""
    (root / "n1_completions.npy").write_bytes(b"x")
    assert ear.hears("closed", root / "n1_completions.npy")
    (root / "n2_completions.npy").write_bytes(b"x")
    wait_for(lambda: unread_bytes(ear.watch) > len(bytes(root)))  # a hint, as answers are shorter
    os.kill(ear.watch.pid, signal.SIGKILL)
    assert ear.until(lambda: ear.watch.trouble(0.0))
    assert [hint for hint in ear.hints + ear.watch.read() if "n2_completions.npy" in hint.parts]


def test_the_moves_that_kill_watchdogs_reader_are_noticed(ear: Ear, root: Path, tmp_path: Path) -> None:
    """``mkdir R/p; mv R/p /out; mkdir R/p; rmdir R/p; rmdir /out/p`` leaves it deaf."""
    out = tmp_path / "out"
    (root / "p").mkdir()
    assert ear.hears("directory", root / "p")
    (root / "p").rename(out)
    (root / "p").mkdir()
    (root / "p").rmdir()
    out.rmdir()
    (root / "n1_completions.npy").write_bytes(b"x")
    path = str(root / "n1_completions.npy")
    assert ear.until(lambda: ear.watch.trouble(0.0) or path in ear.paths)
    (root / "n2_completions.npy").write_bytes(b"x")
    path = str(root / "n2_completions.npy")
    assert ear.until(lambda: ear.watch.trouble(0.0) or path in ear.paths)


def test_runs_that_replace_each_other_are_reported_or_noticed(ear: Ear, root: Path) -> None:
    """``mv run old; mkdir run; write``, over and over, kills the reader of watchdog 6."""
    for n in range(100):
        if (root / "run").exists():
            shutil.rmtree(root / "old", ignore_errors=True)
            (root / "run").rename(root / "old")
        (root / "run").mkdir()
        (root / "run" / f"n{n}_completions.npy").write_bytes(b"x")
    last = str(root / "run" / "n99_completions.npy")
    assert ear.until(lambda: ear.watch.trouble(0.0) or last in ear.paths)


def test_a_root_that_is_removed_is_reported(ear: Ear, root: Path) -> None:
    """Whether it comes back is for the service to see."""
    root.rmdir()
    assert ear.until(lambda: ear.watch.trouble(0.0) or Hint("directory", str(root), ()) in ear.hints)


def test_lost_events_end_the_watch(ear: Ear, root: Path) -> None:
    """More events than the kernel's queue holds, while nobody reads it; on both lines of watchdog."""
    freeze(ear.watch.pid)
    for n in range(QUEUE // 2 + 4000):
        os.close(os.open(root / f"n{n}_completions.npy", os.O_WRONLY | os.O_CREAT))
    os.kill(ear.watch.pid, signal.SIGCONT)
    assert ear.trouble() == "the watcher ended: events came faster than they could be read"
    assert ear.watch.has_overflowed


def test_a_busy_service_does_not_blame_the_watcher(ear: Ear, root: Path) -> None:
    """Records that waited in the pipe are read before the watcher is judged: each is a sign of life."""
    assert ear.watch.trouble(0.0) is None
    (root / "n1_completions.npy").write_bytes(b"x")
    assert select.select([ear.watch], [], [], PATIENCE)[0]
    ear.watch.read()
    assert ear.watch.trouble(60.0) is None


def test_a_root_that_is_not_there_ends_it_with_the_reason(tmp_path: Path) -> None:
    """The reason comes over the pipe, in words."""
    with watching(tmp_path / "nowhere") as ear:
        assert (
            ear.trouble()
            == f"the watcher ended: {tmp_path / 'nowhere'} could not be watched: No such file or directory"
        )
        assert not ear.watch.ready


def test_a_failing_start_shows_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its modules it cannot even report; standard error can."""
    monkeypatch.setattr(sys, "path", [str(tmp_path / "nothing")])
    monkeypatch.setattr("daemon.watch.client._HOME", str(tmp_path))
    with watching(tmp_path) as ear:
        assert (ear.trouble() or "").startswith("the watcher ended: ModuleNotFoundError: ")


def test_closing_twice_is_once(root: Path, tmp_path: Path) -> None:
    """Stopping paths may cross; nothing is left either way, as for every test here."""
    with watching(root) as ear:
        pid = ear.watch.pid
        ear.watch.close()
        ear.watch.close()
        assert ear.watch.read() == []
        assert not Path(f"/proc/{pid}").exists()


def test_closing_ends_a_stopped_watcher_too(ear: Ear) -> None:
    """What does not end is killed."""
    freeze(ear.watch.pid)
    ear.watch.close()
    assert not Path(f"/proc/{ear.watch.pid}").exists()


def test_it_can_be_closed_before_it_is_ready(root: Path) -> None:
    """A service that is stopped while it starts."""
    Watch([str(root)]).close()


PARENT = """
import os, select, sys
sys.path.insert(0, sys.argv[1])
from daemon.watch.client import Watch
watch = Watch([sys.argv[2]])
while not watch.ready:
    select.select([watch], [], [])
    watch.read()
if sys.argv[3] == "fork" and os.fork() == 0:
    select.select([], [], [], 60)
print(watch.pid, flush=True)
select.select([], [], [], 60)
"""


@pytest.mark.parametrize("company", ["alone", "fork"])
def test_the_watcher_dies_with_its_parent(root: Path, company: str) -> None:
    """Even when kill -9 takes the parent, and a forked worker holds its pipes; from any working directory."""
    command = [sys.executable, "-c", PARENT, str(CHECKOUT), str(root), company]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd="/", start_new_session=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        watcher = os.pidfd_open(pid)
        try:
            parent.kill()
            assert select.select([watcher], [], [], PATIENCE)[0]
        finally:
            os.close(watcher)
            os.killpg(parent.pid, signal.SIGKILL)


APART = ("unshare", "--user", "--map-root-user")
LIMITED = """
import select, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from daemon.watch.client import Watch
Path("/proc/sys/user/" + sys.argv[3]).write_text(sys.argv[4])
watch = Watch([sys.argv[2]])
while not (watch.ready or watch.trouble(0.0)):
    select.select([watch], [], [])
    watch.read()
print(watch.trouble(0.0))
watch.close()
"""

LIMITED_LATER = """
import os, select, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from daemon.watch.client import Watch
watch = Watch([sys.argv[2]])
while not watch.ready:
    select.select([watch], [], [])
    watch.read()
Path("/proc/sys/user/max_inotify_watches").write_text("1")
os.mkdir(sys.argv[2] + "/later")
while not watch.trouble(0.0):
    select.select([watch], [], [])
    watch.read()
print(watch.trouble(0.0))
watch.close()
"""


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [("max_inotify_watches", 50, "max_user_watches"), ("max_inotify_instances", 0, "max_user_instances")],
)
def test_an_exhausted_limit_is_named_with_the_command_that_raises_it(
    root: Path, key: str, value: int, name: str
) -> None:
    """In a user namespace of its own, with few watches: both lines of watchdog say the same."""
    if (
        not shutil.which(APART[0])
        or subprocess.run([*APART, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("no user namespaces here")
    for n in range(60):
        (root / f"d{n}").mkdir()
    script = [sys.executable, "-c", LIMITED, CHECKOUT, root, key, str(value)]
    run = subprocess.run([*APART, *script], check=True, capture_output=True, text=True)
    assert f"sysctl -w fs.inotify.{name}=" in run.stdout, run.stdout


def test_a_limit_that_is_reached_later_ends_the_watch_within_seconds(root: Path) -> None:
    """A new directory that cannot be watched: watchdog keeps that to itself."""
    if (
        not shutil.which(APART[0])
        or subprocess.run([*APART, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("no user namespaces here")
    script = [sys.executable, "-c", LIMITED_LATER, CHECKOUT, root]
    run = subprocess.run([*APART, *script], check=True, capture_output=True, text=True, timeout=PATIENCE)
    assert "sysctl -w fs.inotify.max_user_watches=" in run.stdout, run.stdout


def test_an_idle_watch_costs_nothing(root: Path) -> None:
    """No timer ticks in it, and somebody reading the tree is no event."""
    for n in range(500):
        (root / f"d{n}").mkdir()
    with watching(root) as ear:
        before = processor_seconds(ear.watch.pid)
        list(os.walk(root))
        ear.until(lambda: False, seconds=0.5)
        assert processor_seconds(ear.watch.pid) - before <= 0.1
        pages = int(Path(f"/proc/{ear.watch.pid}/statm").read_text().split()[1])
        assert pages * os.sysconf("SC_PAGESIZE") < 64 * 2**20
