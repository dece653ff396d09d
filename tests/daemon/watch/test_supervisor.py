"""The supervisor: a fed watch is judged and replaced, roots come and go, sweeps follow."""

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


class Post:
    """A supervisor over roots, and the watches it had made."""

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
def post(tmp_path: Path) -> Iterator[Post]:
    """Set a supervisor over a root that is there."""
    (tmp_path / "root").mkdir()
    post = Post(tmp_path / "root")
    yield post
    post.close()
    post.close()
    assert all(watch.closed for watch in post.watches)


def test_the_first_check_makes_a_watch_and_asks_for_a_sweep(post: Post) -> None:
    """Watch first, then sweep; then all is quiet."""
    assert not post.supervisor.is_ready
    assert post.supervisor.next_check <= 0.0
    assert post.check()
    assert [watch.roots for watch in post.watches] == [[post.root]]
    assert post.supervisor.is_ready
    assert not post.check(0.1)
    assert not post.check()
    assert post.log.events == []
    assert post.supervisor.mode == "watching"


def test_a_watch_that_becomes_ready_asks_for_a_sweep_once(post: Post) -> None:
    """What appeared while it was being set up is for the sweep."""
    post.ready = False
    post.check()
    post.check(0.1)
    assert not post.supervisor.is_ready
    assert not post.supervisor.is_settled
    assert post.supervisor.mode == "sweeping only"
    post.watches[0].ready = True
    assert post.check(0.1)
    assert not post.check(0.1)
    assert post.supervisor.is_settled


def test_the_watch_is_judged_every_two_seconds(post: Post) -> None:
    """Not more often, however often the loop turns."""
    for _ in range(100):
        post.check(0.1)
    assert 4 <= post.watches[0].looks <= 6


def test_a_watch_in_trouble_is_replaced_at_once(post: Post) -> None:
    """Said once; the new one's readiness brings a sweep."""
    post.check()
    post.check(0.1)
    post.watches[0].reason = "it fell silent"
    assert post.check()
    assert post.watches[0].closed
    assert len(post.watches) == 2
    assert not post.check(0.1)
    [degraded] = post.log.of("watch.degraded")
    assert degraded["reason"] == "it fell silent"
    assert post.supervisor.unheard == "it fell silent"


def test_a_watch_that_ended_is_checked_at_once(post: Post) -> None:
    """What it reads says so; the next check is not waited for."""
    post.check()
    post.watches[0].ended, post.watches[0].reason = True, "it ended"
    post.check(0.1)
    assert len(post.watches) == 1
    post.supervisor.read()
    assert post.supervisor.next_check <= post.now
    post.check(0.0)
    assert len(post.watches) == 2


def test_a_watch_that_fails_again_and_again_is_replaced_more_and_more_rarely(post: Post) -> None:
    """1 s, doubling, up to two minutes; one line for one reason."""
    made: list[float] = []
    for _ in range(4000):
        before = len(post.watches)
        post.check(1.0)
        if len(post.watches) > before:
            made.append(post.now)
            post.watches[-1].reason = "the limit is reached"
    waits = [later - earlier for earlier, later in pairwise(made)]
    assert waits == sorted(waits)
    assert 120 <= waits[-1] <= 125
    assert len(post.log.events) == 1


def test_a_watch_that_stays_sound_ends_the_alarm(post: Post) -> None:
    """After half a minute: restored, and the next failure is cured at once again."""
    post.check()
    post.watches[0].reason = "it died"
    post.check()
    for _ in range(20):
        post.check()
    assert post.log.names == ["watch.degraded", "watch.restored"]
    assert post.supervisor.unheard == ""
    post.watches[-1].reason = "it died"
    post.check()
    assert not post.watches[-1].closed
    assert len(post.log.events) == 3


def test_another_reason_is_said(post: Post) -> None:
    """It tells what to do."""
    post.check()
    for reason in ("one", "one", "two"):
        post.watches[-1].reason = reason
        post.check(20.0)
        post.check(2.0)
    assert [fields["reason"] for fields in post.log.of("watch.degraded")] == ["one", "two"]


def test_a_watch_that_cannot_be_made_leaves_the_work_to_sweeps(post: Post) -> None:
    """No process, no descriptor: said with the system's words, tried again later."""
    post.refusal = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    post.check()
    assert post.supervisor.watch is None
    assert post.supervisor.read() == []
    assert post.supervisor.mode == "sweeping only"
    assert post.supervisor.is_settled
    [degraded] = post.log.of("watch.degraded")
    assert "Too many open files" in degraded["reason"]
    post.refusal = OSError("odd")
    for _ in range(5):
        post.check(10.0)
    assert post.log.events[-1][2]["reason"].endswith("odd")
    post.refusal = None
    post.check(200.0)
    assert post.supervisor.is_ready


def test_a_watch_is_replaced_once_a_day(post: Post) -> None:
    """Without a word: watchdog 6 keeps something of every rename for ever."""
    post.check()
    post.check(0.1)
    post.check(86_000.0)
    assert not post.watches[0].closed
    assert post.check(401.0)
    assert [watch.closed for watch in post.watches] == [True, False]
    assert not post.check(0.1)
    assert post.log.events == []


def test_an_overflow_replaces_the_watch_and_is_no_alarm(post: Post) -> None:
    """It has an event of its own; one after another are an alarm."""
    post.check()
    for number in range(2):
        watch = post.watches[-1]
        watch.ended, watch.has_overflowed, watch.reason = True, True, "events came too fast"
        post.supervisor.read()
        assert post.supervisor.next_check <= post.now
        post.check(0.1)
        assert watch.closed
        assert len(post.log.of("watch.overflow")) == number + 1
        assert len(post.log.of("watch.degraded")) == number
        post.check()
    assert len(post.watches) == 3


def test_a_change_that_no_hint_announced_replaces_the_watch(post: Post, tmp_path: Path) -> None:
    """Once what a sweep found was given two more seconds; a source that a hint named is no such change."""
    post.check()
    post.check(0.1)
    for name in ("a_completions.npy", "b_completions.npy"):
        task = Task(str(tmp_path / "root"), (), name)
        Path(task.path).touch()
        post.epoch = os.stat(task.path).st_ctime - post.now
        if name.startswith("a"):
            post.watches[0].feed(Hint("closed", task.root, (name,)))
            post.supervisor.read()
        post.supervisor.found_changed(Found(task, os.stat(task.path), ()), post.now)
        post.check(0.0)
        assert len(post.watches) == 1
        post.check()
    assert [watch.closed for watch in post.watches] == [True, False]
    [degraded] = post.log.of("watch.degraded")
    assert degraded["reason"] == f"no event announced {task.path}"


def test_a_mount_below_a_root_gives_a_new_watch_and_a_sweep(post: Post) -> None:
    """No event tells of it; an unmount likewise."""
    post.check()
    post.check(0.1)
    assert not post.check()
    post.mounts = [*DISK, Mount(f"{post.root}/disk", "ext4", "7:0")]
    assert post.check()
    assert [watch.closed for watch in post.watches] == [True, False]
    post.check(0.1)
    assert not post.check()
    post.mounts = DISK
    assert post.check()
    assert post.log.events == []


def test_a_shared_file_system_is_not_relied_on_and_proves_nothing(post: Post) -> None:
    """Said once; changes without a hint are what it is known for; when it goes, that is said."""
    post.mounts = [*DISK, Mount(f"{post.root}/team", "nfs4", "0:50")]
    post.check()
    post.check(0.1)
    root = post.root
    reason = f"changes by other hosts give no events: nfs4 is mounted in {root}"
    assert post.supervisor.unheard == reason
    assert post.supervisor.mode == "watching"
    status = os.stat_result((0, 0, 0, 0, 0, 0, 0, 0, 0, post.now + 1.0))
    post.now += 10.0
    post.supervisor.found_changed(Found(Task(root, (), "a_completions.npy"), status, ()), post.now)
    post.check(10.0)
    assert len(post.watches) == 1
    assert [fields["reason"] for fields in post.log.of("watch.degraded")] == [reason]
    post.mounts = DISK
    post.check()
    assert post.supervisor.unheard == ""
    assert post.log.names == ["watch.degraded", "watch.restored"]


def test_hints_come_through(post: Post) -> None:
    """Oldest first."""
    assert post.supervisor.read() == []
    post.check()
    hints = [Hint("closed", "/r", ("a",)), Hint("directory", "/r", ())]
    post.watches[0].feed(*hints)
    assert post.supervisor.read() == hints
    assert post.supervisor.read() == []


def test_a_root_that_is_missing_is_waited_for(tmp_path: Path) -> None:
    """Said once; when it comes it is watched, and a sweep follows."""
    post = Post(tmp_path / "late")
    post.check()
    post.check()
    assert post.watches == []
    assert post.supervisor.mode == "waiting for root"
    assert post.supervisor.is_settled
    assert [fields["root"] for fields in post.log.of("watch.degraded")] == [str(tmp_path / "late")]
    (tmp_path / "late").mkdir()
    assert post.check()
    assert len(post.watches) == 1
    assert post.log.names == ["watch.degraded", "watch.restored"]
    post.close()


def test_a_root_that_is_replaced_gets_a_new_watch(post: Post, tmp_path: Path) -> None:
    """Renamed away and made anew: the old watch sees nothing of it."""
    post.check()
    (tmp_path / "root").rename(tmp_path / "old")
    (tmp_path / "root").mkdir()
    assert post.check()
    assert [watch.closed for watch in post.watches] == [True, False]


def test_a_root_that_goes_leaves_the_others_watched(tmp_path: Path) -> None:
    """The watch is made anew over those that are there."""
    for name in ("root", "other"):
        (tmp_path / name).mkdir()
    both = Post(tmp_path / "root", tmp_path / "other")
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
    post: Post, tmp_path: Path
) -> None:
    """It came while nobody held it."""
    (tmp_path / "root").rmdir()
    post.check()
    (tmp_path / "root").mkdir()
    other = Roots()
    assert other.use([post.root]) is None
    for _ in range(3):
        post.check()
    assert post.supervisor.watch is None
    assert post.supervisor.roots.to_sweep == []
    assert post.supervisor.mode == "waiting for root"
    reasons = [fields["reason"] for fields in post.log.of("watch.degraded")]
    assert reasons == ["no such directory", f"another service watches {post.root} already"]
    other.close()
    assert post.check()
    assert post.supervisor.watch is not None
    assert post.supervisor.roots.to_sweep == [str(tmp_path / "root")]
    assert post.log.names[-1] == "watch.restored"


def test_a_link_that_comes_to_lead_to_another_root_is_told_as_that(tmp_path: Path) -> None:
    """Not as another service."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("two")
    post = Post(tmp_path / "one", tmp_path / "link")
    post.check()
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("one")
    post.check()
    [degraded] = post.log.of("watch.degraded")
    assert degraded["reason"] == f"{tmp_path / 'link'} is the same directory as {tmp_path / 'one'}"
    assert post.watches[-1].roots == [str(tmp_path / "one")]
    post.close()
