r"""Log events on stderr, one line each, as JSON or for people.

A file name may hold newlines, escapes and bytes that are not UTF-8; stderr may be closed, on a full disk, or
a pipe that nobody reads.  None of that breaks a line, drives a terminal, raises, or blocks the service.  A
line that cannot be written is dropped; a ``log.dropped`` with the number of lost lines precedes the next one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from daemon.report.events import LOG_DROPPED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping
    from contextlib import AbstractContextManager

    from structlog.typing import FilteringBoundLogger

    from daemon.config.model import Level, LogFormat

_STDERR: Final = 2
_PATIENCE_MS: Final = 100
_ATOMIC_BYTES: Final = select.PIPE_BUF
"""poll promises room for this much in a pipe, so that write cannot block."""
_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # syslog(3)
_COLOURS: Final = {"debug": 2, "info": 1, "warning": 33, "error": 31, "critical": 31}
_DIM: Final = 2


def configure(
    level: Level,
    format: LogFormat,  # noqa: A002  # the key's name
    *,
    fd: int = _STDERR,
    aside: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
) -> None:
    """Send events of this level and above to stderr (or ``fd``); may be called again.

    Each line is written in the context ``aside()``, which takes a progress bar out of the way.  "auto" means
    "console" on a terminal and "json" elsewhere.  In the journal (``JOURNAL_STREAM``, systemd.exec(5)) each
    line starts with its priority, sd-daemon(3).  ``NO_COLOR`` turns colours off.
    """
    import structlog  # `--help` and the library do not need it

    writer = EventWriter(fd, format, aside)
    structlog.configure(
        processors=[writer.render],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        context_class=dict,
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=False,  # so that a new configuration reaches loggers that are in use
    )


def get_logger() -> FilteringBoundLogger:
    """Return a logger: ``log.info(SIDECARS_WRITTEN, source=…)``; every :func:`configure` applies to it."""
    import structlog  # see configure

    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def is_journal(fd: int, environ: Mapping[str, str]) -> bool:
    """Tell whether ``fd`` is the journal's stream; it may have been redirected."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def escaped(text: str) -> str:
    r"""Escape everything that is not printable; backslashes stay.

    >>> print(escaped("a\x1b[2J\n\udcff é"))
    a\x1b[2J\n\udcff é
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class EventWriter:
    """Turns events into lines, and writes these whole to a file descriptor, or drops them; never raises.

    Use from one thread.  ``render`` is structlog's only processor.
    """

    def __init__(self, fd: int, form: LogFormat, aside: Callable[[], AbstractContextManager[object]]) -> None:
        is_dumb = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        self._is_terminal = os.isatty(fd)
        self._is_console = form == "console" or (form == "auto" and self._is_terminal)
        self._has_colours = self._is_console and self._is_terminal and not is_dumb
        self._is_journal = is_journal(fd, os.environ)
        # if stderr was closed at the start, descriptor 2 may now be a source or a sidecar
        self._fd = -1 if fd == _STDERR and sys.__stderr__ is None else fd
        self._aside = aside
        self._dropped = 0
        self._is_broken = False

    def render(self, _logger: Any, level: str, event: MutableMapping[str, Any]) -> str:
        """Return the line of an event, with a newline."""
        now = datetime.now(timezone.utc)
        prefix = f"<{_PRIORITIES[level]}>" if self._is_journal else ""
        return f"{prefix}{self._words(now, level, event) if self._is_console else _json(now, level, event)}\n"

    def _words(self, now: datetime, level: str, event: MutableMapping[str, Any]) -> str:
        # at a terminal the date is known
        moment = now.astimezone().strftime("%H:%M:%S") if self._is_terminal else _iso(now)
        head = f"{level:<7} {escaped(event.pop('event'))}"
        fields = (f"{escaped(key)}={_as_word(value)}" for key, value in event.items() if value is not None)
        return " ".join([self._in(_DIM, moment), self._in(_COLOURS[level], head), *fields])

    def _in(self, colour: int, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._has_colours else text

    def write(self, line: str) -> None:
        """Write one line, which ends with a newline, or count it as dropped."""
        with self._aside():
            lost = {"event": LOG_DROPPED, "lines": self._dropped}
            if self._dropped and self._put(self.render(None, "warning", lost)):
                self._dropped = 0
            if self._dropped or not self._put(line):
                self._dropped += 1

    debug = info = warning = error = critical = write

    def _put(self, line: str) -> bool:
        """Write a line in pieces, none of which can block; return whether that succeeded."""
        # a line that failed halfway is ended first
        content = ("\n" * self._is_broken + line).encode("utf-8", "backslashreplace")
        while content:
            # wait for a reader once, not for every line
            if not self._has_room(0 if self._dropped else _PATIENCE_MS):
                return False
            try:
                written = os.write(self._fd, content[:_ATOMIC_BYTES])
            except OSError:
                return False
            self._is_broken = content[written - 1 : written] != b"\n"
            content = content[written:]
        return True

    def _has_room(self, patience_ms: int) -> bool:
        if self._fd < 0:
            return False
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return any(events == select.POLLOUT for _, events in poll.poll(patience_ms))


def _iso(now: datetime) -> str:
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(now: datetime, level: str, event: MutableMapping[str, Any]) -> str:
    r"""Return one JSON object; characters that are not printable become ``\u`` escapes."""
    ordered = {"event": event.pop("event"), "level": level, "timestamp": _iso(now), **event}
    text = json.dumps(ordered, ensure_ascii=False, default=str, skipkeys=True)
    return text if text.isprintable() else "".join(map(_json_char, text))


def _json_char(char: str) -> str:
    return char if char.isprintable() else json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"


def _as_word(value: object) -> str:
    """Return a value as one word, in quotation marks if it has spaces."""
    if isinstance(value, (list, tuple)):
        return ",".join(_as_word(entry) for entry in value)
    text = escaped(f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value))
    return text if text and not set(text) & set(' ="') else '"' + text.replace('"', '\\"') + '"'
