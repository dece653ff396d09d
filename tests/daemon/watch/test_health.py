"""The judges of the watcher, with a clock that is passed in, and the readings from /proc they go by."""

from __future__ import annotations

import os
import time

from daemon.watch import health


def test_silence_without_a_question_is_not_deafness() -> None:
    """Nobody asked, nobody answers."""
    judge = health.Deafness()
    assert not any(judge.look(float(now), asked=False, heard=False) for now in range(100))


def test_an_open_question_is_deafness_after_ten_seconds_of_silence() -> None:
    """Not before, and counted from when it was first seen open."""
    judge = health.Deafness()
    assert judge.look(5.0, asked=True, heard=False) is None
    assert judge.look(14.9, asked=True, heard=False) is None
    assert judge.look(15.0, asked=True, heard=False) == "it did not answer for 10 s"


def test_any_record_counts_as_a_sign_of_life() -> None:
    """An answer may stand in line behind a thousand hints."""
    judge = health.Deafness()
    judge.look(0.0, asked=True, heard=False)
    assert judge.look(20.0, asked=True, heard=True) is None
    assert judge.look(29.0, asked=True, heard=False) is None
    assert judge.look(30.0, asked=True, heard=False) is not None


def test_an_answer_closes_the_question() -> None:
    """The next question has ten seconds of its own."""
    judge = health.Deafness()
    judge.look(0.0, asked=True, heard=False)
    judge.look(9.0, asked=False, heard=True)
    assert judge.look(11.0, asked=True, heard=False) is None


def test_working_all_the_time_for_nothing_is_spinning() -> None:
    """Nine tenths of a processor over five seconds and no event."""
    judge = health.Spin()
    assert judge.look(0.0, 1.0, eventful=False) is None
    assert judge.look(4.0, 5.0, eventful=False) is None
    assert judge.look(5.0, 5.5, eventful=False) == "it burns a processor without events"


def test_working_on_events_is_not_spinning() -> None:
    """However much."""
    judge = health.Spin()
    assert not any(judge.look(float(now), float(now), eventful=now % 4 == 0) for now in range(60))


def test_a_moment_of_work_in_a_quiet_while_is_not_spinning() -> None:
    """Every five seconds are judged by themselves: old rest excuses nothing, old work is forgiven."""
    judge = health.Spin()
    judge.look(0.0, 0.0, eventful=False)
    assert judge.look(5.0, 4.0, eventful=False) is None
    assert judge.look(10.0, 4.1, eventful=False) is None
    assert judge.look(15.0, 9.1, eventful=False) is not None


def test_growth_is_measured_from_the_first_look() -> None:
    """A big tree needs much memory and may have it; a small one that grows big does not."""
    judge = health.Growth()
    assert judge.look(20 * 2**20) is None
    assert judge.look(250 * 2**20) is None
    assert judge.look(300 * 2**20) == "it has grown by 280 MiB"
    big = health.Growth()
    big.look(1000 * 2**20)
    assert big.look(2000 * 2**20) is None


def test_a_gap_counts_when_it_is_there_twice_seconds_apart() -> None:
    """Once is doubt, twice at once is too, later it is trouble."""
    judge = health.Gaps()
    assert judge.look(0.0, {1, 2, 3, 4}, {1, 2}) is None
    assert judge.suspects == {3, 4}
    assert judge.look(1.0, {1, 2, 3, 4}, {1, 2}) is None
    assert judge.look(3.0, {1, 2, 3, 4}, {1, 2}) == "2 directories are not watched"


def test_gaps_that_come_and_go_are_no_trouble() -> None:
    """Directories that are made and removed all the time are sometimes ahead of their events."""
    judge = health.Gaps()
    assert not any(judge.look(float(now), {0, now}, {0}) for now in range(1, 60, 4))
    assert judge.look(99.0, {0}, {0}) is None
    assert not judge.suspects


def test_where_no_number_agrees_only_counts_are_compared() -> None:
    """Stacked filesystems number their directories twice."""
    assert health.unwatched({1, 2}, {11, 12}) == frozenset()
    assert health.unwatched({1, 2, 3}, {11, 12}) == {1, 2, 3}
    assert health.unwatched(set(), set()) == frozenset()


def test_the_readings_are_those_of_the_process() -> None:
    """Against what the process knows of itself."""
    used = time.process_time()
    assert abs((health.cpu_seconds(os.getpid()) or 0.0) - used) < 0.5
    assert 2**20 < (health.resident_bytes(os.getpid()) or 0) < 2**32
    assert health.watched_inodes(os.getpid()) == []


def test_a_process_that_is_not_there_reads_as_unknown() -> None:
    """It may end between a look and the next."""
    nobody = 2**22 + 1
    assert health.cpu_seconds(nobody) is None
    assert health.resident_bytes(nobody) is None
    assert health.watched_inodes(nobody) is None
