"""What each key of the configuration may hold.

A :class:`Check` never raises: it lists what is wrong, so that all problems of a file are reported at once.
"""

from __future__ import annotations

import os
import re
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
    """A command cannot be carried out.  ``status``: the exit status."""

    status = SOMETHING_FAILED


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: its key, what was found, what is allowed, and a key of a similar name."""

    key: str
    found: str
    allowed: str = ""
    nearest: str = ""

    def __str__(self) -> str:
        where = f"{self.key}: " if self.key else ""
        allowed = f"; allowed: {self.allowed}" if self.allowed else ""
        nearest = f"; did you mean {self.nearest}?" if self.nearest else ""
        return f"{where}{self.found}{allowed}{nearest}"


class ConfigError(RefusedError):
    """The configuration is invalid; as text, one line a problem after the file's path."""

    status = WRONG_USAGE

    def __init__(self, problems: tuple[Problem, ...], path: str = "") -> None:
        super().__init__(problems, path)
        self.problems = problems
        self.path = path

    def __str__(self) -> str:
        where = f"{toml(self.path)[1:-1]}: " if self.path else ""
        return "\n".join(f"{where}{problem}" for problem in self.problems)


@dataclass(frozen=True, slots=True)
class Check:
    """The rule for one key.

    ``faults`` lists what is wrong with a value; ``convert`` gives a valid one its form.  ``read`` parses a
    word of the command line, or raises ValueError; ``words`` are offered by shell completion.
    """

    allowed: str
    faults: Callable[[Any], list[str]]
    convert: Callable[[Any], Any]
    read: Callable[[str], Any] = str
    words: tuple[str, ...] = ()


def whole_number(least: int, most: int | None = None) -> Check:
    """Allow an int, but not a bool, which is an int in Python."""
    allowed = f"a whole number from {least} to {most}" if most else f"a whole number of at least {least}"

    def is_good(value: object) -> bool:
        return type(value) is int and value >= least and (most is None or value <= most)

    return Check(allowed, lambda value: [] if is_good(value) else [found(value)], int, _int)


def _int(word: str) -> int:
    if not word.isascii() or not word.isdigit():
        raise ValueError(f"{word!r} is not a whole number")
    return int(word)


def seconds(allowed: str, is_good: Callable[[float], bool]) -> Check:
    """Allow a float or an int; ``is_good`` must reject NaN."""

    def faults(value: Any) -> list[str]:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return [] if number and is_good(value) else [found(value)]

    return Check(allowed, faults, float)


def one_of(*names: str) -> Check:
    """Allow one of a few words."""
    allowed = " or ".join(toml(name) for name in names)
    return Check(allowed, lambda value: [] if value in names else [found(value)], str, words=names)


def flag() -> Check:
    """Allow true and false."""
    return Check("true or false", lambda value: [] if isinstance(value, bool) else [found(value)], bool)


def file_path(suffix: str) -> Check:
    """Allow the absolute path of a file with this suffix."""

    def is_good(value: object) -> bool:
        return (
            isinstance(value, str) and value.startswith("/") and value.endswith(suffix) and "\0" not in value
        )

    allowed = f"the absolute path of a file whose name ends in {suffix}"
    return Check(allowed, lambda value: [] if is_good(value) else [found(value)], str)


def some_of(*names: str) -> Check:
    """Allow a list of one or more of a few words, each once."""
    allowed = f"a list with one or more of {', '.join(toml(name) for name in names)}, each once"
    return Check(
        allowed,
        lambda value: _list_faults(value, lambda entry: entry in names),
        tuple,
        lambda word: word.split(","),
        (*names, ",".join(names)),
    )


def directory_names() -> Check:
    """Allow a list of plain names; a path or a wildcard would silently match nothing."""

    def is_good(entry: str) -> bool:
        return entry not in {"", ".", ".."} and not any(char in entry for char in "/*?\0")

    allowed = "a list of plain directory names, without / and without wildcards"
    return Check(allowed, lambda value: _list_faults(value, is_good, may_be_empty=True), tuple)


def directory_roots() -> Check:
    """Allow a list of one or more directories, none inside another; ``~`` and ``~user`` are expanded.

    Paths are compared by name: through a link, one root may still lie in another.
    """

    def is_good(entry: str) -> bool:
        return bool(entry) and "\0" not in entry and not _expanded(entry).startswith("~")

    def faults(value: Any) -> list[str]:
        return _list_faults(value, is_good) or _overlaps([_expanded(entry) for entry in value])

    allowed = "a list of one or more directories, none of them inside another"
    return Check(allowed, faults, lambda value: tuple(_expanded(entry) for entry in value))


def found(value: object) -> str:
    """Return a description of what was found, short enough for one line."""
    text = toml(value)
    return f"found {text if len(text) <= _SHOWN_LIMIT else text[: _SHOWN_LIMIT - 1] + '…'}"


def toml(value: object) -> str:
    r"""Write a value as TOML on one line, harmless to a terminal.

    A byte that is not UTF-8 (a lone surrogate) has no form in TOML and becomes U+FFFD.

    >>> print(toml(["a\n", True, 0.5]))
    ["a\n", true, 0.5]
    """
    if isinstance(value, str):
        return f'"{"".join(_toml_char(char) for char in value)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(toml(entry) for entry in value)}]"
    if isinstance(value, int) and value.bit_length() > _DECIMAL_BITS:
        return hex(value)
    return "a table" if isinstance(value, dict) else str(value)


def holds_raw_bytes(text: str) -> bool:
    """Tell whether a name holds bytes that are not UTF-8, lone surrogates in Python."""
    return _SURROGATE.search(text) is not None


def _toml_char(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if holds_raw_bytes(char):
        return "\ufffd"
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def _list_faults(value: Any, is_good: Callable[[str], bool], *, may_be_empty: bool = False) -> list[str]:
    """List what is wrong with a list of strings: type, no entries, bad entries, repetitions."""
    if not isinstance(value, (list, tuple)) or not (value or may_be_empty):
        return [found(value)]
    bad = [found(entry) for entry in value if not (isinstance(entry, str) and is_good(entry))]
    twice = [f"{found(entry)} twice" for entry in value if value.count(entry) > 1]
    return list(dict.fromkeys(bad or twice))


def _overlaps(roots: Sequence[str]) -> list[str]:
    """List each root that is the same as an earlier one, or lies inside another."""
    places = [_place(root) for root in roots]
    faults = []
    for index, (root, place) in enumerate(zip(roots, places, strict=True)):
        same = [roots[other] for other in range(index) if places[other] == place]
        outer = [roots[other] for other in range(len(roots)) if _is_inside(place, places[other])]
        relation = f"the same as {toml(same[0])}" if same else f"inside {toml(outer[0])}" if outer else ""
        if relation:
            faults.append(f"{found(root)}, which is {relation}")
    return faults


def _is_inside(place: str, outer: str) -> bool:
    return place != outer and place.startswith(outer.rstrip("/") + "/")


def _place(root: str) -> str:
    try:
        place = os.path.abspath(root)  # Path.resolve would follow links
    except OSError:  # the working directory is gone: relative roots can still be compared with one another
        place = os.path.normpath(root)
    return "/" + place.lstrip("/") if place.startswith("/") else place  # "//a" is "/a" on Linux


def _expanded(root: str) -> str:
    """Expand ``~``; it stays when the user is unknown."""
    return os.path.expanduser(root)  # Path drops "./", so "./~a" would be expanded too
