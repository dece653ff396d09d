"""What a running service tells about itself: a small file that it rewrites, and that ``--status`` reads.

Each service has a file of its own, ``<pid>.json``, in the runtime directory.  A file that outlives its
process, or that nobody rewrites any more, is told from a live one by the process table and by its age.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import textwrap
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from daemon.report.terminal import escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    StartOf: TypeAlias = Callable[[int], "int | None"]

Mode: TypeAlias = Literal["watching", "sweeping only", "waiting for root"]
Condition: TypeAlias = Literal["running", "stuck", "died"]

NAME: Final = "generation-sidecars"
NOT_RUNNING: Final = 3
"""The exit status when there is no service to tell of."""
_MISSED_WRITES: Final = 3
_WIDTH: Final = 80
_RUN: Final = Path("/run")
_TMP: Final = Path("/tmp")  # noqa: S108  # what we make there is private, and refused when it is not ours


@dataclass(frozen=True, slots=True)
class Trouble:
    """One file that could not be done: what became of it, why, what to do about it, and since when (ISO)."""

    path: str
    state: str
    reason: str
    hint: str = ""
    since: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """What one service does.

    Roots are absolute, times ISO with their zone; ``interval_seconds`` is how often it is written.
    """

    version: str
    pid: int
    since: str
    updated: str
    roots: tuple[str, ...]
    mode: Mode = "watching"
    unheard: str = ""
    """Why events cannot be relied on, so that sweeps run more often; empty when they can."""
    directories: int = 0
    sources: int = 0
    pending: int = 0
    last_sweep: Mapping[str, int | float] | None = None
    troubles: tuple[Trouble, ...] = ()
    interval_seconds: float = 10.0
    process_start: int = 0
    """Start of the process in clock ticks since boot: tells it from a later one that has the same pid."""


def runtime_directory(environ: Mapping[str, str] = os.environ, *, run: Path = _RUN, tmp: Path = _TMP) -> Path:
    """Say where a service of this user puts its file; nothing is created."""
    return own_directories(environ, run=run, tmp=tmp)[0]


def own_directories(
    environ: Mapping[str, str] = os.environ, *, run: Path = _RUN, tmp: Path = _TMP
) -> tuple[Path, ...]:
    """List where services of this user may have put their files, whatever environment each was started in.

    ``RUNTIME_DIRECTORY``, as systemd.exec(5) has it, is the only place when it is given.
    """
    if given := _given(environ):
        return (given,)
    uid = os.getuid()
    session = environ.get("XDG_RUNTIME_DIR", "")
    user = run / "user" / str(uid)
    places = (
        (Path(session, NAME), bool(session)),
        (user / NAME, user.is_dir()),
        (tmp / f"{NAME}-{uid}", True),
    )
    return tuple(dict.fromkeys(path for path, is_there in places if is_there and path.is_absolute()))


def _given(environ: Mapping[str, str]) -> Path | None:
    first = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]  # several are joined
    return Path(first) if os.path.isabs(first) else None


def write(status: Status, directory: Path) -> None:
    """Replace the service's file; a reader sees the old one or the new one.

    The directory is made when it is missing, for this user alone.  Raises ``OSError``, also when it stands
    where anybody may make one and is not ours.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    if not _is_trustworthy(directory):
        raise PermissionError(
            errno.EPERM, "is a link, or belongs to or is open to somebody else", str(directory)
        )
    if not status.process_start:
        status = replace(status, process_start=process_start(status.pid) or 0)
    temporary = directory / f".{status.pid}.tmp"
    temporary.write_text(json.dumps(asdict(status)), encoding="ascii")
    temporary.replace(directory / f"{status.pid}.json")


def remove(directory: Path, pid: int) -> None:
    """Take a service's file away when it stops; may be called twice, never raises."""
    for name in (f"{pid}.json", f".{pid}.tmp"):
        with suppress(OSError):
            (directory / name).unlink()


def forget_dead(directory: Path, roots: Iterable[str]) -> None:
    """Take away what services left that died on one of these roots: their successor is here; never raises."""
    own = set(roots)
    for status in read(directory):
        if own.intersection(status.roots) and not is_alive(status):
            remove(directory, status.pid)


def read(directory: Path) -> tuple[Status, ...]:
    """Read the files of all services in a directory, by pid; other files are passed over, never raises."""
    try:
        paths = list(directory.iterdir()) if _is_trustworthy(directory) else []
    except OSError:
        return ()
    found = (_read_one(path) for path in paths if path.suffix == ".json")
    return tuple(sorted((status for status in found if status), key=lambda status: status.pid))


def read_all(
    environ: Mapping[str, str] = os.environ, *, run: Path = _RUN, tmp: Path = _TMP
) -> tuple[Status, ...]:
    """Read what this user's services tell, and the system's when none of them is alive.

    A service that died on roots that another one serves by now is left out.
    """
    found = [status for directory in own_directories(environ, run=run, tmp=tmp) for status in read(directory)]
    if not _given(environ) and not any(is_alive(status) for status in found):
        found += (status for status in read(run / NAME) if status not in found)
    served = {root for status in found if is_alive(status) for root in status.roots}
    return tuple(status for status in found if is_alive(status) or not served.issuperset(status.roots))


def process_start(pid: int) -> int | None:
    """Say when a process started, in clock ticks since boot, proc(5); None when gone, 0 when hidden."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return _hidden_or_gone(pid)
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def _hidden_or_gone(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except PermissionError:  # another user's, and /proc is mounted with hidepid
        return 0
    except (OSError, OverflowError):
        return None
    return 0


def is_alive(status: Status, start_of: StartOf = process_start) -> bool:
    """Tell whether the process that wrote this still runs, and not a later one with its pid."""
    start = start_of(status.pid)
    return start is not None and (0 in {start, status.process_start} or start == status.process_start)


def condition(status: Status, now: datetime, start_of: StartOf = process_start) -> Condition:
    """Say how a service is: "stuck" when it is alive and has missed three of its writes."""
    if not is_alive(status, start_of):
        return "died"
    patience = timedelta(seconds=_MISSED_WRITES * status.interval_seconds)
    return "stuck" if now - _moment(status.updated) > patience else "running"


def exit_status(statuses: Sequence[Status], now: datetime, start_of: StartOf = process_start) -> int:
    """Give the exit status of ``--status``: 0 all is well, 1 a file failed or a service is ill, 3 none."""
    conditions = {condition(status, now, start_of) for status in statuses}
    if not conditions - {"died"}:
        return NOT_RUNNING
    failed = any(trouble.state == "failed" for status in statuses for trouble in status.troubles)
    return 1 if failed or conditions != {"running"} else 0


def render_json(statuses: Sequence[Status], now: datetime, start_of: StartOf = process_start) -> str:
    """Write what services tell as a JSON list, each with its ``condition``; in ASCII any name survives."""
    entries = [asdict(status) | {"condition": condition(status, now, start_of)} for status in statuses]
    return json.dumps(entries, indent=2) + "\n"


def render_text(statuses: Sequence[Status], now: datetime, start_of: StartOf = process_start) -> str:
    """Write what services tell for people, 80 columns wide except where a path is longer."""
    if not statuses:
        return "No service is running. Start one: generation-sidecars DIRECTORY, or see systemd/README.md.\n"
    return "\n".join(_service_text(status, now, condition(status, now, start_of)) for status in statuses)


def _service_text(status: Status, now: datetime, health: Condition) -> str:
    updated, since = _moment(status.updated), _moment(status.since)
    head = {
        "running": status.mode,
        "stuck": f"has not updated since {_clock(updated)}",
        "died": f"the service died at {_clock(updated)} or soon after",
    }[health]
    rows = [
        ("state", head),
        *([("watch", f"not relied on, sweeps run more often: {status.unheard}")] if status.unheard else []),
        ("since", f"{_clock(since)} ({_duration(updated - since)})"),
        ("updated", f"{_clock(updated)} ({_duration(now - updated)} ago)"),
        *((name, f"{getattr(status, name):,}") for name in ("directories", "sources", "pending")),
        (
            "last sweep",
            ", ".join(f"{_count(count)} {name}" for name, count in (status.last_sweep or {}).items()),
        ),
    ]
    lines = [f"{NAME} {escaped(status.version)} (pid {status.pid})"]
    lines += [f"  {'root':<13}{escaped(root)}" for root in status.roots]
    for name, text in rows:
        lines += _wrapped(escaped(text) or "none yet", f"  {name:<13}")
    return "\n".join([*lines, *_troubles_text(status.troubles), ""])


def _troubles_text(troubles: Sequence[Trouble]) -> list[str]:
    if not troubles:
        return []
    counts = Counter(trouble.state for trouble in troubles)
    lines = ["", ", ".join(f"{count:,} {escaped(state)}" for state, count in counts.items()) + ":"]
    for trouble in troubles:
        lines.append(f"  {escaped(trouble.state):<8} {escaped(trouble.path)}")
        since = f" (since {_clock(_moment(trouble.since))})" if trouble.since else ""
        for text in (trouble.reason + since, trouble.hint):
            lines += _wrapped(escaped(text), " " * 11) if text else []
    return lines


def _wrapped(text: str, lead: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,  # a path is copied whole
        break_on_hyphens=False,
    )


def _count(count: float) -> str:
    return f"{count:,}" if isinstance(count, int) else f"{count:,.1f}"


def _clock(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def _duration(span: timedelta) -> str:
    """Write a span of time with its two largest units."""
    rest = max(0, round(span.total_seconds()))
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        parts.append(f"{count} {unit}" if count else "")
    first = next((index for index, part in enumerate(parts) if part), len(parts))
    return " ".join(part for part in parts[first : first + 2] if part) or "0 s"


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))  # Python 3.10 does not know the Z
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _is_trustworthy(directory: Path) -> bool:
    """Refuse a directory that somebody else may have laid out for us, where everybody may: in /tmp."""
    if not directory.parent.stat().st_mode & stat.S_IWOTH:
        return True
    status = directory.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022


def _read_one(path: Path) -> Status | None:
    try:
        raw = json.loads(path.read_bytes())
        status = Status(**{name: raw[name] for name in Status.__slots__ if name in raw})
        troubles = tuple(Trouble(**trouble) for trouble in raw.get("troubles", ()))
        checked = replace(status, pid=int(status.pid), roots=tuple(status.roots), troubles=troubles)
        _service_text(checked, _moment(status.updated), "running")  # whoever can be shown is sound
    except (OSError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return None  # half a file, or another program's
    return checked
