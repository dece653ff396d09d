"""systemd: notify it, sd_notify(3), and ask it which unit has failed."""

from __future__ import annotations

import math
import os
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_PATIENCE_SECONDS: Final = 5.0
_PROPERTIES: Final = "--property=ActiveState,SubState,Result,ExecMainStatus"


def notify(*assignments: str, environ: Mapping[str, str] = os.environ) -> None:
    r"""Send assignments such as ``READY=1`` and ``STATUS=…`` together; a failure is ignored.

    ``NOTIFY_SOCKET``, if set, is the address: a path, or an abstract name after "@".  A newline, which would
    start another assignment, is sent as a space.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    lines = (" ".join(assignment.splitlines()) for assignment in assignments)
    message = "\n".join(lines).encode("utf-8", "backslashreplace")
    # ValueError: a NUL in the path
    with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.sendto(message, "\0" + address[1:] if address.startswith("@") else address)


def watchdog_seconds(environ: Mapping[str, str] = os.environ, pid: int | None = None) -> float:
    """Return within how many seconds ``WATCHDOG=1`` must be sent again: infinity without a watchdog.

    Half of it is a good interval, sd_watchdog_enabled(3).
    """
    owner = environ.get("WATCHDOG_PID", "")
    if owner and owner != str(os.getpid() if pid is None else pid):
        return math.inf
    microseconds = environ.get("WATCHDOG_USEC", "")
    seconds = int(microseconds) / 1_000_000 if microseconds.isascii() and microseconds.isdigit() else 0.0
    return seconds or math.inf


@dataclass(frozen=True, slots=True)
class FailedUnit:
    """A unit that has failed or keeps being restarted; ``user``: it belongs to the user's systemd."""

    name: str
    reason: str
    user: bool = False


def failed_unit(name: str = "generation-sidecars.service") -> FailedUnit | None:
    """Return the system's unit if it has failed, or else this user's; None without systemd."""
    for user in (False, True):
        words = ["systemctl", *(["--user"] if user else []), "show", _PROPERTIES, name]
        with suppress(OSError, subprocess.SubprocessError):  # systemd is not running, or not for this user
            answer = subprocess.run(  # noqa: S603  # fixed arguments
                words, capture_output=True, text=True, errors="replace", timeout=_PATIENCE_SECONDS, check=True
            )
            fields = dict(line.partition("=")[::2] for line in answer.stdout.splitlines())
            if fields.get("ActiveState") == "failed" or fields.get("SubState") == "auto-restart":
                reason = f"{fields.get('Result', '')}, status {fields.get('ExecMainStatus', '')}"
                return FailedUnit(name, reason, user)
    return None
