"""The sweep judges the watch: a change that no hint announced proves that it is incomplete."""

from __future__ import annotations

import os

import pytest

from daemon.watch.supervisor import REMEMBERED, Announcements
from lib.sync.walk import Found, Task

SINCE = 1_000_000.0
"""When the watch was ready, on the clock of the files; the monotonic one shows 0 then."""


class Harness:
    """Announcements since a watch was ready, and sources whose times the test sets."""

    def __init__(self) -> None:
        self.changed: dict[str, float] = {}
        self.announcements = Announcements(self._changed_at)
        self.announcements.begin(SINCE)

    def _changed_at(self, path: str) -> float:
        if path not in self.changed:
            raise FileNotFoundError(path)
        return self.changed[path]

    def find(self, name: str, changed: float, now: float) -> None:
        """Let a sweep find a source out of date, ``changed`` and ``now`` in seconds after the start."""
        self.changed[task(name).path] = SINCE + changed
        times = (0, 0, 0, 0, 0, 0, 0, 0, 0, SINCE + changed)
        self.announcements.found(Found(task(name), os.stat_result(times), ()), now, SINCE + now)

    def announce(self, name: str, now: float) -> None:
        """Let a hint arrive."""
        self.announcements.announced(task(name).path, SINCE + now)


def task(name: str) -> Task:
    """Return the task for a source."""
    return Task("/r", ("d",), name)


@pytest.fixture
def harness() -> Harness:
    """Begin with a watch that is ready."""
    return Harness()


def test_a_change_that_no_hint_announced_is_proof_two_seconds_later(harness: Harness) -> None:
    """The hint may still be on its way; the reason names the source."""
    harness.find("a_completions.npy", changed=10.0, now=20.0)
    assert harness.announcements.verdict(21.9) is None
    assert harness.announcements.verdict(22.0) == "no event announced /r/d/a_completions.npy"
    assert harness.announcements.verdict(23.0) is None


@pytest.mark.parametrize("heard", [10.0, 15.0, 21.0])
def test_a_hint_before_or_soon_after_clears_the_watch(harness: Harness, heard: float) -> None:
    """It may arrive at any moment after the change."""
    if heard < 20.0:
        harness.announce("a", heard)
    harness.find("a", changed=10.0, now=20.0)
    if heard >= 20.0:
        harness.announce("a", heard)
    assert harness.announcements.verdict(30.0) is None


def test_a_hint_of_an_earlier_change_does_not(harness: Harness) -> None:
    """The source has been saved again since."""
    harness.announce("a", 5.0)
    harness.find("a", changed=10.0, now=20.0)
    assert harness.announcements.verdict(30.0) is not None


@pytest.mark.parametrize("changed", [-5.0, 0.0, 30.0])
def test_changes_before_the_watch_prove_nothing(harness: Harness, changed: float) -> None:
    """Nor do changes in the future, when a clock was set back."""
    harness.find("a", changed=changed, now=20.0)
    assert harness.announcements.verdict(30.0) is None


def test_a_source_that_goes_on_changing_proves_nothing(harness: Harness) -> None:
    """Its writer has not closed it yet; a source that is gone proves nothing either."""
    harness.find("a", changed=19.0, now=20.0)
    harness.changed[task("a").path] += 2.0
    assert harness.announcements.verdict(30.0) is None
    harness.find("b", changed=29.0, now=30.0)
    harness.changed.clear()
    assert harness.announcements.verdict(40.0) is None
    harness.find("c", changed=39.9, now=40.0)
    assert harness.announcements.verdict(50.0) is not None


def test_a_watch_is_judged_incomplete_at_most_once_in_ten_minutes(harness: Harness) -> None:
    """A memory-mapped writer changes its file without an event, again and again."""
    verdicts = []
    for now in range(20, 2000, 10):
        harness.find("a", changed=now - 5.0, now=float(now))
        verdicts += [now + 2.0] if harness.announcements.verdict(now + 2.0) else []
    assert verdicts == [22.0, 622.0, 1222.0, 1822.0]


def test_a_watch_that_was_replaced_begins_anew(harness: Harness) -> None:
    """It is not blamed for changes before it was ready, nor for what the old one missed."""
    harness.find("a", changed=10.0, now=20.0)
    harness.announcements.begin(SINCE + 40.0)
    assert harness.announcements.verdict(45.0) is None
    harness.find("c", changed=35.0, now=50.0)
    assert harness.announcements.verdict(60.0) is None


def test_forgotten_hints_prove_nothing(harness: Harness) -> None:
    """When there are too many, the oldest are forgotten, and changes before them prove nothing."""
    for number in range(REMEMBERED + 1):
        harness.announce(str(number), 1.0 + number)
    now = 10.0 + REMEMBERED
    harness.find("0", changed=0.5, now=now)
    assert harness.announcements.verdict(now + 5.0) is None
    harness.find("unheard", changed=now - 5.0, now=now)
    assert harness.announcements.verdict(now + 5.0) is not None
