"""Answers as chat models write them, made up by chance: the texts that a page is for."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_SENTENCES: Final = (
    "The main idea is simple: keep what works, and measure the rest.",
    "It\u2019s worth noting that **most** of these “facts” depend on *context*.",
    "For example, `x = y + 1` changes nothing, see https://example.org/a?b=c for more.",
    "In 2023, about 3.5 % of all users (roughly $5 each) agreed.",
    "Why does it matter? Because a < b does not mean that b > a + 1!",
    "The variance is $\\sigma^2 = \\frac{1}{n}\\sum_i (x_i - \\mu)^2$ here.",
    "東京は日本の首都です。",
)
_CODE: Final = (
    ("python", "def area(radius):\n    # in metres\n\n    return 3.14 * radius ** 2\n    \nprint(area(2))"),
    ("html", "<!DOCTYPE html>\n<html>\n  <body>\n    <p>Hi</p>\n  </body>\n</html>"),
    ("bash", "pip install numpy  # the newest\necho $PATH | head -1"),
    ("", "plain output\n---\n# not a heading"),
    ("json", '{"a": [1, 2, {"b": null}]}'),
    ("cpp", "std::vector<int> a; // a[0]: first"),
)
_ELEMENTS: Final = " Use the `<div>` element, not `<span>`, around it."
_CUT_CHANCE: Final = 0.25


def answers(count: int, seed: int) -> Iterator[str]:
    """Yield answers; one in four is cut at its limit of tokens."""
    dice = random.Random(seed)
    for _ in range(count):
        blocks = [_think(dice)] if dice.random() < 0.1 else []
        blocks += [dice.choice(_BLOCKS)(dice) for _ in range(dice.randint(1, 9))]
        text = "\n\n".join(blocks)
        yield text[: dice.randrange(1, len(text))] if dice.random() < _CUT_CHANCE else text


def _sentences(dice: random.Random, most: int = 4) -> str:
    said = " ".join(dice.choices(_SENTENCES, k=dice.randint(1, most)))
    return said + _ELEMENTS if dice.random() < 0.02 else said


def _think(dice: random.Random) -> str:
    return f"<think>\n{_sentences(dice)}\n\n{_sentences(dice)}\n</think>"


def _lines(dice: random.Random) -> str:
    return "\n".join(_sentences(dice, 1) + dice.choice(("", "", "  ")) for _ in range(dice.randint(2, 4)))


def _heading(dice: random.Random) -> str:
    title = dice.choice(("# Steps", "## 1. First", "### **Why?**", "#### C#"))
    return title + dice.choice(("\n", "\n\n")) + _sentences(dice)


def _bullets(dice: random.Random) -> str:
    mark, deeper = dice.choice("-*"), dice.choice(("  ", "    "))
    items = []
    for _ in range(dice.randint(2, 5)):
        items.append(f"{mark} **Point:** {_sentences(dice, 2)}")
        if dice.random() < 0.3:
            items.append(f"{deeper}{mark} {_sentences(dice, 1)}")
    return "\n".join(items)


def _numbers(dice: random.Random) -> str:
    between = dice.choice(("\n", "\n\n"))
    items = [f"{number}. {_sentences(dice, 2)}" for number in range(1, dice.randint(3, 6))]
    if dice.random() < 0.3:
        language, code = dice.choice(_CODE[:3])
        inner = "\n".join(f"   {line}" if line else "" for line in f"```{language}\n{code}\n```".split("\n"))
        items[0] += f"\n{inner}"
    return between.join(items)


def _fence(dice: random.Random) -> str:
    language, code = dice.choice(_CODE)
    return f"{_sentences(dice, 1)}\n\n```{language}\n{code}\n```"


def _table(dice: random.Random) -> str:
    rows = "\n".join(f"| {dice.randint(1, 99)} | `{dice.choice('abc')}` |" for _ in range(3))
    return f"| Name | Value |\n|------|:-----:|\n{rows}"


def _maths(dice: random.Random) -> str:
    return dice.choice(("$$\n\\int_0^1 x^2 dx = \\frac{1}{3}\n$$", "\\[ a^2 + b^2 = c^2 \\]", "$$E = mc^2$$"))


def _rule_or_quote(dice: random.Random) -> str:
    return dice.choice(("---", f"> {_sentences(dice, 2)}\n> {_sentences(dice, 1)}"))


_BLOCKS: Final = (
    *(_sentences,) * 4,
    *(_lines, _heading, _bullets, _numbers, _fence) * 2,
    *(_table, _maths, _rule_or_quote),
)
