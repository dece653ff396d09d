"""Texts made by chance from Markdown's structure: blocks nested in blocks, then damaged.

Unlike texts made of pieces (``nasty.PIECES``), most of these are lists, quotes, tables and code to a reader,
nested rightly but for a few characters or lines.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_INLINE: Final = (
    "word", "more words", "`code`", "``a ` b``", "`<b>`", "**bold**", "_it_", "~~gone~~", "\\", "\\`", "`",
    "[leak]", "[a](b)", "[a](<b c>)", "![i](/x)", "[^leak]", "<b>", "</b>", "<b", "<!--", "-->", "<a@b.c>",
    "http://x.y/z", "www.x.y", "a@b.c", "$$", "$x$", "|", "a | b", "&lt;", "<?php", "<![CDATA[", "]]>",
    ":::", "\\<b>", "\\\\<b>", "`` ` ``", "[x]: y", "==", "#", "*", "-", "1.", ">", "    ", "é", "東",
    "<think>", "\\[leak]",
)  # fmt: skip
_ODD: Final = (
    "\0", "\t", "\r", "\x0b", "\x0c", "\x1b", "\x1c", "\x7f", "\x85", "\u00a0", "\u1680", "\u2003",
    "\u200b", "\u2028", "\u2029", "\u202e", "\u2066", "\u3000", "\ufeff", "\u0301", "  ", " ", "\n", "\n\n",
    "\\\n", "  \n", "`", "```", "~~~", "<", ">", "[", "]:", "![", "$$", "|", "*", "-", "=", "#", "\\", ":",
)  # fmt: skip
_HTML: Final = (
    ("<script>", "</script>"),
    ("<pre>", "</pre>"),
    ("<!-- x", "-->"),
    ("<?x", "?>"),
    ("<!X", ">"),
    ("<![CDATA[", "]]>"),
    ("<div>", "</div>"),
    ("<details><summary>x</summary>", "</details>"),
    ("<x-y a='b'>", "</x-y>"),
    ("</b>", ""),
)
_DEEPEST: Final = 5
_DAMAGE_CHANCE: Final = 0.7


def texts(count: int, seed: int) -> Iterator[str]:
    """Yield texts; each is cut somewhere by chance in one of three."""
    dice = random.Random(seed)
    for _ in range(count):
        lines = _blocks(dice, 0, dice.choice((1, 2, 3, 5)))
        if dice.random() < _DAMAGE_CHANCE:
            for _ in range(dice.choice((1, 1, 2, 4))):
                _damage(dice, lines)
        text = dice.choice(("\n", "\n", "\n", "\n", "\n", "\n", "\r\n")).join(lines)
        yield text[: dice.randrange(len(text) + 1)] if dice.random() < 1 / 3 else text


def _damage(dice: random.Random, lines: list[str]) -> None:
    """Change a line, or what it begins with, or add or remove one."""
    place = dice.randrange(len(lines))
    line = lines[place]
    bare = line.lstrip(" \t>-+*0123456789.)")
    column = dice.randrange(len(line) + 1)
    changes: tuple[Callable[[], str], ...] = (
        lambda: bare,
        lambda: line[: len(line) - len(bare)],
        lambda: line[column:],
        lambda: line[:column],
        lambda: f"{line[:column]}{dice.choice(_ODD)}{line[column:]}",
        lambda: f"{line}{dice.choice(_ODD)}",
        lambda: f"{dice.choice(_ODD)}{line}",
        lambda: line.replace("    ", "\t").replace("  ", "\t"),
        lambda: " " * dice.randint(1, 5) + line,
        lambda: f"{line}{' ' * dice.randint(1, 3)}",
        lambda: line.replace(" ", dice.choice(_ODD[7:19]), 1),
        lambda: "> " + bare,
        lambda: dice.choice(
            ("", " ", "---", "===", "- - -", "| - |", "```", "~~~", "- ", ">", "#", "    x", "* * *")
        ),
    )
    lines[place] = dice.choice(changes)()
    if dice.random() < 0.2:
        lines.insert(place, dice.choice(lines))
    elif len(lines) > 1 and dice.random() < 0.2:
        del lines[dice.randrange(len(lines))]


def _blocks(dice: random.Random, depth: int, count: int) -> list[str]:
    lines: list[str] = []
    for number in range(count):
        if number and dice.random() < 0.6:
            lines.append("")
        lines += dice.choice(_LEAVES if depth >= _DEEPEST or dice.random() < 0.5 else _CONTAINERS)(
            dice, depth
        )
    return lines


def _line(dice: random.Random) -> str:
    return dice.choice((" ", " ", "")).join(dice.choices(_INLINE, k=dice.choice((1, 2, 2, 3, 5))))


def _paragraph(dice: random.Random, _: int) -> list[str]:
    lines = [_line(dice) for _ in range(dice.choice((1, 1, 2, 3)))]
    return lines + dice.choice(([], [], [], ["==="], ["-"], ["---"], ["- "]))


def _heading(dice: random.Random, _: int) -> list[str]:
    return [f"{'#' * dice.randint(1, 7)}{dice.choice((' ', '', chr(9)))}{_line(dice)}"]


def _fence(dice: random.Random, _: int) -> list[str]:
    mark = dice.choice(("```", "```", "~~~", "````", "``"))
    inner = [dice.choice(("", _line(dice), "  " + _line(dice), "```", "~~~", "> x", "- y")) for _ in range(3)]
    return [
        mark + dice.choice(("", "py", " py", "a b", "`")),
        *inner,
        *([mark] if dice.random() < 0.7 else []),
    ]


def _indented(dice: random.Random, _: int) -> list[str]:
    return [dice.choice(("    ", "\t", "      ")) + _line(dice) for _ in range(dice.randint(1, 3))]


def _html(dice: random.Random, _: int) -> list[str]:
    begin, end = dice.choice(_HTML)
    return [
        begin,
        *dice.choice(([], [""], [_line(dice)], ["", "# x"])),
        *([end] if dice.random() < 0.6 else []),
    ]


def _definition(dice: random.Random, _: int) -> list[str]:
    return dice.choice(
        (
            ["[leak]: /leaked"],
            ["[leak]:", "/leaked", "'title'"],
            ["[leak", "]: </leaked> (title", "more)"],
            ["[^leak]: note", "", "    more", "- x"],
            ["*[HTML]: x"],
            ["- [ ] [leak]: /leaked"],
            ["[leak]: /leaked 'open", "", "'"],
        )
    )


def _table(dice: random.Random, _: int) -> list[str]:
    outer = dice.choice(("", "| "))
    rows = [f"{outer}{_line(dice)} | {_line(dice)}{outer[::-1]}" for _ in range(dice.randint(1, 3))]
    return [rows[0], f"{outer}{dice.choice(('---|---', '-|-', ':-: | --:', '--'))}{outer[::-1]}", *rows[1:]]


def _fenced_by_others(dice: random.Random, _: int) -> list[str]:
    mark = dice.choice(("$$", ":::", "::: note", "+++", "---", "\\[", "%%"))
    return [mark, _line(dice), *([mark.split()[0]] if dice.random() < 0.6 else [])]


def _rule(dice: random.Random, _: int) -> list[str]:
    return [dice.choice(("---", "* * *", "___", "- - -", "**", "-", "+", "1.", "=", "--- \u00a0"))]


def _quote(dice: random.Random, depth: int) -> list[str]:
    mark = dice.choice(("> ", ">", " > ", ">\t"))
    return [mark + line for line in _blocks(dice, depth + 1, dice.choice((1, 2, 3)))]


def _list(dice: random.Random, depth: int) -> list[str]:
    lines: list[str] = []
    marker = dice.choice(
        ("- ", "* ", "+ ", "1. ", "2) ", "10. ", "-   ", "-\t", "-", "1.\t", "- [ ] ", "      - ")
    )
    for _ in range(dice.choice((1, 2, 3))):
        first, *rest = _blocks(dice, depth + 1, dice.choice((1, 1, 2)))
        indent = " " * len(marker) if dice.random() < 0.8 else dice.choice(("  ", "    ", "\t", ""))
        lines += [marker + first, *(indent + line if line else "" for line in rest)]
        lines += dice.choice(([], [], [""]))
    return lines


_LEAVES: Final = (
    *(_paragraph,) * 5,
    *(_heading, _fence, _indented, _html, _definition, _table, _fenced_by_others, _rule),
)
_CONTAINERS: Final = (_quote, _list, _list)
