"""The index of each root: complete, up to date, cheap, and never in place of another program's file."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from doubles import FakePool, Log, sweep_once
from support import frugally, save

from daemon.report.index import IndexWriter
from daemon.report.outcomes import Walk
from daemon.report.status import TroubleTable
from lib.options import Options
from lib.render.index import INDEX_NAME, Entry, parse, render

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from lib.names import Format


class Shelf:
    """A tree whose index is kept by sweeps."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = Log()

    def put(self, name: str, items: Any = ("a", "", "a")) -> Path:
        """Save a source."""
        path = self.root / f"{name}_completions.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        return save(path, items)

    def sweep(self) -> dict[str, int]:
        """Sweep; return the sums that are not zero."""
        pool, options = FakePool(10), Options(count=True)
        catalogue = IndexWriter(str(self.root), options, self.log, TroubleTable())
        sums = sweep_once(self.root, self.log, pool=pool, indexes=[catalogue], count=True)
        self.worked = pool.worked
        return {name: count for name, count in sums.items() if count}

    @property
    def index(self) -> Path:
        """The path of the index."""
        return self.root / INDEX_NAME

    def known(self) -> dict[str, tuple[int, int, int | None]]:
        """Return the figures in the index."""
        entries = parse(self.index.read_bytes()).values()
        return {entry.path: (entry.records, entry.blank, entry.distinct) for entry in entries}


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    """Create an empty shelf."""
    (tmp_path / "root").mkdir()
    yield Shelf(tmp_path / "root")
    assert not list(tmp_path.rglob(".generation-sidecars-*"))


def test_a_sweep_makes_an_index_and_the_next_reads_nothing(shelf: Shelf) -> None:
    """The index has the figures of every set; a second sweep does not touch it."""
    shelf.put("x/a")
    shelf.put("b", ["one"])
    assert shelf.sweep() == {"rendered": 4}
    assert shelf.known() == {"x/a_completions.npy": (3, 1, 2), "b_completions.npy": (1, 0, 1)}
    before = shelf.index.stat()
    assert shelf.sweep() == {"fresh": 4}
    assert shelf.worked == []
    assert shelf.index.stat() == before
    assert shelf.log.names.count("index.written") == 1


def test_an_index_of_a_tree_that_is_complete_is_made_by_reading_it_once(shelf: Shelf) -> None:
    """No sidecar is rendered again for it."""
    shelf.put("a")
    shelf.sweep()
    shelf.index.unlink()
    assert shelf.sweep() == {"fresh": 2}
    assert shelf.worked == ["a_completions.npy"]
    assert shelf.known() == {"a_completions.npy": (3, 1, 2)}


def test_what_changes_comes_and_goes_is_followed(shelf: Shelf) -> None:
    """Changed sources get new figures, deleted ones are dropped, and the others are not read."""
    changed, gone, _ = shelf.put("changed"), shelf.put("gone"), shelf.put("same")
    shelf.sweep()
    save(changed, ["1", "2"], time_ns=changed.stat().st_mtime_ns + 10**9)
    gone.unlink()
    shelf.sweep()
    assert shelf.worked == ["changed_completions.npy"]
    assert shelf.known() == {"changed_completions.npy": (2, 0, 2), "same_completions.npy": (3, 1, 2)}


@pytest.mark.parametrize("size", [pytest.param(16, marks=pytest.mark.faults), 66])
@pytest.mark.parametrize("forged", [b"\n", b"{},", b"[", b'["a", 1, 1, 1, 1, "", ""]\n'])
def test_fault_46_a_forged_index_of_many_megabytes_takes_little_memory(
    shelf: Shelf, size: int, forged: bytes
) -> None:
    """It is read up to a limit, or not at all, and replaced by the next sweep."""
    shelf.put("a")
    shelf.sweep()
    start = shelf.index.read_bytes().removesuffix(b"-->\n")
    filler = forged * ((size << 20) // len(forged) - (len(start) // len(forged) + 2))
    shelf.index.write_bytes(start + filler)
    frugally(110_000_000, shelf.sweep)
    assert shelf.known() == {"a_completions.npy": (3, 1, 2)}


def test_metadata_gives_model_and_time(shelf: Shelf) -> None:
    """It may also arrive later."""
    shelf.put("a")
    shelf.sweep()
    metadata = shelf.root / "a_metadata.json"
    metadata.write_text(json.dumps({"model_name": "google/gemma", "timestamp": ["odd"]}))
    os.utime(metadata, (4e9, 4e9))
    shelf.sweep()
    [entry] = parse(shelf.index.read_bytes()).values()
    assert (entry.model, entry.when) == ("google/gemma", "")


def test_a_source_without_text_has_no_line(shelf: Shelf) -> None:
    """Neither has a source that cannot be read; both are reported elsewhere."""
    shelf.put("numbers", np.arange(3))
    (shelf.root / "broken_completions.npy").write_bytes(b"nonsense")
    shelf.put("a")
    assert shelf.sweep() == {"rendered": 2, "skipped": 2, "failed": 2}
    assert set(shelf.known()) == {"a_completions.npy"}


def test_somebody_elses_file_of_that_name_stays(shelf: Shelf) -> None:
    """The sweep reports it and fails, because the index was not written."""
    shelf.index.write_text("# My notes\n")
    shelf.put("a")
    assert shelf.sweep() == {"rendered": 2, "failed": 1}
    assert shelf.index.read_text() == "# My notes\n"
    [event] = shelf.log.of("index.failed")
    assert event["path"] == str(shelf.index)
    assert "generation-sidecars did not write it" in event["reason"]
    assert "index.enabled" in event["hint"]


def test_a_file_that_comes_while_the_index_is_written_stays(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is checked again just before the rename."""

    def slow_render(entries: Iterable[Entry], formats: tuple[Format, ...]) -> bytes:
        shelf.index.write_text("# My notes\n")
        return render(entries, formats)

    monkeypatch.setattr("daemon.report.index.render", slow_render)
    shelf.put("a")
    assert shelf.sweep()["failed"] == 1
    assert shelf.index.read_text() == "# My notes\n"


def test_a_link_of_that_name_is_not_followed(shelf: Shelf, tmp_path: Path) -> None:
    """The target of the link is not changed."""
    (tmp_path / "elsewhere").write_text("precious")
    shelf.index.symlink_to(tmp_path / "elsewhere")
    shelf.put("a")
    assert shelf.sweep()["failed"] == 1
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_a_directory_of_that_name_is_reported(shelf: Shelf) -> None:
    """The sidecars are made anyway."""
    shelf.index.mkdir()
    shelf.put("a")
    assert shelf.sweep() == {"rendered": 2, "failed": 1}
    [event] = shelf.log.of("index.failed")
    assert "a directory" in event["reason"]


def test_an_empty_tree_has_no_index(shelf: Shelf) -> None:
    """No file is created."""
    shelf.sweep()
    assert not shelf.index.exists()


def test_sets_that_its_readers_could_not_read_are_left_out(shelf: Shelf) -> None:
    """The source, its metadata or its directory may be private, now or later."""
    names = ("open", "source", "described", "folder/x", "later")
    for name in names:
        path = shelf.put(name)
        if name == "described":
            described = path.with_name("described_metadata.json")
            described.write_text("{}")
            described.chmod(0o600)
    (shelf.root / "source_completions.npy").chmod(0o600)
    (shelf.root / "folder").chmod(0o700)
    shelf.sweep()
    assert listed(shelf) == {"open", "later"}
    (shelf.root / "later_completions.npy").chmod(0o640)
    shelf.sweep()
    assert listed(shelf) == {"open"}
    shelf.root.chmod(0o700)
    shelf.sweep()
    assert listed(shelf) == {"open", "source", "described", "x", "later"}


def listed(shelf: Shelf) -> set[str]:
    """Return the stems that the index shows."""
    page = shelf.index.read_text()
    return {name for name in ("open", "source", "described", "x", "later") if f"{name}_completions" in page}


def test_a_large_index_is_written_less_often(shelf: Shelf) -> None:
    """It is written soon after the first change, then after a pause."""
    catalogue = IndexWriter(str(shelf.root), Options(), shelf.log, TroubleTable())
    catalogue.notice(Walk.ENDED, 100.0)
    assert catalogue.due == 101.0
    catalogue.write_if_due(100.9)
    assert catalogue.due == 101.0
