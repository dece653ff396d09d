"""The index of a tree: one page that lists every set, and can be read back so that nothing is read twice.

The format is this project's own: a GFM table, and below it, in a comment, one JSON array a source.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from lib.markdown.header import header_value
from lib.names import KINDS, Format, Kind, kind_of, sidecar_name, stem_of

if TYPE_CHECKING:
    from collections.abc import Iterable

INDEX_NAME: Final = "generations.md"
MARK: Final = b"<!-- generation-sidecars index -->\n"
"""How the file begins; one that does not is somebody else's."""
_DATA: Final = "<!-- what was counted, so that it need not be counted again"
_COLUMNS: Final = ("Model", "Prompt / subject / set", "Items", "Blank", "Distinct", "Date")
_ALIGNED: Final = ("---", "---", "---:", "---:", "---:", "---")
_LABELS: Final[dict[Kind, str]] = {"completions": "completions", "full_texts": "full texts"}
_NOT_COUNTED: Final = "–"
_BETWEEN: Final = " · "
_NS: Final = 1_000_000_000
_ENTRIES_LIMIT: Final = 1 << 17
_LINE_LIMIT: Final = 1 << 20
"""More than an index of 16 MiB has, unless it is forged."""
_COUNT_LIMIT: Final = 1 << 96
"""More than any file system's time in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one source: ``path`` below the root, its stamp (ns), figures, and two of its metadata.

    ``distinct`` is None where it was not counted; ``model`` and ``when`` are "" when the metadata has none.
    """

    path: str
    stamp_ns: int
    records: int
    blank: int
    distinct: int | None
    model: str
    when: str


def render(entries: Iterable[Entry], formats: tuple[Format, ...]) -> bytes:
    """Return the whole index, newest set first."""
    known = sorted(entries, key=lambda entry: entry.path)
    sets: dict[str, dict[Kind, Entry]] = {}
    for entry in known:
        kind = kind_of(entry.path)
        if kind is not None:
            sets.setdefault(stem_of(entry.path, kind), {})[kind] = entry
    newest_first = sorted(sets.items(), key=lambda item: _moment(_main(item[1])), reverse=True)
    rows = [_row(stem, of_kind, formats) for stem, of_kind in newest_first]
    main = [_main(of_kind) for of_kind in sets.values()]
    counts = {
        "Sets": len(sets),
        "Items": sum(entry.records for entry in main),
        "Blank": sum(entry.blank for entry in main),
    }
    lines = [
        "# Generations",
        "",
        "Kept by generation-sidecars; what is written here by hand is overwritten.",
        "",
        _BETWEEN.join(f"**{label}:** {count:,}" for label, count in counts.items()),
        "",
        _line(_COLUMNS),
        _line(_ALIGNED),
        *rows,
        "",
        _DATA,
        *map(_data, known),
        "-->",
        "",
    ]
    return MARK + "\n".join(lines).encode("utf-8", "replace")


def parse(page: bytes) -> dict[str, Entry]:
    """Read an index back, as far as it can be understood: entries by path."""
    _, found, data = page.decode("utf-8", "replace").partition(f"\n{_DATA}\n")
    entries = (_entry(line) for line in data.split("\n", _ENTRIES_LIMIT)[:_ENTRIES_LIMIT]) if found else ()
    return {entry.path: entry for entry in entries if entry is not None}


def _entry(line: str) -> Entry | None:
    """Read one line of data; None for one that was not written here: the file may be anybody's."""
    if len(line) > _LINE_LIMIT:
        return None
    try:
        entry = Entry(*json.loads(line))
        _encoded(entry.path)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    texts = (entry.path, entry.model, entry.when)
    counts = (entry.stamp_ns, entry.records, entry.blank, 0 if entry.distinct is None else entry.distinct)
    sound = all(type(text) is str for text in texts) and all(
        type(count) is int and abs(count) < _COUNT_LIMIT for count in counts
    )
    return entry if sound else None


def _data(entry: Entry) -> str:
    values = [entry.path, entry.stamp_ns, entry.records, entry.blank, entry.distinct, entry.model, entry.when]
    return json.dumps(values).replace(">", "\\u003e")  # nothing in it ends the comment


def _main(of_kind: dict[Kind, Entry]) -> Entry:
    """Return the entry whose figures stand for a set: its completions', if there are any."""
    return next(of_kind[kind] for kind in KINDS if kind in of_kind)


def _moment(entry: Entry) -> float:
    """Return when a set was generated, in epoch seconds: as its metadata says, else its file's time."""
    try:
        said = datetime.fromisoformat(entry.when)
        return (said if said.tzinfo else said.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        return entry.stamp_ns / _NS


def _date(entry: Entry) -> str:
    """Return the day on which a set was generated, for a cell; "" for one beyond the year 9999."""
    try:
        return datetime.fromisoformat(entry.when).date().isoformat()
    except ValueError:
        pass
    try:
        return entry.when or datetime.fromtimestamp(_moment(entry), timezone.utc).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return ""


def _row(stem: str, of_kind: dict[Kind, Entry], formats: tuple[Format, ...]) -> str:
    main = _main(of_kind)
    model, prompt, subject = _place(stem.rpartition("/")[0])
    fmt: Format = "md" if "md" in formats else "json"
    pages = _BETWEEN.join(f"[{_LABELS[kind]}]({_link(entry.path, fmt)})" for kind, entry in of_kind.items())
    names = (prompt, subject, stem.rpartition("/")[2])
    place = " / ".join(_cell(name) for name in names if name)
    counts = (main.records, main.blank, main.distinct)
    return _line(
        [
            _cell(main.model or model),
            f"{place}: {pages}",
            *(_NOT_COUNTED if count is None else f"{count:,}" for count in counts),
            _cell(_date(main)),
        ]
    )


def _place(directory: str) -> tuple[str, str, str]:
    """Take model, prompt and subject from ``<model>/generations/<prompt>/<subject>``, if it is that."""
    parts = directory.split("/") if directory else []
    if "generations" not in parts:
        return "", "", directory
    at = parts.index("generations")
    return "/".join(parts[:at]), "/".join(parts[at + 1 : at + 2]), "/".join(parts[at + 2 :])


def _cell(text: str) -> str:
    return header_value(text).replace("|", "\\|") if text else ""


def _link(path: str, fmt: Format) -> str:
    return quote(_encoded(sidecar_name(path, fmt)))


def _encoded(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _line(cells: Iterable[Any]) -> str:
    return f"| {' | '.join(cells)} |"
