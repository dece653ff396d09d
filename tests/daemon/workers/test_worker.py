"""What a worker does: any failure is an outcome, and it ends with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from doubles import task_of
from support import SECOND_NS, is_running, save, wait_for

from daemon.workers import worker as work
from daemon.workers.worker import Stop, convert, prepare, serve
from lib.errors import Corrupt, ProgramFault, Vanished
from lib.files.reader import open_directory
from lib.names import is_temporary
from lib.options import Options
from lib.sync.engine import Conversion
from lib.sync.walk import Task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

    from lib.outcome import Outcome

NAME = "n1_completions.npy"


def convert_one(task: Task) -> Outcome:
    """Convert one source."""
    (outcome,) = convert([task], Options())
    return outcome


def test_a_task_names_its_path() -> None:
    """Root, directories, name."""
    assert Task("/r", ("a", "b"), NAME).path == f"/r/a/b/{NAME}"
    assert Task(".", (), NAME).path == f"./{NAME}"


def test_a_source_is_brought_up_to_date(tmp_path: Path) -> None:
    """Both sidecars, and nothing to do the second time."""
    task = task_of(save(tmp_path / NAME, ["text"], time_ns=SECOND_NS))
    assert convert_one(task).result == "rendered"
    assert convert_one(task).result == "fresh"


def test_a_directory_that_is_gone_is_an_outcome(tmp_path: Path) -> None:
    """Nothing is raised."""
    outcome = convert_one(Task(str(tmp_path / "gone"), (), NAME))
    assert (outcome.result, outcome.error, outcome.passing) == ("failed", Vanished, True)


def test_a_source_that_is_gone_is_an_outcome(tmp_path: Path) -> None:
    """Nothing is raised."""
    assert convert_one(Task(str(tmp_path), (), NAME)).error is Vanished


def test_a_fault_of_this_program_is_an_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file that meets a bug fails alone, and says so."""

    def fault(*_: Any) -> Any:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(Conversion, "write", fault)
    outcome = convert_one(task_of(save(tmp_path / NAME, ["text"])))
    assert (outcome.result, outcome.passing) == ("failed", False)
    assert outcome.reason == "internal error: ZeroDivisionError('oops')"
    assert "report" in outcome.hint


@pytest.mark.parametrize(
    "code",
    [
        "import nowhere_to_be_found",
        "compile('(', '', 'exec')",
        "os.nothing",
        "raise ImportError('PLEASE READ THIS') from ImportError('nowhere.so cannot be loaded')",  # numpy's
    ],
)
def test_a_program_that_is_not_whole_is_not_the_files_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """A package replaced under the service: the file is tried again."""

    def fault(*_: Any) -> Any:
        exec(code, {"os": os})

    monkeypatch.setattr(Conversion, "write", fault)
    outcome = convert_one(task_of(save(tmp_path / NAME, ["text"])))
    assert (outcome.result, outcome.passing, outcome.error) == ("failed", True, ProgramFault)
    assert "restart the service" in outcome.hint
    assert "PLEASE" not in outcome.reason


def test_one_bad_source_does_not_affect_the_others(tmp_path: Path) -> None:
    """Each has its own outcome: in a directory that is gone, broken, met by a bug, or good; in order."""
    for folder in "abc":
        (tmp_path / folder).mkdir()
    good = [task_of(save(tmp_path / folder / NAME, ["text"])) for folder in "ab"]
    broken = tmp_path / "c" / NAME
    broken.write_bytes(b"no array")
    gone = Task(str(tmp_path / "gone"), (), NAME)
    outcomes = convert([good[0], gone, task_of(broken), good[1]], Options())
    assert [outcome.result for outcome in outcomes] == ["rendered", "failed", "failed", "rendered"]
    assert [outcome.error for outcome in outcomes] == [None, Vanished, Corrupt, None]


def test_a_directory_is_opened_once_for_all_its_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Descriptors are few, and flushing it once serves all."""
    opened = []

    @contextmanager
    def noting(root: str, parts: tuple[str, ...]) -> Iterator[int]:
        opened.append(root)
        with open_directory(root, parts) as directory:
            yield directory

    monkeypatch.setattr(work, "open_directory", noting)
    tasks = [task_of(save(tmp_path / f"{name}_completions.npy", ["x"])) for name in "abc"]
    assert [outcome.result for outcome in convert(tasks, Options())] == ["rendered"] * 3
    assert opened == [str(tmp_path)]


def test_a_fault_of_this_program_in_the_middle_leaves_no_drafts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hits one of several: the others are done."""
    whole = Conversion.write

    def write(self: Conversion, *rest: Any) -> None:
        if self._name.startswith("bad"):
            raise ZeroDivisionError("oops")
        whole(self, *rest)

    monkeypatch.setattr(Conversion, "write", write)
    tasks = [task_of(save(tmp_path / f"{name}_completions.npy", ["x"])) for name in ("a", "b", "bad", "c")]
    outcomes = convert(tasks, Options())
    assert [outcome.result for outcome in outcomes] == ["rendered", "rendered", "failed", "rendered"]
    assert not [path for path in tmp_path.iterdir() if is_temporary(path.name)]


@pytest.mark.parametrize("has_threads", [True, False])
def test_the_next_batch_is_written_while_one_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_threads: bool
) -> None:
    """The first flush ends when the drafts of both batches are there; without threads they go one by one."""
    tasks = [task_of(save(tmp_path / f"{name}_completions.npy", ["x"])) for name in "ab"]
    whole, flushed = os.fsync, []

    def fsync(descriptor: int) -> None:
        if has_threads and not flushed:
            wait_for(lambda: sum(is_temporary(path.name) for path in tmp_path.iterdir()) == 4)
        flushed.append(descriptor)
        whole(descriptor)

    def refuse(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(os, "fsync", fsync)
    ours, theirs = Pipe()
    server = Thread(target=_serve_to_the_end, args=(theirs,))
    server.start()
    if not has_threads:
        monkeypatch.setattr(Thread, "start", refuse)
    for task in tasks:
        ours.send([task])
    assert [ours.recv()[0].result for _ in tasks] == ["rendered"] * 2
    ours.close()
    server.join(60)
    assert not server.is_alive()


def _serve_to_the_end(connection: Connection) -> None:
    with suppress(EOFError), connection:
        serve(Options(), connection, Stop())


def test_a_file_written_just_now_is_not_read_before_its_time_can_tell(tmp_path: Path) -> None:
    """A tick passes between its time and the work."""
    path = save(tmp_path / NAME, ["text"], time_ns=time.time_ns())
    convert_one(task_of(path))
    assert time.time() - path.stat().st_mtime >= 0.02


def test_a_file_with_a_time_of_whole_seconds_is_not_read_within_two(tmp_path: Path) -> None:
    """Where the file system keeps no digits below seconds, a later write could have the same time."""
    path = save(tmp_path / NAME, ["text"], time_ns=int(time.time() - 1.0) * SECOND_NS)
    convert_one(task_of(path))
    assert time.time() - path.stat().st_mtime >= 2.0


def test_a_worker_stops_when_asked() -> None:
    """The flag is set by SIGTERM and asked between two blocks."""
    stop = work.Stop()
    assert not stop()
    stop.ask(signal.SIGTERM, None)
    assert stop()


def test_a_second_signal_does_not_interrupt_the_end_of_an_idle_worker() -> None:
    """An exception there would send the process into the code of its parent."""
    stop = work.Stop()
    stop.is_idle = True
    with pytest.raises(SystemExit):
        stop.ask(signal.SIGTERM, None)
    stop.ask(signal.SIGTERM, None)
    assert stop()


def test_a_worker_that_lost_its_parent_ends() -> None:
    """Forked, and the parent was gone before the kernel could be told."""
    pid = os.fork()
    if pid == 0:
        prepare(os.getpid())  # not its parent
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


def test_a_worker_ignores_the_terminals_signals(tmp_path: Path) -> None:
    """Ctrl-C and a hang-up are for the service; SIGTERM is a wish."""
    parent, mark = os.getpid(), tmp_path / "mark"
    pid = os.fork()
    if pid == 0:
        stop = prepare(parent)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            os.kill(os.getpid(), number)
        mark.touch()
        os._exit(7 if stop() else 8)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert mark.exists()


def test_a_worker_has_one_thread() -> None:
    """However many cores there are: numpy would start a thread for each, and let them spin."""
    program = f"""
        import os, sys
        sys.path[:0] = {sys.path!r}
        from daemon.workers.process import WorkerProcess

        def threads(connection, stop):
            import numpy
            connection.send(len(os.listdir("/proc/self/task")))

        assert "numpy" not in sys.modules
        print(WorkerProcess(threads)._connection.recv())
    """
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", textwrap.dedent(program)]
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert run.stdout == "1\n"


def test_workers_end_with_a_service_that_is_killed(tmp_path: Path) -> None:
    """Kill -9 leaves no process behind."""
    save(tmp_path / "endless_completions.npy", ["text"])
    program = f"""
        import sys, threading
        sys.path[:0] = {sys.path!r}
        from pathlib import Path
        from doubles import moody_pool, task_of
        pool = moody_pool(1)
        pool.submit(task_of(Path({str(tmp_path)!r}, "endless_completions.npy")))
        pool.done()
        threading.Event().wait(60)
    """
    mark = tmp_path / "endless_completions.npy.pid"
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)]) as service:
        wait_for(lambda: mark.exists() and mark.read_text("ascii"))
        worker = int(mark.read_text("ascii"))
        assert is_running(worker)
        service.kill()
    wait_for(lambda: not is_running(worker))


def test_the_sources_of_a_batch_share_its_time(tmp_path: Path) -> None:
    """What they waited for each other counts once: the sum over the log is the time that was worked."""
    tasks = [task_of(save(tmp_path / f"n{number}_completions.npy", ["text"])) for number in range(4)]
    began = time.perf_counter()
    outcomes = convert(tasks, Options())
    took = time.perf_counter() - began
    assert all(outcome.seconds > 0 for outcome in outcomes)
    assert sum(outcome.seconds for outcome in outcomes) <= took
