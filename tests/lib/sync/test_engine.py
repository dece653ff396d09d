"""The engine on one source: freshness, adopting, keeping, refusing, and files that change meanwhile."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

import hostile
import numpy as np
import pytest
from support import (
    LONG_AGO_NS,
    METADATA,
    SECOND_NS,
    SOURCE,
    as_nobody,
    closing_fails,
    needs_root,
    objects,
    results,
    save,
    small_disk,
    sync,
)

from lib.errors import (
    Changed,
    Corrupt,
    Interrupted,
    NotText,
    SidecarError,
    Storage,
    TooLarge,
    Unfinished,
    Unsafe,
    Vanished,
)
from lib.files.reader import open_directory
from lib.names import FORMATS, is_temporary, sidecar_name
from lib.options import Extras, Options
from lib.sync.engine import publish_sources, sync_source, write_sources
from lib.sync.plan import plan_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXTS = ["One.", "Two.", "Three."]
JSON = b'[\n  "One.",\n  "Two.",\n  "Three."\n]'
PAGE = """# Completions Only

**Model:** {model}
**Generated:** {generated}
**Count:** {count}

---

## Completion 1

One.

---

## Completion 2

Two.

---

## Completion 3

Three.

---

"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Save three completions, some time ago."""
    return save(tmp_path / SOURCE, TEXTS, time_ns=LONG_AGO_NS)


def sidecar(source: Path, fmt: Any) -> Path:
    """Return the path of a sidecar."""
    return source.with_name(sidecar_name(source.name, fmt))


def time_of(path: Path) -> int:
    """Return a file's time in nanoseconds."""
    return os.stat(path).st_mtime_ns


def set_time(path: Path, time_ns: int) -> None:
    """Give a file a time in nanoseconds."""
    os.utime(path, ns=(time_ns, time_ns))


def write_metadata(source: Path, value: Any, time_ns: int) -> Path:
    """Write the set's metadata with a time."""
    path = source.with_name(METADATA)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    set_time(path, time_ns)
    return path


def page(model: str = "unknown", generated: str = "unknown", count: str = "3") -> str:
    """Write the page as the contract says."""
    return PAGE.format(model=model, generated=generated, count=count)


# --- the formats


def test_both_sidecars_are_made_byte_for_byte(source: Path) -> None:
    """A fresh source gets both, with its time, its figures, and nothing else beside it."""
    outcome = sync(source)
    assert outcome.result == "rendered"
    assert outcome.is_new
    assert outcome.figures is not None
    assert (outcome.figures.records, outcome.figures.blank, outcome.figures.distinct) == (3, 0, 3)
    assert sidecar(source, "json").read_bytes() == JSON
    assert sidecar(source, "md").read_text() == page()
    assert outcome.bytes == len(JSON) + len(page())
    assert {time_of(sidecar(source, fmt)) for fmt in FORMATS} == {LONG_AGO_NS}
    assert len(os.listdir(source.parent)) == 3


def test_full_texts_have_their_own_words(tmp_path: Path) -> None:
    """The kind comes from the name."""
    source = save(tmp_path / "n3_full_texts.npy", ["Prompt. Completion."])
    assert sync(source).kind == "full_texts"
    text = sidecar(source, "md").read_text()
    assert text.startswith("# Full Texts (Prompt + Completion)\n\n**Model:** unknown\n")
    assert "\n## Generation 1\n" in text


def test_a_limit_keeps_the_first_items_and_says_so(source: Path) -> None:
    """In both formats; the header tells how many there are."""
    outcome = sync(source, limit=2)
    assert outcome.figures is not None
    assert outcome.figures.records == 2
    assert json.loads(sidecar(source, "json").read_bytes()) == ["One.", "Two."]
    assert "**Count:** 2 (showing first 2 of 3)" in sidecar(source, "md").read_text()
    assert "Three." not in sidecar(source, "md").read_text()


def test_a_limit_beyond_the_end_is_none(source: Path) -> None:
    """More than there are is all there are."""
    sync(source, limit=99)
    assert sidecar(source, "json").read_bytes() == JSON
    assert sidecar(source, "md").read_text() == page()


@pytest.mark.parametrize("formats", [("json",), ("md",), ("md", "json")])
def test_only_the_formats_asked_for_are_made(source: Path, formats: Any) -> None:
    """Others are neither made nor looked at."""
    other = next((fmt for fmt in FORMATS if fmt not in formats), None)
    assert set(results(sync(source, formats=formats))) == set(formats)
    assert {fmt for fmt in FORMATS if sidecar(source, fmt).exists()} == set(formats)
    if other:
        assert results(sync(source)) == {**dict.fromkeys(formats, "fresh"), other: "rendered"}


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array("only", dtype="U"), '"only"'),
        (np.array([], dtype=object), "[]"),
        (np.array([["a", "b"]]), '[\n  [\n    "a",\n    "b"\n  ]\n]'),
        (objects([None, {"k": float("nan")}]), '[\n  null,\n  {\n    "k": null\n  }\n]'),
    ],
    ids=["scalar", "empty", "table", "values"],
)
def test_any_shape_and_value_has_its_json(tmp_path: Path, array: Any, expected: str) -> None:
    """What the array's nested list is, the sidecar is."""
    source = save(tmp_path / SOURCE, array)
    assert sync(source).result == "rendered"
    assert sidecar(source, "json").read_text() == expected
    assert sync(source).result == "fresh"


# --- freshness, row by row


def test_absent_is_rendered(source: Path) -> None:
    """One of two: the other one is not touched."""
    sync(source)
    sidecar(source, "json").unlink()
    before = os.stat(sidecar(source, "md"))
    assert results(sync(source)) == {"json": "rendered", "md": "fresh"}
    assert os.stat(sidecar(source, "md")).st_ino == before.st_ino


def test_equal_is_fresh_whatever_it_holds(source: Path) -> None:
    """The time alone decides; nothing is read."""
    sync(source)
    sidecar(source, "json").write_text("not what we write")
    set_time(sidecar(source, "json"), LONG_AGO_NS)
    outcome = sync(source)
    assert outcome.result == "fresh"
    assert outcome.figures is None
    assert sidecar(source, "json").read_text() == "not what we write"


def test_older_is_stale(source: Path) -> None:
    """A nanosecond is enough."""
    sync(source)
    for fmt in FORMATS:
        sidecar(source, fmt).write_text("old")
        set_time(sidecar(source, fmt), LONG_AGO_NS - 1)
    assert results(sync(source)) == {"json": "rendered", "md": "rendered"}
    assert sidecar(source, "json").read_bytes() == JSON


def test_newer_with_the_same_bytes_is_adopted(source: Path) -> None:
    """After a copy that lost the times, only the times are set."""
    sync(source)
    inodes = {fmt: os.stat(sidecar(source, fmt)).st_ino for fmt in FORMATS}
    for fmt in FORMATS:
        set_time(sidecar(source, fmt), LONG_AGO_NS + SECOND_NS)
    assert results(sync(source)) == {"json": "adopted", "md": "adopted"}
    for fmt in FORMATS:
        assert os.stat(sidecar(source, fmt)).st_ino == inodes[fmt]
        assert time_of(sidecar(source, fmt)) == LONG_AGO_NS
    assert sync(source).result == "fresh"


@pytest.mark.parametrize("edited", ["longer than it was", "", '[\n  "One.",\n  "Two.",\n  "Three."\n'])
def test_newer_with_other_bytes_is_kept(source: Path, edited: str) -> None:
    """Somebody's edit is reported with a way out, and never overwritten without force."""
    sync(source)
    sidecar(source, "json").write_text(edited)
    for _ in range(2):
        outcome = sync(source)
        assert results(outcome) == {"json": "kept", "md": "fresh"}
        assert outcome.reason == "its .json: edited after it was written"
        assert outcome.hint == "Delete it, or run --backfill --force on its source, to have it made again."
        assert sidecar(source, "json").read_text() == edited
    assert results(sync(source, force=True)) == {"json": "rendered", "md": "rendered"}
    assert sidecar(source, "json").read_bytes() == JSON


def test_an_edited_page_gets_no_parts(tmp_path: Path) -> None:
    """They would stand beside a page that does not know them."""
    source = save(tmp_path / SOURCE, ["text " * 200] * 3)
    sync(source)
    with sidecar(source, "md").open("a") as page:
        page.write("My note.")
    assert results(sync(source, extras=Extras(page_bytes=1000))) == {"json": "fresh", "md": "kept"}
    assert [path.name for path in tmp_path.glob("*.md")] == [sidecar(source, "md").name]


def test_one_pass_renders_one_and_compares_the_other(source: Path) -> None:
    """A stale page and an adopted list come from one reading."""
    sync(source)
    set_time(sidecar(source, "json"), LONG_AGO_NS + 1)
    sidecar(source, "md").unlink()
    assert results(sync(source)) == {"json": "adopted", "md": "rendered"}


def test_a_changed_limit_counts_only_for_what_is_rendered_from_then_on(source: Path) -> None:
    """Fresh stays fresh; force renders again."""
    sync(source)
    assert sync(source, limit=1).result == "fresh"
    assert sync(source, limit=1, force=True).result == "rendered"
    assert json.loads(sidecar(source, "json").read_bytes()) == ["One."]


def test_a_new_source_makes_both_stale(source: Path) -> None:
    """Saved again, a source gets its sidecars again, and they are not new."""
    sync(source)
    save(source, ["Four."])
    outcome = sync(source)
    assert results(outcome) == {"json": "rendered", "md": "rendered"}
    assert not outcome.is_new
    assert json.loads(sidecar(source, "json").read_bytes()) == ["Four."]


@pytest.mark.parametrize(
    "time_ns", [0, 1, 2_051_222_400 * SECOND_NS + 123_456_789], ids=["1970", "1 ns", "2035"]
)
def test_times_far_away_are_times(source: Path, time_ns: int) -> None:
    """A clock that is years off makes no loop."""
    set_time(source, time_ns)
    assert sync(source).result == "rendered"
    assert time_of(sidecar(source, "json")) == time_ns
    assert sync(source).result == "fresh"


def later(source: Path, seconds: int) -> None:
    """Move a file's time away from the clock's."""
    set_time(source, time.time_ns() + seconds * SECOND_NS)


@pytest.mark.parametrize("name", [SOURCE, METADATA])
def test_fault_59_an_edit_is_kept_although_the_page_is_made_from_a_time_that_lies_ahead(
    source: Path, name: str
) -> None:
    """Of the source, or of its metadata; the same page, written again by a copy, is adopted."""
    write_metadata(source, {"model_name": "m"}, LONG_AGO_NS)
    later(source.with_name(name), 3600)
    assert sync(source).result == "rendered"
    assert sync(source).result == "fresh"
    page = sidecar(source, "md")
    whole = page.read_bytes()
    page.write_bytes(whole)
    assert results(sync(source)) == {"json": "fresh", "md": "adopted"}
    page.write_text("edited")
    for _ in range(2):
        assert results(sync(source)) == {"json": "fresh", "md": "kept"}
    assert page.read_text() == "edited"


def test_fault_59_sidecars_from_the_future_are_stale_once_the_clock_is_right(source: Path) -> None:
    """Nobody edited them: they were stamped."""
    later(source, 3600)
    sync(source)
    save(source, ["Four."])
    assert results(sync(source)) == {"json": "rendered", "md": "rendered"}
    assert json.loads(sidecar(source, "json").read_bytes()) == ["Four."]


def test_a_source_from_the_future_makes_older_sidecars_stale(source: Path) -> None:
    """Sidecars from before it are no edits of it."""
    sync(source)
    save(source, ["Four."])
    later(source, 3600)
    assert results(sync(source)) == {"json": "rendered", "md": "rendered"}


@needs_root
def test_identical_sidecars_of_a_colleague_are_fresh(source: Path) -> None:
    """Their time cannot be set, and need not be; stale ones are replaced."""
    sync(source)
    for fmt in FORMATS:
        os.utime(sidecar(source, fmt))
    source.parent.chmod(0o777)
    with open_directory(str(source.parent)) as directory, as_nobody():
        for _ in range(2):
            outcome = sync_source(directory, SOURCE, Options())
            assert results(outcome) == {"json": "fresh", "md": "fresh"}
            assert outcome.unstamped
    save(source, ["Four."])
    with open_directory(str(source.parent)) as directory, as_nobody():
        assert results(sync_source(directory, SOURCE, Options())) == {"json": "rendered", "md": "rendered"}


# --- metadata


def test_metadata_is_shown_and_its_time_is_in_the_stamp(source: Path) -> None:
    """The page has the newer of both times, the list the source's."""
    write_metadata(
        source, {"model_name": "google/gemma", "timestamp": "2025-11-13 02:52:15"}, LONG_AGO_NS + 7
    )
    sync(source)
    assert sidecar(source, "md").read_text() == page("google/gemma", "2025-11-13 02:52:15")
    assert time_of(sidecar(source, "md")) == LONG_AGO_NS + 7
    assert time_of(sidecar(source, "json")) == LONG_AGO_NS
    assert sync(source).result == "fresh"


def test_late_metadata_makes_the_page_follow(source: Path) -> None:
    """The list stays as it is."""
    sync(source)
    write_metadata(source, {"model_name": "late"}, LONG_AGO_NS + SECOND_NS)
    assert results(sync(source)) == {"json": "fresh", "md": "rendered"}
    assert sidecar(source, "md").read_text() == page("late")
    assert sync(source).result == "fresh"


def test_metadata_from_before_does_not_change_the_stamp(source: Path) -> None:
    """The usual order: metadata first, then the array."""
    write_metadata(source, {"model_name": "early"}, LONG_AGO_NS - SECOND_NS)
    sync(source)
    assert sidecar(source, "md").read_text() == page("early")
    assert time_of(sidecar(source, "md")) == LONG_AGO_NS


@pytest.mark.parametrize("value", ["", "[1, 2]", '"text"', "{", "null", "\x00", "[" * 100_000])
def test_metadata_that_is_not_an_object_is_reported_once(source: Path, value: str) -> None:
    """The page says unknown, the outcome warns, and nothing fails."""
    write_metadata(source, value, LONG_AGO_NS)
    outcome = sync(source)
    assert outcome.result == "rendered"
    assert outcome.warnings == (f"{METADATA}: it is not a JSON object; the page says unknown",)
    assert sidecar(source, "md").read_text() == page()
    assert sync(source).warnings == ()


def test_metadata_that_is_not_a_file_is_reported(source: Path) -> None:
    """A link is not followed, a FIFO is not waited for."""
    (source.parent / "secret.json").write_text('{"model_name": "secret"}')
    source.with_name(METADATA).symlink_to("secret.json")
    outcome = sync(source)
    assert "it is a symbolic link, not a file; the page says unknown" in outcome.warnings[0]
    assert sidecar(source, "md").read_text() == page()
    source.with_name(METADATA).unlink()
    os.mkfifo(source.with_name(METADATA))
    assert "it is a FIFO" in sync(source, force=True).warnings[0]
    assert sync(source).result == "fresh"


def test_vast_metadata_is_not_read(source: Path) -> None:
    """A page shows two values; gigabytes under that name are not for it."""
    with source.with_name(METADATA).open("wb") as file:
        file.truncate(1 << 34)
    assert len(sync(source).warnings) == 1


# --- changes meanwhile


def rewriting(change: Callable[[], object]) -> Callable[[], bool]:
    """Make a stop that never stops, and makes a change the first time that it is asked."""
    todo = [change]

    def stop() -> bool:
        if todo:
            todo.pop()()
        return False

    return stop


def nothing_published(source: Path) -> bool:
    """Tell whether the directory holds no sidecar and no litter."""
    return not [name for name in os.listdir(source.parent) if name not in {SOURCE, METADATA}]


def test_a_source_that_changes_while_it_is_read_is_not_published(source: Path) -> None:
    """Rewritten, replaced or cut: it starts over."""
    changes: list[Callable[[], object]] = [
        lambda: save(source, ["Other."]),
        lambda: save(source.with_name("new"), ["Other."]).rename(source),
        lambda: os.truncate(source, 100),
        lambda: set_time(source, LONG_AGO_NS + 1),
    ]
    for change in changes:
        save(source, TEXTS, time_ns=LONG_AGO_NS)
        outcome = sync(source, stop=rewriting(change))
        assert (outcome.result, outcome.error, outcome.passing) == ("failed", Changed, True)
        assert nothing_published(source)


def test_a_source_that_is_deleted_while_it_is_read_leaves_nothing(source: Path) -> None:
    """No sidecar of what is no longer there."""
    assert sync(source, stop=rewriting(source.unlink)).passing
    assert os.listdir(source.parent) == []


def remove_temporary(directory: Path) -> None:
    """Remove the engine's temporary files, as a cleaner of old files would."""
    for path in directory.iterdir():
        if is_temporary(path.name):
            path.unlink()


def test_a_source_that_cannot_be_closed_fails_by_itself(source: Path) -> None:
    """A network file system may report a fault that late: the others are done, and nothing is raised."""
    other = save(source.with_name("other_completions.npy"), ["text"], time_ns=LONG_AGO_NS)
    before = set(os.listdir("/proc/self/fd"))
    with open_directory(str(source.parent)) as directory, closing_fails(SOURCE):
        sources = [(directory, SOURCE), (directory, other.name)]
        outcomes = publish_sources(write_sources(sources, Options(), lambda: False))
    assert [outcome.result for outcome in outcomes] == ["failed", "rendered"]
    assert (outcomes[0].error, outcomes[0].reason) == (Storage, "cannot be closed: Input/output error")
    assert set(os.listdir("/proc/self/fd")) == before
    assert results(sync(source)) == {"json": "fresh", "md": "fresh"}


def test_the_first_fault_of_a_source_is_reported_not_that_it_cannot_be_closed(source: Path) -> None:
    """What went wrong first is the reason."""
    source.write_bytes(b"no array")
    with closing_fails(SOURCE):
        assert sync(source).error is Corrupt


def test_a_temporary_file_that_somebody_removes_is_not_a_source_that_vanished(source: Path) -> None:
    """The source is still there, so the work starts over."""
    outcome = sync(source, stop=rewriting(lambda: remove_temporary(source.parent)))
    assert (outcome.error, outcome.passing) == (Changed, True)
    assert nothing_published(source)
    assert sync(source).result == "rendered"


def test_a_sidecar_that_is_removed_while_it_is_compared_is_not_a_source_that_vanished(source: Path) -> None:
    """Its own ENOENT starts the work over, too."""
    sync(source)
    sidecar(source, "json").write_bytes(JSON)
    outcome = sync(source, stop=rewriting(sidecar(source, "json").unlink))
    assert outcome.error is Changed
    assert sync(source).result == "rendered"


def test_a_directory_that_is_removed_meanwhile_is_not_brought_back(source: Path) -> None:
    """The next look finds that the source has vanished."""
    outcome = sync(source, stop=rewriting(lambda: shutil.rmtree(source.parent)))
    assert outcome.error in {Changed, Vanished}
    assert not source.parent.exists()


def test_metadata_that_changes_meanwhile_starts_over(source: Path) -> None:
    """A page is made from one version of both."""
    metadata = write_metadata(source, {"model_name": "a"}, LONG_AGO_NS)
    for change in (lambda: write_metadata(source, {"model_name": "b"}, LONG_AGO_NS + 5), metadata.unlink):
        outcome = sync(source, stop=rewriting(change))
        assert outcome.error is Changed
        assert outcome.reason == "its metadata changed while it was read"
        assert nothing_published(source)


def test_a_sidecar_written_meanwhile_stays(source: Path) -> None:
    """Between plan and publication somebody wrote it: the next look decides."""
    mine = sidecar(source, "json")
    outcome = sync(source, stop=rewriting(lambda: mine.write_text("theirs")))
    assert (outcome.error, outcome.passing) == (Changed, True)
    assert mine.read_text() == "theirs"
    assert results(sync(source))["json"] == "kept"
    for change in (lambda: mine.write_text("theirs again"), mine.unlink, lambda: mine.symlink_to("secret")):
        outcome = sync(source, force=True, stop=rewriting(change))
        assert outcome.reason == "somebody wrote the sidecar meanwhile"
    assert mine.is_symlink()


def test_work_that_is_stopped_leaves_nothing(source: Path) -> None:
    """Ending is no failure of the file."""
    outcome = sync(source, stop=lambda: True)
    assert (outcome.error, outcome.passing) == (Interrupted, True)
    assert nothing_published(source)


def test_two_at_once_are_harmless(source: Path) -> None:
    """Each sidecar is whole, and nothing is left."""
    source = save(source, [f"{number} " * 50 for number in range(3000)], time_ns=LONG_AGO_NS)
    outcomes: list[Any] = []
    threads = [threading.Thread(target=lambda: outcomes.append(sync(source))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {outcome.error for outcome in outcomes} <= {None, Changed}
    assert any(outcome.result == "rendered" for outcome in outcomes)
    assert len(json.loads(sidecar(source, "json").read_bytes())) == 3000
    assert len(os.listdir(source.parent)) == 3


# --- what cannot be done


@pytest.mark.parametrize(
    ("data", "result", "error", "passing"),
    [
        (hostile.npy(bytes(24), descr="'<i8'"), "skipped", NotText, False),
        (b"no array at all", "failed", Corrupt, False),
        (hostile.good_u_file()[:-1], "failed", Unfinished, True),
        (b"", "failed", Unfinished, True),
        (hostile.inside(hostile.name("os", "system")), "failed", Unsafe, False),
        (hostile.inside(b"}]Ns"), "failed", Corrupt, False),
    ],
)
def test_a_bad_source_leaves_older_sidecars_alone(
    source: Path, data: bytes, result: str, error: type[SidecarError], *, passing: bool
) -> None:
    """Refused or skipped with a reason; what was made from the last good version stays."""
    sync(source)
    source.write_bytes(data)
    outcome = sync(source)
    assert (outcome.result, outcome.error, outcome.passing) == (result, error, passing)
    assert outcome.reason
    assert outcome.hint
    assert sidecar(source, "json").read_bytes() == JSON
    assert len(os.listdir(source.parent)) == 3


def test_each_sidecar_may_take_max_output_bytes(tmp_path: Path) -> None:
    """Not both together; what one of them would exceed is refused."""
    source = save(tmp_path / "n1_completions.npy", ["z" * 700])
    assert sync(source, max_output_bytes=1000).result == "rendered"
    outcome = sync(source, max_output_bytes=705, force=True)
    assert "one of its sidecars would take more than max_output_bytes" in outcome.reason


@pytest.mark.parametrize(
    "case", [c for c in hostile.hostile_files() if c[0].startswith("bomb_")], ids=lambda c: c[0]
)
def test_a_bomb_is_stopped_and_leaves_nothing(source: Path, case: hostile.Case) -> None:
    """Small files that mean gigabytes stop at ``max_output_bytes``, and what was written goes."""
    source.write_bytes(case[1]())
    outcome = sync(source, max_output_bytes=1 << 24)
    assert outcome.result == "failed"
    assert outcome.error in {TooLarge, Unsafe}
    assert nothing_published(source)


def test_more_items_than_the_limit_on_output_are_refused_before_any_work(tmp_path: Path) -> None:
    """The header alone says that the sidecars would be too large."""
    source = save(tmp_path / SOURCE, np.full(1000, ""))
    outcome = sync(source, max_output_bytes=10_000)
    assert outcome.reason == "its 1,000 items would make more than max_output_bytes"
    assert outcome.hint == "Raise max_output_bytes if it is meant."
    assert sync(source, max_output_bytes=10_000, limit=10).result == "rendered"


def test_a_source_that_is_gone_may_be_tried_again(tmp_path: Path) -> None:
    """A deleted source is no storm of errors."""
    outcome = sync(tmp_path / SOURCE)
    assert (outcome.result, outcome.error, outcome.passing) == ("failed", Vanished, True)


@needs_root
def test_missing_permissions_are_reported_and_the_old_sidecar_stays(source: Path) -> None:
    """A source that may not be read, then a directory that may not be written."""
    with open_directory(str(source.parent)) as directory:
        sync_source(directory, SOURCE, Options())
        save(source, ["Four."])
        source.chmod(0o600)
        with as_nobody():
            refused = sync_source(directory, SOURCE, Options())
        source.chmod(0o644)
        os.fchmod(directory, 0o755)
        with as_nobody():
            unwritable = sync_source(directory, SOURCE, Options())
    assert (refused.error, refused.passing) == (Storage, True)
    assert refused.reason == "cannot be opened: Permission denied"
    assert unwritable.reason == "no file can be made in its directory: Permission denied"
    assert "permission" in unwritable.hint
    assert sidecar(source, "json").read_bytes() == JSON


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_full_disk_keeps_the_old_sidecars_and_leaves_no_litter(tmp_path: Path) -> None:
    """And when there is room again, the work is done."""
    with small_disk(tmp_path / "disk", "size=512k") as disk:
        source = save(disk / SOURCE, TEXTS, time_ns=LONG_AGO_NS)
        sync(source)
        save(source, ["x" * 1000 for _ in range(90)])
        with pytest.raises(OSError, match="No space"):
            fill(disk / "ballast")
        outcome = sync(source)
        assert (outcome.result, outcome.error, outcome.passing) == ("failed", Storage, True)
        assert "No space left on device" in outcome.reason
        assert sidecar(source, "json").read_bytes() == JSON
        assert len(os.listdir(disk)) == 4
        (disk / "ballast").unlink()
        assert sync(source).result == "rendered"


def test_a_name_of_255_bytes_is_served_or_refused(tmp_path: Path) -> None:
    """``.json`` is a byte longer than ``.npy``: a name without room for it is a clear refusal."""
    fits = save(tmp_path / ("x" * 238 + "_completions.npy"), TEXTS)
    assert len(fits.name) == 254
    assert sync(fits).result == "rendered"
    full = save(tmp_path / ("y" * 239 + "_completions.npy"), TEXTS)
    outcome = sync(full)
    assert (outcome.result, outcome.error) == ("failed", Storage)
    assert "File name too long" in outcome.reason
    assert "shorten" in outcome.hint
    assert results(sync(full, formats=("md",))) == {"md": "rendered"}


def test_a_name_that_is_not_a_sources_is_the_callers_mistake(tmp_path: Path) -> None:
    """It is not one of the things that can be wrong with a file."""
    save(tmp_path / "notes.npy", TEXTS)
    with pytest.raises(ValueError, match="is not the name of a source"):
        sync(tmp_path / "notes.npy")


# --- looking only


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(source: Path) -> None:
    """Rendered, adopted, kept, fresh and blocked, without a byte or a time changed."""

    def look() -> dict[str, str]:
        before = {name: os.lstat(source.with_name(name)).st_mtime_ns for name in os.listdir(source.parent)}
        outcome = sync(source, dry_run=True)
        assert before == {n: os.lstat(source.with_name(n)).st_mtime_ns for n in os.listdir(source.parent)}
        return results(outcome)

    assert look() == {"json": "rendered", "md": "rendered"}
    sync(source)
    assert look() == {"json": "fresh", "md": "fresh"}
    set_time(sidecar(source, "json"), LONG_AGO_NS + 1)
    sidecar(source, "md").write_text("edited")
    assert look() == {"json": "adopted", "md": "kept"}
    sidecar(source, "md").unlink()
    assert look() == {"json": "adopted", "md": "rendered"}
    sidecar(source, "json").unlink()
    sidecar(source, "json").mkdir()
    assert look() == {"json": "failed", "md": "rendered"}


def test_a_dry_run_reports_what_it_cannot_read(source: Path) -> None:
    """A header that is wrong is seen without reading on."""
    source.write_bytes(hostile.npy(bytes(24), descr="'<i8'"))
    assert sync(source, dry_run=True).result == "skipped"


def test_planning_reads_nothing(source: Path) -> None:
    """Plans come from times alone, also for a source that is broken."""
    source.write_bytes(b"broken")
    with open_directory(str(source.parent)) as directory:
        plans = plan_source(directory, SOURCE, os.stat(source), Options())
    assert [(plan.fmt, plan.action) for plan in plans] == [("json", "render"), ("md", "render")]


def test_an_outcome_is_as_grave_as_its_worst_sidecar(source: Path) -> None:
    """One word for the whole: failed before kept before rendered before adopted."""
    sync(source)
    sidecar(source, "json").write_text("edited")
    sidecar(source, "md").unlink()
    outcome = sync(source)
    assert results(outcome) == {"json": "kept", "md": "rendered"}
    assert outcome.result == "kept"
    assert outcome.reason == "its .json: edited after it was written"


def test_all_sidecars_that_are_kept_are_named(source: Path) -> None:
    """The source's path and this reason say which files to look at."""
    sync(source)
    for fmt in FORMATS:
        sidecar(source, fmt).write_text("edited")
    assert sync(source).reason == "its .json and .md: edited after it was written"


def test_a_sidecar_of_a_newer_version_than_the_source_is_not_called_edited(source: Path) -> None:
    """An older file that is moved over the source leaves sidecars that nobody need have edited."""
    sync(source)
    save(source.with_name("older.npy"), ["other"], time_ns=LONG_AGO_NS - SECOND_NS).replace(source)
    reason = "edited, or made from a newer version than the one that is there"
    assert sync(source).reason == f"its .json and .md: {reason}"


def test_a_page_made_with_prompts_is_made_again_without(tmp_path: Path) -> None:
    """It carries the time of the full texts, which are younger: nobody edited it."""
    source = save(tmp_path / "n1_completions.npy", ["b"], time_ns=LONG_AGO_NS)
    save(tmp_path / "n1_full_texts.npy", ["a b"], time_ns=LONG_AGO_NS + 10**10)
    assert results(sync(source, extras=Extras(pairs=True))) == {"json": "rendered", "md": "rendered"}
    assert results(sync(source)) == {"json": "fresh", "md": "rendered"}
    assert results(sync(source)) == {"json": "fresh", "md": "fresh"}


def test_full_texts_that_can_no_longer_be_read_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network file system may refuse a read for a moment: a page without prompts would pass for fresh."""
    source = save(tmp_path / SOURCE, TEXTS)
    partner = save(tmp_path / SOURCE.replace("completions", "full_texts"), [f"ask: {text}" for text in TEXTS])
    reads, pread = [], os.pread

    def refused(descriptor: int, length: int, offset: int) -> bytes:
        if os.path.samestat(os.fstat(descriptor), partner.stat()):
            reads.append(offset)
            if len(reads) > 3:  # those of the header
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", refused)
    outcome = sync(source, extras=Extras(pairs=True))
    assert outcome.error is Storage
    assert not source.with_suffix(".md").exists()
