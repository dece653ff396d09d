"""Deciding what a sidecar needs, from file times alone: no database, and the same answer on every host.

A sidecar carries its stamp as its own modification time: the newest time, in nanoseconds, of what it was made
from.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from lib.files.reader import file_type, status_of
from lib.names import metadata_name, partner_name, sidecar_name
from lib.outcome import source_kind

if TYPE_CHECKING:
    import os

    from lib.names import Format
    from lib.options import Options

Action = Literal["render", "fresh", "compare", "blocked"]

OLDER: Final = "older than what it is made from"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about one sidecar, and why.

    ``compare``: it is newer than its stamp, so somebody wrote it after us; its bytes decide.
    ``blocked``: something that is no file stands at its name.
    """

    fmt: Format
    action: Action
    reason: str
    stamp_ns: int
    seen: os.stat_result | None


def plan_source(directory: int, name: str, source: os.stat_result, options: Options) -> list[Plan]:
    """Plan every sidecar of a source from file times alone.

    :raises Storage: the system refuses to look a file up.
    """
    kind = source_kind(name)
    metadata = full_texts = None
    if "md" in options.formats:
        metadata = status_of(directory, metadata_name(name, kind))
        partner = partner_name(name, kind) if options.extras.pairs else None
        full_texts = status_of(directory, partner) if partner else None
    plans = []
    for fmt in options.formats:
        sidecar = status_of(directory, sidecar_name(name, fmt))
        plans.append(plan_sidecar(fmt, source, metadata, sidecar, full_texts=full_texts, force=options.force))
    return follow_json(plans, source)


def stamp_of(fmt: Format, source: os.stat_result, *others: os.stat_result | None) -> int:
    """Return the stamp in nanoseconds: the source's time, for a page the newest of it and ``others``.

    The others are the metadata, and the full texts when the page shows their prompts.
    """
    if fmt != "md":
        return source.st_mtime_ns
    files = [other for other in others if other is not None and stat.S_ISREG(other.st_mode)]
    return max(file.st_mtime_ns for file in (source, *files))


def plan_sidecar(
    fmt: Format,
    source: os.stat_result,
    metadata: os.stat_result | None,
    sidecar: os.stat_result | None,
    *,
    full_texts: os.stat_result | None = None,
    force: bool = False,
) -> Plan:
    """Decide about one sidecar from what was seen of the files."""
    return plan_by_stamp(fmt, stamp_of(fmt, source, metadata, full_texts), sidecar, force=force)


def plan_by_stamp(fmt: Format, stamp: int, sidecar: os.stat_result | None, *, force: bool) -> Plan:
    """Decide about one sidecar that is to carry this stamp (nanoseconds)."""
    if sidecar is None:
        return Plan(fmt, "render", "absent", stamp, None)
    if not stat.S_ISREG(sidecar.st_mode):
        reason = f"{file_type(sidecar.st_mode)} stands where the sidecar belongs"
        return Plan(fmt, "blocked", reason, stamp, sidecar)
    if force:
        return Plan(fmt, "render", "forced", stamp, sidecar)
    if sidecar.st_mtime_ns == stamp:
        return Plan(fmt, "fresh", "up to date", stamp, sidecar)
    if sidecar.st_mtime_ns < stamp:
        return Plan(fmt, "render", OLDER, stamp, sidecar)
    return Plan(fmt, "compare", "newer than what it is made from", stamp, sidecar)


def follow_json(plans: list[Plan], source: os.stat_result) -> list[Plan]:
    """Render a page anew whose metadata's time hides that its source changed, when the JSON beside it tells.

    A source that was replaced by a version older than the metadata (rsync, mv) does not move a page's stamp.
    """
    stale = any(plan.fmt == "json" and plan.action == "render" and plan.seen for plan in plans)
    return [
        replace(plan, action="render", reason=OLDER)
        if stale and plan.fmt == "md" and plan.action == "fresh" and plan.stamp_ns != source.st_mtime_ns
        else plan
        for plan in plans
    ]
