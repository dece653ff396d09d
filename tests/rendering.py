"""Rendering pages with everything they can have, part by part, as the engine does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lib.encoded_text import Texts
from lib.markdown.sections import bodies, sections
from lib.render.page import Page
from lib.render.pagination import find_shared_prompt, paginate
from lib.render.statistics import Statistics
from lib.render.stream import NEXT_PART, rendered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lib.names import Kind
    from lib.options import Extras, Style

PAGE = "n3_completions.md"


def items(
    kind: Kind, values: Sequence[Any], first_number: int, *, style: Style = "auto", all_text: bool
) -> bytes:
    """Return the sections of some items."""
    return sections(kind, bodies(Texts(values) if all_text else values, style), first_number)


def render_parts(
    texts: Sequence[Any], extras: Extras, full_texts: Sequence[Any] = (), **more: Any
) -> tuple[Page, list[str]]:
    """Render a page of completions; return what it is made of, and its parts."""
    page = Page(
        "completions", **{"metadata": None, **more}, count=len(texts), shown=len(texts), extras=extras
    )
    page = replace(page, name=PAGE)
    if extras.pairs:
        page = replace(page, prompt=find_shared_prompt([list(texts)], iter(full_texts)))
    if extras.look_ahead:
        page = paginate(page, [list(texts)], iter(full_texts))
    parts = [b""]
    for (piece,) in rendered(page, [list(texts)], ("md",), Statistics(), full_texts):
        if piece is NEXT_PART:
            parts.append(b"")
        else:
            parts[-1] += piece
    return page, [part.decode() for part in parts]
