"""The guard: the watch is judged and replaced, roots come and go, sweeps follow; a fed watch plays along."""

from __future__ import annotations

import errno
import os
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from doubles import FakeWatch, Log

from daemon.watch.protocol import Hint
from daemon.watch.roots import Root
from daemon.watch.supervisor import CALM_CHECK_SECONDS, CHECK_SECONDS, Guard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Post:
    """A guard over one root, and the watches it had made."""

    def __init__(self, *paths: Path) -> None:
        self.log, self.now = Log(), 1000.0
        self.watches: list[FakeWatch] = []
        self.refusal: OSError | None = None
        self.ready = True
        self.guard = Guard([Root(str(path)) for path in paths], self._make, self.log)

    def _make(self, roots: list[str]) -> FakeWatch:
        if self.refusal:
            raise self.refusal
        watch = FakeWatch(roots)
        watch.ready = self.ready
        self.watches.append(watch)
        return watch

    def check(self, seconds: float = 2.0, directories: list[int] | None = None) -> bool:
        """Let time pass and check."""
        self.now += seconds
        return self.guard.check(self.now, directories)


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    """Set a guard over a root that is there."""
    (tmp_path / "root").mkdir()
    post = Post(tmp_path / "root")
    yield post
    post.guard.close()
    post.guard.close()
    assert all(watch.closed for watch in post.watches)


def test_the_first_check_makes_a_watch_and_asks_for_a_sweep(post: Post) -> None:
    """Watch first, then sweep; then all is quiet."""
    assert not post.guard.is_ready
    assert post.guard.next_due() <= 0.0
    post.check()
    assert [watch.roots for watch in post.watches] == [[post.guard.roots[0].path]]
    assert post.guard.is_ready
    assert post.check(0.1)
    assert not post.check(0.1)
    assert not post.check()
    assert post.log.events == []
    assert post.guard.mode == "watching"


def test_a_watch_that_becomes_ready_asks_for_a_sweep_once(post: Post) -> None:
    """What appeared while it was being set up is for the sweep."""
    post.ready = False
    post.check()
    post.check(0.1)
    assert not post.guard.is_ready
    assert not post.guard.is_settled
    assert post.guard.mode == "sweeping only"
    post.watches[0].ready = True
    assert post.check(0.1)
    assert not post.check(0.1)
    assert post.guard.is_settled


def test_the_watch_is_asked_for_a_sign_of_life_every_two_seconds(post: Post) -> None:
    """Not more often, however often the loop turns."""
    for _ in range(100):
        post.check(0.1)
    assert 4 <= post.watches[0].pings <= 6
    assert len(post.watches[0].looks) == post.watches[0].pings


def test_a_watch_that_hears_nothing_is_looked_at_less_often(post: Post) -> None:
    """After a calm minute every five seconds; the first hint ends the calm."""
    for _ in range(20):
        post.check(5.0)
    assert post.guard.next_due() == post.now + CALM_CHECK_SECONDS
    post.watches[0].feed(Hint("closed", "/r/a_completions.npy"))
    post.guard.read()
    post.check(5.0)
    assert post.guard.next_due() == post.now + CHECK_SECONDS


def test_directories_of_a_sweep_are_shown_to_the_watch_at_once(post: Post) -> None:
    """Fresh from the walk."""
    post.check()
    post.check(0.1)
    post.check(0.1, [1, 2, 3])
    assert post.watches[0].looks == [[1, 2, 3]]


def test_a_watch_in_trouble_is_replaced_at_once(post: Post) -> None:
    """Said once; the new one's readiness brings a sweep."""
    post.check()
    post.check(0.1)
    post.watches[0].reason = "it fell silent"
    post.check()
    assert post.watches[0].closed
    assert len(post.watches) == 2
    assert post.check(0.1)
    [degraded] = post.log.of("watch.degraded")
    assert degraded["reason"] == "it fell silent"
    assert post.guard.degraded == "it fell silent"


def test_a_watch_that_ended_is_checked_at_once(post: Post) -> None:
    """What it reads says so; the next check is not waited for."""
    post.check()
    post.watches[0].ended, post.watches[0].reason = True, "it ended"
    post.check(0.1)
    assert len(post.watches) == 1
    post.guard.read()
    assert post.guard.next_due() <= post.now
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
    assert post.guard.degraded == ""
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
    assert post.guard.watch is None
    assert post.guard.read() == []
    assert post.guard.mode == "sweeping only"
    assert post.guard.is_settled
    [degraded] = post.log.of("watch.degraded")
    assert "Too many open files" in degraded["reason"]
    post.refusal = OSError("odd")
    for _ in range(5):
        post.check(10.0)
    assert post.log.events[-1][2]["reason"].endswith("odd")
    post.refusal = None
    post.check(200.0)
    assert post.guard.is_ready


def test_a_doubtful_watch_has_another_sweep_tell(post: Post) -> None:
    """Not the sweep that has just ended, and not at every check."""
    post.check()
    post.check(0.1)
    post.watches[0].doubtful = True
    assert not post.check(2.0, [1])
    assert [post.check() for _ in range(4)] == [False, True, False, True]
    post.watches[0].doubtful = False
    assert not post.check(10.0)


def test_hints_come_through(post: Post) -> None:
    """Oldest first."""
    assert post.guard.read() == []
    post.check()
    hints = [Hint("closed", "a"), Hint("overflow", "")]
    post.watches[0].feed(*hints)
    assert post.guard.read() == hints
    assert post.guard.read() == []


def test_a_root_that_is_missing_is_waited_for(tmp_path: Path) -> None:
    """Said once; when it comes it is watched, and a sweep follows."""
    post = Post(tmp_path / "late")
    post.check()
    post.check()
    assert post.watches == []
    assert post.guard.mode == "waiting for root"
    assert post.guard.is_settled
    assert [fields["root"] for fields in post.log.of("watch.degraded")] == [str(tmp_path / "late")]
    (tmp_path / "late").mkdir()
    assert post.check()
    assert len(post.watches) == 1
    assert post.log.names == ["watch.degraded", "watch.restored"]
    post.guard.close()


def test_a_root_that_is_replaced_gets_a_new_watch(post: Post, tmp_path: Path) -> None:
    """Renamed away and made anew: the old watch sees nothing of it."""
    post.check()
    (tmp_path / "root").rename(tmp_path / "old")
    (tmp_path / "root").mkdir()
    assert post.check()
    assert [watch.closed for watch in post.watches] == [True, False]


def test_a_root_that_goes_leaves_the_others_watched(post: Post, tmp_path: Path) -> None:
    """The watch is made anew over those that are there."""
    (tmp_path / "other").mkdir()
    both = Post(tmp_path / "root", tmp_path / "other")
    both.check()
    (tmp_path / "other").rmdir()
    both.check()
    assert [watch.roots for watch in both.watches] == [
        [str(tmp_path / "root"), str(tmp_path / "other")],
        [str(tmp_path / "root")],
    ]
    assert both.guard.mode == "watching"
    both.guard.close()


def test_a_root_that_another_service_took_is_said(post: Post, tmp_path: Path) -> None:
    """It came while nobody held it."""
    (tmp_path / "root").rmdir()
    post.check()
    (tmp_path / "root").mkdir()
    other = Root(str(tmp_path / "root"))
    assert other.lock()
    post.check()
    other.unlock()
    assert post.log.events[-1][2]["reason"] == "another service watches it"
