"""Markdown pages that no text can break: the header, and one section an item.

The format is this project's own; what an inert text is, :mod:`lib.inert` says.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from lib.inert import DANGERS, dangers_in, is_inert
from lib.jsontext import dumps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lib.names import Kind
    from lib.outcome import Style

_TITLES: Final[dict[Kind, str]] = {
    "completions": "# Completions Only",
    "full_texts": "# Full Texts (Prompt + Completion)",
}
_HEADINGS: Final[dict[Kind, bytes]] = {"completions": b"## Completion ", "full_texts": b"## Generation "}
_RULE: Final = b"\n\n---\n\n"
_UNKNOWN: Final = "unknown"
_VALUE_CHARACTERS: Final = 200
_RUN_OF_TICKS: Final = re.compile("`{3,}")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_LONE_RETURN: Final = re.compile("\r(?!\n)")
_HARMLESS_VALUE: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029<\[\]`$!*_~\\&|]{1,200}")
_PICTURES: Final = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n\r"},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
}


class PageWriter:
    """Writes one page: :meth:`start`, then :meth:`block` for all items in order.

    ``count`` is the number of items in the source, ``shown`` how many of them the page will have.
    """

    def __init__(
        self, kind: Kind, style: Style, metadata: Mapping[str, Any] | None, *, count: int, shown: int
    ) -> None:
        self._kind = kind
        self._style = style
        self._metadata = metadata or {}
        self._count = count
        self._shown = shown
        self._heading = _HEADINGS[kind]
        self._next = 1

    def start(self) -> bytes:
        """Return everything above the first item."""
        count = str(self._count)
        if self._shown < self._count:
            count = f"{self._shown} (showing first {self._shown} of {self._count})"
        lines = (
            _TITLES[self._kind],
            "",
            f"**Model:** {header_value(self._metadata.get('model_name'))}",
            f"**Generated:** {header_value(self._metadata.get('timestamp'))}",
            f"**Count:** {count}",
            "",
            "---",
            "\n",
        )
        return _encoded("\n".join(lines))

    def block(self, values: Sequence[Any], *, all_text: bool) -> bytes:
        """Return the sections of the next items; ``all_text`` promises that each is a ``str``."""
        first = self._next
        self._next += len(values)
        bodies = self._texts(values) if all_text else [self._body(value) for value in values]
        parts = []
        for number, body in enumerate(bodies, first):
            parts += (b"%b%d\n\n" % (self._heading, number), body, _RULE)
        return b"".join(parts)

    def _texts(self, texts: Sequence[str]) -> list[bytes]:
        """Render a block of texts: what no text of the block has need not be looked for in each."""
        bodies = [_encoded(text) for text in texts]
        if self._style == "plain":
            return bodies
        dangers = dangers_in(b"\n".join(bodies)) if self._style == "auto" else DANGERS
        if not dangers:
            return bodies
        return [
            body if self._style == "auto" and is_inert(body, dangers) else _fenced_text(text)
            for text, body in zip(texts, bodies, strict=True)
        ]

    def _body(self, value: Any) -> bytes:
        if isinstance(value, str):
            return self._texts([value])[0]
        return _encoded(fenced(dumps(value), "json"))


def _fenced_text(text: str) -> bytes:
    return _encoded(fenced(pictured(text), "text"))


def fenced(text: str, language: str) -> str:
    """Put a text into a fence of back-ticks longer than any run of them inside it."""
    longest = max(map(len, _RUN_OF_TICKS.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def pictured(text: str) -> str:
    """Show control characters as their pictures, so that a terminal only shows them.

    Newline, tab and the carriage return of a CRLF stay; C1 controls, which have no pictures, become U+FFFD.
    """
    return _LONE_RETURN.sub("\u240d", text.translate(_PICTURES))


def header_value(value: Any) -> str:
    """Show a value from the metadata on one line, harmless; ``unknown`` when there is none.

    A plain one-line text stays as it is; anything else is put into a code span.
    """
    if value is None:
        return _UNKNOWN
    text = value if isinstance(value, str) else dumps(value)
    line = " ".join(pictured(text).split())
    if not line:
        return _UNKNOWN
    if _HARMLESS_VALUE.fullmatch(line.replace("_", "")) and "://" not in line:
        return line
    if len(line) > _VALUE_CHARACTERS:
        line = line[:_VALUE_CHARACTERS] + "…"
    ticks = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"


def _encoded(page: str) -> bytes:
    try:
        return page.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", page).encode()
