"""What a sidecar needs, decided from file times alone: no database, and the same answer on every host.

A sidecar carries its stamp as its own modification time: the newest time, in nanoseconds, of what it was
made from.  Change times (ctime) tell apart what the stamp alone does not: a clock that was ahead, and a file
system that keeps fewer digits.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from lib.files.permissions import is_wider, may_show
from lib.files.reader import file_type, status_of
from lib.names import Format, metadata_name, partner_name, sidecar_name

if TYPE_CHECKING:
    import os

    from lib.options import Options

Action = Literal["render", "fresh", "narrow", "compare", "blocked"]

OLDER: Final = "older than what it is made from"
WIDE: Final = "readable by more people than what it is made from"
_TICKS_NS: Final = (100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000)
"""What file systems keep of a time: NTFS, ..., ext3 and HFS+, FAT."""
_COARSE_CTIME_NS: Final = 2_000_000_000
"""A change time may have fewer digits than a modification time, and a slower clock."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about one sidecar, and why.

    ``narrow``: it is right, but more people can read it than what it shows.  ``compare``: somebody may
    have edited it, so its bytes decide.  ``blocked``: its name belongs to something that is not a file.
    ``inputs``: the files it is made from, as they were seen, the source first; ``seen``: the sidecar.
    """

    fmt: Format
    action: Action
    reason: str
    inputs: tuple[os.stat_result, ...]
    seen: os.stat_result | None

    @property
    def stamp_ns(self) -> int:
        """The time that the sidecar is to carry, in nanoseconds."""
        return max(file.st_mtime_ns for file in self.inputs)

    @property
    def is_wide(self) -> bool:
        """Tell whether more people can read the sidecar than each of the files it is made from."""
        return self.seen is not None and is_wider(self.seen, self.inputs)


def plan_source(directory: int, name: str, source: os.stat_result, options: Options) -> list[Plan]:
    """Plan every sidecar of a source from file times alone.

    :raises Storage: the system refuses to look a file up.
    """
    partner = partner_name(name)
    shown, not_shown = (partner, None) if options.extras.pairs else (None, partner)
    names = (metadata_name(name), shown) if "md" in options.formats else ()
    others = [seen for other in names if other and (seen := status_of(directory, other))]
    plans = []
    for fmt in options.formats:
        sidecar = status_of(directory, sidecar_name(name, fmt))
        plans.append(plan_sidecar(fmt, inputs_of(fmt, source, *others), sidecar, force=options.force))
    is_json_stale = any(plan.fmt == "json" and plan.action == "render" and plan.seen for plan in plans)
    for at, plan in enumerate(plans):
        if plan.fmt != "md" or plan.seen is None or plan.action in {"render", "blocked"}:
            continue
        reason = ""
        if plan.action == "compare":
            prompts = status_of(directory, not_shown) if not_shown else None
            if prompts is not None and plan.seen.st_mtime_ns == prompts.st_mtime_ns:  # stamped, not edited
                reason = "shows prompts, which pages no longer do"
        elif is_json_stale and plan.stamp_ns != source.st_mtime_ns:
            # an older version that replaces the source (rsync, mv) leaves a stamp that is the metadata's
            reason = OLDER
        if _shows_closed(plan, plan.seen, others):
            reason = "shows what is no longer open to everybody"
        if reason:
            plans[at] = replace(plan, action="render", reason=reason)
    return plans


def _shows_closed(plan: Plan, page: os.stat_result, others: list[os.stat_result]) -> bool:
    """Tell whether a page was made when another owner's file, which it shows, was open to everybody."""
    source, time, stamp = plan.inputs[0], page.st_mtime_ns, plan.stamp_ns
    closed = [other for other in others if stat.S_ISREG(other.st_mode) and not may_show(source, other)]
    if not closed:
        return False
    with_closed = max(stamp, *(other.st_mtime_ns for other in closed))
    closed_later = page.st_ctime_ns <= max(other.st_ctime_ns for other in closed)
    return time == with_closed != stamp or (time == stamp and closed_later)


def inputs_of(fmt: Format, source: os.stat_result, *others: os.stat_result) -> tuple[os.stat_result, ...]:
    """Return the files that a sidecar is made from, the source first.

    For a page these are also the metadata, and the full texts when the page shows their prompts; not those
    of another owner that not everybody may read.
    """
    if fmt != "md":
        return (source,)
    return (source, *(other for other in others if stat.S_ISREG(other.st_mode) and may_show(source, other)))


def plan_sidecar(
    fmt: Format, inputs: tuple[os.stat_result, ...], sidecar: os.stat_result | None, *, force: bool = False
) -> Plan:
    """Plan one sidecar from what was seen of it, and of the files it is made from."""
    action, reason = _action(inputs, sidecar, force=force)
    if action == "fresh" and sidecar is not None and is_wider(sidecar, inputs):
        action, reason = "narrow", WIDE
    return Plan(fmt, action, reason, inputs, sidecar)


def _action(
    inputs: tuple[os.stat_result, ...], sidecar: os.stat_result | None, *, force: bool
) -> tuple[Action, str]:
    if sidecar is None:
        return "render", "absent"
    if not stat.S_ISREG(sidecar.st_mode):
        return "blocked", f"{file_type(sidecar.st_mode)} stands where the sidecar belongs"
    if force:
        return "render", "forced"
    stamp, time = max(file.st_mtime_ns for file in inputs), sidecar.st_mtime_ns
    if time == stamp or _is_cut_stamp(sidecar, inputs, stamp):
        return "fresh", "up to date"
    if time > stamp:
        if _was_stamped(sidecar):
            return "render", "stamped for another version of what it is made from"
        return "compare", "newer than what it is made from"
    if _was_edited_behind(sidecar, inputs):
        return "compare", "changed after what it is made from, whose time lies ahead"
    return "render", OLDER


def _was_stamped(sidecar: os.stat_result) -> bool:
    """Tell whether a file's time was set: nothing that is written is younger than its last change.

    A file system that keeps no change times (0) tells nothing.
    """
    return sidecar.st_ctime_ns > 0 and sidecar.st_mtime_ns > sidecar.st_ctime_ns + _COARSE_CTIME_NS


def _is_cut_stamp(sidecar: os.stat_result, inputs: tuple[os.stat_result, ...], stamp: int) -> bool:
    """Tell whether a sidecar was made from these inputs, and its file system keeps fewer digits of a time."""
    changed = max(file.st_ctime_ns for file in inputs)
    return sidecar.st_ctime_ns > changed and any(
        sidecar.st_mtime_ns == stamp - stamp % tick for tick in _TICKS_NS
    )


def _was_edited_behind(sidecar: os.stat_result, inputs: tuple[os.stat_result, ...]) -> bool:
    """Tell whether a sidecar was written after inputs whose times lie ahead of their own last change."""
    ahead = [file for file in inputs if file.st_mtime_ns > sidecar.st_mtime_ns]
    return not _was_stamped(sidecar) and all(
        file.st_mtime_ns > file.st_ctime_ns and sidecar.st_ctime_ns > file.st_ctime_ns for file in ahead
    )
