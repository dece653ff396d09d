"""The status file: where it is, that it is whole, how a dead or stuck service is told, and how it reads."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from daemon.report.status import (
    NAME,
    Status,
    Trouble,
    condition,
    exit_status,
    forget_dead,
    is_alive,
    own_directories,
    process_start,
    read,
    read_all,
    remove,
    render_json,
    render_text,
    runtime_directory,
    write,
)

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=timezone.utc)
HOSTILE = "/exp/a\n\x1b[2J\udcff\u202e  b.npy"
FAILED = Trouble(
    "/exp/n1_completions.npy", "failed", "the disk is full", "Make room.", "2026-11-23T11:00:00+00:00"
)
KEPT = Trouble("/exp/n1_completions.md", "kept", "was edited")


def status(**changes: object) -> Status:
    """Make the status of this very process, with changes."""
    plain = Status(
        version="0.1.0",
        pid=os.getpid(),
        since="2026-11-23T08:48:00+00:00",
        updated="2026-11-23T11:59:58Z",
        roots=("/exp",),
        process_start=process_start(os.getpid()) or 0,
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def gone(_pid: int) -> None:
    """Stand for a process table without the process."""


def dead_pid() -> int:
    """Give the pid of a process that ran and ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Give a runtime directory that is not made yet."""
    return tmp_path / NAME


def test_systemd_says_where_the_file_goes(tmp_path: Path) -> None:
    """The first of several directories is ours."""
    environ = {"RUNTIME_DIRECTORY": "/run/a:/run/b", "XDG_RUNTIME_DIR": "/run/user/7"}
    assert runtime_directory(environ, run=tmp_path) == Path("/run/a")


def test_what_systemd_says_is_the_only_place(tmp_path: Path) -> None:
    """Services elsewhere, the system's too, are not mixed in."""
    write(status(roots=("/elsewhere",)), runtime_directory({}, run=tmp_path, tmp=tmp_path))
    (tmp_path / "run").mkdir()
    write(status(roots=("/system",)), tmp_path / "run" / NAME)
    given = {"RUNTIME_DIRECTORY": str(tmp_path / "given")}
    assert read_all(given, run=tmp_path / "run", tmp=tmp_path) == ()
    write(status(roots=("/here",)), tmp_path / "given")
    assert [each.roots for each in read_all(given, run=tmp_path, tmp=tmp_path)] == [("/here",)]


def test_the_session_says_where_the_file_goes(tmp_path: Path) -> None:
    """A relative path is none, says the XDG specification."""
    assert runtime_directory({"XDG_RUNTIME_DIR": "/run/user/7"}, run=tmp_path) == Path("/run/user/7", NAME)
    assert runtime_directory({"XDG_RUNTIME_DIR": "x"}, run=tmp_path, tmp=tmp_path).parent == tmp_path


def test_a_session_that_is_not_in_the_environment_is_found(tmp_path: Path) -> None:
    """A service started by cron and a reader in a terminal mean the same directory."""
    user = tmp_path / "user" / str(os.getuid())
    user.mkdir(parents=True)
    assert runtime_directory({}, run=tmp_path) == user / NAME


def test_without_a_session_there_is_a_private_directory(tmp_path: Path) -> None:
    """It is named by the user, so that two users never share it."""
    assert runtime_directory({}, run=tmp_path, tmp=Path("/t")) == Path("/t", f"{NAME}-{os.getuid()}")


def test_what_is_written_is_read_back(directory: Path) -> None:
    """Every field survives, a hostile name too."""
    told = status(
        mode="sweeping only",
        directories=3,
        sources=4,
        pending=5,
        last_sweep={"rendered": 1, "seconds": 0.5},
        troubles=(dataclasses.replace(FAILED, path=HOSTILE), KEPT),
    )
    write(told, directory)
    assert read(directory) == (told,)


def test_the_start_of_the_process_is_filled_in(directory: Path) -> None:
    """A service need not know how its process is told from a later one."""
    write(status(process_start=0), directory)
    assert read(directory)[0].process_start == process_start(os.getpid())


def test_the_directory_is_for_its_user_alone(directory: Path) -> None:
    """Paths are nobody else's business."""
    write(status(), directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_reader_sees_the_old_file_or_the_new_one(directory: Path) -> None:
    """Never half of it, however often it is replaced, and nothing else lies about."""
    write(status(sources=0), directory)
    stop = threading.Event()

    def rewrite() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            write(status(sources=number, troubles=(KEPT,) * (number % 100)), directory)

    writer = threading.Thread(target=rewrite, name="rewrite")
    writer.start()
    try:
        assert all(len(read(directory)) == 1 for _ in range(300))
    finally:
        stop.set()
        writer.join()
    assert [path.name for path in directory.iterdir()] == [f"{os.getpid()}.json"]


@pytest.mark.parametrize("kind", ["link", "open", "file"])
def test_a_directory_that_somebody_else_laid_out_is_refused(tmp_path: Path, kind: str) -> None:
    """In a place like /tmp anybody may have made it before us, to read, forge or overwrite."""
    common, target = tmp_path / "tmp", tmp_path / "target"
    common.mkdir()
    common.chmod(0o1777)
    target.mkdir()
    private = common / NAME
    if kind == "link":
        private.symlink_to(target)
    elif kind == "open":
        private.mkdir()
        private.chmod(0o777)
    else:
        private.write_text("")
    with pytest.raises(OSError, match=NAME):
        write(status(), private)
    assert read(private) == ()
    assert list(target.iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """Its owner could forge what is read."""
    tmp_path.chmod(0o1777)
    private = tmp_path / NAME
    private.mkdir(mode=0o700)
    os.chown(private, 12345, 12345)
    with pytest.raises(PermissionError, match="somebody else"):
        write(status(), private)


def test_a_directory_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path) -> None:
    """The service logs it and goes on."""
    with pytest.raises(OSError, match="No such file"):
        write(status(), tmp_path / "none" / NAME)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"version": "1", "pid": 1, "since": "soon", "updated": "later", "roots": []}',
        b'{"version": "1", "pid": 1, "since": "2026-01-01", "updated": "2026-01-01", "roots": [5]}',
        b'{"version": "1", "pid": "x", "since": "2026-01-01", "updated": "2026-01-01", "roots": []}',
    ],
)
def test_what_is_no_status_is_passed_over(directory: Path, content: bytes) -> None:
    """Half a file or another program's never stops ``--status``."""
    write(status(), directory)
    (directory / "1.json").write_bytes(content)
    (directory / "2.json").mkdir()
    assert read(directory) == (status(),)


def test_a_status_of_a_newer_version_is_read(directory: Path) -> None:
    """What this version does not know it leaves out."""
    write(status(), directory)
    (path,) = directory.iterdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mood": "good"}))
    assert read(directory) == (status(),)


def test_a_directory_that_is_missing_holds_nothing(directory: Path) -> None:
    """No service was ever started."""
    assert read(directory) == ()


def test_removing_may_be_done_twice(directory: Path) -> None:
    """Stopping has more than one way."""
    write(status(), directory)
    for _ in range(2):
        remove(directory, os.getpid())
    assert list(directory.iterdir()) == []


def test_a_successor_takes_away_what_the_dead_left(directory: Path) -> None:
    """Only for its own roots, and never a living service's."""
    died = dead_pid()
    write(status(pid=died, roots=("/exp", "/b"), process_start=1), directory)
    write(status(pid=died + 1_000_000_000, roots=("/c",), process_start=1), directory)
    write(status(), directory)
    forget_dead(directory, ["/exp"])
    assert [each.pid for each in read(directory)] == [os.getpid(), died + 1_000_000_000]


def test_the_system_service_is_asked_when_the_user_has_none(tmp_path: Path) -> None:
    """`--status` needs no flag for it."""
    run, tmp = tmp_path / "run", tmp_path / "tmp"
    run.mkdir()
    write(status(roots=("/system",)), run / NAME)
    assert [each.roots for each in read_all({}, run=run, tmp=tmp)] == [("/system",)]
    tmp.mkdir()
    write(status(roots=("/own",)), runtime_directory({}, run=run, tmp=tmp))
    assert [each.roots for each in read_all({}, run=run, tmp=tmp)] == [("/own",)]


def test_all_services_of_a_user_are_shown(tmp_path: Path) -> None:
    """Whatever directory each of them found when it was started."""
    first, second = own_directories({"XDG_RUNTIME_DIR": str(tmp_path)}, run=tmp_path, tmp=tmp_path)
    write(status(roots=("/a",)), first)
    write(status(roots=("/b",)), second)
    found = read_all({"XDG_RUNTIME_DIR": str(tmp_path)}, run=tmp_path, tmp=tmp_path)
    assert [each.roots for each in found] == [("/a",), ("/b",)]


def test_the_dead_are_left_out_when_their_roots_are_served(tmp_path: Path) -> None:
    """An old crash is no news, one whose root nobody serves is."""
    place = runtime_directory({}, run=tmp_path, tmp=tmp_path)
    write(status(), place)
    write(status(pid=1_000_000_001, roots=("/exp",)), place)
    write(status(pid=1_000_000_002, roots=("/other",)), place)
    assert [each.roots for each in read_all({}, run=tmp_path, tmp=tmp_path)] == [("/exp",), ("/other",)]


def test_a_process_is_known_by_its_start() -> None:
    """A pid comes around again; its start does not."""
    mine = process_start(os.getpid())
    assert mine
    assert process_start(dead_pid()) is None
    assert process_start(10**30) is None
    assert not is_alive(status(process_start=mine + 1))
    assert is_alive(status(process_start=0))


def test_a_zombie_is_dead() -> None:
    """Its parent has not asked yet; it does no work any more."""
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b""
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert process_start(process.pid) is None


def test_a_process_that_is_hidden_counts_as_alive() -> None:
    """Where /proc is mounted with hidepid its start cannot be compared."""
    assert is_alive(status(), lambda _pid: 0)


@pytest.mark.parametrize(("late", "expected"), [(0, "running"), (28, "running"), (29, "stuck")])
def test_a_service_that_missed_three_writes_is_stuck(late: int, expected: str) -> None:
    """Alive it is, but nothing has been heard."""
    assert condition(status(), NOW + timedelta(seconds=late)) == expected


def test_a_service_whose_process_is_gone_died() -> None:
    """However fresh its file is."""
    assert condition(status(), NOW, gone) == "died"


def test_the_exit_status_says_how_it_is() -> None:
    """0 well, 1 ill, 3 absent."""
    well, failing = status(), status(troubles=(KEPT, FAILED))
    late = NOW + timedelta(hours=1)
    died = status(pid=1_000_000_001)
    assert exit_status([], NOW) == 3
    assert exit_status([died], NOW) == 3
    assert exit_status([well, status(troubles=(KEPT,))], NOW) == 0
    assert exit_status([well, failing], NOW) == 1
    assert exit_status([well], late) == 1
    assert exit_status([well, died], NOW) == 1


def test_the_text_is_for_people() -> None:
    """The whole of it, to the letter."""
    told = status(
        pid=77,
        directories=1234,
        sources=90000,
        last_sweep={"rendered": 1, "fresh": 89999, "failed": 1, "seconds": 2.345},
        troubles=(FAILED, KEPT),
    )
    assert render_text([told], NOW, lambda _pid: 0) == (
        "generation-sidecars 0.1.0 (pid 77)\n"
        "  root         /exp\n"
        "  state        watching\n"
        "  since        2026-11-23 08:48:00 UTC (3 h 11 min)\n"
        "  updated      2026-11-23 11:59:58 UTC (2 s ago)\n"
        "  directories  1,234\n"
        "  sources      90,000\n"
        "  pending      0\n"
        "  last sweep   1 rendered, 89,999 fresh, 1 failed, 2.3 seconds\n"
        "\n"
        "1 failed, 1 kept:\n"
        "  failed   /exp/n1_completions.npy\n"
        "           the disk is full (since 2026-11-23 11:00:00 UTC)\n"
        "           Make room.\n"
        "  kept     /exp/n1_completions.md\n"
        "           was edited\n"
    )


def test_a_dead_and_a_stuck_service_are_called_so() -> None:
    """With the time of the last sign of life."""
    assert "the service died at 2026-11-23 11:59:58 UTC" in render_text([status()], NOW, gone)
    assert "has not updated since 2026-11-23 11:59:58 UTC" in render_text([status()], NOW + timedelta(days=1))


def test_no_service_is_said_in_words() -> None:
    """An empty answer would look like a fault."""
    assert render_text([], NOW).startswith("No service is running. Start one: ")


def test_the_text_fits_eighty_columns_and_drives_no_terminal() -> None:
    """Hostile names are escaped; only a path may be longer, so that it can be copied."""
    bad = Trouble("/" + "x y" * 50, "failed", "\x1b[2J why " * 20, "try \n" * 30)
    text = render_text([status(roots=(HOSTILE, "/b"), troubles=(bad,), last_sweep={"a\x1b": 1})] * 2, NOW)
    assert r"/exp/a\n\x1b[2J\udcff\u202e  b.npy" in text
    assert all(line.isprintable() for line in text.splitlines())
    assert all(len(line) <= 80 for line in text.splitlines() if bad.path not in line)
    assert bad.path in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (0, "0 s"), (61, "1 min 1 s"), (3600, "1 h"), (90_061, "1 d 1 h"), (86_400 * 400, "400 d")],
)
def test_spans_of_time_have_two_units(seconds: int, words: str) -> None:
    """A clock that was set back gives no negative span."""
    updated = (NOW - timedelta(seconds=seconds)).isoformat()
    assert f"({words} ago)" in render_text([status(updated=updated)], NOW)


def test_the_json_is_for_programs() -> None:
    """Every field under its own name, and the condition; any name comes back whole."""
    told = status(troubles=(dataclasses.replace(FAILED, path=HOSTILE),))
    text = render_json([told], NOW)
    (entry,) = json.loads(text)
    assert text.isascii()
    assert entry["condition"] == "running"
    assert entry["roots"] == ["/exp"]
    assert entry["troubles"][0]["path"] == HOSTILE
    assert set(entry) == {field.name for field in dataclasses.fields(Status)} | {"condition"}
