"""The index of a tree: a page that lists every set, and is read back so that no source is counted twice.

The format is this project's own: a GFM table, and below it, in a comment, a JSON array for each source.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from operator import attrgetter
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from lib.markdown.header import header_value
from lib.names import KINDS, Format, Kind, kind_of, sidecar_name, stem_of

if TYPE_CHECKING:
    from collections.abc import Iterable

INDEX_NAME: Final = "generations.md"
MARK: Final = b"<!-- generation-sidecars index -->\n"
"""The first line of an index; a file without it was written by somebody else."""
_DATA: Final = "<!-- what was counted, so that it need not be counted again"
_LABELS: Final[dict[Kind, str]] = {"completions": "completions", "full_texts": "full texts"}
_NS: Final = 1_000_000_000
_ENTRIES_LIMIT: Final = 1 << 17
_LINE_LIMIT: Final = 1 << 20
"""More lines, and longer ones, than an index of 16 MiB has, unless it is forged."""
_COUNT_LIMIT: Final = 1 << 96
"""More than any file system's time in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One source in the index: its ``path`` below the root, its stamp (ns), its figures, its model and time.

    ``distinct`` is None where it was not counted; ``model`` and ``when`` come from the metadata, or are "".
    """

    path: str
    stamp_ns: int
    records: int
    blank: int
    distinct: int | None
    model: str
    when: str


_VALUES: Final = attrgetter(*Entry.__slots__)


def render(entries: Iterable[Entry], formats: tuple[Format, ...]) -> bytes:
    """Return the whole index, newest set first."""
    known = sorted(entries, key=lambda entry: entry.path)
    sets: dict[str, dict[Kind, Entry]] = {}
    for entry in known:
        if (kind := kind_of(entry.path)) is not None:
            sets.setdefault(stem_of(entry.path), {})[kind] = entry
    newest_first = sorted(sets.items(), key=lambda item: _moment(_main(item[1]))[0], reverse=True)
    rows = [_row(stem, of_kind, formats) for stem, of_kind in newest_first]
    main = [_main(of_kind) for of_kind in sets.values()]
    items, blank = sum(entry.records for entry in main), sum(entry.blank for entry in main)
    lines = [
        "# Generations",
        "",
        "Kept by generation-sidecars; what is written here by hand is overwritten.",
        "",
        f"**Sets:** {len(sets):,} · **Items:** {items:,} · **Blank:** {blank:,}",
        "",
        "| Model | Prompt / subject / set | Items | Blank | Distinct | Date |",
        "| --- | --- | ---: | ---: | ---: | --- |",
        *rows,
        "",
        _DATA,
        # nothing in it ends the comment
        *(json.dumps(_VALUES(entry)).replace(">", "\\u003e") for entry in known),
        "-->",
        "",
    ]
    return MARK + "\n".join(lines).encode("utf-8", "replace")


def parse(page: bytes) -> dict[str, Entry]:
    """Return the entries of an index, by path; lines that cannot be understood are left out."""
    _, found, data = page.decode("utf-8", "replace").partition(f"\n{_DATA}\n")
    entries = (_entry(line) for line in data.split("\n", _ENTRIES_LIMIT)[:_ENTRIES_LIMIT]) if found else ()
    return {entry.path: entry for entry in entries if entry is not None}


def _entry(line: str) -> Entry | None:
    """Read one line of data; None if it was not written here, as anybody may have edited the file."""
    if len(line) > _LINE_LIMIT:
        return None
    try:
        entry = Entry(*json.loads(line))
        _encoded(entry.path)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    texts = (entry.path, entry.model, entry.when)
    counts = (entry.stamp_ns, entry.records, entry.blank, 0 if entry.distinct is None else entry.distinct)
    is_sound = {*map(type, texts)} == {str} and {*map(type, counts)} == {int}
    return entry if is_sound and max(map(abs, counts)) < _COUNT_LIMIT else None


def _main(of_kind: dict[Kind, Entry]) -> Entry:
    """Return the entry whose figures are shown for a set: that of its completions, if it has them."""
    return next(of_kind[kind] for kind in KINDS if kind in of_kind)


def _moment(entry: Entry) -> tuple[float, str]:
    """Return when a set was generated, as epoch seconds and as a date for its row.

    Its metadata tells, or else its file's time; the date is "" beyond the year 9999.
    """
    try:
        said = datetime.fromisoformat(entry.when)
        return (said if said.tzinfo else said.replace(tzinfo=timezone.utc)).timestamp(), f"{said.date()}"
    except (ValueError, OverflowError):
        seconds = entry.stamp_ns / _NS
    try:
        return seconds, entry.when or f"{datetime.fromtimestamp(seconds, timezone.utc).date()}"
    except (ValueError, OverflowError, OSError):
        return seconds, ""


def _row(stem: str, of_kind: dict[Kind, Entry], formats: tuple[Format, ...]) -> str:
    main = _main(of_kind)
    directory, _, name = stem.rpartition("/")
    model, prompt, subject = _place(directory)
    fmt: Format = "md" if "md" in formats else "json"
    links = {kind: quote(_encoded(sidecar_name(entry.path, fmt))) for kind, entry in of_kind.items()}
    pages = " · ".join(f"[{_LABELS[kind]}]({link})" for kind, link in links.items())
    place = " / ".join(_cell(part) for part in (prompt, subject, name) if part)
    distinct = "–" if main.distinct is None else f"{main.distinct:,}"
    figures = f"{main.records:,} | {main.blank:,} | {distinct}"
    return f"| {_cell(main.model or model)} | {place}: {pages} | {figures} | {_cell(_moment(main)[1])} |"


def _place(directory: str) -> tuple[str, str, str]:
    """Split ``<model>/generations/<prompt>/<subject>``; any other directory is a subject."""
    parts = directory.split("/") if directory else []
    if "generations" not in parts:
        return "", "", directory
    at = parts.index("generations")
    return "/".join(parts[:at]), "/".join(parts[at + 1 : at + 2]), "/".join(parts[at + 2 :])


def _cell(text: str) -> str:
    return header_value(text).replace("|", "\\|") if text else ""


def _encoded(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
