"""``--status`` as text, in 80 columns unless a path is longer."""

from __future__ import annotations

import textwrap
from collections import Counter
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from daemon.report.logging import escaped
from daemon.report.status import NAME, Condition, Reading, Status, Trouble, moment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daemon.report.systemd import FailedUnit

_REJECTED: Final = "the last change was rejected; the previous configuration is in force:"
_WIDTH: Final = 80
_LEAD: Final = " " * 11
_SKIPPED_SHOWN: Final = 10
_SOURCES: Final = ("failed", "skipped")
_ORDER: Final = ("failed", "kept", "skipped")


def render_text(readings: Sequence[Reading], now: datetime, failed: FailedUnit | None = None) -> str:
    """Return the readings as text; without any, say that no service is running, or which unit ``failed``."""
    parts = [_service(reading.status, now, reading.condition(now)) for reading in readings]
    if failed is not None:
        parts.append(_failed(failed))
    if not parts:
        return "No service is running. Start one: generation-sidecars DIRECTORY, or see systemd/README.md.\n"
    return "\n".join(parts)


def _failed(unit: FailedUnit) -> str:
    systemctl = "systemctl --user" if unit.user else "systemctl"
    journalctl = f"journalctl {'--user ' if unit.user else ''}-u {unit.name} -n 20"
    reason = f"{unit.name} has failed ({unit.reason}), and no service is running."
    hint = f"See the reason with: {journalctl}. Fix it, then run: {systemctl} restart {unit.name}"
    return "\n".join([*_wrapped(reason, ""), *_wrapped(hint, ""), ""])


def _service(status: Status, now: datetime, condition: Condition) -> str:
    updated, since = moment(status.updated), moment(status.since)
    state = {
        "running": status.mode,
        "stuck": f"has not updated since {_clock(updated)}",
        "died": f"the service died at {_clock(updated)} or soon after",
    }[condition]
    rows = [
        ("state", state),
        ("config", _REJECTED if status.rejected else ""),
        *(("config", problem) for problem in status.rejected),
        ("watch", f"unreliable, so sweeps run more often: {status.unheard}" if status.unheard else ""),
        ("since", f"{_clock(since)} ({duration((updated - since).total_seconds())})"),
        ("updated", _ago(status.updated, now)),
        *((name, f"{getattr(status, name):,}") for name in ("directories", "sources", "pending")),
        ("last sweep", _sweep(status, now)),
        ("since start", _totals(status.totals)),
    ]
    lines = [f"{NAME} {escaped(status.version)} (pid {status.pid})"]
    marks = {root: f"  ({escaped(reason)})" for root, reason in status.unusable.items()}
    lines += (f"  {'root':<13}{escaped(root)}{marks.get(root, '')}" for root in status.roots)
    for name, text in rows:
        lines += _wrapped(escaped(text), f"  {name:<13}")
    return "\n".join([*lines, *_troubles(status.troubles), ""])


def _sweep(status: Status, now: datetime) -> str:
    if not status.last_sweep:
        return "none yet"
    counts = {name: count for name, count in status.last_sweep.items() if name != "seconds"}
    text = f"sidecars: {_counted(counts)}; it took {status.last_sweep.get('seconds', 0):,.1f} s"
    return f"{text} and ended {_ago(status.last_sweep_ended, now)}" if status.last_sweep_ended else text


def _ago(time: str, now: datetime) -> str:
    return f"{_clock(moment(time))} ({duration((now - moment(time)).total_seconds())} ago)"


def _totals(totals: Mapping[str, int]) -> str:
    sidecars = {name: count for name, count in totals.items() if name not in _SOURCES}
    sources = {name: totals[name] for name in _SOURCES if name in totals}
    parts = (("sidecars", sidecars), ("sources", sources))
    return "; ".join(f"{what}: {_counted(counts)}" for what, counts in parts if counts)


def _troubles(troubles: Sequence[Trouble]) -> list[str]:
    if not troubles:
        return []
    counts = Counter(trouble.state for trouble in troubles)
    states = sorted(counts, key=lambda state: (*_ORDER, state).index(state))
    lines = ["", ", ".join(f"{counts[state]:,} {escaped(state)}" for state in states) + ":"]
    for state in states:
        own = [trouble for trouble in troubles if trouble.state == state]
        lines += _groups(own) if state == "skipped" else [line for trouble in own for line in _entry(trouble)]
    return lines


def _entry(trouble: Trouble) -> list[str]:
    since = f" (since {_clock(moment(trouble.since))})" if trouble.since else ""
    lines = [f"  {escaped(trouble.state):<8} {escaped(trouble.path)}"]
    for text in (trouble.reason + since, trouble.hint):
        lines += _wrapped(escaped(text), _LEAD)
    return lines


def _groups(skipped: Sequence[Trouble]) -> list[str]:
    """Return the skipped sources by reason, with the first few of each."""
    groups: dict[str, list[str]] = {}
    for trouble in skipped:
        groups.setdefault(trouble.reason, []).append(trouble.path)
    lines = []
    for reason, paths in groups.items():
        noun = "source" if len(paths) == 1 else "sources"
        lines += _wrapped(f"{len(paths):,} {noun}: {escaped(reason)}", f"  {'skipped':<8} ", _LEAD)
        lines += [f"{_LEAD}{escaped(path)}" for path in paths[:_SKIPPED_SHOWN]]
        if len(paths) > _SKIPPED_SHOWN:
            lines.append(f"{_LEAD}… and {len(paths) - _SKIPPED_SHOWN:,} more: --status --json has them all")
    return lines


def _wrapped(text: str, lead: str, further: str | None = None) -> list[str]:
    """Return the lines of a text: none if it is empty."""
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead) if further is None else further,
        break_long_words=False,  # a path is copied whole
        break_on_hyphens=False,
    )


def _counted(counts: Mapping[str, int | float]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _clock(time: datetime) -> str:
    return time.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float) -> str:
    """Return a span of time in its two largest units."""
    rest = max(0, round(seconds))
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        parts.append(f"{count} {unit}" if count else "")
    first = next((index for index, part in enumerate(parts) if part), len(parts))
    return " ".join(part for part in parts[first : first + 2] if part) or "0 s"
