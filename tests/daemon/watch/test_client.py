"""The watch on the real kernel: what it reports, how it fails, what it leaves behind."""

from __future__ import annotations

import fcntl
import gc
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


class Listener:
    """Collects the hints of a watch."""

    def __init__(self, watch: Watch, *roots: Path) -> None:
        self.watch = watch
        self.roots = roots
        self.hints: list[Hint] = []

    @property
    def paths(self) -> list[str]:
        """The path of each hint."""
        return [os.path.join(hint.root, *hint.parts) for hint in self.hints]

    def until(self, so: Callable[[], object], seconds: float = PATIENCE) -> bool:
        """Collect until ``so()``; return False after ``seconds``.  The pipe wakes it, never a sleep."""
        deadline = time.monotonic() + seconds
        while not so():
            if time.monotonic() > deadline:
                return False
            select.select([self.watch], [], [], 0.02)
            self.hints += self.watch.read()
        return True

    def receives(self, kind: Any, path: Path, seconds: float = PATIENCE) -> bool:
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
def watching(*roots: Path) -> Iterator[Listener]:
    """Watch, wait until the watch is ready, and close it at the end."""
    watch = Watch([str(root) for root in roots])
    try:
        listener = Listener(watch, *roots)
        assert listener.until(lambda: watch.ready or watch.trouble(time.monotonic()))
        yield listener
    finally:
        watch.close()


@pytest.fixture
def listener(root: Path) -> Iterator[Listener]:
    """Watch one tree."""
    with watching(root) as listener:
        assert listener.watch.ready
        yield listener


def belongings() -> tuple[set[threading.Thread], set[str], int]:
    """Return this process's threads, children and number of descriptors."""
    children = {
        pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
    }
    return set(threading.enumerate()), children, len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """Check that a test leaves no thread, child or descriptor."""
    gc.collect()  # what earlier tests left to the collector
    before = belongings()
    yield
    assert belongings() == before


def test_saving_an_array_gives_a_closed_hint(listener: Listener, root: Path) -> None:
    """A generation run saves under the final name."""
    np.save(root / "n1_completions.npy", np.array(["a"], dtype=object), allow_pickle=True)
    assert listener.receives("closed", root / "n1_completions.npy")


def test_a_rename_into_place_gives_a_closed_hint_with_the_new_name(listener: Listener, root: Path) -> None:
    """Careful writers rename; the temporary name gives no hint."""
    (root / "x.tmp").write_bytes(b"x")
    (root / "x.tmp").rename(root / "n1_full_texts.npy")
    assert listener.receives("closed", root / "n1_full_texts.npy")
    assert {Path(path).name for path in listener.paths} == {"n1_full_texts.npy"}


def test_a_hard_link_is_seen(listener: Listener, root: Path, tmp_path: Path) -> None:
    """A link is only ever created, never closed."""
    (tmp_path / "elsewhere").write_bytes(b"x")
    os.link(tmp_path / "elsewhere", root / "n1_completions.npy")
    assert listener.receives("seen", root / "n1_completions.npy")


def test_a_rename_from_outside_gives_a_closed_hint(listener: Listener, root: Path, tmp_path: Path) -> None:
    """Its writer has finished with it, although its old name is not watched."""
    (tmp_path / "elsewhere").write_bytes(b"x")
    (tmp_path / "elsewhere").rename(root / "n1_completions.npy")
    assert listener.receives("closed", root / "n1_completions.npy")


def test_a_rename_to_outside_gives_no_hint(listener: Listener, root: Path, tmp_path: Path) -> None:
    """There is nothing left to do for it."""
    (root / "n1_completions.npy").write_bytes(b"x")
    assert listener.receives("closed", root / "n1_completions.npy")
    (root / "n1_completions.npy").rename(tmp_path / "elsewhere")
    (root / "n2_completions.npy").write_bytes(b"x")
    assert listener.receives("closed", root / "n2_completions.npy")
    assert [hint.parts[-1][:2] for hint in listener.hints if hint.kind == "closed"] == ["n1", "n2"]


def test_a_source_that_was_removed_or_renamed_is_reported_with_an_answer(
    listener: Listener, root: Path, tmp_path: Path
) -> None:
    """Also with a directory that was renamed; its sidecars are not reported."""
    gone = [root / name for name in ("a_completions.npy", "b_full_texts.npy", "c_completions.npy")]
    gone.append(root / "d" / "n1_completions.npy")
    gone[-1].parent.mkdir()
    for path in [*gone, root / "a_completions.md"]:
        path.write_bytes(b"x")
    assert listener.receives("directory", root / "d")
    gone[0].unlink()
    (root / "a_completions.md").unlink()
    gone[1].rename(tmp_path / "elsewhere")
    gone[2].rename(root / "old")
    gone[3].parent.rename(root / "e")

    def reported() -> set[str]:
        return {os.path.join(hint.root, *hint.parts) for hint in listener.hints if hint.kind == "gone"}

    listener.until(lambda: listener.watch.trouble(time.monotonic()) or len(reported()) >= len(gone))
    assert reported() == {str(path) for path in gone}


def test_a_root_in_a_hidden_directory_is_watched(tmp_path: Path) -> None:
    """Only names below a root are checked."""
    root = tmp_path / ".cache" / "experiments"
    root.mkdir(parents=True)
    with watching(root) as listener:
        (root / "n1_completions.npy").write_bytes(b"x")
        assert listener.receives("closed", root / "n1_completions.npy")


def test_a_directory_that_moved_in_is_watched(listener: Listener, root: Path, tmp_path: Path) -> None:
    """With all that is in it; watchdog 6 does not do that by itself."""
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere").rename(root / "run")
    assert listener.receives("directory", root / "run")
    (root / "run" / "deep" / "n1_completions.npy").write_bytes(b"x")
    assert listener.receives("closed", root / "run" / "deep" / "n1_completions.npy")


def test_metadata_is_reported_and_other_files_are_not(listener: Listener, root: Path) -> None:
    """A page shows the metadata; hints about other files would be wasted."""
    for name in ("n1_completions.json", "n1_completions.md", "notes.txt", "x.npy", "n1_metadata.json"):
        (root / name).write_bytes(b"{}")
    assert listener.receives("closed", root / "n1_metadata.json")
    assert {Path(path).name for path in listener.paths} == {"n1_metadata.json"}


def test_directories_made_and_filled_at_once_are_reported(listener: Listener, root: Path) -> None:
    """Of a file in a directory that is not watched yet, the file or the directory is reported."""
    for n in range(50):
        deep = root / f"m{n}" / "generations" / "p"
        deep.mkdir(parents=True)
        (deep / "n1_completions.npy").write_bytes(b"x")
    for n in range(50):
        deep = root / f"m{n}" / "generations" / "p"

        def known(deep: Path = deep) -> bool:
            return str(deep / "n1_completions.npy") in listener.paths or str(deep) in listener.paths

        assert listener.until(known), deep
    assert listener.receives("directory", root / "m0")


def test_a_directory_that_is_removed_or_renamed_is_reported(listener: Listener, root: Path) -> None:
    """The service sweeps where directories change."""
    (root / "a").mkdir()
    assert listener.receives("directory", root / "a")
    (root / "a").rename(root / "b")
    assert listener.receives("directory", root / "b")
    listener.hints.clear()
    (root / "b").rmdir()
    assert listener.receives("directory", root / "b")


@pytest.mark.parametrize(
    "name", [b"a\nb_completions.npy", b"\xff\xfe_completions.npy", b"\x1b[2J;'\"_completions.npy"]
)
def test_names_pass_through_whatever_their_bytes(listener: Listener, root: Path, name: bytes) -> None:
    """Newlines, escapes and bytes that are not UTF-8 are allowed in names."""
    path = os.fsencode(root) + b"/" + name
    Path(os.fsdecode(path)).write_bytes(b"x")
    assert listener.receives("closed", Path(os.fsdecode(path)))


def test_a_root_may_be_a_symbolic_link_and_is_reported_as_given(root: Path, tmp_path: Path) -> None:
    """People link experiments to a bigger disk."""
    (root / "run").mkdir()
    link = tmp_path / "link"
    link.symlink_to(root)
    with watching(link) as listener:
        for path in (link / "n1_completions.npy", link / "run" / "n1_completions.npy"):
            path.write_bytes(b"x")
            assert listener.receives("closed", path)


def test_a_link_to_a_directory_does_not_take_its_events(listener: Listener, root: Path) -> None:
    """Watchdog 6 would watch the target through the link, and report it under that path from then on."""
    (root / "real").mkdir()
    assert listener.receives("directory", root / "real")
    for n in range(20):
        fresh = root / f"fresh{n}"
        fresh.mkdir()
        (fresh / "deep").mkdir()
        (fresh / "deep" / "latest").symlink_to(root / "real")
        assert listener.receives("directory", fresh)
    (root / "real" / "n1_completions.npy").write_bytes(b"x")
    assert listener.receives("closed", root / "real" / "n1_completions.npy")


def test_several_roots_are_watched_by_one_process(root: Path, tmp_path: Path) -> None:
    """Each root's files come under that root."""
    other = tmp_path / "other"
    other.mkdir()
    with watching(root, other) as listener:
        for path in (root / "a_completions.npy", other / "b_completions.npy"):
            path.write_bytes(b"x")
            assert listener.receives("closed", path)


def test_a_healthy_watch_answers(listener: Listener) -> None:
    """It answers each question in time; no hint is needed."""
    for now in range(0, 60, 9):
        assert listener.watch.trouble(float(now)) is None
        assert select.select([listener.watch], [], [], PATIENCE)[0]
        assert listener.watch.read() == []


def test_a_stopped_watcher_does_not_answer(listener: Listener) -> None:
    """Ten seconds of the clock that is passed in."""
    freeze(listener.watch.pid)
    assert listener.watch.trouble(100.0) is None
    assert listener.watch.trouble(109.0) is None
    assert listener.watch.trouble(110.0) == "it did not answer for 10 s"
    assert listener.watch.trouble(111.0) == "it did not answer for 10 s"


def test_a_watcher_that_is_not_ready_after_ten_minutes_is_replaced(root: Path) -> None:
    """It may hang in a directory of a server that does not answer."""
    watch = Watch([str(root)])
    try:
        freeze(watch.pid)
        assert watch.trouble(0.0) is None
        assert watch.trouble(600.0) == "it did not answer for 600 s"
    finally:
        watch.close()


def test_a_killed_watcher_is_noticed(listener: Listener) -> None:
    """The pipe wakes the service, and the reason names the signal."""
    os.kill(listener.watch.pid, signal.SIGKILL)
    assert listener.trouble() == "the watcher ended: killed by SIGKILL"
    assert listener.watch.read() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_signals_that_go_to_everybody_are_left_to_the_service(
    listener: Listener, root: Path, number: signal.Signals
) -> None:
    """A terminal's Ctrl-C and systemd's SIGTERM reach every process of the service."""
    os.kill(listener.watch.pid, number)
    (root / "n1_completions.npy").write_bytes(b"x")
    assert listener.receives("closed", root / "n1_completions.npy")


def unread_bytes(watch: Watch) -> int:
    """Count the bytes that wait in the watcher's pipe."""
    return int.from_bytes(fcntl.ioctl(watch.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)


def test_hints_survive_the_watcher(listener: Listener, root: Path) -> None:
    """Hints from before the end can still be read."""
    (root / "n1_completions.npy").write_bytes(b"x")
    assert listener.receives("closed", root / "n1_completions.npy")
    (root / "n2_completions.npy").write_bytes(b"x")
    wait_for(lambda: unread_bytes(listener.watch) > len(bytes(root)))  # a hint, as answers are shorter
    os.kill(listener.watch.pid, signal.SIGKILL)
    assert listener.until(lambda: listener.watch.trouble(0.0))
    assert [hint for hint in listener.hints + listener.watch.read() if "n2_completions.npy" in hint.parts]


def test_the_moves_that_kill_watchdogs_reader_are_noticed(
    listener: Listener, root: Path, tmp_path: Path
) -> None:
    """``mkdir R/p; mv R/p /out; mkdir R/p; rmdir R/p; rmdir /out/p`` leaves it deaf."""
    out = tmp_path / "out"
    (root / "p").mkdir()
    assert listener.receives("directory", root / "p")
    (root / "p").rename(out)
    (root / "p").mkdir()
    (root / "p").rmdir()
    out.rmdir()
    (root / "n1_completions.npy").write_bytes(b"x")
    path = str(root / "n1_completions.npy")
    assert listener.until(lambda: listener.watch.trouble(0.0) or path in listener.paths)
    (root / "n2_completions.npy").write_bytes(b"x")
    path = str(root / "n2_completions.npy")
    assert listener.until(lambda: listener.watch.trouble(0.0) or path in listener.paths)


def test_runs_that_replace_each_other_are_reported_or_noticed(listener: Listener, root: Path) -> None:
    """``mv run old; mkdir run; write``, over and over, kills the reader of watchdog 6."""
    for n in range(100):
        if (root / "run").exists():
            shutil.rmtree(root / "old", ignore_errors=True)
            (root / "run").rename(root / "old")
        (root / "run").mkdir()
        (root / "run" / f"n{n}_completions.npy").write_bytes(b"x")
    last = str(root / "run" / "n99_completions.npy")
    assert listener.until(lambda: listener.watch.trouble(0.0) or last in listener.paths)


def test_a_root_that_is_removed_is_reported(listener: Listener, root: Path) -> None:
    """The service looks whether it comes back."""
    root.rmdir()
    assert listener.until(
        lambda: listener.watch.trouble(0.0) or Hint("directory", str(root), ()) in listener.hints
    )


def test_lost_events_end_the_watch(listener: Listener, root: Path) -> None:
    """More events than the kernel's queue holds, while nobody reads it; on both lines of watchdog."""
    freeze(listener.watch.pid)
    for n in range(QUEUE // 2 + 4000):
        os.close(os.open(root / f"n{n}_completions.npy", os.O_WRONLY | os.O_CREAT))
    os.kill(listener.watch.pid, signal.SIGCONT)
    assert listener.trouble() == "the watcher ended: events came faster than they could be read"
    assert listener.watch.has_overflowed


def test_a_busy_service_does_not_blame_the_watcher(listener: Listener, root: Path) -> None:
    """Records that waited in the pipe are read before the watcher is judged: each is a sign of life."""
    assert listener.watch.trouble(0.0) is None
    (root / "n1_completions.npy").write_bytes(b"x")
    assert select.select([listener.watch], [], [], PATIENCE)[0]
    listener.watch.read()
    assert listener.watch.trouble(60.0) is None


def test_a_root_that_is_not_there_ends_it_with_the_reason(tmp_path: Path) -> None:
    """The reason comes over the pipe, in words."""
    with watching(tmp_path / "nowhere") as listener:
        assert (
            listener.trouble()
            == f"the watcher ended: {tmp_path / 'nowhere'} could not be watched: No such file or directory"
        )
        assert not listener.watch.ready


def test_a_failing_start_shows_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its modules it sends no record, but its standard error has the reason."""
    monkeypatch.setattr(sys, "path", [str(tmp_path / "nothing")])
    monkeypatch.setattr("daemon.watch.client._HOME", str(tmp_path))
    with watching(tmp_path) as listener:
        assert (listener.trouble() or "").startswith("the watcher ended: ModuleNotFoundError: ")


def test_closing_twice_is_once(root: Path, tmp_path: Path) -> None:
    """Closing again changes nothing."""
    with watching(root) as listener:
        pid = listener.watch.pid
        listener.watch.close()
        listener.watch.close()
        assert listener.watch.read() == []
        assert not Path(f"/proc/{pid}").exists()


def test_closing_ends_a_stopped_watcher_too(listener: Listener) -> None:
    """SIGKILL ends a stopped process."""
    freeze(listener.watch.pid)
    listener.watch.close()
    assert not Path(f"/proc/{listener.watch.pid}").exists()


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


LIMITED = """
import os, select, sys
from pathlib import Path
checkout, root, limit, value, when = sys.argv[1:]
sys.path.insert(0, checkout)
from daemon.watch.client import Watch
def wait_until(so):
    while not so():
        select.select([watch], [], [])
        watch.read()
if when == "at the start":
    Path("/proc/sys/user", limit).write_text(value)
watch = Watch([root])
if when == "later":
    wait_until(lambda: watch.ready)
    Path("/proc/sys/user", limit).write_text(value)
    os.mkdir(root + "/later")
wait_until(lambda: watch.trouble(0.0))
print(watch.trouble(0.0))
watch.close()
"""


@pytest.mark.parametrize(
    ("kind", "value", "when"),
    [("watches", 50, "at the start"), ("instances", 0, "at the start"), ("watches", 1, "later")],
)
def test_a_limit_that_is_reached_ends_the_watch_and_is_named_with_the_command_that_raises_it(
    root: Path, kind: str, value: int, when: str
) -> None:
    """With few watches, in a user namespace: watchdog itself says nothing of a new directory, for example."""
    apart = ("unshare", "--user", "--map-root-user")
    if not shutil.which("unshare") or subprocess.run([*apart, "true"], check=False).returncode:
        pytest.skip("no user namespaces here")
    for n in range(60):
        (root / f"d{n}").mkdir()
    script = [
        sys.executable,
        "-c",
        LIMITED,
        str(CHECKOUT),
        str(root),
        f"max_inotify_{kind}",
        str(value),
        when,
    ]
    run = subprocess.run([*apart, *script], check=True, capture_output=True, text=True, timeout=PATIENCE)
    assert f"sysctl -w fs.inotify.max_user_{kind}=" in run.stdout, run.stdout


def test_an_idle_watch_costs_nothing(root: Path) -> None:
    """It has no timer, and reading the tree gives no event."""
    for n in range(500):
        (root / f"d{n}").mkdir()
    with watching(root) as listener:
        before = processor_seconds(listener.watch.pid)
        list(os.walk(root))
        listener.until(lambda: False, seconds=0.5)
        assert processor_seconds(listener.watch.pid) - before <= 0.1
        pages = int(Path(f"/proc/{listener.watch.pid}/statm").read_text().split()[1])
        assert pages * os.sysconf("SC_PAGESIZE") < 64 * 2**20
