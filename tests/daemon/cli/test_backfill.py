"""A single sweep: trees, single sources, sums, stopping, and dry runs."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from doubles import FakePool, Log, NoSignals
from support import SECOND_NS, save, wait_for

from daemon.cli.backfill import dry_run, sweep
from daemon.cli.summary import Summary
from daemon.signals import Signals
from lib.errors import Changed, SidecarError, Storage, Vanished
from lib.options import Options

if TYPE_CHECKING:
    from pathlib import Path


class Yard:
    """A tree to sweep, with everything that a sweep needs."""

    def __init__(self, root: Path) -> None:
        self.root, self.log, self.pool, self.signals = root, Log(), FakePool(10), Signals()
        self.summary = Summary()

    def put(self, *names: str) -> None:
        """Save sources."""
        for name in names:
            path = self.root / f"{name}_completions.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            save(path, ["text"], time_ns=SECOND_NS)

    def sweep(self, *paths: str, **options: Any) -> dict[str, int]:
        """Sweep the tree, or these paths in it; return the sums that are not zero."""
        places = [str(self.root / path) for path in paths or ("",)]
        ignore, observers = frozenset({".git"}), [self.summary]
        work = (places, Options(**options), self.pool, self.log)
        self.pool.options = work[1]
        with self.signals as signals:
            sums = sweep(*work, signals, ignore=ignore, observers=observers)
        return {name: int(count) for name, count in sums.items() if count and name != "seconds"}


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    """Create an empty yard."""
    return Yard(tmp_path)


def test_a_tree_is_swept_once(yard: Yard) -> None:
    """The first sweep renders everything; the second finds it fresh."""
    yard.put("a", "x/b", "x/y/c", ".git/d")
    assert yard.sweep() == {"rendered": 6}
    assert yard.sweep() == {"fresh": 6}
    assert yard.log.names[0] == "sweep.started"
    assert yard.log.names.count("sidecars.written") == 3
    finished = yard.log.of("sweep.finished")[0]
    assert finished.pop("seconds") >= 0
    assert finished == {"rendered": 6, "adopted": 0, "fresh": 0, "kept": 0, "skipped": 0, "failed": 0}


def test_more_sources_than_wait_at_a_time_are_all_done(yard: Yard) -> None:
    """The queue holds only a few sources at a time."""
    yard.put(*(f"n{number}" for number in range(30)))
    assert yard.sweep() == {"rendered": 60}


def test_single_sources_are_swept(yard: Yard) -> None:
    """Only the given file is converted; a missing one fails."""
    yard.put("a", "b")
    assert yard.sweep("a_completions.npy") == {"rendered": 2}
    assert yard.pool.worked == ["a_completions.npy"]
    assert yard.sweep("gone_completions.npy") == {"failed": 1}


def test_a_relative_source_is_found_in_the_working_directory(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bare file name is relative to the working directory."""
    yard.put("a")
    monkeypatch.chdir(yard.root)
    yard.root = type(yard.root)()
    assert yard.sweep("a_completions.npy") == {"rendered": 2}


def test_a_source_that_is_named_twice_is_done_once(yard: Yard) -> None:
    """The second mention is ignored while the first is in the queue."""
    yard.put("a")
    yard.pool.errors["a_completions.npy"] = [Changed("changed")]
    assert yard.sweep("a_completions.npy", "a_completions.npy") == {"rendered": 2}


def test_results_of_every_kind_are_summed(yard: Yard) -> None:
    """Skipped sources, failed sources and paths that cannot be read do not affect the others."""
    yard.put("a", "z")
    save(yard.root / "ids_completions.npy", np.arange(3), time_ns=SECOND_NS)
    (yard.root / "broken_completions.npy").write_bytes(b"nonsense that is no array" * 9)
    long = yard.root / ("x" * 240 + "_full_texts.npy")
    save(long, ["text"], time_ns=SECOND_NS)
    assert yard.sweep() == {"rendered": 4, "skipped": 2, "failed": 3}
    assert yard.log.names.count("source.failed") == 2


def test_a_file_that_changes_under_the_sweep_is_tried_three_times_more(yard: Yard) -> None:
    """After the fourth attempt, the source has failed."""
    yard.put("a")
    yard.pool.errors["a_completions.npy"] = [Changed("changed")] * 3
    assert yard.sweep() == {"rendered": 2}
    yard.put("b")
    yard.pool.errors["b_completions.npy"] = [Changed("changed")] * 4
    assert yard.sweep() == {"fresh": 2, "failed": 2}


def test_a_file_that_is_deleted_during_the_sweep_is_not_a_failure(yard: Yard) -> None:
    """A deleted source needs no sidecar."""
    yard.put("a")
    yard.pool.errors["a_completions.npy"] = [Vanished("gone")]
    yard.pool.before = lambda task: os.unlink(task.path)
    assert yard.sweep() == {}
    assert "source.failed" not in yard.log.names


def test_a_sweep_that_is_stopped_reports_what_it_did(yard: Yard) -> None:
    """It takes no more sources and reports its sums; an interrupted source has not failed."""
    yard.put(*(f"n{number}" for number in range(100)))
    yard.pool.before = lambda _task: len(yard.pool.worked) > 50 and os.kill(os.getpid(), signal.SIGTERM)
    sums = yard.sweep()
    assert yard.signals.last_stop == signal.SIGTERM
    assert set(sums) == {"rendered"}
    assert 0 < sums["rendered"] < 200
    assert yard.log.names[-1] == "sweep.finished"


def test_a_sweep_that_is_stopped_before_it_begins_reports_that_it_did_nothing(yard: Yard) -> None:
    """Ctrl-C may arrive while the sources are counted."""
    yard.put("a")
    sums = sweep([str(yard.root)], Options(), yard.pool, yard.log, NoSignals(lambda: True))
    assert yard.log.names == ["sweep.finished"]
    assert set(sums.values()) == {0}


@pytest.mark.parametrize("error", [Changed("it changed"), Storage("full")])
def test_a_sweep_ends_within_seconds_whatever_a_worker_does(yard: Yard, error: SidecarError) -> None:
    """After a second signal, the sweep does not wait for its workers."""
    yard.put("a")
    yard.pool.errors["a_completions.npy"] = error
    yard.pool.busy = True

    def interrupt_twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(lambda: yard.signals.stops)  # two at the same time would be one
        os.kill(os.getpid(), signal.SIGINT)

    threading.Timer(0.1, interrupt_twice).start()
    began = time.monotonic()
    assert yard.sweep() == {}
    assert time.monotonic() - began < 5
    assert yard.signals.last_stop == signal.SIGINT


def test_the_summary_and_the_event_agree(yard: Yard) -> None:
    """They are counted separately."""
    yard.put("a", "b")
    yard.sweep("a_completions.npy")
    yard.summary = Summary()
    save(yard.root / "ids_completions.npy", np.arange(3), time_ns=SECOND_NS)
    (yard.root / "broken_completions.npy").write_bytes(b"nonsense that is no array" * 9)
    sums = yard.sweep("", "gone_completions.npy")
    assert sums == {"rendered": 2, "fresh": 2, "skipped": 2, "failed": 3}
    names, *_, total = (line.split() for line in yard.summary.text(0.0).split("\n\n")[0].splitlines())
    assert {
        name: int(count) for name, count in zip(names[1:-1], total[1:-2], strict=True) if count != "0"
    } == sums


def lines(yard: Yard, **options: Any) -> list[list[str]]:
    """Return the rows of a dry run, with relative paths."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        yard.status = dry_run([str(yard.root)], Options(**options), frozenset())  # type: ignore[attr-defined]
    rows = [line.split("\t") for line in out.getvalue().splitlines()]
    return [[plan, os.path.relpath(path, yard.root), reason] for plan, path, reason in rows]


def test_a_dry_run_reads_nothing_for_an_index(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh source is fresh, even if the index would read it."""
    yard.put("a")
    yard.sweep()
    monkeypatch.setattr("lib.sync.engine.read_items", None)
    assert [plan for plan, _, _ in lines(yard, count=True)] == ["fresh", "fresh"]


def test_a_dry_run_reports_a_path_that_cannot_be_looked_at(yard: Yard) -> None:
    """Only such failures affect the status."""
    yard.put("a")
    assert [plan for plan, _, _ in lines(yard)] == ["render", "render"]
    assert yard.status == 0  # type: ignore[attr-defined]
    long = "~" * 240 + "_full_texts.npy"
    save(yard.root / long, ["text"], time_ns=SECOND_NS)
    assert lines(yard)[2:] == [["failed", long, "cannot be looked up: File name too long"]]
    assert yard.status == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("dtype", ["O", "U", "S"])
def test_a_dry_run_reports_a_file_that_was_cut_short_as_failed(yard: Yard, dtype: str) -> None:
    """Its plan is ``failed``, as in a real sweep."""
    cut = yard.root / "cut_completions.npy"
    save(cut, np.array(["some", "text"], dtype=dtype), time_ns=SECOND_NS)
    os.truncate(cut, cut.stat().st_size - 1)
    assert [plan for plan, _, _ in lines(yard)] == ["failed", "failed"]
    assert yard.sweep()["failed"] == 2
