"""A state machine over a real tree: whatever happens to files, one sweep without faults makes all right.

The engine runs in this process as the sweep command runs it; faults are the system's own: a limit on the size
of files for a full disk, another file system user for a directory that may not be written, a child that is
killed in the middle of its work.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import signal
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from doubles import FakePool, Log, sweep_once
from faults.service import counts
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support import LONG_AGO_NS, SECOND_NS, as_json, save, sync, wait_for

from lib.files.reader import open_directory
from lib.names import FORMATS, is_temporary, kind_of, metadata_name
from lib.sync.engine import publish_sources, write_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lib.outcome import Outcome
    from lib.sync.walk import Task

NOBODY: Final = 65534
FOLDERS: Final = ("", "a/b")
SOURCES: Final = tuple(
    os.path.join(folder, f"n1_{kind}.npy") for folder in FOLDERS for kind in ("completions", "full_texts")
)
METADATA: Final = tuple(os.path.join(folder, "n1_metadata.json") for folder in FOLDERS)
PLACES: Final = tuple(source[:-3] + fmt for source in SOURCES for fmt in FORMATS)
TEXTS: Final = st.lists(st.text("abc xyz\näß", max_size=30), max_size=4)
MODELS: Final = st.sampled_from(["org/one", "org/two", "org/three"])
SOON: Final = st.integers(min_value=0, max_value=8)


@dataclass(frozen=True)
class Seen:
    """What a path holds: its inode, its times, and its bytes; None for bytes when it is not a file."""

    inode: int
    time_ns: int
    changed_ns: int
    data: bytes | None

    @property
    def was_stamped(self) -> bool:
        """Tell whether the time was set: no write makes a file younger than its own change."""
        return self.time_ns > self.changed_ns + 2 * SECOND_NS


def see(path: Path) -> Seen | None:
    """Look at a path, never through a link."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    is_file = path.is_file() and not path.is_symlink()
    if is_file:
        return Seen(status.st_ino, status.st_mtime_ns, status.st_ctime_ns, path.read_bytes())
    return Seen(status.st_ino, 0, 0, None)  # a directory's time tells of drafts that came and went


def as_page(source: str, texts: list[str], model: str) -> bytes:
    """Write the page that a source of these texts must have, in the style that pastes them verbatim."""
    title, one = {
        "completions": ("Completions Only", "Completion"),
        "full_texts": ("Full Texts (Prompt + Completion)", "Generation"),
    }[kind_of(source) or ""]
    head = f"# {title}\n\n**Model:** {model}\n**Generated:** unknown\n**Count:** {len(texts)}\n\n---\n\n"
    items = (f"## {one} {number}\n\n{text}\n\n---\n\n" for number, text in enumerate(texts, 1))
    return (head + "".join(items)).encode()


class Stopping(FakePool):
    """Does all that waits together, and stops at a given number of blocks, all sources together."""

    def __init__(self, stop: Callable[[], bool]) -> None:
        super().__init__(5)
        self._stop = stop

    def done(self) -> list[tuple[Task, Outcome]]:
        """Do it now."""
        given, self.submitted = self.submitted, []
        with ExitStack() as stack:
            places = [stack.enter_context(open_directory(task.root, task.parts)) for task in given]
            names = [task.name for task in given]
            sources = list(zip(places, names, strict=True))
            outcomes = publish_sources(write_sources(sources, self.options, self._stop))
        return list(zip(given, outcomes, strict=True))


class Countdown:
    """False this many times, then true, or the end of the process."""

    def __init__(self, count: int, *, deadly: bool = False) -> None:
        self._left = count
        self._deadly = deadly

    def __call__(self) -> bool:
        """Count one."""
        self._left -= 1
        if self._left < 0 and self._deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._left < 0


def never() -> bool:
    """Do not stop."""
    return False


@contextmanager
def little_room(count: int) -> Iterator[None]:
    """Have the system refuse to write beyond ``count`` bytes of any file, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Tree(RuleBasedStateMachine):
    """A tree of four sources that may be there, and everything that may happen to it."""

    def __init__(self) -> None:
        super().__init__()
        shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # flushing is free there
        self._top = Path(tempfile.mkdtemp(prefix="state-machine-", dir=shared))
        self._was_root = os.geteuid() == 0
        if self._was_root:  # root may write everywhere: be somebody else to the file system, in this thread
            os.chown(self._top, NOBODY, NOBODY)
            ctypes.CDLL(None).setfsuid(NOBODY)
        self.root = self._top / "experiments"
        self.versions: dict[str, set[bytes]] = {place: set() for place in PLACES}
        self.texts: dict[str, list[str] | None] = {}
        self.models: dict[str, str] = {}
        self.edited: dict[str, bytes] = {}
        self.locked: set[Path] = set()
        self.clock = 0

    @initialize()
    def make_folders(self) -> None:
        """Begin with the directories."""
        for folder in FOLDERS:
            (self.root / folder).mkdir(parents=True, exist_ok=True)

    def teardown(self) -> None:
        """Prove that one sweep converges whatever stood before; leave nothing."""
        try:
            if self.root.exists():
                self.unlock()
                self.sweep()
        finally:
            if self._was_root:
                ctypes.CDLL(None).setfsuid(0)
            shutil.rmtree(self._top)

    # What writers do.

    def _stamp(self, path: Path, *, back: int = 0) -> None:
        """Give a file a time that no file had before: that is what tells versions apart."""
        self.clock += 1
        now = time.time_ns() - 2 * SECOND_NS - back * SECOND_NS
        os.utime(path, ns=(now + self.clock, now + self.clock))

    def _remember(self, source: str) -> None:
        """Note what a sidecar may show from now on; an edit is no longer the last word."""
        texts = self.texts.get(source)
        json_place, page_place = source[:-3] + "json", source[:-3] + "md"
        if texts is not None:
            self.versions[json_place].add(as_json(texts))
            self.versions[page_place].add(as_page(source, texts, self._model(source)))

    @staticmethod
    def _source_of(place: str) -> str:
        return place.rpartition(".")[0] + ".npy"

    def _model(self, source: str) -> str:
        folder, name = os.path.split(source)
        return self.models.get(os.path.join(folder, metadata_name(name)), "unknown")

    def _is_writable(self, name: str) -> bool:
        return (self.root / name).parent not in self.locked

    @rule(source=st.sampled_from(SOURCES), texts=TEXTS, back=st.integers(0, 50), whole=st.booleans())
    def write(self, source: str, texts: list[str], back: int, whole: bool) -> None:
        """Create or overwrite a source, in place or by a rename; its time may lie back."""
        if not self._is_writable(source):
            return
        path = self.root / source
        target = path.with_name("draft.npy") if whole else path
        save(target, texts)
        self._stamp(target, back=back)
        target.rename(path)
        self.texts[source] = texts
        self._remember(source)

    @rule(source=st.sampled_from(SOURCES), cut=st.integers(1, 60))
    def truncate(self, source: str, cut: int) -> None:
        """Cut a source's end off."""
        path = self.root / source
        if path.exists() and self._is_writable(source):
            os.truncate(path, max(0, path.stat().st_size - cut))
            self._stamp(path)
            self.texts[source] = None

    @rule(one=st.sampled_from(SOURCES), other=st.sampled_from(SOURCES))
    def rename(self, one: str, other: str) -> None:
        """Rename a source over another name; sidecars stay where they are."""
        if one == other or not (self.root / one).exists():
            return
        if self._is_writable(one) and self._is_writable(other):
            (self.root / one).rename(self.root / other)
            self.texts[other] = self.texts.pop(one)
            self._remember(other)

    @rule(source=st.sampled_from(SOURCES))
    def delete(self, source: str) -> None:
        """Delete a source; its sidecars stay."""
        if self._is_writable(source):
            (self.root / source).unlink(missing_ok=True)
            self.texts.pop(source, None)

    @rule(name=st.sampled_from(METADATA), model=MODELS, back=st.integers(0, 50))
    def write_metadata(self, name: str, model: str, back: int) -> None:
        """Create or overwrite metadata."""
        if not self._is_writable(name):
            return
        path = self.root / name
        path.write_text(json.dumps({"model_name": model}))
        self._stamp(path, back=back)
        self.models[name] = model
        for source in SOURCES:
            self._remember(source)

    @rule(name=st.sampled_from(METADATA))
    def delete_metadata(self, name: str) -> None:
        """Delete metadata."""
        if self._is_writable(name):
            (self.root / name).unlink(missing_ok=True)
            self.models.pop(name, None)
            for source in SOURCES:
                self._remember(source)

    @rule(source=st.sampled_from(SOURCES), hours=st.integers(-1000, 1000))
    def move_time(self, source: str, hours: int) -> None:
        """Set a source's time, in the past or in the future."""
        path = self.root / source
        if path.exists() and self._is_writable(source):
            self._stamp(path, back=hours * 3600)

    # What people do to sidecars.

    @rule(
        place=st.sampled_from(PLACES),
        note=st.text("note ", min_size=1, max_size=9),
        how=st.sampled_from(["append", "alter", "replace"]),
    )
    def edit(self, place: str, note: str, how: str) -> None:
        """Write into a sidecar, after the last change of what it is made from; altered, it keeps its size."""
        path = self.root / place
        if not self._is_writable(place) or path.is_dir() or (how != "replace" and not path.exists()):
            return
        before = path.read_bytes() if path.exists() else b""
        data = {"append": before + note.encode(), "alter": b"?" + before[1:], "replace": note.encode()}[how]
        folder = path.parent
        inputs = [see(it) for it in (self.root / self._source_of(place), *folder.glob("*_metadata.json"))]
        changed = max((it.changed_ns for it in inputs if it), default=0)
        wait_for(lambda: path.write_bytes(data) >= 0 and path.stat().st_ctime_ns > changed)
        self.versions[place].add(data)

    @rule(place=st.sampled_from(PLACES))
    def remove_sidecar(self, place: str) -> None:
        """Delete a sidecar, or what stands in its place."""
        path = self.root / place
        if not self._is_writable(place):
            return
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)

    @rule(place=st.sampled_from(PLACES))
    def block(self, place: str) -> None:
        """Put a directory where a sidecar belongs."""
        path = self.root / place
        if self._is_writable(place) and not path.exists():
            path.mkdir()

    @rule(folder=st.sampled_from(FOLDERS))
    def lock(self, folder: str) -> None:
        """Take the permission to write into a directory away."""
        self.locked.add(self.root / folder)
        os.chmod(self.root / folder, 0o500)

    @precondition(lambda self: self.locked)
    @rule()
    def unlock(self) -> None:
        """Give it back."""
        for folder in self.locked:
            os.chmod(folder, 0o700)
        self.locked.clear()

    # What the engine does.

    def _sweep(self, stop: Callable[[], bool] = never, **options: Any) -> Log:
        log = Log()
        sweep_once(self.root, log, pool=Stopping(stop), stop=stop, markdown="plain", **options)
        return log

    @rule(count=SOON)
    def stopped_sweep(self, count: int) -> None:
        """Stop a sweep in the middle: no litter."""
        litter = self._litter()
        self._sweep(Countdown(count))
        assert self._litter() <= litter

    @rule(count=SOON)
    def killed_sweep(self, count: int) -> None:
        """Kill a sweep in the middle, with its drafts open."""
        child = os.fork()
        if child == 0:
            try:
                self._sweep(Countdown(count, deadly=True))
            finally:
                os._exit(0)
        os.waitpid(child, 0)

    @rule(room=st.integers(0, 200))
    def sweep_on_a_full_disk(self, room: int) -> None:
        """Sweep where the disk takes only this many bytes: no litter, and the old files stay."""
        litter = self._litter()
        with little_room(room):
            self._sweep()
        assert self._litter() <= litter

    @rule()
    def dry_run(self) -> None:
        """Ask what would be done: nothing is."""
        before = self._everything()
        self._sweep(dry_run=True)
        assert self._everything() == before

    @rule()
    def sweep(self) -> None:
        """Sweep without faults: what can be right is, edits are kept; a second sweep writes nothing."""
        before = {place: see(self.root / place) for place in PLACES}
        self._sweep()
        for source in SOURCES:
            self._check(source, before)
        if not self.locked:
            assert not self._litter()
        settled = self._everything()
        self._sweep()
        assert self._everything() == settled

    def _check(self, source: str, before: dict[str, Seen | None]) -> None:
        texts, there = self.texts.get(source), see(self.root / source)
        for fmt in FORMATS:
            place = source[:-3] + fmt
            was, now = before[place], see(self.root / place)
            if there is None or texts is None or not self._is_writable(source) or (was and was.data is None):
                # nothing can be made; even so, an edit that says what would be said may get its stamp
                assert (was and (was.inode, was.data)) == (now and (now.inode, now.data)), place
                continue
            wanted = as_json(texts) if fmt == "json" else as_page(source, texts, self._model(source))
            inputs = self._inputs_of(source, fmt)
            stamp = max(it.time_ns for it in inputs)
            assert now is not None, place
            if was is None or (was.time_ns != stamp and not self._is_edited(was, inputs)):
                assert (now.data, now.time_ns) == (wanted, stamp), place
            elif was.time_ns == stamp and not self._follows(source, fmt, there.time_ns, before):
                assert now == was, place
                # a page whose other ingredient changed without moving the stamp is fresh by the contract
                assert fmt == "md" or now.data == wanted, place
            elif was.time_ns == stamp:
                assert (now.data, now.time_ns) == (wanted, stamp), place
            elif was.data == wanted:
                assert (now.inode, now.data, now.time_ns) == (was.inode, wanted, stamp), place
            else:
                assert now == was, f"{place}: an edit was lost"

    def _inputs_of(self, source: str, fmt: str) -> list[Seen]:
        folder, name = os.path.split(source)
        metadata = os.path.join(folder, metadata_name(name))
        files = [source, metadata] if fmt == "md" else [source]
        return [found for file in files if (found := see(self.root / file)) is not None]

    @staticmethod
    def _is_edited(was: Seen, inputs: list[Seen]) -> bool:
        """Tell whether a sidecar was written by a person, after inputs whose times may lie in the future."""
        ahead = [it for it in inputs if it.time_ns > was.time_ns]
        return not was.was_stamped and all(
            it.time_ns > it.changed_ns and was.changed_ns > it.changed_ns for it in ahead
        )

    def _follows(self, source: str, fmt: str, time_ns: int, before: dict[str, Seen | None]) -> bool:
        """Tell whether a page has the newer metadata's time, and only its JSON knows of a new source."""
        page, beside = before[source[:-3] + "md"], before[source[:-3] + "json"]
        is_stale = beside is not None and beside.data is not None and beside.time_ns < time_ns
        return fmt == "md" and is_stale and page is not None and page.time_ns != time_ns

    def _litter(self) -> set[str]:
        return {name for _, _, names in os.walk(self.root) for name in names if is_temporary(name)}

    def _everything(self) -> dict[str, Seen | None]:
        return {str(path): see(path) for path in sorted(self.root.rglob("*"))}

    @invariant()
    def what_is_visible_is_whole(self) -> None:
        """Every sidecar shows a version that there was, or what a person wrote."""
        for place in PLACES:
            now = see(self.root / place)
            if now is not None and now.data is not None:
                assert now.data in self.versions[place], (place, now.data)


@counts(40, 250)
def test_fault_state_machine_converges_whatever_happens(tmp_path: Path, count: int) -> None:
    """Histories of thirty to fifty steps, others each night; a failure prints the steps that lead to it."""
    for items in ["text"], np.array(["text"]):  # what is imported late may not be readable to somebody else
        assert sync(save(tmp_path / "n1_completions.npy", items), force=True).result == "rendered"
    chosen = settings(
        max_examples=count,
        stateful_step_count=30 if count == 40 else 50,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Tree, settings=chosen)


def test_fault_state_machine_find_a_page_follows_a_source_older_than_its_metadata(tmp_path: Path) -> None:
    """A source replaced by a version that is newer than the last, and older than the metadata."""
    source = save(tmp_path / "n1_completions.npy", ["one"], time_ns=LONG_AGO_NS)
    (tmp_path / "n1_metadata.json").write_text('{"model_name": "org/one"}')
    assert sync(source).result == "rendered"
    save(source, ["two"], time_ns=LONG_AGO_NS + SECOND_NS)
    assert sync(source).result == "rendered"
    assert source.with_suffix(".md").read_bytes() == as_page(source.name, ["two"], "org/one")
    assert sync(source).result == "fresh"
