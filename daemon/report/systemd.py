"""Tell systemd how the service is, sd_notify(3): one datagram a message, never an error, never a wait."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Notifier:
    """Where messages go; an empty address, as without systemd, means nowhere."""

    address: str = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Notifier:
        """Take the address from ``NOTIFY_SOCKET``: a path, or an abstract name after "@"; else nowhere."""
        address = environ.get("NOTIFY_SOCKET", "")
        if address.startswith("@"):
            return cls("\0" + address[1:])
        return cls(address if address.startswith("/") else "")

    def send(self, *assignments: str) -> bool:
        r"""Send assignments such as ``READY=1`` and ``STATUS=…`` together; False when nobody took them.

        A newline inside one is sent as a space: it would start another assignment.
        """
        if not self.address:
            return False
        lines = (" ".join(assignment.splitlines()) for assignment in assignments)
        message = "\n".join(lines).encode("utf-8", "backslashreplace")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                client.sendto(message, self.address)
        except (OSError, ValueError):  # ValueError: a NUL in the path
            return False
        return True


def watchdog_seconds(environ: Mapping[str, str] = os.environ, pid: int | None = None) -> float | None:
    """Say within how many seconds ``WATCHDOG=1`` must be sent again; None when nobody waits for it from us.

    Half of it is a good interval, sd_watchdog_enabled(3).
    """
    owner = environ.get("WATCHDOG_PID", "")
    if owner and owner != str(os.getpid() if pid is None else pid):
        return None
    microseconds = environ.get("WATCHDOG_USEC", "")
    if not (microseconds.isascii() and microseconds.isdigit()):
        return None
    return int(microseconds) / 1_000_000 or None
