"""The status file: its place, its privacy, atomic writes, and files that a killed service left."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from reports import FAILED, HOSTILE, KEPT, status
from support import needs_root, promptly, wait_for

from daemon.report.status import NAME, Reading, Status, TroubleTable
from daemon.report.status_file import StatusFile, own_directories, read, read_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


ROOT = Path(__file__).parents[3]
HOLD = """
import os, signal, sys
from pathlib import Path
from reports import status
from daemon.report.status_file import StatusFile
file = StatusFile.open([Path(sys.argv[1])], os.getpid())
file.write(status(pid=os.getpid(), roots=(sys.argv[2],)))
print("ready", flush=True)
signal.pause()
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a runtime directory that does not exist yet."""
    return tmp_path / NAME


def told(directory: Path, *changed: Status, troubles: Sequence[str] = ()) -> list[StatusFile]:
    """Write a status file for each status; the services stay alive."""
    files = [StatusFile.open([directory], each.pid) for each in changed]
    for file, each in zip(files, changed, strict=True):
        file.write(each, troubles)
    return files


def killed(directory: Path, root: str = "/exp") -> int:
    """Start a service that writes its status, and kill it; return its pid."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    service = subprocess.Popen(
        [sys.executable, "-c", HOLD, directory, root],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
    )
    assert service.stdout is not None
    assert service.stdout.readline() == b"ready\n"
    [alive] = [one for one in read(directory) if one.status.pid == service.pid]
    assert alive.is_alive
    service.send_signal(signal.SIGKILL)
    service.communicate()
    return service.pid


def roots_of(readings: tuple[Reading, ...]) -> list[tuple[str, ...]]:
    """Return the roots of each service."""
    return [reading.status.roots for reading in readings]


@pytest.fixture
def reported(directory: Path) -> Iterator[Path]:
    """Return a runtime directory with one service alive."""
    [file] = told(directory, status())
    with closing(file):
        yield directory


def test_systemd_says_where_the_file_goes() -> None:
    """If systemd sets several directories, the first is used, and no other place."""
    environ = {"RUNTIME_DIRECTORY": "/run/a:/run/b", "XDG_RUNTIME_DIR": "/run/user/7"}
    assert own_directories(environ) == (Path("/run/a"),)


def test_the_session_says_where_the_file_goes(tmp_path: Path) -> None:
    """A relative path is ignored, as the XDG specification demands."""
    session = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert own_directories(session)[0] == tmp_path / NAME
    assert own_directories({"XDG_RUNTIME_DIR": "x"}, run=tmp_path, tmp=tmp_path)[0].parent == tmp_path


def test_a_session_that_is_not_in_the_environment_is_found(tmp_path: Path) -> None:
    """A service started by cron and a reader in a terminal use the same directory."""
    user = tmp_path / "user" / str(os.getuid())
    user.mkdir(parents=True)
    assert own_directories({}, run=tmp_path)[0] == user / NAME


def test_without_a_session_there_is_a_private_directory(tmp_path: Path) -> None:
    """Its name has the user's id, so that two users never share it."""
    assert own_directories({}, run=tmp_path, tmp=Path("/t")) == (Path("/t", f"{NAME}-{os.getuid()}"),)


@needs_root
def test_fault_57_the_session_of_another_user_is_not_taken_over(tmp_path: Path) -> None:
    """`su` keeps XDG_RUNTIME_DIR, whose owner could plant links for root to write through."""
    os.chown(tmp_path, 12345, 12345)
    assert own_directories({"XDG_RUNTIME_DIR": str(tmp_path)}, run=tmp_path, tmp=Path("/t")) == (
        Path("/t", f"{NAME}-{os.getuid()}"),
    )


def test_what_is_written_is_read_back(directory: Path) -> None:
    """Every field and every trouble is unchanged, even a hostile path."""
    written = status(
        mode="sweeping only",
        unusable={"/exp": "missing"},
        rejected=("work.jobs: found 0",),
        directories=3,
        pending=5,
        last_sweep={"rendered": 1, "seconds": 0.5},
        totals={"rendered": 2},
        counts={"failed": 1, "kept": 1, "skipped": 1},
    )
    troubles = (dataclasses.replace(FAILED, path=HOSTILE), KEPT)
    [file] = told(directory, written, troubles=[json.dumps(dataclasses.asdict(one)) for one in troubles])
    with closing(file):
        [reading] = read(directory)
    assert reading.is_alive
    assert reading.status == dataclasses.replace(written, updated=reading.status.updated, troubles=troubles)


def test_a_hundred_thousand_sources_are_written_quickly(directory: Path) -> None:
    """The main loop waits for it; it once took 800 ms."""
    table = TroubleTable()
    for number in range(100_000):
        path = f"/experiments/model/{number}_completions.npy"
        table.put(number, path, FAILED.state, FAILED.reason, FAILED.hint)
    with closing(StatusFile.open([directory], os.getpid())) as file:
        promptly(0.1, lambda: file.write(status(), table.entries()))
        [reading] = read(directory)
    assert len({trouble.path for trouble in reading.status.troubles}) == 100_000


def test_a_renewed_file_counts_as_an_update(reported: Path) -> None:
    """The file's time is enough to show that the service is alive."""
    [path] = reported.iterdir()
    os.utime(path, (2_000_000_000, 2_000_000_000))
    assert read(reported)[0].status.updated == "2033-05-18T03:33:20+00:00"


def test_the_directory_is_for_its_user_alone(reported: Path) -> None:
    """Other users do not see the paths."""
    assert stat.S_IMODE(reported.stat().st_mode) == 0o700


def test_a_reader_sees_the_old_file_or_the_new_one(directory: Path) -> None:
    """It never sees an incomplete file or a dead service, and no other file is left."""
    [file] = told(directory, status())
    stop = threading.Event()

    def rewrite() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            file.write(status(sources=number), [json.dumps(dataclasses.asdict(KEPT))] * (number % 100))

    writer = threading.Thread(target=rewrite, name="rewrite")
    writer.start()
    try:
        assert all([one.is_alive for one in read(directory)] == [True] for _ in range(300))
    finally:
        stop.set()
        writer.join()
    assert [path.name for path in directory.iterdir()] == [f"{os.getpid()}.json"]
    file.close()


@pytest.mark.parametrize("kind", ["link", "open", "file"])
def test_fault_57_a_directory_that_another_user_laid_out_is_refused(tmp_path: Path, kind: str) -> None:
    """In /tmp, anybody may create it first, to read, forge or overwrite files."""
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
    with pytest.raises(OSError):  # noqa: PT011  # the kernel's words differ by kind
        StatusFile.open([private], 1)
    assert read(private) == ()
    assert list(target.iterdir()) == []


@needs_root
@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_a_directory_of_another_user_is_refused_wherever_it_is(tmp_path: Path, mode: int) -> None:
    """Its owner could forge the status, or plant a link to one of root's files."""
    tmp_path.chmod(mode)
    os.chown(tmp_path, 12345, 12345)
    private = tmp_path / NAME
    private.mkdir(mode=0o700)
    os.chown(private, 12345, 12345)
    with pytest.raises(PermissionError, match="another user"):
        StatusFile.open([private], 1)
    (private / "1.json").write_text("{}")
    assert read(private) == ()


@needs_root
def test_the_next_directory_is_taken_when_one_is_refused(tmp_path: Path) -> None:
    """A planted directory does not keep the service from reporting."""
    (tmp_path / "a").mkdir()
    os.chown(tmp_path / "a", 12345, 12345)
    file = StatusFile.open([tmp_path / "a", tmp_path / "b"], 1)
    with closing(file):
        file.write(status())
        assert len(read(tmp_path / "b")) == 1
        assert list((tmp_path / "a").iterdir()) == []


def test_fault_57_the_temporary_name_is_never_written_through(directory: Path, tmp_path: Path) -> None:
    """The name can be guessed, and a link planted there."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    file = StatusFile.open([directory], 7)
    with closing(file):
        (directory / ".7.tmp").symlink_to(victim)
        file.write(status())
    assert victim.read_text() == "precious"


def test_a_directory_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path) -> None:
    """The caller gets an OSError."""
    with pytest.raises(OSError, match="No such file"):
        StatusFile.open([tmp_path / "none" / NAME], 1)


def test_a_directory_that_was_removed_is_an_error(reported: Path) -> None:
    """The session's directory is removed with the session."""
    [file] = told(reported, status(pid=1_000_000_001))
    for path in list(reported.iterdir()):
        path.unlink()
    reported.rmdir()
    for act in (file.renew, lambda: file.write(status())):
        with pytest.raises(FileNotFoundError):
            act()
    file.close()


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
def test_what_is_not_a_status_is_ignored(reported: Path, content: bytes) -> None:
    """Incomplete files and files of other programs are ignored."""
    (reported / "1.json").write_bytes(content)
    (reported / "2.json").mkdir()
    (reported / "3.json").symlink_to("/dev/zero")
    os.mkfifo(reported / "4.json")
    assert roots_of(read(reported)) == [("/exp",)]


def test_a_status_of_a_newer_version_is_read(reported: Path) -> None:
    """Unknown fields are ignored."""
    [path] = reported.iterdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mood": "good"}))
    assert roots_of(read(reported)) == [("/exp",)]


def test_a_directory_that_is_missing_holds_nothing(directory: Path) -> None:
    """No service was ever started."""
    assert read(directory) == ()


def test_closing_removes_the_file_and_may_be_done_twice(directory: Path) -> None:
    """The second call has no effect."""
    [file] = told(directory, status())
    for _ in range(2):
        file.close()
    assert list(directory.iterdir()) == []


def test_a_killed_service_is_dead_at_once(directory: Path) -> None:
    """The kernel releases its lock; process ids are not compared."""
    pid = killed(directory)
    [reading] = read(directory)
    assert (reading.status.pid, reading.is_alive) == (pid, False)


def test_the_next_service_clears_what_killed_ones_left(directory: Path) -> None:
    """Files of services that are alive stay."""
    [living] = told(directory, status(roots=("/living",)))
    killed(directory, "/a")
    killed(directory, "/b")
    (directory / ".77.tmp").write_text("half")
    [file] = told(directory, status(pid=1_000_000_001, roots=("/next",)))
    assert roots_of(read(directory)) == [("/living",), ("/next",)]
    assert len(list(directory.iterdir())) == 2
    living.close()
    file.close()


def test_a_child_that_outlives_its_service_does_not_keep_it_alive(directory: Path) -> None:
    """A started program does not inherit the lock."""
    [file] = told(directory, status())
    with subprocess.Popen(["sleep", "600"]) as child:
        os.close(file._file)
        file._file = -1
        assert [one.is_alive for one in read(directory)] == [False]
        child.kill()
    file.close()


def test_the_system_service_is_asked_when_the_user_has_none(tmp_path: Path) -> None:
    """`--status` needs no flag for it."""
    run, tmp = tmp_path / "run", tmp_path / "tmp"
    for place in (run, tmp):
        place.mkdir()
    [system] = told(run / NAME, status(roots=("/system",)))
    assert roots_of(read_all({}, run=run, tmp=tmp)) == [("/system",)]
    [own] = told(own_directories({}, run=run, tmp=tmp)[0], status(roots=("/own",)))
    assert roots_of(read_all({}, run=run, tmp=tmp)) == [("/own",)]
    given = {"RUNTIME_DIRECTORY": str(tmp_path / "given")}
    assert read_all(given, run=run, tmp=tmp) == ()
    system.close()
    own.close()


@needs_root
def test_the_system_service_of_another_user_is_believed(tmp_path: Path) -> None:
    """Its directory in /run was created for that user by systemd, as only root can."""
    run = tmp_path / "run"
    run.mkdir()
    [file] = told(run / NAME, status())
    os.chown(run / NAME, 12345, 12345)
    assert roots_of(read_all({}, run=run, tmp=tmp_path)) == [("/exp",)]
    run.chmod(0o1777)
    assert read_all({}, run=run, tmp=tmp_path) == ()
    file.close()


def test_all_services_of_a_user_are_shown(tmp_path: Path) -> None:
    """Each may use a different directory."""
    session = {"XDG_RUNTIME_DIR": str(tmp_path)}
    first, second = own_directories(session, run=tmp_path, tmp=tmp_path)
    files = [*told(first, status(roots=("/a",))), *told(second, status(roots=("/b",)))]
    assert roots_of(read_all(session, run=tmp_path, tmp=tmp_path)) == [("/a",), ("/b",)]
    for file in files:
        file.close()


def test_the_dead_are_left_out_when_their_roots_are_served(tmp_path: Path) -> None:
    """A crash is only reported if no other service took over the roots."""
    session = {"XDG_RUNTIME_DIR": str(tmp_path)}
    first, second = own_directories(session, run=tmp_path, tmp=tmp_path)
    killed(second, "/exp")
    killed(first, "/other")
    wait_for(lambda: not any(one.is_alive for one in read(first)))
    assert roots_of(read_all(session, run=tmp_path, tmp=tmp_path)) == [("/other",), ("/exp",)]
    third = tmp_path / "user" / str(os.getuid())
    third.mkdir(parents=True)
    [file] = told(third / NAME, status())
    assert roots_of(read_all(session, run=tmp_path, tmp=tmp_path)) == [("/other",), ("/exp",)]
    file.close()
