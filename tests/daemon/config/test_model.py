"""The configuration: defaults, the example, problems, overrides, and writing TOML."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st
from support import as_nobody, needs_root

from daemon.config.model import (
    KEYS,
    Config,
    ConfigError,
    Log,
    Sidecars,
    Watch,
    Work,
    load,
    parse,
    to_toml,
    with_overrides,
)

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLE = Path(__file__).parents[3] / "config.example.toml"


def problems_of(text: str) -> list[str]:
    """Parse a text that must be rejected; return its problems."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return str(caught.value).splitlines()


def flattened(document: dict[str, object]) -> dict[str, object]:
    """Return a document's values by dotted key."""
    flat: dict[str, object] = {}
    for key, value in document.items():
        inner = value.items() if isinstance(value, dict) else None
        flat.update({f"{key}.{name}": each for name, each in inner} if inner is not None else {key: value})
    return flat


def as_toml_types(config: Config) -> dict[str, object]:
    """Return a configuration's values by dotted key, with the types of a TOML reader."""
    flat = flattened(dataclasses.asdict(config))
    return {key: list(value) if isinstance(value, tuple) else value for key, value in flat.items()}


def test_an_empty_file_gives_the_defaults() -> None:
    """No key is required."""
    assert parse("") == Config()


def test_the_example_holds_every_key_with_its_default() -> None:
    """With comments removed, the example sets every key to its default, if it has one."""
    text = re.sub(r"(?m)^# ((limit|page_bytes|jobs|textfile) = )", r"\1", EXAMPLE.read_text(encoding="utf-8"))
    unset = {
        "sidecars.limit": 10,
        "sidecars.page_bytes": 2_000_000,
        "work.jobs": 1,
        "metrics.textfile": "/var/lib/node_exporter/generation_sidecars.prom",
    }
    assert flattened(tomli.loads(text)) == as_toml_types(Config()) | unset
    assert as_toml_types(parse(text)) == as_toml_types(Config()) | unset


def test_the_example_as_it_stands_changes_nothing() -> None:
    """A copy of the example has the same effect as no file."""
    assert load(EXAMPLE) == Config()


def test_the_example_says_what_each_key_means() -> None:
    """There is a comment directly above each key."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    keys = [index for index, line in enumerate(lines) if re.match(r"(# )?\w+ = ", line)]
    assert len(keys) == len(KEYS)
    assert all(re.match(r"# [A-Z\"]?.{20}", lines[index - 1]) for index in keys)


def test_every_key_can_be_set() -> None:
    """The value of each key is stored in the field of the same name."""
    text = """
    roots = ["a", "b"]
    [sidecars]
    formats = ["md"]
    limit = 3
    markdown = "fenced"
    [watch]
    settle_seconds = 2
    sweep_seconds = 60
    ignore = []
    [work]
    jobs = 4
    max_output_bytes = 1
    [log]
    level = "debug"
    format = "json"
    """
    assert parse(text) == Config(
        roots=("a", "b"),
        sidecars=Sidecars(formats=("md",), limit=3, markdown="fenced"),
        watch=Watch(settle_seconds=2.0, sweep_seconds=60.0, ignore=()),
        work=Work(jobs=4, max_output_bytes=1),
        log=Log(level="debug", format="json"),
    )


def test_a_whole_number_of_seconds_becomes_a_float() -> None:
    """An int is accepted and converted."""
    assert type(parse("[watch]\nsweep_seconds = 60").watch.sweep_seconds) is float


def test_a_tilde_in_a_root_is_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell expands it for a service."""
    monkeypatch.setenv("HOME", "/home/ada")
    assert parse('roots = ["~/experiments", "./~x"]').roots == ("/home/ada/experiments", "./~x")


def test_relative_roots_are_compared_when_the_working_directory_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload must not fail because of the working directory."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert parse('roots = ["a", "/b"]').roots == ("a", "/b")
    assert problems_of('roots = ["a", "a/b"]')


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("roots = []", "roots: found []; allowed: a list of one or more directories"),
        ('roots = "a"', 'roots: found "a"; allowed: a list'),
        ('roots = [""]', 'roots: found ""; allowed'),
        ("roots = [1]", "roots: found 1; allowed"),
        ('roots = ["a\\u0000b"]', 'roots: found "a\\u0000b"; allowed'),
        (
            'roots = ["~no-such-user/x"]',
            'roots: found "~no-such-user/x", whose home directory is unknown; allowed',
        ),
        ('roots = ["a", "a"]', 'roots: found "a" twice; allowed'),
        ('roots = ["a", "./a/"]', 'roots: found "./a/", which is the same as "a"; allowed'),
        ('roots = ["a/b", "a"]', 'roots: found "a/b", which is inside "a"; allowed'),
        ('roots = ["/", "/a"]', 'roots: found "/a", which is inside "/"; allowed'),
        ('roots = ["//a", "/a"]', 'roots: found "/a", which is the same as "//a"; allowed'),
        ("[roots]", "roots: found a table; allowed: a list"),
        ("[sidecars]\nformats = []", "sidecars.formats: found []; allowed"),
        ('[sidecars]\nformats = ["html"]', 'sidecars.formats: found "html"; allowed'),
        ('[sidecars]\nformats = ["md", "md"]', 'sidecars.formats: found "md" twice; allowed'),
        ("[sidecars]\nformats = [[]]", "sidecars.formats: found []; allowed"),
        ("[sidecars]\nlimit = 0", "sidecars.limit: found 0; allowed: a whole number of at least 1"),
        ("[sidecars]\nlimit = true", "sidecars.limit: found true; allowed"),
        ("[sidecars]\nlimit = 1.0", "sidecars.limit: found 1.0; allowed"),
        ('[sidecars]\nmarkdown = "Auto"', 'sidecars.markdown: found "Auto"; allowed: "auto" or "plain"'),
        ("[sidecars]\nmarkdown = ['auto']", 'sidecars.markdown: found ["auto"]; allowed'),
        ("[sidecars]\nsummary = 1", "sidecars.summary: found 1; allowed: true or false"),
        (
            "[sidecars]\npage_bytes = 999",
            "sidecars.page_bytes: found 999; allowed: a whole number of at least",
        ),
        ('[index]\nenabled = "yes"', 'index.enabled: found "yes"; allowed: true or false'),
        ('[metrics]\ntextfile = "a.prom"', 'metrics.textfile: found "a.prom"; allowed: the absolute path'),
        ('[metrics]\ntextfile = "/a.txt"', 'metrics.textfile: found "/a.txt"; allowed: the absolute path'),
        ("[watch]\nsettle_seconds = 0", "watch.settle_seconds: found 0; allowed"),
        ("[watch]\nsettle_seconds = -0.0", "watch.settle_seconds: found -0.0; allowed"),
        ("[watch]\nsettle_seconds = 3600.1", "watch.settle_seconds: found 3600.1; allowed"),
        ("[watch]\nsettle_seconds = nan", "watch.settle_seconds: found nan; allowed"),
        ("[watch]\nsettle_seconds = true", "watch.settle_seconds: found true; allowed"),
        ("[watch]\nsweep_seconds = 0.9", "watch.sweep_seconds: found 0.9; allowed"),
        ("[watch]\nsweep_seconds = inf", "watch.sweep_seconds: found inf; allowed"),
        ("[watch]\nsweep_seconds = 2020-01-01", "watch.sweep_seconds: found 2020-01-01; allowed"),
        ('[watch]\nignore = ["a/b"]', 'watch.ignore: found "a/b"; allowed'),
        ('[watch]\nignore = ["*.tmp"]', 'watch.ignore: found "*.tmp"; allowed'),
        ('[watch]\nignore = [".."]', 'watch.ignore: found ".."; allowed'),
        ('[watch]\nignore = ".git"', 'watch.ignore: found ".git"; allowed'),
        ("[work]\njobs = 0", "work.jobs: found 0; allowed: a whole number from 1 to 256"),
        ("[work]\njobs = 257", "work.jobs: found 257; allowed"),
        ("[work]\njobs = '4'", 'work.jobs: found "4"; allowed'),
        ("[work]\nmax_output_bytes = 0", "work.max_output_bytes: found 0; allowed"),
        (
            '[log]\nlevel = "warn"',
            'log.level: found "warn"; allowed: "debug" or "info" or "warning" or "error"',
        ),
        ('log = "info"', 'log: found "info"; allowed: a table, [log]'),
        ('[[log]]\nlevel = "info"', "log: found [a table]; allowed: a table, [log]"),
        ("[sidecar]\nlimit = 3", "sidecar: unknown key; did you mean sidecars?"),
        ("[sidecars]\nlimits = 3", "sidecars.limits: unknown key; did you mean sidecars.limit?"),
        ("jobs = 2", "jobs: unknown key; did you mean work.jobs?"),
        ("[sidecars]\nlevel = 1", "sidecars.level: unknown key; did you mean log.level?"),
        ("[work]\nqqqq = 1", "work.qqqq: unknown key; allowed: work.jobs, work.max_output_bytes"),
        ('"a\\nb" = 1', '"a\\nb": unknown key; allowed: roots'),
        ("roots = [\n  1,\n  =\n]", "is not TOML: Invalid value (at line 3, column 3)"),
        ("a = ", "is not TOML: Invalid value (at end of document)"),
        ("a = {b=1,b=2}", "is not TOML: Duplicate inline table key 'b' (at line 1, column 13)"),
        ("a = " + "[" * 9999, "is not usable TOML"),
        ("[work]\njobs = 0x" + "f" * 9999, "work.jobs: found 0xffff"),
    ],
)
def test_a_mistake_is_reported_on_one_line_with_what_is_allowed(text: str, problem: str) -> None:
    """The line has the key, the value, what is allowed, and a similar key if there is one."""
    (line,) = problems_of(text)
    assert line.startswith(problem)


def test_a_number_of_thousands_of_digits_is_a_problem_and_no_crash() -> None:
    """Some versions of Python refuse to parse it, others do not."""
    assert len(problems_of("a = " + "9" * 9999)) == 1


def test_every_problem_is_reported_at_once() -> None:
    """All mistakes can be corrected in one go."""
    text = 'rots = ["a"]\n[sidecars]\nlimit = 0\nformats = ["html", "json", "txt"]\n[log]\nlevel = "loud"'
    assert [line.partition(";")[0] for line in problems_of(text)] == [
        "rots: unknown key",
        "sidecars.limit: found 0",
        'sidecars.formats: found "html"',
        'sidecars.formats: found "txt"',
        'log.level: found "loud"',
    ]


def test_a_long_or_hostile_value_stays_on_one_short_line() -> None:
    """The quoted value is cut and escaped."""
    (line,) = problems_of(f'[log]\nlevel = "\\u001b[2J\\n\\u202e{"x" * 5000}"')
    assert len(line) < 200
    assert line.isprintable()


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    """Editors on Windows add one."""
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf[work]\njobs = 2\n")
    assert load(path).work.jobs == 2


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a = 1\nb = '\xff'\n", "is not UTF-8 (at line 2, byte 12); save it as UTF-8"),
        ("roots = ['a']".encode("utf-16"), "is not UTF-8 (at line 1, byte 1); save it as UTF-8"),
        (b"#" * (1 << 20) + b"#", "is larger than 1,048,576 bytes; is it the right file?"),
        (b"[work]\njobs = 0\n", "work.jobs: found 0; allowed: a whole number from 1 to 256"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    """Each problem begins with the path."""
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: {problem}"


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    """It is missing, a directory, or has an impossible name."""
    for path, reason in [
        (tmp_path / "none.toml", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (tmp_path / "a\0b", "null (byte|character)"),
    ]:
        with pytest.raises(ConfigError, match=rf"cannot be read: .*{reason}"):
            load(path)


def test_the_command_line_wins_over_the_file() -> None:
    """Given values replace those of the file; None changes nothing."""
    config = parse('roots = ["a"]\n[sidecars]\nlimit = 3\n[work]\njobs = 2')
    changed = with_overrides(
        config,
        {
            "roots": ["b"],
            "sidecars.limit": None,
            "work.jobs": 4,
            "sidecars.formats": ["md"],
            "sidecars.markdown": "plain",
            "log.level": "error",
            "log.format": "json",
        },
    )
    assert changed == Config(
        roots=("b",),
        sidecars=Sidecars(formats=("md",), limit=3, markdown="plain"),
        work=Work(jobs=4),
        log=Log(level="error", format="json"),
    )
    assert with_overrides(config, {}) == config


def test_the_command_line_is_checked_under_the_names_of_its_flags() -> None:
    """The problems name the flags, not the keys."""
    given = {"roots": ["a", "a/b"], "sidecars.limit": 0, "work.jobs": 999, "sidecars.formats": ["html"]}
    with pytest.raises(ConfigError) as caught:
        with_overrides(Config(), given)
    names = [problem.partition(":")[0] for problem in caught.value.problems]
    assert names == ["ROOT", "--limit", "--jobs", "--formats"]


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
ROOTS = st.lists(st.text("ab\n\x1b\"\\é'", min_size=1), min_size=1, max_size=1).map(tuple)
CONFIGS = st.builds(
    Config,
    roots=ROOTS,
    sidecars=st.builds(
        Sidecars,
        formats=st.sampled_from([("json",), ("md",), ("md", "json")]),
        limit=st.none() | st.integers(min_value=1),
        markdown=st.sampled_from(["auto", "plain", "fenced"]),
    ),
    watch=st.builds(
        Watch,
        settle_seconds=st.floats(min_value=0, max_value=3600, exclude_min=True),
        sweep_seconds=st.floats(min_value=1, max_value=1e7),
        ignore=st.lists(NAMES.filter(lambda name: not set(name) & set("/*?.")), unique=True).map(tuple),
    ),
    work=st.builds(Work, jobs=st.none() | st.integers(1, 256), max_output_bytes=st.integers(min_value=1)),
)


@given(CONFIGS)
def test_what_is_written_as_toml_is_read_back_the_same(config: Config) -> None:
    """The printed configuration can be used as a file."""
    assert parse(to_toml(config)) == config


def test_a_root_that_is_not_utf8_is_shown_with_a_remark() -> None:
    """The document is valid TOML, although the name cannot be written in it."""
    text = to_toml(Config(roots=("a\udcff",)))
    assert tomli.loads(text)["roots"] == ["a\ufffd"]
    assert text.splitlines()[0].endswith("# holds bytes that are not UTF-8")


@given(st.text())
def test_no_text_raises_anything_else(text: str) -> None:
    """Any text gives a configuration or a list of problems."""
    with contextlib.suppress(ConfigError):
        assert isinstance(parse(text), Config)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (os.mkfifo, "Not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "Not a regular file"),
        (lambda path: path.symlink_to("/dev/tty"), "Not a regular file"),
        (lambda path: path.mkdir(), "Is a directory"),
    ],
    ids=["fifo", "device", "terminal", "directory"],
)
def test_fault_58_what_is_not_a_file_is_refused_without_waiting(
    make: Callable[[Path], object], reason: str, tmp_path: Path
) -> None:
    """Opening a FIFO at SIGHUP would block the service."""
    path = tmp_path / "c.toml"
    make(path)
    with pytest.raises(ConfigError, match=f"cannot be read: {reason}"):
        load(path)


@needs_root
def test_a_closed_file_asks_for_permission(tmp_path: Path) -> None:
    """Its path is right, so nobody is asked to check that."""
    path = tmp_path / "c.toml"
    path.touch(0o600)
    with as_nobody(), pytest.raises(ConfigError, match="Permission denied; give the user that runs this"):
        load(path)


def test_every_flag_explains_itself() -> None:
    """Each flag has a help text and a metavar."""
    flags = [row for row in KEYS.values() if row.flag.startswith("--")]
    assert len(flags) == 6
    assert all(row.help and row.metavar for row in flags)
