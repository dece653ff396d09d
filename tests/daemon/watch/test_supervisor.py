"""The supervisor: it checks and replaces a fake watch, follows the roots, and asks for sweeps."""

from __future__ import annotations

import errno
import os
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from doubles import FakeWatch, Log

from daemon.watch.client import Hint
from daemon.watch.roots import Mount, Roots
from daemon.watch.supervisor import Supervisor
from lib.sync.walk import Found, Task

if TYPE_CHECKING:
    from collections.abc import Iterator


DISK = [Mount("/", "ext4", "8:1")]


class Harness:
    """A supervisor over roots, and the fake watches that it has made."""

    def __init__(self, *paths: Path) -> None:
        self.log, self.now, self.epoch = Log(), 1000.0, 0.0
        self.watches: list[FakeWatch] = []
        self.refusal: OSError | None = None
        self.ready = True
        self.mounts = DISK
        self.root = str(paths[0])
        roots = Roots(lambda: self.mounts)
        assert roots.use([str(path) for path in paths]) is None
        self.supervisor = Supervisor(roots, self._make, self.log, clock=lambda: self.epoch + self.now)

    def _make(self, roots: list[str]) -> FakeWatch:
        if self.refusal:
            raise self.refusal
        watch = FakeWatch(roots)
        watch.ready = self.ready
        self.watches.append(watch)
        return watch

    def close(self) -> None:
        """Close the watch, and release the roots."""
        self.supervisor.close()
        self.supervisor.roots.close()

    def check(self, seconds: float = 2.0) -> bool:
        """Let time pass and check."""
        self.now += seconds
        return self.supervisor.check(self.now)


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    """Make a supervisor over a root that exists."""
    (tmp_path / "root").mkdir()
    harness = Harness(tmp_path / "root")
    yield harness
    harness.close()
    harness.close()
    assert all(watch.closed for watch in harness.watches)


def test_the_first_check_makes_a_watch_and_asks_for_a_sweep(harness: Harness) -> None:
    """Watch first, then sweep; then all is quiet."""
    assert not harness.supervisor.is_ready
    assert harness.supervisor.next_check <= 0.0
    assert harness.check()
    assert [watch.roots for watch in harness.watches] == [[harness.root]]
    assert harness.supervisor.is_ready
    assert not harness.check(0.1)
    assert not harness.check()
    assert harness.log.events == []
    assert harness.supervisor.mode == "watching"


def test_a_watch_that_becomes_ready_asks_for_a_sweep_once(harness: Harness) -> None:
    """The sweep finds what appeared while it was being set up."""
    harness.ready = False
    harness.check()
    harness.check(0.1)
    assert not harness.supervisor.is_ready
    assert not harness.supervisor.is_settled
    assert harness.supervisor.mode == "starting to watch"
    harness.watches[0].ready = True
    assert harness.check(0.1)
    assert not harness.check(0.1)
    assert harness.supervisor.is_settled


def test_the_watch_is_judged_every_two_seconds(harness: Harness) -> None:
    """Not more often, however often the loop turns."""
    for _ in range(100):
        harness.check(0.1)
    assert 4 <= harness.watches[0].looks <= 6


def test_a_watch_in_trouble_is_replaced_at_once(harness: Harness) -> None:
    """The reason is logged once; a sweep follows when the new one is ready."""
    harness.check()
    harness.check(0.1)
    harness.watches[0].reason = "it fell silent"
    assert harness.check()
    assert harness.watches[0].closed
    assert len(harness.watches) == 2
    assert not harness.check(0.1)
    [degraded] = harness.log.of("watch.degraded")
    assert degraded["reason"] == "it fell silent"
    assert harness.supervisor.unheard == "it fell silent"


def test_a_watch_that_ended_is_checked_at_once(harness: Harness) -> None:
    """Reading shows that it ended; the next check is not waited for."""
    harness.check()
    harness.watches[0].ended, harness.watches[0].reason = True, "it ended"
    harness.check(0.1)
    assert len(harness.watches) == 1
    harness.supervisor.read()
    assert harness.supervisor.next_check <= harness.now
    harness.check(0.0)
    assert len(harness.watches) == 2


def test_a_watch_that_fails_again_and_again_is_replaced_more_and_more_rarely(harness: Harness) -> None:
    """1 s, doubling, up to two minutes; one line for one reason."""
    made: list[float] = []
    for _ in range(4000):
        before = len(harness.watches)
        harness.check(1.0)
        if len(harness.watches) > before:
            made.append(harness.now)
            harness.watches[-1].reason = "the limit is reached"
    waits = [later - earlier for earlier, later in pairwise(made)]
    assert waits == sorted(waits)
    assert 120 <= waits[-1] <= 125
    assert len(harness.log.events) == 1


def test_a_watch_that_stays_sound_ends_the_alarm(harness: Harness) -> None:
    """After half a minute: restored, and the next failure is cured at once again."""
    harness.check()
    harness.watches[0].reason = "it died"
    harness.check()
    for _ in range(20):
        harness.check()
    assert harness.log.names == ["watch.degraded", "watch.restored"]
    assert harness.supervisor.unheard == ""
    harness.watches[-1].reason = "it died"
    harness.check()
    assert not harness.watches[-1].closed
    assert len(harness.log.events) == 3


def test_another_reason_is_logged(harness: Harness) -> None:
    """Each reason is logged."""
    harness.check()
    for reason in ("one", "one", "two"):
        harness.watches[-1].reason = reason
        harness.check(20.0)
        harness.check(2.0)
    assert [fields["reason"] for fields in harness.log.of("watch.degraded")] == ["one", "two"]


def test_a_watch_that_cannot_be_made_leaves_the_work_to_sweeps(harness: Harness) -> None:
    """No process or descriptor can be had: the reason is logged, and it is tried again later."""
    harness.refusal = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    harness.check()
    assert harness.supervisor.watch is None
    assert harness.supervisor.read() == []
    assert harness.supervisor.mode == "sweeping only"
    assert harness.supervisor.is_settled
    [degraded] = harness.log.of("watch.degraded")
    files = "Too many open files; raise the limit on open files (ulimit -n, LimitNOFILE=)"
    assert degraded["reason"] == f"the watcher could not be started: {files}"
    harness.refusal = OSError("odd")
    for _ in range(5):
        harness.check(10.0)
    assert harness.log.events[-1][2]["reason"].endswith("odd")
    harness.refusal = FileNotFoundError(errno.ENOENT, "No such file or directory", "/opt/gone/python")
    harness.check(200.0)
    reason = harness.log.events[-1][2]["reason"]
    assert reason == "/opt/gone/python could not be started: No such file or directory"
    harness.refusal = None
    harness.check(200.0)
    assert harness.supervisor.is_ready


def test_a_watch_is_replaced_once_a_day(harness: Harness) -> None:
    """Nothing is logged: watchdog 6 keeps something of every rename for ever."""
    harness.check()
    harness.check(0.1)
    harness.check(86_000.0)
    assert not harness.watches[0].closed
    assert harness.check(401.0)
    assert [watch.closed for watch in harness.watches] == [True, False]
    assert not harness.check(0.1)
    assert harness.log.events == []


def test_an_overflow_replaces_the_watch_without_degrading_it(harness: Harness) -> None:
    """It has an event of its own; only the next one is reported as degraded too."""
    harness.check()
    for number in range(2):
        watch = harness.watches[-1]
        watch.ended, watch.has_overflowed, watch.reason = True, True, "events came too fast"
        harness.supervisor.read()
        assert harness.supervisor.next_check <= harness.now
        harness.check(0.1)
        assert watch.closed
        assert len(harness.log.of("watch.overflow")) == number + 1
        assert len(harness.log.of("watch.degraded")) == number
        harness.check()
    assert len(harness.watches) == 3


def test_a_change_that_no_hint_announced_replaces_the_watch(harness: Harness, tmp_path: Path) -> None:
    """Once what a sweep found was given two more seconds; a source that a hint named is no such change."""
    harness.check()
    harness.check(0.1)
    for name in ("a_completions.npy", "b_completions.npy"):
        task = Task(str(tmp_path / "root"), (), name)
        Path(task.path).touch()
        harness.epoch = os.stat(task.path).st_ctime - harness.now
        if name.startswith("a"):
            harness.watches[0].feed(Hint("closed", task.root, (name,)))
            harness.supervisor.read()
        harness.supervisor.found_changed(Found(task, os.stat(task.path), ()), harness.now)
        harness.check(0.0)
        assert len(harness.watches) == 1
        harness.check()
    assert [watch.closed for watch in harness.watches] == [True, False]
    [degraded] = harness.log.of("watch.degraded")
    assert degraded["reason"] == f"no event announced {task.path}"


def test_a_mount_below_a_root_gives_a_new_watch_and_a_sweep(harness: Harness) -> None:
    """No event tells of it; an unmount likewise."""
    harness.check()
    harness.check(0.1)
    assert not harness.check()
    harness.mounts = [*DISK, Mount(f"{harness.root}/disk", "ext4", "7:0")]
    assert harness.check()
    assert [watch.closed for watch in harness.watches] == [True, False]
    harness.check(0.1)
    assert not harness.check()
    harness.mounts = DISK
    assert harness.check()
    assert harness.log.events == []


def test_a_shared_file_system_is_not_relied_on_and_proves_nothing(harness: Harness) -> None:
    """That is logged once, and once when it is gone; changes without a hint are expected there."""
    harness.mounts = [*DISK, Mount(f"{harness.root}/team", "nfs4", "0:50")]
    harness.check()
    harness.check(0.1)
    root = harness.root
    reason = f"changes by other hosts give no events: nfs4 is mounted in {root}"
    assert harness.supervisor.unheard == reason
    assert harness.supervisor.mode == "watching"
    status = os.stat_result((0, 0, 0, 0, 0, 0, 0, 0, 0, harness.now + 1.0))
    harness.now += 10.0
    harness.supervisor.found_changed(Found(Task(root, (), "a_completions.npy"), status, ()), harness.now)
    harness.check(10.0)
    assert len(harness.watches) == 1
    assert [fields["reason"] for fields in harness.log.of("watch.degraded")] == [reason]
    harness.mounts = DISK
    harness.check()
    assert harness.supervisor.unheard == ""
    assert harness.log.names == ["watch.degraded", "watch.restored"]


def test_hints_come_through(harness: Harness) -> None:
    """Oldest first."""
    assert harness.supervisor.read() == []
    harness.check()
    hints = [Hint("closed", "/r", ("a",)), Hint("directory", "/r", ())]
    harness.watches[0].feed(*hints)
    assert harness.supervisor.read() == hints
    assert harness.supervisor.read() == []


def test_a_root_that_is_missing_is_waited_for(tmp_path: Path) -> None:
    """That is logged once; when it appears, it is watched, and a sweep follows."""
    harness = Harness(tmp_path / "late")
    harness.check()
    harness.check()
    assert harness.watches == []
    assert harness.supervisor.mode == "waiting for root"
    assert harness.supervisor.is_settled
    assert [fields["root"] for fields in harness.log.of("watch.degraded")] == [str(tmp_path / "late")]
    (tmp_path / "late").mkdir()
    assert harness.check()
    assert len(harness.watches) == 1
    assert harness.log.names == ["watch.degraded", "watch.restored"]
    harness.close()


def test_a_root_that_is_replaced_gets_a_new_watch(harness: Harness, tmp_path: Path) -> None:
    """The old watch reports nothing of a root that was renamed away and made again."""
    harness.check()
    (tmp_path / "root").rename(tmp_path / "old")
    (tmp_path / "root").mkdir()
    assert harness.check()
    assert [watch.closed for watch in harness.watches] == [True, False]


def test_a_root_that_goes_leaves_the_others_watched(tmp_path: Path) -> None:
    """The watch is made anew over those that are there."""
    for name in ("root", "other"):
        (tmp_path / name).mkdir()
    both = Harness(tmp_path / "root", tmp_path / "other")
    both.check()
    (tmp_path / "other").rmdir()
    both.check()
    assert [watch.roots for watch in both.watches] == [
        [str(tmp_path / "root"), str(tmp_path / "other")],
        [str(tmp_path / "root")],
    ]
    assert both.supervisor.mode == "watching"
    both.close()


def test_a_root_that_another_service_took_is_neither_watched_nor_swept_and_is_tried_again(
    harness: Harness, tmp_path: Path
) -> None:
    """It appeared while nobody held it."""
    (tmp_path / "root").rmdir()
    harness.check()
    (tmp_path / "root").mkdir()
    other = Roots()
    assert other.use([harness.root]) is None
    for _ in range(3):
        harness.check()
    assert harness.supervisor.watch is None
    assert harness.supervisor.roots.to_sweep == []
    assert harness.supervisor.mode == "waiting for root"
    reasons = [fields["reason"] for fields in harness.log.of("watch.degraded")]
    assert reasons == ["no such directory", f"another service watches {harness.root} already"]
    other.close()
    assert harness.check()
    assert harness.supervisor.watch is not None
    assert harness.supervisor.roots.to_sweep == [str(tmp_path / "root")]
    assert harness.log.names[-1] == "watch.restored"


def test_a_link_that_comes_to_lead_to_another_root_is_told_as_that(tmp_path: Path) -> None:
    """Not as another service."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("two")
    harness = Harness(tmp_path / "one", tmp_path / "link")
    harness.check()
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("one")
    harness.check()
    [degraded] = harness.log.of("watch.degraded")
    assert degraded["reason"] == f"{tmp_path / 'link'} is the same directory as {tmp_path / 'one'}"
    assert harness.watches[-1].roots == [str(tmp_path / "one")]
    harness.close()
