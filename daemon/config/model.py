"""The configuration: parse it into a frozen value, or report every problem at once.

Each dataclass field holds the rule and the command-line flag of its key (:class:`Key`).
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from daemon.config.validation import (
    DIRECTORY_NAMES,
    DIRECTORY_ROOTS,
    METRICS_FILE,
    SWITCH,
    Check,
    ConfigError,
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
    from collections.abc import Iterable, Iterator, Mapping

Level: TypeAlias = Literal["debug", "info", "warning", "error"]
LogFormat: TypeAlias = Literal["auto", "console", "json"]

_SIZE_LIMIT: Final = 1 << 20
_YEAR: Final = 366 * 86_400  # a longer wait overflows in some clocks
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Key:
    """The rule for a field's value, and the flag that sets it, if there is one."""

    check: Check
    flag: str = ""
    metavar: str = ""
    help: str = ""


def _key(default: Any, check: Check, *cli: str) -> Any:
    return field(default=default, metadata={"key": Key(check, *cli)})


def _choice(default: str, literal: Any, flag: str, metavar: str, what: str) -> Any:
    words = get_args(literal)
    help = f"{what}: {', '.join(words[:-1])} or {words[-1]} (default: {default})"  # noqa: A001 -- as argparse
    return _key(default, one_of(*words), flag, metavar, help)


@dataclass(frozen=True, slots=True)
class Sidecars:
    """Which sidecars are made, and what is in them."""

    formats: tuple[Format, ...] = _key(
        FORMATS,
        some_of(*FORMATS),
        "--formats",
        "json,md",
        f"which sidecars to make (default: {','.join(FORMATS)})",
    )
    limit: int | None = _key(
        None, whole_number(1), "--limit", "N", "keep the first N items in both formats (default: all)"
    )
    markdown: Style = _choice("auto", Style, "--markdown", "STYLE", "how pages show texts")
    summary: bool = _key(False, SWITCH)
    links: bool = _key(False, SWITCH)
    pairs: bool = _key(False, SWITCH)
    page_bytes: int | None = _key(None, whole_number(1000))


@dataclass(frozen=True, slots=True)
class Watch:
    """When sources are converted, and which directories are never entered."""

    settle_seconds: float = _key(
        0.5, seconds("a number of seconds above 0, up to 3600", lambda it: 0 < it <= 3600)
    )
    sweep_seconds: float = _key(
        300.0, seconds("a number of seconds from 1 up to a year", lambda it: 1 <= it <= _YEAR)
    )
    ignore: tuple[str, ...] = _key(("__pycache__", "lost+found", "node_modules", "wandb"), DIRECTORY_NAMES)


@dataclass(frozen=True, slots=True)
class Work:
    """How much may be used; without ``jobs``, each command chooses."""

    jobs: int | None = _key(
        None,
        whole_number(1, 256),
        "--jobs",
        "N",
        "sources to convert at a time (default: 1 to watch; one per processor, at most 8, to sweep)",
    )
    max_output_bytes: int = _key(MAX_OUTPUT_BYTES, whole_number(1))


@dataclass(frozen=True, slots=True)
class Index:
    """Whether an index is kept in each root."""

    enabled: bool = _key(False, SWITCH)


@dataclass(frozen=True, slots=True)
class Metrics:
    """Where the service writes metrics for Prometheus, if it does."""

    textfile: str | None = _key(None, METRICS_FILE)


@dataclass(frozen=True, slots=True)
class Log:
    """What is logged, and in which format."""

    level: Level = _choice("info", Level, "--log-level", "LEVEL", "the lowest level to log")
    format: LogFormat = _choice("auto", LogFormat, "--log-format", "FORMAT", "how to log")


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration; ``Config()`` has the defaults.  Roots are as given, with ``~`` expanded."""

    roots: tuple[str, ...] = _key(("experiments",), DIRECTORY_ROOTS, "ROOT")
    sidecars: Sidecars = field(default_factory=Sidecars)
    watch: Watch = field(default_factory=Watch)
    work: Work = field(default_factory=Work)
    index: Index = field(default_factory=Index)
    metrics: Metrics = field(default_factory=Metrics)
    log: Log = field(default_factory=Log)

    def options(self, *, force: bool = False) -> Options:
        """Return the options for the library."""
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
    """Yield the dotted name, the :class:`Key` and the value of every key."""
    for entry in fields(section):
        value = getattr(section, entry.name)
        if is_dataclass(value):
            yield from _entries(value, f"{entry.name}.")
        else:
            yield prefix + entry.name, entry.metadata["key"], value


KEYS: Final[Mapping[str, Key]] = {name: key for name, key, _ in _entries(Config())}
SECTIONS: Final = tuple(dict.fromkeys(key.partition(".")[0] for key in KEYS if "." in key))


def load(path: str | os.PathLike[str]) -> Config:
    """Read a configuration file.

    :raises ConfigError: its problems name the path; also if the file cannot be read or is not UTF-8.
    """
    try:
        return parse(_read(path))
    except ConfigError as error:
        where = toml(os.fspath(path))[1:-1]
        raise ConfigError([f"{where}: {problem}" for problem in error.problems]) from error


def parse(text: str) -> Config:
    """Parse a configuration in TOML 1.0; missing keys have their defaults.

    :raises ConfigError: with every problem, or the first syntax error.
    """
    return _changed(Config(), _flattened(_parsed(text)))


def with_overrides(config: Config, given: Mapping[str, object]) -> Config:
    """Return a configuration with values from the command line, by key; None means not given.

    :raises ConfigError: its problems name the flag.
    """
    entries = [(key, value) for key, value in given.items() if value is not None]
    return _changed(config, entries, by_flag=True)


def to_toml(config: Config) -> str:
    """Write a configuration as TOML that :func:`parse` reads back.

    A root whose name is not UTF-8, which TOML cannot hold, is marked by a comment.
    """
    lines, section = [], ""
    for key, _, value in _entries(config):
        head, _, name = key.rpartition(".")
        if head != section:
            lines += ["", f"[{head}]"]
            section = head
        is_lossy = isinstance(value, tuple) and any(map(holds_raw_bytes, value))
        remark = "  # holds bytes that are not UTF-8" if is_lossy else ""
        lines.append(f"# {name} is not set" if value is None else f"{name} = {toml(value)}{remark}")
    return "\n".join([*lines, ""])


def _read(path: str | os.PathLike[str]) -> str:
    try:
        content = _content(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        to_do = "check the path, or leave --config out"
        if isinstance(error, PermissionError):
            to_do = "give the user that runs this permission to read it"
        raise ConfigError([f"cannot be read: {reason}; {to_do}"]) from error
    if len(content) > _SIZE_LIMIT:
        raise ConfigError([f"is larger than {_SIZE_LIMIT:,} bytes; is it the right file?"])
    try:
        return content.decode("utf-8-sig")  # editors on Windows may add a byte order mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        fault = f"is not UTF-8 (at line {line}, byte {error.start + 1}); save it as UTF-8"
        raise ConfigError([fault]) from error


def _content(path: str | os.PathLike[str]) -> bytes:
    """Read a regular file; anything else is refused without being opened."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Is a directory" if stat.S_ISDIR(mode) else "Not a regular file")
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        return file.read(_SIZE_LIMIT + 1)


def _parsed(text: str) -> dict[str, Any]:
    import tomli  # not needed without a file, and start-up time matters

    try:
        return tomli.loads(text)
    except (ValueError, RecursionError) as error:  # thousands of digits or brackets
        fault = "is not usable TOML: a number is too long, or the nesting is too deep"
        if isinstance(error, tomli.TOMLDecodeError):
            fault = f"is not TOML: {toml(str(error))[1:-1]}; see config.example.toml"
        raise ConfigError([fault]) from error


def _flattened(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each key with its dotted name; a value that is not a known section is left as it is."""
    for head, value in document.items():
        if head in SECTIONS and isinstance(value, dict):
            yield from ((f"{head}.{_written(name)}", inner) for name, inner in value.items())
        else:
            yield _written(head), value


def _written(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else toml(name)


def _changed(config: Config, entries: Iterable[tuple[str, Any]], *, by_flag: bool = False) -> Config:
    """Return a configuration with new values for some keys, or raise all problems."""
    problems: list[str] = []
    for key, value in entries:
        if key not in KEYS:
            problems.append(_unknown(key, value))
            continue
        check, name = KEYS[key].check, KEYS[key].flag if by_flag else key
        faults = check.faults(value)
        problems += [f"{name}: {fault}; allowed: {check.allowed}" for fault in faults]
        if not faults:
            config = _replaced(config, key, check.convert(value))
    if problems:
        raise ConfigError(problems)
    return config


def _replaced(config: Config, key: str, value: Any) -> Config:
    section, _, name = key.rpartition(".")
    if section:
        name, value = section, replace(getattr(config, section), **{name: value})
    return replace(config, **{name: value})


def _unknown(key: str, value: object) -> str:
    if key in SECTIONS:
        return f"{key}: {found(value)}; allowed: a table, [{key}]"
    if nearest := _nearest(key):
        return f"{key}: unknown key; did you mean {nearest}?"
    section = key.partition(".")[0] + "." if "." in key else ""
    return f"{key}: unknown key; allowed: {', '.join(known for known in KEYS if known.startswith(section))}"


def _nearest(key: str) -> str | None:
    """Return the known key with a similar name, or with a similar last part in another section."""
    import difflib  # only needed for mistakes

    leaves = {known.rpartition(".")[2]: known for known in KEYS}
    whole = difflib.get_close_matches(key, [*KEYS, *SECTIONS], n=1, cutoff=0.75)
    leaf = difflib.get_close_matches(key.rpartition(".")[2], leaves, n=1)
    return next(iter(whole + [leaves[name] for name in leaf]), None)
