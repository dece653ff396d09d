"""One pass and the end: trees, single sources, sums, stopping, and saying what would be done."""

from __future__ import annotations

import io
import os
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from doubles import Inline, Log
from support import SECOND_NS, save

from daemon.cli.sweep import Scope, Sweep, dry_run, missing, not_sources
from daemon.workers.pool import Crew
from lib.errors import Changed, Storage, Vanished
from lib.options import Options
from lib.outcome import Outcome, failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lib.sync.walk import Task


class Scripted(Inline):
    """Answers tasks of a name with these errors, one after the other, and then works."""

    def __init__(self, errors: dict[str, list[Any]]) -> None:
        self.errors = errors
        self.calls: list[str] = []
        self.deletes = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Fail as the script says, or do it."""
        tasks: list[Task] = args[0]
        self.calls += [task.name for task in tasks]
        future: Future[Any] = Future()
        future.set_result([self._answer(fn, task, *args[1:], **kwargs) for task in tasks])
        return future

    def _answer(self, fn: Callable[..., Any], task: Task, options: Options) -> Outcome:
        if self.errors.get(task.name):
            if self.deletes:
                os.unlink(task.path)
            return failure(task.name, options, self.errors[task.name].pop(0))
        outcome: Outcome = fn([task], options)[0]
        return outcome


class Yard:
    """A tree to sweep, with everything a sweep needs."""

    def __init__(self, root: Path) -> None:
        self.root, self.log, self.executor = root, Log(), Scripted({})
        self.crew = Crew(lambda: self.executor, 1)
        self.stop: Callable[[], bool] = lambda: False

    def put(self, *names: str) -> None:
        """Save sources."""
        for name in names:
            path = self.root / f"{name}_completions.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            save(path, ["text"], time_ns=SECOND_NS)

    def sweep(self, *paths: str, **options: Any) -> dict[str, int]:
        """Sweep the tree, or these paths in it; return what is not zero."""
        scope = Scope(tuple(str(self.root / path) for path in paths or ("",)), frozenset({".git"}))
        self.last = Sweep(scope, Options(**options), self.crew, self.log, self.stop)
        return {name: count for name, count in self.last.run().as_fields().items() if count}


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    """Make an empty yard."""
    yard = Yard(tmp_path)
    yield yard
    yard.crew.close()


def test_a_tree_is_swept_once(yard: Yard) -> None:
    """Everything is rendered; the second sweep finds it fresh."""
    yard.put("a", "x/b", "x/y/c", ".git/d")
    assert yard.sweep() == {"rendered": 6}
    assert yard.sweep() == {"fresh": 6}
    assert yard.log.names[0] == "sweep.started"
    assert yard.log.names.count("sidecars.written") == 3
    finished = yard.log.of("sweep.finished")[0]
    assert finished.pop("seconds") >= 0
    assert finished == {"rendered": 6, "adopted": 0, "fresh": 0, "kept": 0, "skipped": 0, "failed": 0}


def test_more_sources_than_wait_at_a_time_are_all_done(yard: Yard) -> None:
    """Memory holds a few."""
    yard.put(*(f"n{number}" for number in range(30)))
    assert yard.sweep() == {"rendered": 60}


def test_single_sources_are_swept(yard: Yard) -> None:
    """By path; its neighbour is left alone; one that is missing fails."""
    yard.put("a", "b")
    assert yard.sweep("a_completions.npy") == {"rendered": 2}
    assert yard.executor.calls == ["a_completions.npy"]
    assert yard.sweep("gone_completions.npy") == {"failed": 1}


def test_a_relative_source_is_found_in_the_working_directory(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bare name has a directory."""
    yard.put("a")
    monkeypatch.chdir(yard.root)
    yard.root = type(yard.root)()
    assert yard.sweep("a_completions.npy") == {"rendered": 2}


def test_a_source_that_is_named_twice_is_done_once(yard: Yard) -> None:
    """While it waits."""
    yard.put("a")
    yard.executor.errors["a_completions.npy"] = [Changed("changed")]
    assert yard.sweep("a_completions.npy", "a_completions.npy") == {"rendered": 2}


def test_results_of_every_kind_are_summed(yard: Yard) -> None:
    """Skipped, failed, and what cannot be looked at; nobody's neighbour suffers."""
    yard.put("a", "z")
    save(yard.root / "ids_completions.npy", np.arange(3), time_ns=SECOND_NS)
    (yard.root / "broken_completions.npy").write_bytes(b"nonsense that is no array" * 9)
    long = yard.root / ("x" * 240 + "_full_texts.npy")
    save(long, ["text"], time_ns=SECOND_NS)
    assert yard.sweep() == {"rendered": 4, "skipped": 2, "failed": 3}
    assert yard.log.names.count("source.failed") == 2


def test_a_file_that_changes_under_the_sweep_is_tried_three_times_more(yard: Yard) -> None:
    """A writer, or a service that does the same work; then it has failed."""
    yard.put("a")
    yard.executor.errors["a_completions.npy"] = [Changed("changed")] * 3
    assert yard.sweep() == {"rendered": 2}
    yard.put("b")
    yard.executor.errors["b_completions.npy"] = [Changed("changed")] * 4
    assert yard.sweep() == {"fresh": 2, "failed": 2}


def test_a_file_that_is_deleted_under_the_sweep_is_no_failure(yard: Yard) -> None:
    """There is nothing left to do for it."""
    yard.put("a")
    yard.executor.errors["a_completions.npy"] = [Vanished("gone")]
    yard.executor.deletes = True
    assert yard.sweep() == {}
    assert "source.failed" not in yard.log.names


def test_a_file_that_only_the_worker_does_not_see_is_a_failure(yard: Yard) -> None:
    """A worker of a cluster, without the file system: no sidecar is made, and no exit status may hide it."""
    yard.put("a")
    yard.executor.errors["a_completions.npy"] = [Vanished("gone")]
    assert yard.sweep() == {"failed": 2}
    [failed] = yard.log.of("source.failed")
    assert "not for the worker" in failed["reason"]
    assert "same paths" in failed["hint"]


def test_other_failures_are_not_tried_again(yard: Yard) -> None:
    """A sweep ends; the service has patience."""
    yard.put("a")
    yard.executor.errors["a_completions.npy"] = [Storage("full")]
    assert yard.sweep() == {"failed": 2}
    assert yard.executor.calls == ["a_completions.npy"]


def test_a_sweep_that_is_stopped_says_what_it_did(yard: Yard) -> None:
    """It takes nothing on any more, and ends with its sums."""
    yard.put(*(f"n{number}" for number in range(100)))
    yard.stop = lambda: len(yard.executor.calls) > 3
    sums = yard.sweep()
    assert yard.last.stopped
    assert 0 < sums["rendered"] < 100
    assert yard.log.names[-1] == "sweep.finished"


def test_a_change_during_the_stop_is_not_tried_again(yard: Yard) -> None:
    """Stopping means stopping."""
    yard.put("a")
    yard.executor.errors["a_completions.npy"] = [Changed("changed")] * 9
    yard.stop = lambda: bool(yard.executor.calls)
    assert yard.sweep() == {"failed": 2}
    assert len(yard.executor.calls) == 1


def lines(yard: Yard, **options: Any) -> list[list[str]]:
    """Return the rows of a dry run, paths relative."""
    out = io.StringIO()
    yard.failed = dry_run(Scope((str(yard.root),)), Options(**options), out)  # type: ignore[attr-defined]
    rows = [line.split("\t") for line in out.getvalue().splitlines()]
    return [[plan, os.path.relpath(path, yard.root), reason] for plan, path, reason in rows]


def test_a_dry_run_says_what_would_be_done_and_does_nothing(yard: Yard) -> None:
    """A line a sidecar, and no file."""
    yard.put("d/a")
    assert lines(yard) == [
        ["render", "d/a_completions.json", "absent"],
        ["render", "d/a_completions.md", "absent"],
    ]
    assert [path.name for path in (yard.root / "d").iterdir()] == ["a_completions.npy"]


def test_a_dry_run_reads_nothing_for_an_index(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is fresh is fresh, whoever might want to count it."""
    yard.put("a")
    yard.sweep()
    monkeypatch.setattr("lib.sync.engine.read_items", None)
    assert [plan for plan, _, _ in lines(yard, count=True)] == ["fresh", "fresh"]


def test_a_dry_run_tells_fresh_kept_adopted_skipped_and_failed(yard: Yard) -> None:
    """Every plan has its word; only failures count."""
    yard.put("a", "b")
    yard.sweep()
    for name in ("a_completions.json", "a_completions.md"):
        os.utime(yard.root / name, (2.0, 2.0))
    (yard.root / "a_completions.md").write_text("mine", "utf-8")
    save(yard.root / "ids_completions.npy", np.arange(3), time_ns=SECOND_NS)
    (yard.root / "z_full_texts.npy").write_bytes(b"nonsense that is no array" * 9)
    long = "~" * 240 + "_full_texts.npy"
    save(yard.root / long, ["text"], time_ns=SECOND_NS)
    rows = lines(yard)
    assert [(plan, path) for plan, path, _ in rows] == [
        ("adopt", "a_completions.json"),
        ("kept", "a_completions.md"),
        ("fresh", "b_completions.json"),
        ("fresh", "b_completions.md"),
        ("skipped", "ids_completions.json"),
        ("skipped", "ids_completions.md"),
        ("failed", "z_full_texts.json"),
        ("failed", "z_full_texts.md"),
        ("failed", long),
    ]
    assert yard.failed == 3  # type: ignore[attr-defined]
    assert [plan for plan, _, _ in lines(yard, force=True)][:4] == ["render"] * 4
    assert (yard.root / "a_completions.json").stat().st_mtime == 2.0


@pytest.mark.parametrize("dtype", ["O", "U", "S"])
def test_a_dry_run_foresees_what_a_file_that_was_cut_short_comes_to(yard: Yard, dtype: str) -> None:
    """The plan is ``failed``, as it will be."""
    cut = yard.root / "cut_completions.npy"
    save(cut, np.array(["some", "text"], dtype=dtype), time_ns=SECOND_NS)
    os.truncate(cut, cut.stat().st_size - 1)
    assert [plan for plan, _, _ in lines(yard)] == ["failed", "failed"]
    assert yard.sweep()["failed"] == 2


def test_names_in_a_dry_run_break_no_line(yard: Yard) -> None:
    """Newlines and escapes are shown, not sent."""
    yard.put("a\nb\x1b[2J")
    assert lines(yard)[0][1] == "a\\nb\\x1b[2J_completions.json"


def test_paths_that_are_no_sources_are_named(tmp_path: Path) -> None:
    """Files that do not end in a kind; directories and what is missing are another matter."""
    (tmp_path / "notes.txt").touch()
    (tmp_path / "a_completions.npy").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    paths = [str(tmp_path / name) for name in ("notes.txt", "a_completions.npy", "", "gone", "dangling")]
    assert not_sources(paths) == [paths[0], paths[4]]
    assert missing(paths) == [paths[3]]
