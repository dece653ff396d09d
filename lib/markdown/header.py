"""A page's header: its title, and values from the metadata, each on one line and harmless."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from lib.json_writer import encoded
from lib.markdown.fences import longest_run, pictured

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lib.names import Kind

_TITLES: Final[dict[Kind, str]] = {
    "completions": "# Completions Only",
    "full_texts": "# Full Texts (Prompt + Completion)",
}
_UNKNOWN: Final = "unknown"
_VALUE_CHARACTERS: Final = 1000
_READ_CHARACTERS: Final = 1 << 16
# The header's lines are one paragraph: only markup that pairs up with more than its own line, hides what it
# says or loads something does harm.  Two lone stars, or the underscores of a name, are emphasis at worst.
_ACTIVE_VALUE: Final = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029`$]"  # not one line; code; mathematics
    r"|<[A-Za-z/!?]|!\[|\]\(|\*\*"  # raw HTML, an image, a link, strong emphasis as the labels have
    r"|(?<![0-9A-Za-z])__|__(?![0-9A-Za-z])"  # the same with underscores, unless within a word
    r"|\\(?![0-9A-Za-z])"  # an escape, which would hide itself, or a hard line break
)
_TOO_MANY_TICKS: Final = re.compile("`{20,}")


def header(
    kind: Kind, metadata: Mapping[str, Any] | None, count: int, shown: int, more: Sequence[str] = ()
) -> bytes:
    """Return everything above the first item.

    ``metadata`` is the set's, None when it has none; ``count`` is the number of items in the source,
    ``shown`` how many of them the page has; ``more`` are lines that follow.
    """
    known: Mapping[str, Any] = metadata or {}
    cut = f"{shown} (showing first {shown} of {count})"
    lines = (
        _TITLES[kind],
        "",
        f"**Model:** {header_value(known.get('model_name'))}",
        f"**Generated:** {header_value(known.get('timestamp'))}",
        f"**Count:** {cut if shown < count else count}",
        *more,
        "",
        "---",
        "\n",
    )
    return encoded("\n".join(lines))


def header_value(value: Any) -> str:
    """Show a value from the metadata on one line, harmless; ``unknown`` when there is nothing to see.

    A plain one-line text stays as it is, with the spaces around it; anything else is put into a code span,
    cut after 1000 characters.
    """
    text = value if isinstance(value, str) else _one_line_json(value)
    line = text.strip()
    if not line:
        return _UNKNOWN
    for plain in (text, line):
        if len(plain) <= _VALUE_CHARACTERS and not _ACTIVE_VALUE.search(plain):
            return plain
    is_long, line = len(line) > _READ_CHARACTERS, line[:_READ_CHARACTERS]
    line = _TOO_MANY_TICKS.sub("```…", " ".join(pictured(line).split()))
    if is_long or len(line) > _VALUE_CHARACTERS:
        line = line[:_VALUE_CHARACTERS] + "…"
    ticks = "`" * (longest_run(encoded(line)) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"


def _one_line_json(value: Any) -> str:
    """Write a value from the metadata for eyes; a page is not refused for what its header cannot say."""
    if value is None:
        return ""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, TypeError, RecursionError):
        return ""
