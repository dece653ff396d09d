"""What is measured with: made-up prose, some code, some letters beyond ASCII, the same on every run."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Kind = Literal["U", "object"]

_PROSE: Final = (
    "otters and their rivers, ",
    "the model writes a sentence; ",
    "because of this, ",
    'it said: "wait". ',
    "and then another one, ",
    "which is *not* what was asked for, ",
    "the answer is 42. ",
)
_BEYOND_ASCII: Final = ("a café in Größenwahn, ", "“quoted” — and dashed, ", "東京 is a city, ")
_LIST: Final = ("\n- first, look\n- then leap\n",)
_CODE: Final = ("\n\n```python\ndef area(radius):\n    return 3.14159 * radius ** 2\n```\n\n",)
_PHRASES: Final = (_PROSE, _BEYOND_ASCII, _LIST, _CODE)
_CHANCES: Final = (0.968, 0.02, 0.01, 0.002)
_QUOTED: Final = (
    "<think>\nFirst, what is asked?\n</think>\n\n",
    "## What follows\n\n- one\n- two\n\n",
    "Like this:\n\n```python\nprint(1)\n```\n\n",
)
"""What a page shows in a quote."""
_BODIES: Final = 1000
_HOUR_NS: Final = 3_600_000_000_000


def texts(count: int, length: int, seed: int = 7) -> Iterator[str]:
    """Yield ``count`` different texts of ``length`` characters; one phrase in fifty goes beyond ASCII."""
    dice = random.Random(seed)
    bodies = [_body(dice, length) for _ in range(min(count, _BODIES))]
    for number in range(count):
        text = f"Sample {number}. {bodies[number % len(bodies)]}"[:length]
        yield text.rstrip().ljust(length, ".")


def half_quoted(count: int, length: int) -> Iterator[str]:
    """Yield different texts, every second of which a page shows in a quote, the others as they are."""
    bodies = [f"{text.replace('```', 'code: ')} " for text in texts(min(count, _BODIES), length)]
    for number in range(count):
        begin = _QUOTED[number // 2 % len(_QUOTED)] if number % 2 else ""
        yield f"{begin}Sample {number}. {bodies[number % len(bodies)]}"[:length].rstrip().ljust(length, ".")


def inert(count: int, length: int) -> Iterator[str]:
    """Yield the same texts, but none that a page shows in a quote."""
    for number, text in enumerate(half_quoted(count, length)):
        yield f"{text.split('Sample', 1)[1]}".ljust(length, ".") if number % 2 else text


def repeated(count: int, length: int) -> Iterator[str]:
    """Yield texts drawn from half as many, which a pickle holds once and refers to."""
    pool = list(texts(count // 2, length))
    return iter(random.Random(11).choices(pool, k=count))


def written_out(count: int, length: int) -> Iterator[str]:
    """Yield the same texts, each a text of its own."""
    for text in repeated(count, length):
        yield text[:1] + text[1:]


def greedy(kind: str) -> Any:
    """Return an item that asks for much memory."""
    words = "a word\n" * 8_000_000
    if kind == "a text of 60 MB with an emoji":
        return words + "😀"
    if kind == "a chat of two messages of 60 MB":
        return [{"role": "user", "content": words}, {"role": "assistant", "content": words + "."}]
    content = "😀 " + words[:1000]
    return [{"role": "user", "content": f"{number} {content}"} for number in range(110_000)]


def _body(dice: random.Random, length: int) -> str:
    words: list[str] = []
    size = 0
    while size < length:
        (phrases,) = dice.choices(_PHRASES, _CHANCES)
        words.append(dice.choice(phrases))
        size += len(words[-1])
    return "".join(words)


def write(
    path: Path, kind: Kind, count: int, length: int, make: Callable[[int, int], Iterator[str]] = texts
) -> Path:
    """Save a cache; it appears whole."""
    array = np.empty(count, dtype=object if kind == "object" else f"<U{length}")
    for number, text in enumerate(make(count, length)):
        array[number] = text
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        np.save(file, array, allow_pickle=True)
    draft.replace(path)
    return path


def remove_sidecars(source: Path) -> None:
    """Take both sidecars of a source away."""
    for suffix in (".json", ".md"):
        source.with_suffix(suffix).unlink(missing_ok=True)


def set_sidecars_aside(root: Path, aside: Path) -> None:
    """Take the sidecars of a tree away, emptied: ext4 makes new files slowly for a minute after removals."""
    aside.mkdir(exist_ok=True)
    count = len(os.listdir(aside))
    for source in root.rglob("*_completions.npy"):
        for suffix in (".json", ".md"):
            path = source.with_suffix(suffix)
            if path.exists():
                os.truncate(path, 0)
                path.rename(aside / str(count))
                count += 1


def copies(root: Path, model: bytes, directories: int, each: int) -> None:
    """Write the same small cache many times, into new directories."""
    for number in range(directories):
        folder = root / f"run{number}"
        folder.mkdir(parents=True)
        for index in range(each):
            (folder / f"n{index}_completions.npy").write_bytes(model)


def complete_tree(root: Path, model: bytes, directories: int, each: int) -> None:
    """Write caches that have sidecars already: to a sweep, what has the right time is fresh."""
    copies(root, model, directories, each)
    for folder in root.iterdir():
        for source in list(folder.iterdir()):
            moment = source.stat().st_mtime_ns - _HOUR_NS
            for path in (source, source.with_suffix(".json"), source.with_suffix(".md")):
                path.touch()
                os.utime(path, ns=(moment, moment))


def keep_sizes(source: Path) -> None:
    """Leave sparse files as long as the sidecars of a source, which tell the floor how much to write."""
    for suffix in (".json", ".md"):
        size = source.with_suffix(suffix).stat().st_size
        with source.with_suffix(f".floor{suffix}").open("wb") as file:
            file.truncate(size)
