"""The table of sources that wait: each once, in order, put off and brought forward."""

from __future__ import annotations

import math

from daemon.schedule.queue import Queue
from lib.sync.walk import Task

A, B, C = (Task("r", (), f"{letter}_completions.npy") for letter in "abc")


def take_all(queue: Queue, now: float) -> list[Task]:
    """Take whatever is due, and put it off for good."""
    taken = []
    while (due := queue.take_due(now)) is not None:
        taken.append(due.task)
        queue.postpone(due, float("inf"))
    return taken


def test_sources_come_in_the_order_in_which_they_are_due() -> None:
    """First due, first served; of two that are due together, the one that came first."""
    queue = Queue()
    queue.add(C, 2.0)
    queue.add(A, 1.0)
    queue.add(B, 1.0)
    assert take_all(queue, 2.0) == [A, B, C]


def test_a_later_hint_does_not_push_a_source_back() -> None:
    """A source that is named all the time still has its turn."""
    queue = Queue()
    queue.add(A, 1.0)
    queue.add(A, 9.0)
    assert take_all(queue, 1.0) == [A]


def test_a_hint_brings_a_planned_retry_forward() -> None:
    """What changed is tried at once, whatever the back-off was."""
    queue = Queue()
    queue.add(A, 0.0)
    queue.take_due(0.0)
    queue.start(queue[A])
    queue.retry(queue[A], 100.0)
    queue.add(A, 100.1)
    assert take_all(queue, 100.2) == [A]


def test_starting_forgets_what_led_there() -> None:
    """A hint before the work is served by it."""
    queue = Queue()
    queue.add(A, 0.0, closed=True)
    queue.start(queue[A])
    assert (queue[A].state, queue[A].again, queue[A].closed) == ("working", False, False)


def test_closed_stays_known_until_the_work_starts() -> None:
    """An open writer seen later does not take back that the file was closed."""
    queue = Queue()
    queue.add(A, 0.0, closed=True)
    queue.add(A, 0.0, closed=False)
    assert queue[A].closed


def test_retries_double_from_a_second_to_five_minutes() -> None:
    """1, 2, 4 … 256, 300, 300, however many attempts."""
    queue = Queue()
    queue.add(A, 0.0)
    waits = [queue.retry(queue[A], 0.0) for _ in range(12)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert queue.next_due() == 300.0
    for _ in range(2000):
        assert queue.retry(queue[A], 0.0) == 300.0


def test_removing_forgets_old_appointments() -> None:
    """What was due for a source that left is nobody's turn."""
    queue = Queue()
    queue.add(A, 1.0)
    queue.add(B, 2.0)
    queue.remove(queue[A])
    assert A not in queue
    assert B in queue
    assert queue.next_due() == 2.0
    assert take_all(queue, 5.0) == [B]


def test_a_source_that_comes_again_is_not_bound_by_its_past() -> None:
    """Attempts are forgotten with the entry."""
    queue = Queue()
    queue.add(A, 1.0)
    queue.retry(queue[A], 0.0)
    queue.remove(queue[A])
    queue.add(A, 50.0)
    assert queue.next_due() == 50.0
    assert queue.retry(queue[A], 0.0) == 1.0


def test_the_backlog_leaves_out_what_was_put_off() -> None:
    """A thousand sources that wait for a full disk do not count as work ahead."""
    queue = Queue()
    for task in (A, B, C):
        queue.add(task, 0.0)
    assert queue.backlog == 3
    queue.postpone(queue[A], 5.0)
    queue.postpone(queue[A], 6.0)
    queue.retry(queue[B], 0.0)
    assert (len(queue), queue.backlog) == (3, 1)
    queue.start(queue[A])
    assert queue.backlog == 2
    queue.remove(queue[B])
    assert (len(queue), queue.backlog) == (2, 2)


def test_a_full_queue_takes_no_other_source() -> None:
    """At its capacity, not before; what is in it can still be brought forward."""
    queue = Queue(capacity=2)
    assert [queue.add(task, 5.0) for task in (A, B, C)] == [True, True, False]
    assert queue.add(A, 1.0)
    assert queue.next_due() == 1.0


def test_a_settled_source_is_remembered_and_not_queued() -> None:
    """It takes no place of others, waits for a hint without end, and has a limit of its own."""
    queue = Queue(capacity=1, settled_limit=1)
    queue.add(A, 0.0)
    assert queue.settle(queue[A])
    assert (len(queue), queue.backlog, A in queue, queue.next_due()) == (0, 0, False, math.inf)
    assert list(queue.settled) == [A]
    assert queue.add(B, 1.0)
    assert not queue.settle(queue[B])
    assert not queue.add(A, 2.0)
    queue.remove(queue[B])
    assert queue.add(A, 2.0)
    assert take_all(queue, 2.0) == [A]
