"""The text of ``--status``."""

from __future__ import annotations

from datetime import timedelta

import pytest
from reports import FAILED, HOSTILE, KEPT, NOW, status

from daemon.report.status import Reading, Trouble
from daemon.report.status_text import render_text
from daemon.report.systemd import FailedUnit


def text_of(**changes: object) -> str:
    """Render the status of a service that is alive."""
    return render_text([Reading(status(**changes))], NOW)


def test_the_text_is_for_people() -> None:
    """The complete text is compared."""
    skipped = [Trouble(f"/exp/{name}.npy", "skipped", "it holds numbers", "Fine.") for name in "ab"]
    told = text_of(
        pid=77,
        roots=("/exp", "/gone"),
        unusable={"/gone": "missing"},
        unheard="the kernel allows 8,192 watches",
        rejected=("c.toml: work.jobs: found 0",),
        directories=1234,
        sources=90000,
        last_sweep={"rendered": 1, "fresh": 89999, "failed": 1, "seconds": 2.345},
        last_sweep_ended="2026-11-23T11:55:00+00:00",
        totals={"rendered": 1200, "adopted": 0, "kept": 1, "failed": 1, "skipped": 2},
        troubles=(*skipped, FAILED, KEPT),
    )
    assert told == (
        "generation-sidecars 0.1.0 (pid 77)\n"
        "  root         /exp\n"
        "  root         /gone  (missing)\n"
        "  state        watching\n"
        "  config       the last change was rejected; the previous configuration is in\n"
        "               force:\n"
        "  config       c.toml: work.jobs: found 0\n"
        "  watch        unreliable, so sweeps run more often: the kernel allows 8,192\n"
        "               watches\n"
        "  since        2026-11-23 08:48:00 UTC (3 h 11 min)\n"
        "  updated      2026-11-23 11:59:58 UTC (2 s ago)\n"
        "  directories  1,234\n"
        "  sources      90,000\n"
        "  pending      0\n"
        "  last sweep   sidecars: 1 rendered, 89,999 fresh, 1 failed; it took 2.3 s and\n"
        "               ended 2026-11-23 11:55:00 UTC (5 min ago)\n"
        "  since start  sidecars: 1,200 rendered, 0 adopted, 1 kept; sources: 1 failed, 2\n"
        "               skipped\n"
        "\n"
        "1 failed, 1 kept, 2 skipped:\n"
        "  failed   /exp/n1_completions.npy\n"
        "           the disk is full (since 2026-11-23 11:00:00 UTC)\n"
        "           Make room.\n"
        "  kept     /exp/n1_completions.md\n"
        "           was edited\n"
        "  skipped  2 sources: it holds numbers\n"
        "           /exp/a.npy\n"
        "           /exp/b.npy\n"
    )


def test_many_skipped_sources_are_counted_and_some_are_shown() -> None:
    """Only the first few paths are shown, so that failures stay visible."""
    skipped = [Trouble(f"/exp/{number}.npy", "skipped", "it holds numbers") for number in range(5000)]
    told = text_of(troubles=tuple(skipped))
    assert "  skipped  5,000 sources: it holds numbers\n" in told
    assert told.count("/exp/") == 10
    assert "… and 4,990 more: --status --json has them all\n" in told


def test_a_dead_and_a_stuck_service_are_called_so() -> None:
    """The time of the last update is shown."""
    died = render_text([Reading(status(), is_alive=False)], NOW)
    assert "the service died at 2026-11-23 11:59:58 UTC" in died
    late = render_text([Reading(status())], NOW + timedelta(days=1))
    assert "has not updated since 2026-11-23 11:59:58 UTC" in late


def test_without_a_service_the_text_says_how_to_start_one() -> None:
    """The text says how to start one."""
    assert render_text([], NOW).startswith("No service is running. Start one: ")


@pytest.mark.parametrize(
    ("user", "words"), [(False, "systemctl restart x.service"), (True, "systemctl --user ")]
)
def test_a_unit_that_failed_is_named_with_what_to_do(user: bool, words: str) -> None:
    """The text has the commands for the journal and the restart."""
    text = render_text([], NOW, FailedUnit("x.service", "exit-code, status 2", user))
    assert text.startswith("x.service has failed (exit-code, status 2), and no service is running.\n")
    assert f"journalctl {'--user ' if user else ''}-u x.service" in text
    assert words in text.replace("\n", " ")


def test_the_text_fits_eighty_columns_and_drives_no_terminal() -> None:
    """Names are escaped; only a path may be longer, so that it can be copied."""
    bad = Trouble("/" + "x y" * 50, "failed", "\x1b[2J why " * 20, "try \n" * 30)
    odd = Trouble(bad.path, "skipped", "\x1b[2J why " * 20)
    text = text_of(
        roots=(HOSTILE, "/b"),
        troubles=(bad, odd),
        last_sweep={"a\x1b": 1},
        rejected=("\x1b[2J",),
        totals={"\x1b": 1},
    )
    assert r"/exp/a\n\x1b[2J\udcff\u202e  b.npy" in text
    assert all(line.isprintable() for line in text.splitlines())
    assert all(len(line) <= 80 for line in text.splitlines() if bad.path not in line)
    assert bad.path in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (0, "0 s"), (61, "1 min 1 s"), (3600, "1 h"), (90_061, "1 d 1 h"), (86_400 * 400, "400 d")],
)
def test_spans_of_time_have_two_units(seconds: int, words: str) -> None:
    """A negative span is shown as 0 s."""
    updated = (NOW - timedelta(seconds=seconds)).isoformat()
    assert f"({words} ago)" in text_of(updated=updated)
