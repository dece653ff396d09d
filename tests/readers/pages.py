"""Write pages for the readers in JavaScript, one JSON object a line: nasty texts, and CommonMark's examples.

    python tests/readers/pages.py [SEED] | node tests/readers/check.mjs

The examples are those of the package ``commonmark-spec``, each cut at every length.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

HERE: Final = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

from nasty import ALL, PIECES, PROBE  # noqa: E402 (the folder is put in the path above)
from rendering import items, render_parts  # noqa: E402 (the same)
from structures import texts as structures  # noqa: E402 (the same)

from lib.markdown.header import header  # noqa: E402 (the same)
from lib.options import Extras  # noqa: E402 (the same)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lib.options import Style

_SPEC: Final = HERE / "node_modules/commonmark-spec/spec.txt"
_EXAMPLE: Final = re.compile(r"^`{32} example\n(.*?)^\.$", re.MULTILINE | re.DOTALL)
_CHAT: Final = (
    *("```html\n<b>\n```\n", "\n   ```\n   <i>\n   ```\n", "`<b>`", "``<i>``", "<think>", "</think>\n", "<b"),
    *("http://a.b", "www.x.y", "a@b.c", "[a](b)", "![i](/x)", "`![i](/x)`", "$$", "| a | b |\n|---|---|\n| "),
    *("\n", "\n\n", "\n- ", "\n  - ", "\n    ", "# h\n", "\n===\n", "word", "`", "<!--", "-->", "\t", "  \n"),
    *(" | ", "**", "~~", "1. ", "\\"),
)
_BY_CHANCE: Final = 3000
_WITH_EVERYTHING: Final = 60
_TEXTS_A_PAGE: Final = 20
_ROLE_CHARACTERS: Final = 1000
"""A message whose role is longer is shown as JSON."""


def examples() -> Iterator[str]:
    """Yield every example of the specification, cut at every length."""
    for example in _EXAMPLE.findall(_SPEC.read_text("utf-8")):
        text = example.replace("→", "\t")
        yield from (text[:length] for length in range(1, len(text) + 1))


def by_chance(seed: int) -> Iterator[str]:
    """Yield texts put together of what means something in Markdown."""
    dice = random.Random(seed)
    for _ in range(_BY_CHANCE):
        pieces = dice.choice([_CHAT, PIECES, (*_CHAT, *PIECES)])
        yield "".join(dice.choice(pieces) for _ in range(dice.choice([2, 4, 8, 14])))


def page_of(texts: Sequence[str], style: Style) -> str:
    """Return a page of these texts."""
    count = len(texts)
    page = header("completions", None, count, count)
    return (page + items("completions", texts, 1, style=style, all_text=True)).decode()


def with_everything(text: str, style: Style) -> Iterator[dict[str, Any]]:
    """Yield the parts of pages whose texts, prompts and parameters are this text."""
    answers = [text, "x", text, PROBE]
    question = {"role": text[:_ROLE_CHARACTERS], "content": text}
    chat = [[question, {"role": "assistant", "content": answer}] for answer in answers]
    other = [f"{number}\n{text}{answer}" for number, answer in enumerate(answers)]
    same = [f"{text}\n{answer}" for answer in answers]
    extras = Extras(
        summary=True, links=True, pairs=True, page_bytes=2000 + len(text.encode("utf-8", "replace"))
    )
    metadata = {"model_name": text, "key": text, text: 1}
    for full_texts in (chat, other, same):
        page, parts = render_parts(answers, extras, full_texts, metadata=metadata, style=style)
        for number, part in enumerate(parts, 1):
            items = page.range_of(number)
            folded = len(items) if page.prompt is None else int(number == 1)
            yield {"page": part, "first": items.start, "count": len(items), "folded": folded, "text": text}


def main() -> None:
    """Write the pages: a text by chance alone between probes, the others many to a page."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    alone = [[text, PROBE] for text in (*ALL, *by_chance(seed), *structures(_BY_CHANCE, seed))]
    cut = list(dict.fromkeys(examples()))
    together = [cut[at : at + _TEXTS_A_PAGE] for at in range(0, len(cut), _TEXTS_A_PAGE)]
    messages = [[{"role": "user", "content": text}, {"role": text, "content": "x"}] for text in ALL]
    styles: tuple[Style, ...] = ("auto", "fenced")
    for style in styles:
        for texts in [*alone, *together]:
            print(json.dumps({"page": page_of(texts, style), "count": len(texts), "text": texts}))
        for text in (*ALL, *itertools.islice(by_chance(seed), _WITH_EVERYTHING)):
            for part in with_everything(text, style):
                print(json.dumps(part))
        count = len(messages)
        page = header("completions", None, count, count)
        page += items("completions", messages, 1, style=style, all_text=False)
        print(json.dumps({"page": page.decode(), "count": count, "text": "chats"}))


if __name__ == "__main__":
    main()
