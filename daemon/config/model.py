"""The configuration: text in, a frozen value out, or every problem at once.

One table (:data:`KEYS`) says which keys there are and what each may hold; the dataclasses hold the defaults.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from daemon.config.refusals import WRONG_USAGE, RefusedError
from daemon.config.validation import (
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

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from daemon.config.validation import Check

Markdown: TypeAlias = Literal["auto", "plain", "fenced"]
Level: TypeAlias = Literal["debug", "info", "warning", "error"]
LogFormat: TypeAlias = Literal["auto", "console", "json"]

_SIZE_LIMIT: Final = 1 << 20
_YEAR: Final = 366 * 86_400  # a longer wait overflows in some clocks
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Sidecars:
    """What is made: which formats, how many items, in which style, and what a page has besides."""

    formats: tuple[Format, ...] = FORMATS
    limit: int | None = None
    markdown: Markdown = "auto"
    summary: bool = False
    links: bool = False
    pairs: bool = False
    page_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """When it is made, and where nobody looks."""

    settle_seconds: float = 0.5
    sweep_seconds: float = 300.0
    ignore: tuple[str, ...] = ("__pycache__", "lost+found", "node_modules", "wandb")


@dataclass(frozen=True, slots=True)
class Work:
    """How much the work may take."""

    jobs: int | None = None
    max_output_bytes: int = 16 << 30


@dataclass(frozen=True, slots=True)
class Index:
    """Whether each root has a list of all its sets."""

    enabled: bool = False


@dataclass(frozen=True, slots=True)
class Metrics:
    """Where the service's figures are written for Prometheus, if anywhere."""

    textfile: str | None = None


@dataclass(frozen=True, slots=True)
class Log:
    """What is logged, and how."""

    level: Level = "info"
    format: LogFormat = "auto"


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration; ``Config()`` is the default.  Roots are as given, with ``~`` expanded."""

    roots: tuple[str, ...] = ("experiments",)
    sidecars: Sidecars = field(default_factory=Sidecars)
    watch: Watch = field(default_factory=Watch)
    work: Work = field(default_factory=Work)
    index: Index = field(default_factory=Index)
    metrics: Metrics = field(default_factory=Metrics)
    log: Log = field(default_factory=Log)


KEYS: Final[Mapping[str, Check]] = {
    "roots": directory_roots(),
    "sidecars.formats": some_of(*FORMATS),
    "sidecars.limit": whole_number(1),
    "sidecars.markdown": one_of(*get_args(Markdown)),
    "sidecars.summary": flag(),
    "sidecars.links": flag(),
    "sidecars.pairs": flag(),
    "sidecars.page_bytes": whole_number(1000),
    "watch.settle_seconds": seconds("a number of seconds above 0, up to 3600", lambda it: 0 < it <= 3600),
    "watch.sweep_seconds": seconds("a number of seconds from 1 up to a year", lambda it: 1 <= it <= _YEAR),
    "watch.ignore": directory_names(),
    "work.jobs": whole_number(1, 256),
    "work.max_output_bytes": whole_number(1),
    "index.enabled": flag(),
    "metrics.textfile": file_path(".prom"),
    "log.level": one_of(*get_args(Level)),
    "log.format": one_of(*get_args(LogFormat)),
}
SECTIONS: Final = tuple(dict.fromkeys(key.partition(".")[0] for key in KEYS if "." in key))

_OVERRIDES: Final[Mapping[str, tuple[str, str]]] = {
    "roots": ("roots", "ROOT"),
    "limit": ("sidecars.limit", "--limit"),
    "formats": ("sidecars.formats", "--formats"),
    "markdown": ("sidecars.markdown", "--markdown"),
    "jobs": ("work.jobs", "--jobs"),
    "log_level": ("log.level", "--log-level"),
    "log_format": ("log.format", "--log-format"),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, what was found, what is allowed, which known key may be meant."""

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
    """The configuration cannot be used; prints as one line a problem, with the file's path in front."""

    status = WRONG_USAGE

    def __init__(self, problems: tuple[Problem, ...], path: str = "") -> None:
        super().__init__(problems, path)
        self.problems = problems
        self.path = path

    def __str__(self) -> str:
        where = f"{toml(self.path)[1:-1]}: " if self.path else ""
        return "\n".join(f"{where}{problem}" for problem in self.problems)


def load(path: str | Path) -> Config:
    """Read a configuration file.

    Raises :class:`ConfigError` with the path, also when the file cannot be read or is not UTF-8.
    """
    try:
        return parse(_read(Path(path)))
    except ConfigError as error:
        raise ConfigError(error.problems, str(path)) from error


def parse(text: str) -> Config:
    """Make a configuration from TOML (v1.0.0); keys that are absent have their default.

    Raises :class:`ConfigError` with every problem of the text.  Only a syntax error hides the ones after it.
    """
    return _checked({}, list(_flattened(_parsed(text))), {})


def with_overrides(config: Config, **given: object) -> Config:
    """Put the command line over a configuration; None means not given.

    Names: ``roots``, ``limit``, ``formats``, ``markdown``, ``jobs``, ``log_level``, ``log_format``.  Raises
    :class:`ConfigError` whose problems name the flag; ``TypeError`` for another name.
    """
    if unknown := given.keys() - _OVERRIDES.keys():
        raise TypeError(f"no such override: {', '.join(sorted(unknown))}")
    entries = [(_OVERRIDES[name][0], value) for name, value in given.items() if value is not None]
    return _checked(dict(_values(config)), entries, dict(_OVERRIDES.values()))


def to_toml(config: Config) -> str:
    """Write the effective configuration as TOML; :func:`parse` makes an equal one from it.

    A root whose name is not UTF-8 cannot be written in TOML: it is shown, with a comment.
    """
    lines, section = [], ""
    for key, value in _values(config):
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


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_SIZE_LIMIT + 1)
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


def _parsed(text: str) -> dict[str, Any]:
    import tomli  # a sweep without a file needs no parser, and start-up time is felt

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
    """Give each key its dotted name; what is no section, or no table where one belongs, stays as it is."""
    for head, value in document.items():
        if head in SECTIONS and isinstance(value, dict):
            for name, inner in value.items():
                yield f"{head}.{_key(name)}", inner
        else:
            yield _key(head), value


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else toml(name)


def _checked(values: dict[str, Any], entries: list[tuple[str, Any]], names: Mapping[str, str]) -> Config:
    """Lay entries over values and build the configuration, or raise every problem, under the given names."""
    problems: list[Problem] = []
    for key, value in entries:
        check = KEYS.get(key)
        if check is None:
            problems.append(_unknown(key, value))
        elif faults := check.faults(value):
            problems += [Problem(names.get(key, key), fault, check.allowed) for fault in faults]
        else:
            values[key] = check.convert(value)
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
    """Name the known key that is meant: the same name elsewhere, or one spelled nearly so."""
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


def _values(config: Config) -> Iterator[tuple[str, Any]]:
    for head, value in asdict(config).items():
        if isinstance(value, dict):
            yield from ((f"{head}.{name}", inner) for name, inner in value.items())
        else:
            yield head, value
