"""sd_notify over a real socket, and the watchdog's interval."""

from __future__ import annotations

import math
import socket
from typing import TYPE_CHECKING

import pytest

from daemon.report.systemd import FailedUnit, failed_unit, notify, watchdog_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Bind a datagram socket in place of systemd's; receiving never blocks."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.setblocking(False)
        yield bound


def test_a_message_reaches_the_socket(server: socket.socket, tmp_path: Path) -> None:
    """All assignments are in one datagram, one a line."""
    server.bind(str(tmp_path / "notify"))
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    notify("READY=1", "STATUS=watching 3 directories", environ=environ)
    assert server.recv(4096) == b"READY=1\nSTATUS=watching 3 directories"


def test_an_abstract_socket_is_reached(server: socket.socket) -> None:
    """Its name begins with @, as in many containers."""
    server.bind("")  # the kernel chooses a free abstract name
    name = server.getsockname().decode()
    notify("WATCHDOG=1", environ={"NOTIFY_SOCKET": "@" + name[1:]})
    assert server.recv(4096) == b"WATCHDOG=1"


def test_a_hostile_status_is_one_assignment(server: socket.socket, tmp_path: Path) -> None:
    """A newline cannot start another assignment."""
    server.bind(str(tmp_path / "notify"))
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    notify("STATUS=a\nSTOPPING=1\r\udcff", "READY=1", environ=environ)
    assert server.recv(4096) == b"STATUS=a STOPPING=1 \\udcff\nREADY=1"


@pytest.mark.parametrize(
    "value", [None, "", "relative", "vsock:2:1234", "@", "/no/such", "/" + "x" * 500, "/a\0b"]
)
def test_without_a_usable_socket_nothing_happens(value: str | None) -> None:
    """The service also runs without systemd."""
    environ = {} if value is None else {"NOTIFY_SOCKET": value}
    notify("READY=1", environ=environ)


def test_a_full_socket_does_not_make_the_service_wait(server: socket.socket, tmp_path: Path) -> None:
    """The message is dropped instead."""
    server.bind(str(tmp_path / "notify"))
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    for _ in range(100_000):
        notify("WATCHDOG=1", environ=environ)
    assert server.recv(4096) == b"WATCHDOG=1"


def test_a_message_larger_than_a_datagram_is_not_an_error(server: socket.socket, tmp_path: Path) -> None:
    """It is dropped."""
    server.bind(str(tmp_path / "notify"))
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    notify("STATUS=" + "x" * (8 << 20), environ=environ)
    notify("READY=1", environ=environ)
    assert server.recv(4096) == b"READY=1"


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, math.inf),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "42"}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "43"}, math.inf),
        ({"WATCHDOG_USEC": "0"}, math.inf),
        ({"WATCHDOG_USEC": "-1"}, math.inf),
        ({"WATCHDOG_USEC": "soon"}, math.inf),
        ({"WATCHDOG_USEC": "²"}, math.inf),
        ({"WATCHDOG_PID": "42"}, math.inf),
    ],
)
def test_the_watchdog_is_fed_when_it_waits_for_this_process(environ: dict[str, str], seconds: float) -> None:
    """Any other value means that there is no watchdog."""
    assert watchdog_seconds(environ, pid=42) == seconds


@pytest.mark.parametrize(
    ("active", "sub", "user"),
    [("failed", "failed", False), ("activating", "auto-restart", True), ("active", "running", None)],
)
def test_a_unit_that_failed_or_keeps_being_restarted_is_found(
    active: str, sub: str, user: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's systemd is asked first, then the user's; it may not be running."""
    systemctl = tmp_path / "systemctl"
    only = {False: '[ "$1" = show ]', True: '[ "$1" = --user ]', None: "true"}[user]
    answer = f"ActiveState={active}\\nSubState={sub}\\nResult=exit-code\\nExecMainStatus=2\\n"
    systemctl.write_text(f"#!/bin/sh\n{only} && printf '{answer}'\n", "utf-8")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = None if user is None else FailedUnit("x.service", "exit-code, status 2", user)
    assert failed_unit("x.service") == found
    systemctl.unlink()
    assert failed_unit("x.service") is None
