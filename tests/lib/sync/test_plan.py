"""Deciding from file times alone: the freshness table, row by row."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.sync.plan import Plan, inputs_of, plan_sidecar

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_700_000_000_000_000_000


def seen(time_ns: int, mode: int = stat.S_IFREG | 0o644, *, changed_ns: int | None = None) -> Any:
    """Make what a look at a file says, with times in nanoseconds; it was last changed when it was written."""
    times = {"st_mtime_ns": time_ns, "st_ctime_ns": time_ns if changed_ns is None else changed_ns}
    return os.stat_result((mode, 1, 1, 1, 0, 0, 10, 0, 0, 0), times)


def plan(
    fmt: Any, source: int, sidecar: int | None, metadata: int | None = None, *, force: bool = False
) -> Plan:
    """Plan one sidecar from three times."""
    inputs = inputs_of(fmt, seen(source), *([] if metadata is None else [seen(metadata)]))
    return plan_sidecar(fmt, inputs, None if sidecar is None else seen(sidecar), force=force)


@pytest.mark.parametrize("fmt", ["json", "md"])
@pytest.mark.parametrize(
    ("sidecar", "action", "reason"),
    [
        (None, "render", "absent"),
        (NOW, "fresh", "up to date"),
        (NOW - 1, "render", "older than what it is made from"),
        (NOW + 1, "compare", "newer than what it is made from"),
        (0, "render", "older than what it is made from"),
    ],
)
def test_each_row_of_the_freshness_table(fmt: str, sidecar: int | None, action: str, reason: str) -> None:
    """A nanosecond decides."""
    made = plan(fmt, NOW, sidecar)
    assert (made.fmt, made.action, made.reason, made.stamp_ns) == (fmt, action, reason, NOW)


@pytest.mark.parametrize(
    ("metadata", "json_action", "page_action"),
    [
        (NOW + 5, "fresh", "render"),
        (NOW, "fresh", "fresh"),
        (NOW - 5, "fresh", "fresh"),
        (None, "fresh", "fresh"),
    ],
)
def test_late_metadata_makes_the_page_stale_alone(
    metadata: int | None, json_action: str, page_action: str
) -> None:
    """JSON shows nothing of the metadata, and depends on nothing of it."""
    assert plan("json", NOW, NOW, metadata).action == json_action
    assert plan("md", NOW, NOW, metadata).action == page_action


def test_a_page_made_with_its_metadata_is_fresh() -> None:
    """Its stamp is the newer one of the two times."""
    assert plan("md", NOW, NOW + 5, NOW + 5).action == "fresh"
    assert plan("md", NOW, NOW + 5, None).action == "compare"


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO])
def test_what_is_not_a_file_is_not_metadata(mode: int) -> None:
    """A link or a directory under that name gives no time."""
    assert inputs_of("md", seen(NOW), seen(NOW + 5, mode)) == (seen(NOW),)


@pytest.mark.parametrize("sidecar", [NOW - 1, NOW, NOW + 1])
def test_force_renders_whatever_the_times_say(sidecar: int) -> None:
    """Edited and fresh sidecars too."""
    made = plan("json", NOW, sidecar, force=True)
    assert (made.action, made.reason) == ("render", "forced")
    assert plan("json", NOW, None, force=True).reason == "absent"


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (stat.S_IFLNK, "a symbolic link"),
        (stat.S_IFDIR, "a directory"),
        (stat.S_IFIFO, "a FIFO"),
        (stat.S_IFSOCK, "a socket"),
        (stat.S_IFCHR, "a device"),
        (stat.S_IFBLK, "a device"),
    ],
)
def test_what_is_not_a_file_blocks_its_name(mode: int, words: str, *, force: bool) -> None:
    """Nothing is written over it, not even by force, and the reason says what stands there."""
    made = plan_sidecar("json", (seen(NOW),), seen(NOW - 1, mode | 0o777), force=force)
    assert (made.action, made.reason) == ("blocked", f"{words} stands where the sidecar belongs")


# --- what change times tell


SECOND = 1_000_000_000
HOUR = 3600 * SECOND


def action(sidecar: Any, *inputs: Any) -> str:
    """Return what a page needs."""
    return plan_sidecar("md", inputs, sidecar).action


def test_a_sidecar_from_a_clock_that_was_ahead_is_stale_once_its_source_is_made_again() -> None:
    """Its time lies ahead of its own change: it was stamped, nobody edited it."""
    sidecar = seen(NOW + HOUR, changed_ns=NOW)
    assert action(sidecar, seen(NOW + 60 * SECOND)) == "render"
    assert action(sidecar, seen(NOW + HOUR, changed_ns=NOW)) == "fresh"


def test_an_edit_behind_a_time_from_the_future_is_compared() -> None:
    """Of the source, or of the metadata: it was changed after them, and not stamped."""
    ahead, edit = seen(NOW + HOUR, changed_ns=NOW), seen(NOW + 60 * SECOND)
    assert action(edit, ahead) == "compare"
    assert action(edit, seen(NOW - HOUR), ahead) == "compare"
    assert action(edit, ahead, seen(NOW - HOUR)) == "compare"


def test_what_is_older_than_a_time_from_the_future_is_stale_all_the_same() -> None:
    """Changed before that file was, or stamped, or older than another of its files."""
    ahead = seen(NOW + HOUR, changed_ns=NOW)
    assert action(seen(NOW - 60 * SECOND), ahead) == "render"
    assert action(seen(NOW + HOUR // 2, changed_ns=NOW + SECOND), ahead) == "render"
    assert action(seen(NOW + 60 * SECOND), seen(NOW + 120 * SECOND), ahead) == "render"


@pytest.mark.parametrize("tick", [100, 1_000, 1_000_000, SECOND, 2 * SECOND])
def test_a_stamp_that_is_cut_to_what_a_file_system_keeps_is_fresh(tick: int) -> None:
    """As long as the sidecar was changed after what it is made from."""
    source = seen(NOW + 1_999_999_999)
    cut = source.st_mtime_ns // tick * tick
    assert action(seen(cut, changed_ns=source.st_ctime_ns + SECOND), source) == "fresh"
    assert action(seen(cut, changed_ns=source.st_ctime_ns), source) == "render"
    assert action(seen(cut - 4 * SECOND, changed_ns=source.st_ctime_ns + SECOND), source) == "render"


def test_a_file_system_without_change_times_loses_no_edit() -> None:
    """Where they are 0, newer is compared as ever."""
    assert action(seen(NOW + HOUR, changed_ns=0), seen(NOW, changed_ns=0)) == "compare"


def test_a_change_time_that_has_fewer_digits_loses_no_edit() -> None:
    """A fraction of a second by which a file seems stamped is its file system's."""
    assert action(seen(NOW + SECOND // 2, changed_ns=NOW), seen(NOW - HOUR)) == "compare"


@given(source=st.integers(0, 2**62), metadata=st.none() | st.integers(0, 2**62))
def test_a_sidecar_with_its_stamp_is_fresh(source: int, metadata: int | None) -> None:
    """Whatever the times are, 1970 and 2035 included: what was rendered needs nothing."""
    for fmt in ("json", "md"):
        first = plan(fmt, source, None, metadata)
        assert plan(fmt, source, first.stamp_ns, metadata).action == "fresh"


def test_a_plan_remembers_what_it_saw(tmp_path: Path) -> None:
    """Publication compares with it."""
    path = tmp_path / "sidecar"
    path.touch()
    status = os.stat(path)
    assert plan_sidecar("json", (seen(NOW),), status).seen is status
    assert plan("json", NOW, None).seen is None
