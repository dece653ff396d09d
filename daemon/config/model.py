"""The configuration: text in, a frozen value out, or every problem at once.

Each dataclass field carries the check of its key, and the flag if it has one (:class:`Key`).
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from daemon.config.validation import (
    Check,
    ConfigError,
    Problem,
    directory_names,
    directory_roots,
    file_path,
    flag,
    found,
    holds_raw_bytes,
    one_of,
    seconds,
    some_of,
    toml,
    whole_number,
)
from lib.names import FORMATS, Format
from lib.options import MAX_OUTPUT_BYTES, Extras, Options, Style

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Level: TypeAlias = Literal["debug", "info", "warning", "error"]
LogFormat: TypeAlias = Literal["auto", "console", "json"]

_SIZE_LIMIT: Final = 1 << 20
_YEAR: Final = 366 * 86_400  # a longer wait overflows in some clocks
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Key:
    """What a field may hold, and how the command line sets it."""

    check: Check
    flag: str = ""
    metavar: str = ""
    help: str = ""


def _key(default: Any, check: Check, *cli: str) -> Any:
    return field(default=default, metadata={"key": Key(check, *cli)})


@dataclass(frozen=True, slots=True)
class Sidecars:
    """Which sidecars are made, and how."""

    formats: tuple[Format, ...] = _key(
        FORMATS, some_of(*FORMATS), "--formats", "json,md", f"which sidecars (default: {','.join(FORMATS)})"
    )
    limit: int | None = _key(
        None, whole_number(1), "--limit", "N", "keep the first N items in both formats (default: all)"
    )
    markdown: Style = _key(
        "auto", one_of(*get_args(Style)), "--markdown", "STYLE", "auto, plain or fenced (default: auto)"
    )
    summary: bool = _key(False, flag())
    links: bool = _key(False, flag())
    pairs: bool = _key(False, flag())
    page_bytes: int | None = _key(None, whole_number(1000))


@dataclass(frozen=True, slots=True)
class Watch:
    """When sidecars are made, and which directories are never entered."""

    settle_seconds: float = _key(
        0.5, seconds("a number of seconds above 0, up to 3600", lambda it: 0 < it <= 3600)
    )
    sweep_seconds: float = _key(
        300.0, seconds("a number of seconds from 1 up to a year", lambda it: 1 <= it <= _YEAR)
    )
    ignore: tuple[str, ...] = _key(("__pycache__", "lost+found", "node_modules", "wandb"), directory_names())


@dataclass(frozen=True, slots=True)
class Work:
    """How much the work may use; without ``jobs`` each command chooses."""

    jobs: int | None = _key(
        None,
        whole_number(1, 256),
        "--jobs",
        "N",
        "sources at a time (default: 1 to watch; one per processor, at most 8, to sweep)",
    )
    max_output_bytes: int = _key(MAX_OUTPUT_BYTES, whole_number(1))


@dataclass(frozen=True, slots=True)
class Index:
    """Whether each root has an index of its sets."""

    enabled: bool = _key(False, flag())


@dataclass(frozen=True, slots=True)
class Metrics:
    """Where the service writes metrics for Prometheus, if anywhere."""

    textfile: str | None = _key(None, file_path(".prom"))


@dataclass(frozen=True, slots=True)
class Log:
    """What is logged, and how."""

    level: Level = _key(
        "info",
        one_of(*get_args(Level)),
        "--log-level",
        "LEVEL",
        "debug, info, warning or error (default: info)",
    )
    format: LogFormat = _key(
        "auto",
        one_of(*get_args(LogFormat)),
        "--log-format",
        "FORMAT",
        "auto, console or json (default: auto)",
    )


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration; ``Config()`` is the default.  Roots are as given, with ``~`` expanded."""

    roots: tuple[str, ...] = _key(("experiments",), directory_roots(), "ROOT")
    sidecars: Sidecars = field(default_factory=Sidecars)
    watch: Watch = field(default_factory=Watch)
    work: Work = field(default_factory=Work)
    index: Index = field(default_factory=Index)
    metrics: Metrics = field(default_factory=Metrics)
    log: Log = field(default_factory=Log)

    def options(self, *, force: bool = False) -> Options:
        """Return the options of the library."""
        extras = {entry.name: getattr(self.sidecars, entry.name) for entry in fields(Extras)}
        return Options(
            self.sidecars.formats,
            self.sidecars.limit,
            self.sidecars.markdown,
            self.work.max_output_bytes,
            force,
            extras=Extras(**extras),
            count=self.index.enabled,
        )


def _entries(section: Any, prefix: str = "") -> Iterator[tuple[str, Key, Any]]:
    """Yield the dotted name, the rule and the value of every key."""
    for entry in fields(section):
        value = getattr(section, entry.name)
        if is_dataclass(value):
            yield from _entries(value, f"{entry.name}.")
        else:
            yield prefix + entry.name, entry.metadata["key"], value


KEYS: Final[Mapping[str, Key]] = {name: key for name, key, _ in _entries(Config())}
SECTIONS: Final = tuple(dict.fromkeys(key.partition(".")[0] for key in KEYS if "." in key))
FLAGS: Final[Mapping[str, str]] = {
    "roots": "roots",
    **{row.flag[2:].replace("-", "_"): key for key, row in KEYS.items() if row.flag.startswith("--")},
}
"""The key that each attribute of the parsed command line sets."""


def load(path: str | Path) -> Config:
    """Read a configuration file.

    :raises ConfigError: with the path, also when the file cannot be read, is not a file or is not UTF-8.
    """
    try:
        return parse(_read(os.fspath(path)))
    except ConfigError as error:
        raise ConfigError(error.problems, str(path)) from error


def parse(text: str) -> Config:
    """Return the configuration in a TOML text (v1.0.0); missing keys have their defaults.

    :raises ConfigError: with every problem, or the first syntax error.
    """
    return _checked({}, list(_flattened(_parsed(text))), {})


def with_overrides(config: Config, **given: object) -> Config:
    """Return a configuration with the values of the command line; None means not given.

    The names are those of :data:`FLAGS`.

    :raises ConfigError: its problems name the flag.
    :raises TypeError: there is no such name.
    """
    if unknown := given.keys() - FLAGS.keys():
        raise TypeError(f"no such override: {', '.join(sorted(unknown))}")
    entries = [(FLAGS[name], value) for name, value in given.items() if value is not None]
    values = {name: value for name, _, value in _entries(config)}
    return _checked(values, entries, {key: KEYS[key].flag for key, _ in entries})


def to_toml(config: Config) -> str:
    """Return a configuration as TOML, which :func:`parse` reads back.

    TOML cannot hold a name that is not UTF-8: such a root is shown with a comment.
    """
    lines, section = [], ""
    for key, _, value in _entries(config):
        head, _, name = key.rpartition(".")
        if head != section:
            lines += ["", f"[{head}]"]
            section = head
        lines.append(_toml_line(name, value))
    return "\n".join([*lines, ""])


def _toml_line(name: str, value: object) -> str:
    if value is None:
        return f"# {name} is not set"
    lossy = isinstance(value, tuple) and any(holds_raw_bytes(entry) for entry in value)
    return f"{name} = {toml(value)}{'  # holds bytes that are not UTF-8' if lossy else ''}"


def _read(path: str) -> str:
    try:
        content = _content(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        fault = f"cannot be read: {reason}; check the path, or leave --config out"
        raise ConfigError((Problem("", fault),)) from error
    if len(content) > _SIZE_LIMIT:
        raise ConfigError((Problem("", f"is larger than {_SIZE_LIMIT:,} bytes; is it the right file?"),))
    try:
        return content.decode("utf-8-sig")  # editors on Windows put a mark in front
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        fault = f"is not UTF-8 (at line {line}, byte {error.start + 1}); save it as UTF-8"
        raise ConfigError((Problem("", fault),)) from error


def _content(path: str) -> bytes:
    """Read a regular file; a pipe is not waited for, and a device is not opened."""
    _check_regular(os.stat(path))
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        _check_regular(os.fstat(descriptor))
        return file.read(_SIZE_LIMIT + 1)


def _check_regular(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file")


def _parsed(text: str) -> dict[str, Any]:
    import tomli  # a sweep without a file needs no parser, and people notice start-up time

    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        fault = f"is not TOML: {toml(str(error))[1:-1]}; config.example.toml shows how it is written"
        raise ConfigError((Problem("", fault),)) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, a thousand brackets
        raise ConfigError(
            (Problem("", "is not usable TOML: a number is too long or the nesting too deep"),)
        ) from error


def _flattened(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each key under its dotted name; anything but a known section stays as it is."""
    for head, value in document.items():
        if head in SECTIONS and isinstance(value, dict):
            for name, inner in value.items():
                yield f"{head}.{_written(name)}", inner
        else:
            yield _written(head), value


def _written(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else toml(name)


def _checked(values: dict[str, Any], entries: list[tuple[str, Any]], names: Mapping[str, str]) -> Config:
    """Return the configuration of values and the entries over them, or raise every problem."""
    problems: list[Problem] = []
    for key, value in entries:
        row = KEYS.get(key)
        if row is None:
            problems.append(_unknown(key, value))
        elif faults := row.check.faults(value):
            problems += [Problem(names.get(key, key), fault, row.check.allowed) for fault in faults]
        else:
            values[key] = row.check.convert(value)
    if problems:
        raise ConfigError(tuple(problems))
    return _built(values)


def _unknown(key: str, value: object) -> Problem:
    if key in SECTIONS:
        return Problem(key, found(value), f"a table, [{key}]")
    nearest = _nearest(key)
    section = key.partition(".")[0] + "." if "." in key else ""
    siblings = [known for known in KEYS if known.startswith(section)]
    return Problem(key, "unknown key", "" if nearest else ", ".join(siblings), nearest)


def _nearest(key: str) -> str:
    """Return the known key with a similar name, or the same name in another section."""
    leaves = {known.rpartition(".")[2]: known for known in KEYS}
    import difflib  # for mistakes only

    whole = difflib.get_close_matches(key, [*KEYS, *SECTIONS], n=1, cutoff=0.75)
    leaf = difflib.get_close_matches(key.rpartition(".")[2], leaves, n=1)
    return (whole or [leaves[name] for name in leaf] or [""])[0]


def _built(values: Mapping[str, Any]) -> Config:
    config = Config(**{key: value for key, value in values.items() if "." not in key})
    for section in SECTIONS:
        own = {key.partition(".")[2]: value for key, value in values.items() if key.startswith(f"{section}.")}
        config = replace(config, **{section: replace(getattr(config, section), **own)})
    return config
