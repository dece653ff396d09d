"""The service in this process: hints to sidecars, reloading, status, stopping; its watch is fed by hand."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from doubles import FakeWatch, Log, StartingPool, moody_pool
from support import SECOND_NS, freeze, save, wait_for

from daemon.config.model import Config, Index, Metrics, Sidecars, Watch, Work
from daemon.config.validation import RefusedError
from daemon.report.status import Status, moment
from daemon.report.status_file import own_directories, read
from daemon.schedule.scheduler import Scheduler
from daemon.service import Service
from daemon.watch.client import Hint
from daemon.watch.roots import Roots
from lib.options import Extras
from lib.render.index import INDEX_NAME, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class House:
    """A service over a root, with what it is made of at hand."""

    def __init__(self, root: Path) -> None:
        self.root, self.log = root, Log()
        self.config = Config(roots=(str(root),), watch=Watch(settle_seconds=0.05))
        self.fresh: Config | None = None
        self.is_ready = True
        self.watches: list[FakeWatch] = []
        self.service = self.make()

    def make(self, **more: Any) -> Service:
        """Make a service."""
        return Service(
            self.config, version="1", log=self.log, make_watch=self._watch, reload=self._reload, **more
        )

    def _reload(self) -> Config:
        if self.fresh is None:
            raise RefusedError("c.toml: work.jobs: found 0")
        return self.fresh

    def _watch(self, roots: list[str]) -> FakeWatch:
        self.watches.append(FakeWatch(roots))
        self.watches[-1].ready = self.is_ready
        return self.watches[-1]

    def open(self) -> None:
        """Open it without running it, and let it settle down."""
        assert self.service.open()
        self.turn_until(lambda: "sweep.finished" in self.log.names and self.is_quiet)

    def turn_until(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        """Go round until it holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.log.events
            self.service.turn()

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing to do."""
        service = self.service
        busy = service.sweeper.next_due() <= time.monotonic() + 0.2
        return not len(service.pool) and not len(service.scheduler.queue) and not busy

    def put(self, name: str = "a", items: Any = ("text",)) -> Path:
        """Save a source."""
        path = self.root / f"{name}_completions.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        return save(path, items, time_ns=SECOND_NS)

    def feed(self, kind: Any, path: Path, root: Path | None = None) -> None:
        """Have a hint arrive."""
        root = root or self.root
        self.watches[-1].feed(Hint(kind, str(root), path.relative_to(root).parts))

    def status(self) -> Status:
        """Read the status file."""
        self.turn_until(lambda: read(own_directories()[0]))
        [found] = read(own_directories()[0])
        return found.status


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """Build a house over an empty root; it is torn down in good order."""
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    (tmp_path / "root").mkdir()
    house = House(tmp_path / "root")
    yield house
    if hasattr(house.service, "pool"):
        house.service.pool.kill()
    house.service.close()
    assert all(watch.closed for watch in house.watches)


def is_made(source: Path) -> bool:
    """Tell whether a source has its sidecars."""
    return all(source.with_suffix(suffix).exists() for suffix in (".json", ".md"))


def is_locked_by(roots: Roots, path: Path) -> bool:
    """Look at a root, and tell whether its lock was to be had."""
    return roots.use([str(path)]) is None


def test_it_runs_from_start_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there is made; SIGTERM ends it; nothing is left but the sidecars."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    gc.collect()  # what earlier tests left open
    before, handler = set(os.listdir("/proc/self/fd")), signal.getsignal(signal.SIGTERM)
    (tmp_path / "root").mkdir()
    house = House(tmp_path / "root")
    source = house.put()
    house.log.on["sidecars.written"] = lambda: os.kill(os.getpid(), signal.SIGTERM)
    assert house.service.run() == 0
    assert is_made(source)
    assert house.log.names[0] == "service.started"
    assert house.log.names[-2:] == ["service.stopping", "service.stopped"]
    assert house.log.of("service.ready") == [{"mode": "watching"}]
    assert list(tmp_path.glob("*.json")) == []
    assert signal.getsignal(signal.SIGTERM) == handler
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_closed_source_is_made(house: House) -> None:
    """The hint, and not the next sweep."""
    house.open()
    source = house.put()
    house.feed("closed", source)
    house.turn_until(lambda: is_made(source))
    assert house.log.names.count("sweep.started") == 1


@pytest.mark.parametrize("kind", ["closed", "seen"])
def test_a_source_that_came_otherwise_is_made(house: House, kind: str) -> None:
    """Renamed into place, or linked."""
    house.open()
    source = house.put("deep/down/a")
    house.feed(kind, source)
    house.turn_until(lambda: is_made(source))


def test_metadata_that_comes_later_reaches_the_page(house: House) -> None:
    """A hint at the metadata is one at both sources of its set."""
    source = house.put("n1")
    house.open()
    metadata = house.root / "n1_metadata.json"
    metadata.write_text('{"model_name": "later"}', "utf-8")
    house.feed("closed", metadata)
    house.turn_until(lambda: "later" in source.with_suffix(".md").read_text("utf-8"))


def test_a_failed_source_that_has_gone_is_no_longer_listed(house: House) -> None:
    """Without a sweep; of the others only the one that a hint names is looked at."""
    failed, other, made = house.put("a"), house.put("b"), house.put("c")
    failed.write_bytes(b"junk")
    other.write_bytes(b"junk")
    house.open()
    counts = house.service.scheduler.troubles.counts
    house.turn_until(lambda: counts["failed"] == 2)
    for source in (failed, other, made):
        source.unlink()
    house.feed("gone", failed)
    house.feed("gone", made)
    house.turn_until(lambda: counts["failed"] == 1)
    assert not len(house.service.scheduler.queue)
    assert house.log.names.count("sweep.started") == 1


def test_a_directory_that_appears_is_looked_into(house: House) -> None:
    """Sources that no event named are found."""
    house.open()
    source = house.put("new/a")
    house.feed("directory", source.parent)
    house.turn_until(lambda: is_made(source))
    assert house.log.names.count("sweep.started") == 1


def test_the_start_sweeps_once_and_after_the_watch_stands(house: House) -> None:
    """What comes while the watch is made is found by the sweep, and nothing is looked at twice."""
    house.is_ready = False
    source = house.put()
    assert house.service.open()
    for _ in range(2):
        house.service.turn()
    assert house.log.names == []
    house.watches[-1].ready = True
    house.turn_until(lambda: is_made(source) and "sweep.finished" in house.log.names and house.is_quiet)
    assert house.log.names.count("sweep.started") == 1


def test_directories_and_sources_are_counted_as_they_come_and_go(house: House) -> None:
    """Between two sweeps too: nested ones are named by more than one hint, and some sources fail."""
    house.put("old/a")
    house.open()
    house.put("new/deep/a")
    (house.root / "new" / "b_completions.npy").write_bytes(b"nonsense that is no array" * 9)
    os.utime(house.root / "new" / "b_completions.npy", (1.0, 1.0))
    for path in ("new/deep", "new", "new/deep"):
        house.feed("directory", house.root / path)
    house.turn_until(lambda: (house.status().directories, house.status().sources) == (4, 3))
    shutil.rmtree(house.root / "new")
    house.feed("directory", house.root / "new")
    house.turn_until(lambda: house.status().directories == 2)
    assert house.log.names.count("sweep.started") == 1


def test_hints_that_concern_nobody_are_no_work(house: House) -> None:
    """In ignored and hidden directories, and at hidden and other files."""
    house.open()
    for kind, path in [
        ("closed", house.root / ".a_completions.npy"),
        ("closed", house.root / ".git" / "a_completions.npy"),
        ("directory", house.root / ".git"),
        ("directory", house.root / "x" / "wandb"),
        ("closed", house.root / "notes.txt"),
    ]:
        house.feed(kind, path)
    house.service.turn()
    assert house.is_quiet


def test_an_overflow_brings_a_sweep(house: House) -> None:
    """Said, and swept."""
    house.open()
    source = house.put()
    [watch] = house.watches
    watch.ended, watch.has_overflowed, watch.reason = True, True, "events came too fast"
    watch.wake()
    house.turn_until(lambda: is_made(source))
    assert "watch.overflow" in house.log.names
    assert "watch.degraded" not in house.log.names


def test_a_hint_that_the_queue_has_no_room_for_brings_a_sweep(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds what the dropped hint named."""
    house.open()
    source = house.put()
    monkeypatch.setattr(Scheduler, "hint", lambda *_, **__: False)
    house.feed("closed", source)
    house.turn_until(lambda: is_made(source))
    assert house.log.names.count("sweep.started") == 2


def test_a_watch_that_ended_is_replaced_and_a_sweep_follows(house: House) -> None:
    """It is looked into at once."""
    house.open()
    source = house.put()
    house.watches[0].ended, house.watches[0].reason = True, "it ended"
    house.watches[0].wake()
    house.turn_until(lambda: is_made(source))
    assert len(house.watches) == 2
    assert house.log.of("watch.degraded")[0]["reason"] == "it ended"
    house.turn_until(lambda: house.is_quiet)
    assert house.service.sweeper.next_due() <= time.monotonic() + 33
    assert "mode='watching'" in repr(house.status())


def test_an_answer_of_the_watch_asks_for_no_other(house: House) -> None:
    """Each turn that it woke would ask once more, and the loop spin as fast as the watcher answers."""
    house.open()
    house.turn_until(lambda: house.is_quiet)
    [watch] = house.watches
    before = watch.looks
    for _ in range(20):
        watch.wake()
        house.service.turn()
    assert watch.looks <= before + 3


def test_a_reload_takes_effect_on_what_comes(house: House) -> None:
    """Another limit, formats and jobs; what is there stays; the watch is made anew."""
    old = house.put("old", ["1", "2"])
    house.open()
    house.fresh = replace(house.config, sidecars=Sidecars(formats=("json",), limit=1), work=Work(jobs=2))
    os.kill(os.getpid(), signal.SIGHUP)
    house.turn_until(lambda: "config.reloaded" in house.log.names)
    new = house.put("new", ["1", "2"])
    house.feed("closed", new)
    house.turn_until(new.with_suffix(".json").exists)
    assert new.with_suffix(".json").read_text("utf-8") == '[\n  "1"\n]'
    assert not new.with_suffix(".md").exists()
    assert '"2"' in old.with_suffix(".json").read_text("utf-8")
    assert [watch.closed for watch in house.watches] == [True, False]


def test_a_reload_reports_what_was_finished_before(house: House) -> None:
    """It is logged and counted, although its pool is replaced."""
    house.open()
    source = house.put()
    house.feed("closed", source)
    house.turn_until(lambda: len(house.service.pool))
    wait_for(source.with_suffix(".md").exists)
    house.fresh = house.config
    os.kill(os.getpid(), signal.SIGHUP)
    house.turn_until(lambda: "config.reloaded" in house.log.names)
    assert house.log.names.count("sidecars.written") == 1
    assert house.status().totals["rendered"] == 2


def test_a_rejected_reload_changes_nothing(house: House) -> None:
    """The old configuration and the old watch stay."""
    house.open()
    os.kill(os.getpid(), signal.SIGHUP)
    house.service.turn()
    assert "config.reloaded" not in house.log.names
    assert len(house.watches) == 1


def test_a_rejected_configuration_is_reported_until_one_is_accepted(house: House) -> None:
    """`systemctl reload` has long returned when somebody asks what is in force."""
    house.open()
    os.kill(os.getpid(), signal.SIGHUP)
    house.turn_until(lambda: house.status().rejected == ("c.toml: work.jobs: found 0",))
    [event] = house.log.of("config.rejected")
    assert event["problems"] == ["c.toml: work.jobs: found 0"]
    house.fresh = house.config
    os.kill(os.getpid(), signal.SIGHUP)
    house.turn_until(lambda: house.status().rejected == ())


def test_totals_count_from_the_start_over_every_sweep(house: House) -> None:
    """Sidecars that were made, adopted or kept; sources that failed, once however often they are retried."""
    source, broken = house.put(), house.root / "broken_completions.npy"
    save(house.root / "ids_completions.npy", np.array([1, 2]), time_ns=SECOND_NS)
    broken.write_bytes(b"nonsense that is no array" * 9)
    os.utime(broken, (1.0, 1.0))
    house.open()
    source.with_suffix(".json").write_text("edited")
    house.service.sweeper.ask()
    wanted = {"rendered": 2, "adopted": 0, "kept": 1, "failed": 1, "skipped": 1}
    house.turn_until(lambda: house.status().totals == wanted)
    house.fresh = house.config
    os.kill(os.getpid(), signal.SIGHUP)
    house.turn_until(lambda: "config.reloaded" in house.log.names and house.is_quiet)
    assert house.status().totals["rendered"] == 2


def test_a_reload_may_change_the_roots(house: House, tmp_path: Path) -> None:
    """One stays, one goes and is free for others, one comes and is swept."""
    kept, gone, came = (tmp_path / name for name in ("root", "gone", "came"))
    gone.mkdir()
    source = save(came / "a_completions.npy", ["text"]) if came.mkdir() is None else None
    house.config = replace(house.config, roots=(str(kept), str(gone)))
    house.service = house.make()
    house.open()
    house.fresh = replace(house.config, roots=(str(came), str(kept)))
    os.kill(os.getpid(), signal.SIGHUP)
    house.turn_until(lambda: source and is_made(source))
    assert house.watches[-1].roots == [str(came), str(kept)]
    other = Roots()
    assert is_locked_by(other, gone)
    other.close()
    assert not is_locked_by(other, kept)


def test_a_reload_onto_somebody_elses_root_is_rejected(house: House, tmp_path: Path) -> None:
    """The old roots stay, and nothing of the new ones is held."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "free").mkdir()
    theirs, other = Roots(), Roots()
    assert is_locked_by(theirs, tmp_path / "theirs")
    house.open()
    house.fresh = replace(house.config, roots=(str(tmp_path / "free"), str(tmp_path / "theirs")))
    os.kill(os.getpid(), signal.SIGHUP)
    house.turn_until(lambda: "config.rejected" in house.log.names)
    assert "config.reloaded" not in house.log.names
    assert is_locked_by(other, tmp_path / "free")
    other.close()
    theirs.close()
    source = house.put()
    house.feed("closed", source)
    house.turn_until(lambda: is_made(source))


def test_a_reload_may_call_a_root_by_another_name(house: House, tmp_path: Path) -> None:
    """A link to it, say: its lock is kept all the while."""
    link = tmp_path / "link"
    link.symlink_to("root")
    house.open()
    house.fresh = replace(house.config, roots=(str(link),))
    os.kill(os.getpid(), signal.SIGHUP)
    house.turn_until(lambda: "config.reloaded" in house.log.names)
    assert not is_locked_by(Roots(), house.root)
    source = house.put()
    house.feed("closed", link / source.name, link)
    house.turn_until(lambda: is_made(source))


@pytest.mark.parametrize("inner", ["", "inner"])
def test_two_names_of_a_root_are_told_as_that(house: House, tmp_path: Path, inner: str) -> None:
    """At the start and by a reload; not as another service, and the old roots stay in force."""
    (house.root / inner).mkdir(exist_ok=True)
    link = tmp_path / "link"
    link.symlink_to(house.root / inner)
    both = replace(house.config, roots=(str(link), str(house.root)))
    house.open()
    house.fresh = both
    os.kill(os.getpid(), signal.SIGHUP)
    house.turn_until(lambda: "config.rejected" in house.log.names)
    house.config = both
    service = house.make()
    assert service.run() == 1
    relation = "lies inside" if inner else "is the same directory as"
    reasons = [
        *house.log.of("config.rejected")[-1]["problems"],
        house.log.of("service.stopped")[-1]["reason"],
    ]
    assert reasons == [f"{link} {relation} {house.root}"] * 2
    assert not is_locked_by(Roots(), house.root)


def test_the_status_tells_how_it_is(house: House) -> None:
    """Counts, the last sweep, and every file that could not be done, with reason and hint."""
    house.put("good")
    broken = house.root / "broken_completions.npy"
    broken.write_bytes(b"nonsense that is no array" * 9)
    os.utime(broken, (1.0, 1.0))
    unnamed = save(house.root / ("x" * 239 + "_full_texts.npy")[-255:], ["text"], time_ns=SECOND_NS)
    unnamed = unnamed.rename(house.root / ("y" * 240 + "_full_texts.npy"))
    house.open()
    house.turn_until(lambda: house.status().last_sweep and house.status().sources == 3)
    house.turn_until(lambda: house.status().last_sweep == house.service.sweeper.last)
    told = house.status()
    assert (told.mode, told.directories, told.pending, told.pid) == ("watching", 1, 0, os.getpid())
    assert told.roots == (str(house.root),)
    assert told.last_sweep is not None
    assert (told.last_sweep["rendered"], told.last_sweep["failed"]) == (2, 3)
    assert moment(told.since) <= moment(told.last_sweep_ended) <= moment(told.updated)
    assert {trouble.path: trouble.state for trouble in told.troubles} == {
        str(broken): "failed",
        str(unnamed): "failed",
    }
    assert all(trouble.reason and trouble.hint and trouble.since for trouble in told.troubles)


def test_a_missing_root_is_waited_for(house: House) -> None:
    """The service is ready all the same, says so, and sweeps it when it comes."""
    house.root.rmdir()
    assert house.service.open()
    house.turn_until(lambda: "service.ready" in house.log.names)
    assert house.log.of("service.ready") == [{"mode": "waiting for root"}]
    source = house.put()
    house.turn_until(lambda: is_made(source), seconds=10)


def test_a_default_root_is_made(house: House, tmp_path: Path) -> None:
    """With a default configuration the directory need not be there; one that cannot be made is the end."""
    house.config = replace(house.config, roots=(str(tmp_path / "new" / "root"),))
    service = house.make(make_default_root=True)
    assert service.open()
    service.close()
    assert (tmp_path / "new" / "root").is_dir()
    (tmp_path / "file").touch()
    house.config = replace(house.config, roots=(str(tmp_path / "file" / "root"),))
    assert house.make(make_default_root=True).run() == 1
    assert house.log.names == ["service.stopped"]


def test_a_second_service_says_so_and_ends(house: House) -> None:
    """One a root."""
    first = Roots()
    assert is_locked_by(first, house.root)
    assert house.make(lock_seconds=0.1).run() == 1
    first.close()
    [stopped] = house.log.of("service.stopped")
    assert str(house.root) in stopped["reason"]


def test_idle_workers_are_let_go(house: House) -> None:
    """They hold memory; the next source brings them back."""
    house.service = house.make(make_pool=partial(StartingPool, rest_seconds=0.05))
    house.put()
    house.open()
    house.turn_until(lambda: not house.service.pool.pids)
    source = house.put("b")
    house.feed("closed", source)
    house.turn_until(lambda: is_made(source))


def test_a_second_signal_is_impatient(house: House) -> None:
    """A worker that does not heed the first one is killed, and nothing is started again."""
    house.service = house.make(make_pool=moody_pool)
    mark = Path(str(house.put("endless")) + ".pid")
    assert house.service.open()
    house.turn_until(lambda: mark.exists() and mark.read_text("ascii"))
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
    began = time.monotonic()
    house.service.stop()
    house.service.pool.close()
    assert time.monotonic() - began < 8
    assert not Path("/proc", mark.read_text("ascii")).exists()
    assert "source.failed" not in house.log.names


@pytest.mark.faults
def test_a_worker_that_hangs_delays_no_new_configuration(house: House) -> None:
    """SIGHUP while it hangs: it is killed after a few seconds, and its source is taken up again."""
    house.service = house.make(make_pool=moody_pool)
    mark = Path(str(house.put("endless")) + ".pid")
    assert house.service.open()
    house.turn_until(lambda: mark.exists() and mark.read_text("ascii"))
    hung = int(mark.read_text("ascii"))
    freeze(hung)
    house.fresh = house.config
    os.kill(os.getpid(), signal.SIGHUP)
    began = time.monotonic()
    house.turn_until(lambda: "config.reloaded" in house.log.names)
    assert time.monotonic() - began < 12
    assert not Path(f"/proc/{hung}").exists()
    house.turn_until(lambda: mark.read_text("ascii") not in {"", str(hung)})


def test_options_follow_the_configuration() -> None:
    """Every key of the table, and force from the command line."""
    config = Config(sidecars=Sidecars(("md",), 3, "plain"), work=Work(max_output_bytes=77))
    options = config.options(force=True)
    assert (options.formats, options.limit, options.markdown) == (("md",), 3, "plain")
    assert (options.max_output_bytes, options.force, options.dry_run) == (77, True, False)
    assert (options.extras, options.count) == (Extras(), False)
    pages = Sidecars(summary=True, links=True, pairs=True, page_bytes=5000)
    options = Config(sidecars=pages, index=Index(enabled=True)).options()
    assert (options.extras, options.count) == (Extras(True, True, True, 5000), True)


def reconfigure(house: House, **more: Any) -> None:
    """Put another configuration into force, and let it settle down."""
    house.fresh = replace(house.config, **more)
    os.kill(os.getpid(), signal.SIGHUP)
    house.turn_until(lambda: "config.reloaded" in house.log.names)
    house.turn_until(lambda: house.is_quiet)


def test_the_index_follows_what_happens(house: House) -> None:
    """A complete tree is counted once; then what comes is in it soon, and what goes after the next sweep."""
    first = house.put("x/first")
    house.open()
    index = house.root / INDEX_NAME
    assert not index.exists()
    reconfigure(house, index=Index(enabled=True))
    house.turn_until(lambda: index.exists() and len(parse(index.read_bytes())) == 1)
    second = house.put("second", ["", "b"])
    house.feed("closed", second)
    house.turn_until(lambda: len(parse(index.read_bytes())) == 2)
    assert parse(index.read_bytes())["second_completions.npy"].blank == 1
    first.unlink()
    house.service.sweeper.ask()
    house.turn_until(lambda: set(parse(index.read_bytes())) == {"second_completions.npy"}, 30)


def test_an_index_that_cannot_be_written_is_in_the_status(house: House) -> None:
    """Until it can; a missing root, which is reported by itself, is no failure of its index."""
    index = house.root / INDEX_NAME
    index.write_text("# My notes", "utf-8")
    house.put()
    missing = str(house.root.with_name("missing"))
    house.config = replace(house.config, roots=(str(house.root), missing), index=Index(enabled=True))
    house.service = house.make()
    house.open()
    house.turn_until(lambda: [trouble.path for trouble in house.status().troubles] == [str(index)])
    assert [event["path"] for event in house.log.of("index.failed")] == [str(index)]
    index.unlink()
    house.turn_until(lambda: house.status().troubles == () and index.exists())


def test_pages_with_prompts_follow_the_full_texts(house: House) -> None:
    """The hint of one source is the other's too."""
    house.config = replace(house.config, sidecars=Sidecars(pairs=True))
    house.service = house.make()
    source = house.put("a", ["One."])
    house.open()
    full_texts = source.with_name("a_full_texts.npy")
    save(full_texts, ["Say: One."], time_ns=5 * SECOND_NS)
    house.feed("closed", full_texts)
    house.turn_until(lambda: "Say: " in source.with_suffix(".md").read_text())
    house.turn_until(lambda: house.is_quiet)


def test_a_status_that_cannot_be_written_is_reported_once(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the way out; the work goes on."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "missing" / "run"))
    source = house.put()
    house.open()
    house.turn_until(lambda: "status.failed" in house.log.names)
    assert is_made(source)
    [event] = house.log.of("status.failed")
    assert "missing/run" in event["reason"]
    assert "RUNTIME_DIRECTORY" in event["hint"]
    (tmp_path / "missing").mkdir()
    house.turn_until(lambda: read(own_directories()[0]))
    assert len(house.log.of("status.failed")) == 1


def test_metrics_are_written_beside_the_status(house: House, tmp_path: Path) -> None:
    """What is done appears in the file that node_exporter reads."""
    house.open()
    textfile = tmp_path / "a.prom"
    reconfigure(house, metrics=Metrics(str(textfile)))
    house.feed("closed", house.put())
    line = 'generation_sidecars_sidecars_total{kind="completions",result="rendered"} 2.0'
    house.turn_until(lambda: textfile.exists() and line in textfile.read_text())


def test_metrics_count_across_reloads(house: House, tmp_path: Path) -> None:
    """What was counted stays, also in a new place."""
    house.open()
    first, second = tmp_path / "a.prom", tmp_path / "b.prom"
    reconfigure(house, metrics=Metrics(str(first)))
    house.feed("closed", house.put())
    line = 'generation_sidecars_sidecars_total{kind="completions",result="rendered"} 2.0'
    house.turn_until(lambda: first.exists() and line in first.read_text())
    reconfigure(house, metrics=Metrics(str(second)))
    house.turn_until(lambda: second.exists() and line in second.read_text())
