"""The rules for the keys of the configuration, and the errors that end a command.

A :class:`Check` returns what is wrong instead of raising, so that all problems are reported at once.
"""

from __future__ import annotations

import os
import re
from argparse import ArgumentTypeError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DECIMAL_BITS: Final = 1000  # Python refuses to write a number of thousands of digits
_SHOWN_LIMIT: Final = 70
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}

ALL_IS_WELL, SOMETHING_FAILED, WRONG_USAGE = 0, 1, 2
"""Exit statuses of the commands."""


class RefusedError(Exception):
    """A command cannot be carried out; it ends with the exit ``status``."""

    status = SOMETHING_FAILED


class ConfigError(RefusedError):
    """The configuration is invalid.  Its text is the ``problems``, one a line."""

    status = WRONG_USAGE

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Check:
    """The rule for one key; ``is_good`` accepts its valid values, which ``allowed`` describes.

    ``convert`` turns a valid value into what :class:`Config` holds.  ``read`` parses a word of the command
    line, or raises ArgumentTypeError.  ``words`` are offered by shell completion.
    """

    allowed: str
    is_good: Callable[[Any], bool]
    convert: Callable[[Any], Any] = lambda value: value
    read: Callable[[str], Any] = str
    words: tuple[str, ...] = ()

    def faults(self, value: Any) -> list[str]:
        """List what is wrong with a value."""
        return [] if self.is_good(value) else [found(value)]


@dataclass(frozen=True, slots=True)
class ListCheck(Check):
    """The rule for a list of different texts, each of which ``is_good`` accepts.

    ``conflicts`` lists what is wrong with a list of valid texts.
    """

    convert: Callable[[Any], Any] = tuple
    may_be_empty: bool = False
    conflicts: Callable[[Sequence[str]], list[str]] = lambda _: []

    def faults(self, value: Any) -> list[str]:
        """List what is wrong with a value."""
        if not isinstance(value, (list, tuple)) or not (value or self.may_be_empty):
            return [found(value)]
        bad = [found(entry) for entry in value if not (isinstance(entry, str) and self.is_good(entry))]
        twice = [f"{found(entry)} twice" for entry in value if value.count(entry) > 1]
        return list(dict.fromkeys(bad or twice)) or self.conflicts(value)


def whole_number(least: int, most: int | None = None) -> Check:
    """Allow the ints in a range; True and False, which are ints in Python, are rejected."""
    allowed = f"a whole number from {least} to {most}" if most else f"a whole number of at least {least}"

    def is_good(value: object) -> bool:
        return type(value) is int and value >= least and (most is None or value <= most)

    return Check(allowed, is_good, read=_int)


def _int(word: str) -> int:
    if not word.isascii() or not word.removeprefix("-").isdigit():
        raise ArgumentTypeError(f"{word!r} is not a whole number")
    return int(word)


def seconds(allowed: str, is_good: Callable[[float], bool]) -> Check:
    """Allow the floats and ints that ``is_good`` accepts; it must reject NaN."""
    return Check(allowed, lambda value: type(value) in {int, float} and is_good(value), convert=float)


def one_of(*names: str) -> Check:
    """Allow one of these words."""
    return Check(" or ".join(map(toml, names)), names.__contains__, words=names)


def some_of(*names: str) -> Check:
    """Allow a list of one or more of these words, each once."""
    return ListCheck(
        f"a list with one or more of {', '.join(map(toml, names))}, each once",
        names.__contains__,
        read=lambda word: word.split(","),
        words=(*names, ",".join(names)),
    )


def _is_metrics_file(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"/[^\0]*\.prom", value) is not None


def _is_directory_name(name: str) -> bool:
    """Reject paths and wildcards, which would never match."""
    return name not in {"", ".", ".."} and not set(name) & set("/*?\0")


def _conflicts(roots: Sequence[str]) -> list[str]:
    """List each root of an unknown home directory, like an earlier root, or inside another.

    Links are not followed.
    """
    places = {_place(root): root for root in reversed(roots)}
    homeless = [root for root in roots if os.path.expanduser(root).startswith("~")]
    faults = [f"{found(root)}, whose home directory is unknown" for root in homeless]
    for root in roots:
        place = _place(root)
        above = [path for path in places if path != place and place.startswith(path.rstrip("/") + "/")]
        if places[place] != root:
            faults.append(f"{found(root)}, which is the same as {toml(places[place])}")
        elif above:
            faults.append(f"{found(root)}, which is inside {toml(places[above[0]])}")
    return faults


def _place(root: str) -> str:
    root = os.path.expanduser(root)
    try:
        place = os.path.abspath(root)  # Path.resolve would follow links
    except OSError:  # the working directory is gone; relative roots can still be compared with each other
        place = os.path.normpath(root)
    return "/" + place.lstrip("/") if place.startswith("/") else place  # "//a" is "/a" on Linux


SWITCH: Final = Check("true or false", lambda value: isinstance(value, bool))
METRICS_FILE: Final = Check("the absolute path of a file whose name ends in .prom", _is_metrics_file)
DIRECTORY_NAMES: Final = ListCheck(
    "a list of plain directory names, without / and wildcards", _is_directory_name, may_be_empty=True
)
DIRECTORY_ROOTS: Final = ListCheck(
    "a list of one or more directories, none of them inside another",
    lambda root: bool(root) and "\0" not in root,
    # Path drops "./", so "./~a" would be expanded as well
    convert=lambda roots: tuple(map(os.path.expanduser, roots)),
    conflicts=_conflicts,
)
"""``~`` and ``~user`` are expanded.  One root may still be inside another by way of a link."""


def found(value: object) -> str:
    """Describe a value, short enough for one line."""
    text = toml(value)
    return f"found {text if len(text) <= _SHOWN_LIMIT else text[: _SHOWN_LIMIT - 1] + '…'}"


def toml(value: object) -> str:
    r"""Write a value as TOML on one line, harmless to a terminal.

    A byte that is not UTF-8 (a lone surrogate) cannot be written in TOML and becomes U+FFFD.

    >>> print(toml(["a\n", True, 0.5]))
    ["a\n", true, 0.5]
    """
    if isinstance(value, str):
        return f'"{"".join(map(_toml_char, value))}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, int) and value.bit_length() > _DECIMAL_BITS:
        return hex(value)
    return "a table" if isinstance(value, dict) else str(value)


def holds_raw_bytes(text: str) -> bool:
    """Tell whether a name holds bytes that are not UTF-8 (in Python, lone surrogates)."""
    return _SURROGATE.search(text) is not None


def _toml_char(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if holds_raw_bytes(char):
        return "\ufffd"
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
