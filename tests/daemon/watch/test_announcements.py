"""The sweep judges the watch: a change that no hint announced proves that it is incomplete."""

from __future__ import annotations

import os

import pytest

from daemon.watch.supervisor import REMEMBERED, Announcements
from lib.sync.walk import Found, Task

SINCE = 1_000_000.0
"""When the watch stood, on the files' clock; the monotonic one says 0 then."""


class Court:
    """Announcements since a watch stood."""

    def __init__(self) -> None:
        self.changed: dict[str, float] = {}
        self.announcements = Announcements(self._changed_at)
        self.announcements.begin(SINCE)

    def _changed_at(self, path: str) -> float:
        if path not in self.changed:
            raise FileNotFoundError(path)
        return self.changed[path]

    def finds(self, name: str, changed: float, now: float) -> None:
        """Have a sweep find a source out of date, ``changed`` and ``now`` in seconds after the start."""
        self.changed[task(name).path] = SINCE + changed
        times = (0, 0, 0, 0, 0, 0, 0, 0, 0, SINCE + changed)
        self.announcements.found(Found(task(name), os.stat_result(times), ()), now, SINCE + now)

    def hears(self, name: str, now: float) -> None:
        """Have a hint arrive."""
        self.announcements.announced(task(name).path, SINCE + now)


def task(name: str) -> Task:
    """Name a source."""
    return Task("/r", ("d",), name)


@pytest.fixture
def court() -> Court:
    """Begin with a watch that stands."""
    return Court()


def test_a_change_that_no_hint_announced_is_proof_two_seconds_later(court: Court) -> None:
    """The hint may still be on its way; the reason names the source."""
    court.finds("a_completions.npy", changed=10.0, now=20.0)
    assert court.announcements.verdict(21.9) is None
    assert court.announcements.verdict(22.0) == "no event announced /r/d/a_completions.npy"
    assert court.announcements.verdict(23.0) is None


@pytest.mark.parametrize("heard", [10.0, 15.0, 21.0])
def test_a_hint_before_or_soon_after_clears_the_watch(court: Court, heard: float) -> None:
    """It arrived at any moment since the change."""
    if heard < 20.0:
        court.hears("a", heard)
    court.finds("a", changed=10.0, now=20.0)
    if heard >= 20.0:
        court.hears("a", heard)
    assert court.announcements.verdict(30.0) is None


def test_a_hint_of_an_earlier_change_does_not(court: Court) -> None:
    """The source was saved again since."""
    court.hears("a", 5.0)
    court.finds("a", changed=10.0, now=20.0)
    assert court.announcements.verdict(30.0) is not None


@pytest.mark.parametrize("changed", [-5.0, 0.0, 30.0])
def test_changes_before_the_watch_prove_nothing(court: Court, changed: float) -> None:
    """Nor do those in the future, when a clock was set back."""
    court.finds("a", changed=changed, now=20.0)
    assert court.announcements.verdict(30.0) is None


def test_a_source_that_goes_on_changing_proves_nothing(court: Court) -> None:
    """Its writer has not closed it yet; nor does one that has gone."""
    court.finds("a", changed=19.0, now=20.0)
    court.changed[task("a").path] += 2.0
    assert court.announcements.verdict(30.0) is None
    court.finds("b", changed=29.0, now=30.0)
    court.changed.clear()
    assert court.announcements.verdict(40.0) is None
    court.finds("c", changed=39.9, now=40.0)
    assert court.announcements.verdict(50.0) is not None


def test_it_is_said_at_most_once_in_ten_minutes(court: Court) -> None:
    """A memory-mapped writer changes its file without an event, again and again."""
    verdicts = []
    for now in range(20, 2000, 10):
        court.finds("a", changed=now - 5.0, now=float(now))
        verdicts += [now + 2.0] if court.announcements.verdict(now + 2.0) else []
    assert verdicts == [22.0, 622.0, 1222.0, 1822.0]


def test_a_watch_that_was_replaced_begins_anew(court: Court) -> None:
    """What changed before it stood is not its fault, nor the suspicion of the old one."""
    court.finds("a", changed=10.0, now=20.0)
    court.announcements.begin(SINCE + 40.0)
    assert court.announcements.verdict(45.0) is None
    court.finds("c", changed=35.0, now=50.0)
    assert court.announcements.verdict(60.0) is None


def test_what_was_forgotten_proves_nothing(court: Court) -> None:
    """Of more hints than are remembered the oldest go, and with them what happened before."""
    for number in range(REMEMBERED + 1):
        court.hears(str(number), 1.0 + number)
    now = 10.0 + REMEMBERED
    court.finds("0", changed=0.5, now=now)
    assert court.announcements.verdict(now + 5.0) is None
    court.finds("unheard", changed=now - 5.0, now=now)
    assert court.announcements.verdict(now + 5.0) is not None
