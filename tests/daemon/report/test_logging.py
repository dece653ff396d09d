"""The log: two formats, hostile names, a stderr that cannot be written, the journal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from daemon.report import events
from daemon.report.events import LOG_DROPPED, SIDECARS_WRITTEN
from daemon.report.logging import configure, escaped, get_logger, is_journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOSTILE = "a\n\r\t\x1b[2J\x1b]0;x\x07\x00\x7f\x85\x9b\u2028\u202e\udcff é.npy"
ROOT = Path(__file__).parents[3]


class Pipe:
    """A pipe in place of stderr; reading never blocks."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)

    def read(self) -> str:
        """Return what has been written."""
        try:
            return os.read(self.reader, 1 << 22).decode("utf-8")
        except BlockingIOError:
            return ""

    def events(self) -> list[dict[str, object]]:
        """Return the events that have been written, from JSON."""
        return [json.loads(line) for line in self.read().splitlines()]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start without settings in the environment; reset structlog at the end."""
    for name in ("NO_COLOR", "JOURNAL_STREAM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    yield
    structlog.reset_defaults()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Open a pipe, and close it afterwards."""
    pipe = Pipe()
    yield pipe
    for fd in (pipe.reader, pipe.writer):
        with contextlib.suppress(OSError):  # a test may have closed one end itself
            os.close(fd)


def on_terminal(action: Callable[[int], None]) -> str:
    """Run an action with a terminal; return what it shows."""
    master, slave = pty.openpty()
    try:
        action(slave)
        shown = b""
        while not shown.endswith(b"\n"):
            shown += os.read(master, 65536)
        return shown.decode("utf-8")
    finally:
        os.close(master)
        os.close(slave)


def test_an_event_is_a_json_object_with_its_keys_in_order(pipe: Pipe) -> None:
    """Event, level and timestamp come first, then the fields in the given order."""
    configure("info", "auto", fd=pipe.writer)
    get_logger().info(SIDECARS_WRITTEN, source="a.npy", formats=("json", "md"), records=3)
    (event,) = pipe.events()
    stamp = event.pop("timestamp")
    assert list(event.items()) == [
        ("event", "sidecars.written"),
        ("level", "info"),
        ("source", "a.npy"),
        ("formats", ["json", "md"]),
        ("records", 3),
    ]
    assert str(stamp).startswith("20")
    assert str(stamp).endswith("Z")


def test_the_leading_keys_lead_whatever_was_bound(pipe: Pipe) -> None:
    """Bound fields come after the leading keys."""
    configure("info", "json", fd=pipe.writer)
    get_logger().bind(root="experiments").warning("x", zone="a")
    assert list(pipe.events()[0]) == ["event", "level", "timestamp", "root", "zone"]


def test_event_names_are_unique_and_dotted() -> None:
    """Scripts rely on these names."""
    names = [value for key, value in vars(events).items() if key.isupper() and isinstance(value, str)]
    assert len(names) == len(set(names)) == 23
    assert all(name.count(".") == 1 and name.islower() for name in names)


@pytest.mark.parametrize("name", ["a.npy", HOSTILE, "\ud800", "", '"\\'])
def test_a_hostile_name_survives_json_and_stays_on_its_line(pipe: Pipe, name: str) -> None:
    """The line is printable, and a JSON reader gets the original name."""
    configure("info", "json", fd=pipe.writer)
    get_logger().info("x", source=name)
    text = pipe.read()
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    assert json.loads(text)["source"] == name


def test_a_hostile_name_is_escaped_on_the_console(pipe: Pipe) -> None:
    """Every character that is not printable is escaped."""
    configure("info", "console", fd=pipe.writer)
    get_logger().info("x", source=HOSTILE, nested=[HOSTILE, Path(HOSTILE)], **{"ke\ny": 1})
    text = pipe.read()
    assert text[:-1].isprintable()
    assert r'source="a\n\r\t\x1b[2J\x1b]0;x\x07\x00\x7f\x85\x9b\u2028\u202e\udcff é.npy"' in text


def test_console_values_are_words(pipe: Pipe) -> None:
    """Values with spaces are quoted; None is left out."""
    configure("info", "console", fd=pipe.writer)
    get_logger().info("x", a="b", c="d e", f="", g='"', h=("json", "md"), i=1.5, j=5.0, k=None)
    assert pipe.read().partition(" info    ")[2] == 'x a=b c="d e" f="" g="\\"" h=json,md i=1.5 j=5\n'


def test_printable_text_is_left_alone() -> None:
    """Other scripts and backslashes are unchanged."""
    assert escaped("дата\\n 数据 é") == "дата\\n 数据 é"


@pytest.mark.parametrize("value", [float("nan"), {1: {2, 3}}, {(1, 2): 3}, b"\xff", object(), Path("/a")])
def test_a_value_that_json_does_not_know_is_still_logged(pipe: Pipe, value: object) -> None:
    """The event is logged even if one of its fields cannot be."""
    configure("info", "json", fd=pipe.writer)
    get_logger().info("x", source="a.npy", value=value)
    (event,) = pipe.events()
    assert (event["event"], event["source"]) == ("x", "a.npy")


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_only_the_level_and_above_is_logged(pipe: Pipe, level: str, count: int) -> None:
    """Lower levels are dropped."""
    configure(level, "json", fd=pipe.writer)  # type: ignore[arg-type]
    logger = get_logger()
    for method in (logger.debug, logger.info, logger.warning, logger.error):
        method("x")
    assert len(pipe.events()) == count


def test_a_logger_in_use_follows_a_new_configuration(pipe: Pipe) -> None:
    """A reload changes the level without a restart."""
    configure("error", "json", fd=pipe.writer)
    logger = get_logger()
    logger.info("before")
    configure("info", "json", fd=pipe.writer)
    logger.info("after")
    assert [event["event"] for event in pipe.events()] == ["after"]


def test_auto_is_console_with_colours_on_a_terminal() -> None:
    """An error is red."""

    def act(fd: int) -> None:
        configure("info", "auto", fd=fd)
        get_logger().error("x", a=1)

    shown = on_terminal(act)
    assert re.fullmatch(r"\x1b\[2m\d\d:\d\d:\d\d\x1b\[0m \x1b\[31merror   x\x1b\[0m a=1\r\n", shown)


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """NO_COLOR is set, or the terminal has no colours."""
    monkeypatch.setenv(name, value)

    def act(fd: int) -> None:
        configure("info", "auto", fd=fd)
        get_logger().error("x")

    assert "\x1b" not in on_terminal(act)


def test_json_can_be_chosen_on_a_terminal() -> None:
    """A configured format takes precedence over detection."""

    def act(fd: int) -> None:
        configure("info", "json", fd=fd)
        get_logger().error("x")

    assert json.loads(on_terminal(act))["event"] == "x"


def test_in_the_journal_each_line_has_its_priority(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """`journalctl -p err` finds the errors."""
    status = os.fstat(pipe.writer)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    configure("debug", "auto", fd=pipe.writer)
    logger = get_logger()
    for method in (logger.debug, logger.info, logger.warning, logger.error, logger.critical):
        method("x")
    assert [line[:4] for line in pipe.read().splitlines()] == ["<7>{", "<6>{", "<4>{", "<3>{", "<2>{"]


def test_a_stream_that_is_not_the_journal_gets_no_priority(pipe: Pipe) -> None:
    """The variable is inherited, also by programs whose stderr was redirected."""
    assert not is_journal(pipe.writer, {"JOURNAL_STREAM": "1:1"})
    assert not is_journal(pipe.writer, {})
    assert not is_journal(-1, {"JOURNAL_STREAM": "1:1"})


def test_a_pipe_that_nobody_reads_loses_lines_and_hardly_takes_time(pipe: Pipe) -> None:
    """Lines are dropped without blocking, and later counted in the log."""
    fcntl.fcntl(pipe.writer, fcntl.F_SETPIPE_SZ, 8192)
    configure("info", "json", fd=pipe.writer)
    logger = get_logger()
    began = time.monotonic()
    for number in range(500):
        logger.info("x", number=number, filler="y" * 1000)
    assert time.monotonic() - began < 30
    kept = len(pipe.read().splitlines())
    assert 0 < kept < 10
    logger.info("again")
    events = pipe.events()
    assert [event["event"] for event in events] == [LOG_DROPPED, "again"]
    assert (events[0]["level"], events[0]["lines"]) == ("warning", 500 - kept)
    logger.info("quiet")
    assert [event["event"] for event in pipe.events()] == ["quiet"]


def test_half_a_line_is_ended_before_the_next(pipe: Pipe) -> None:
    """A line that does not fit the pipe is cut; the next one begins on a new line."""
    fcntl.fcntl(pipe.writer, fcntl.F_SETPIPE_SZ, 8192)
    configure("info", "json", fd=pipe.writer)
    get_logger().info("long", filler="y" * 20_000)
    assert len(pipe.read()) == 8192
    get_logger().info("next")
    broken, *lines = pipe.read().split("\n")
    assert broken == ""
    assert [json.loads(line)["event"] for line in lines if line] == [LOG_DROPPED, "next"]


def test_a_long_line_reaches_a_file_whole(tmp_path: Path) -> None:
    """It is written in pieces, without a gap."""
    path = tmp_path / "log"
    with path.open("wb") as file:
        configure("info", "json", fd=file.fileno())
        get_logger().info("x", filler="é" * 100_000)
    assert len(json.loads(path.read_text(encoding="utf-8"))["filler"]) == 100_000


def test_a_reader_that_is_gone_is_not_an_error(pipe: Pipe) -> None:
    """`generation-sidecars 2>&1 | head` closes the pipe, and the service continues."""
    configure("info", "json", fd=pipe.writer)
    os.close(pipe.reader)
    for _ in range(3):
        get_logger().info("x")


def test_a_closed_descriptor_is_not_an_error(pipe: Pipe) -> None:
    """Lines are dropped."""
    configure("info", "auto", fd=pipe.writer)
    os.close(pipe.writer)
    get_logger().info("x")
    configure("info", "auto", fd=pipe.writer)
    get_logger().info("x")


def test_a_full_disk_is_not_an_error() -> None:
    """Lines are dropped; sidecars may still be written elsewhere."""
    with Path("/dev/full").open("wb") as full:
        configure("info", "json", fd=full.fileno())
        for _ in range(3):
            get_logger().info("x", filler="y" * 10_000)


def test_a_program_started_without_stderr_does_not_log_into_another_file(tmp_path: Path) -> None:
    """The first file that is opened gets descriptor 2, and must not become the log."""
    script = (
        "import os; from daemon.report.logging import *\n"
        "fd = os.open('victim', os.O_CREAT | os.O_WRONLY); assert fd == 2, fd\n"
        "configure('info', 'json'); get_logger().info('x')\n"
    )
    environ = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    command = ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, script]
    subprocess.run(command, check=True, cwd=tmp_path, env=environ)
    assert (tmp_path / "victim").read_bytes() == b""
