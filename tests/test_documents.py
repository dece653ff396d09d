"""The documents tell the truth: their commands and examples run, their help, flags, keys and links are real.

Each document is played from top to bottom in a directory of its own, as a reader would: ``python`` blocks run
as scripts, an ``output`` block is what the one before it printed, ``toml`` blocks are configurations and are
saved as ``my.toml``, and in ``console`` blocks each line after ``$`` is typed into a shell on a terminal
and what follows is what it must show.  ``…`` stands for whatever comes; times and durations may differ.  A
command that watches runs on in the background, like in a second terminal, until the document ends.  ``sh``
blocks are what would change this machine; they are looked at, not run.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt
from support import Terminal, wait_for

from daemon.cli import main as cli
from daemon.config import validation
from daemon.config.model import KEYS, Config, parse
from daemon.report import events as log
from daemon.report import status
from lib.npy import header
from lib.npy import values as plain
from lib.render import statistics as tally
from lib.sync import inputs as metadata
from lib.sync import walk

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[1]
NAMES = (
    "README.md",
    "DECODE_GENERATIONS.md",
    "GENERATION_CACHING.md",
    "docs/CLUSTER.md",
    "docs/COMMANDS.md",
    "docs/EVENTS.md",
    "docs/FILE_SYSTEMS.md",
    "docs/RELIABILITY.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
)
ONLY_LINKS = ("benchmarks/NOTES.md", "benchmarks/README.md", "systemd/README.md")
PROGRAMS = {
    "python": "",
    "generation-sidecars": "-m daemon",
    "decode-generations": str(REPOSITORY / "decode_generations.py"),
}
LANGUAGES = {"console", "python", "output", "toml", "sh", "text"}
PATIENCE_SECONDS = 60.0
VARIABLE = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "<time>"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"), "<time>"),
    (re.compile(r"(?m)^\d\d:\d\d:\d\d "), "<time> "),
    (re.compile(r"\bseconds=\d+(\.\d+)?"), "seconds=<seconds>"),
    (re.compile(r"\bpid \d+"), "pid <pid>"),
    (re.compile(r"(?m)^It took [\d.]+ s\.$"), "It took <seconds>."),
)


def text_of(name: str) -> str:
    """Return the text of a document."""
    return (REPOSITORY / name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, and the line where it begins."""

    language: str
    text: str
    line: int


@cache
def blocks_of(name: str) -> tuple[Block, ...]:
    """List the fenced blocks of a document."""
    tokens = MarkdownIt().parse(text_of(name))
    return tuple(
        Block(token.info.strip(), token.content, (token.map or [0])[0] + 1)
        for token in tokens
        if token.type == "fence"
    )


@dataclass(frozen=True)
class Step:
    """One command of a console block, and the output that the document shows for it."""

    command: str
    shown: str
    line: int


def steps_of(block: Block) -> Iterator[Step]:
    """Split a console block into its commands; a line after ``> `` continues one."""
    command, shown, at = "", [], 0
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if line.startswith("$ "):
            if command:
                yield Step(command, "\n".join(shown), at)
            command, shown, at = line[2:], [], number
        elif line.startswith("> ") and not shown:
            command += "\n" + line[2:]
        else:
            shown.append(line)
    yield Step(command, "\n".join(shown), at)


def looks_like(shown: str, expected: str) -> bool:
    """Compare output with that in a document, except for what may differ."""
    for pattern, word in VARIABLE:
        shown, expected = pattern.sub(word, shown), pattern.sub(word, expected)
    pattern = re.escape(expected.strip("\n")).replace("…", ".*")
    return re.fullmatch(pattern, shown.strip("\n"), re.DOTALL) is not None


@dataclass
class Reader:
    """A reader with a terminal in an empty directory, who types the commands of a document."""

    directory: Path
    environment: dict[str, str]
    background: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @classmethod
    def in_directory(cls, directory: Path) -> Reader:
        """Put the programs on the search path, and nothing else of this machine."""
        programs = directory / "programs"
        programs.mkdir()
        for program, arguments in PROGRAMS.items():
            script = programs / program
            script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments} "$@"\n')
            script.chmod(0o755)
        home = directory / "home"
        home.mkdir(mode=0o700)
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "HOME": str(home),
            "RUNTIME_DIRECTORY": str(home / "run"),
            "TMPDIR": str(home),
            "COLUMNS": "80",
            "NO_COLOR": "1",
            "TERM": "xterm",
            "LC_ALL": "C.UTF-8",
            "PYTHONWARNINGS": "error",
            **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")},
        }
        work = directory / "work"
        work.mkdir()
        return cls(work, environment)

    def types(self, command: str) -> str:
        """Run a command on a terminal; return what appears."""
        terminal = Terminal(["bash", "-c", command], self.directory, self.environment, columns=80)
        terminal.end()
        return terminal.screen

    def watches(self, command: str) -> None:
        """Start a service as in another terminal; wait until it is ready."""
        said = self.directory.parent / "service.log"
        with said.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        self.background.append(process)
        wait_for(lambda: b"service.ready" in said.read_bytes(), PATIENCE_SECONDS)

    def leaves(self) -> None:
        """Press Ctrl-C in the other terminals; the services end with status 0."""
        for process in self.background:
            process.send_signal(signal.SIGINT)
        assert [process.wait(PATIENCE_SECONDS) for process in self.background] == [0] * len(self.background)


def is_watching(command: str) -> bool:
    """Tell whether a command runs until Ctrl-C."""
    words = command.split()
    instead = {"--backfill", "--check-config", "--status", "--version", "--help"}
    return words[0] == "generation-sidecars" and not instead.intersection(words)


def play(reader: Reader, name: str) -> None:
    """Follow a document from top to bottom."""
    printed = ""
    for block in blocks_of(name):
        where = f"{name}:{block.line}"
        if block.language == "python":
            script = reader.directory.parent / "example.py"
            script.write_text(block.text, encoding="utf-8")
            printed = reader.types(f"python {shlex.quote(str(script))}")
            assert "Traceback" not in printed, f"{where}: {printed}"
        elif block.language == "output":
            assert looks_like(printed, block.text), f"{where}: it printed\n{printed}"
        elif block.language == "toml":
            parse(block.text)
            (reader.directory / "my.toml").write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            for step in steps_of(block):
                follow(reader, step, name)


def follow(reader: Reader, step: Step, name: str) -> None:
    """Type one command, and compare what the terminal shows with the document."""
    if is_watching(step.command):
        reader.watches(step.command)
        return
    if reader.background and step.command.split()[0] in {"cat", "ls"}:  # a service is at work: look again
        with contextlib.suppress(pytest.fail.Exception):
            wait_for(lambda: looks_like(reader.types(step.command), step.shown), PATIENCE_SECONDS)
    shown = reader.types(step.command)
    assert looks_like(shown, step.shown), f"{name}:{step.line}: $ {step.command}\nshows\n{shown}"


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Return a reader, whose services end with the test."""
    somebody = Reader.in_directory(tmp_path)
    yield somebody
    for process in somebody.background:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.parametrize("name", NAMES)
def test_what_a_document_says_to_type_shows_what_it_says(name: str, reader: Reader) -> None:
    """Every command and every Python example is executed, in order, and its output compared."""
    play(reader, name)
    reader.leaves()


def test_a_command_that_shows_something_else_is_noticed(reader: Reader) -> None:
    """The test of the documents can fail."""
    with pytest.raises(AssertionError, match="Hello"):
        follow(reader, Step("echo Hello", "Good evening", 1), "a document")


@pytest.mark.parametrize("name", NAMES)
def test_every_block_has_a_language_that_is_checked(name: str) -> None:
    """Examples in any other language would not be run."""
    assert {block.language for block in blocks_of(name)} <= LANGUAGES


@pytest.mark.parametrize("name", NAMES)
def test_text_blocks_hold_no_commands(name: str) -> None:
    """``text`` is for layouts and log lines; commands belong into blocks that are run."""
    started = [line.split()[0] for block in blocks_of(name) if block.language == "text"
               for line in block.text.splitlines() if line.strip()]  # fmt: skip
    assert not {"$", "make", "sudo", *PROGRAMS}.intersection(started)


def sh_lines() -> list[str]:
    """List the lines of all ``sh`` blocks."""
    return [
        line
        for name in NAMES
        for block in blocks_of(name)
        if block.language == "sh"
        for line in block.text.splitlines()
        if line and not line.startswith("#")
    ]


@pytest.mark.parametrize("line", sorted(set(sh_lines())))
def test_what_would_change_the_machine_is_sound(line: str) -> None:
    """Targets of make exist, scripts exist and have these flags, and the shell can parse the line."""
    subprocess.run(["bash", "-n", "-c", line], check=True)
    words = [word for word in shlex.split(line, comments=True) if word != "sudo" and "=" not in word]
    if words[0] == "make":
        makefile = text_of("Makefile")
        variables = re.findall(r"\b([A-Z]+)=", line)
        assert all(re.search(rf"^{name} \?=", makefile, re.MULTILINE) for name in variables)
        assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in words[1:])
    elif words[0] in PROGRAMS:
        assert all(word in help_of(words[0]) for word in words if word.startswith("--"))
    elif words[0] == "dask" or "/" in words[0]:
        program = [sys.executable, "-m", *words[:2]] if words[0] == "dask" else [REPOSITORY / words[0]]
        shown = subprocess.run([*program, "--help"], capture_output=True, text=True, check=True).stdout
        assert all(word in shown for word in words if word.startswith("--"))
    else:
        assert words[0] in {"apt", "git", "cd", "sysctl", "kill", "python3", "sbatch"}


def help_of(program: str) -> str:
    """Return a program's help as on a terminal of 80 columns."""
    parsers = {"generation-sidecars": cli._parser, "decode-generations": cli._decode_parser}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        return parsers[program]().format_help()


@pytest.mark.parametrize(
    ("program", "name"),
    [("generation-sidecars", "docs/COMMANDS.md"), ("decode-generations", "DECODE_GENERATIONS.md")],
)
def test_the_help_in_the_documents_is_the_programs_own(program: str, name: str) -> None:
    """The complete help is in the documents, so every flag is."""
    assert help_of(program) in text_of(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_flag_in_the_documents_exists(name: str) -> None:
    """The documents mention no other flag of these programs."""
    prose = "\n".join(
        line
        for line in text_of(name).splitlines()
        if not re.search(r"\bmake |systemd/install|fuzz_readers|#SBATCH|^dask ", line)
    )
    known = set(re.findall(r"--[a-z][a-z-]+", help_of("generation-sidecars") + help_of("decode-generations")))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", prose)) <= known


@pytest.mark.parametrize("name", NAMES)
def test_every_configuration_key_in_the_documents_exists(name: str) -> None:
    """In prose, a key is in back-ticks and has its section."""
    sections = "|".join({key.partition(".")[0] for key in KEYS if "." in key})
    events = {value for key, value in vars(log).items() if key.isupper() and isinstance(value, str)}
    named = set(re.findall(rf"`((?:{sections})\.[a-z_]+)`", text_of(name)))
    assert named - events <= set(KEYS)


def test_every_event_is_documented_and_every_documented_event_exists() -> None:
    """The documented events are those of the events module."""
    events = {value for key, value in vars(log).items() if key.isupper() and isinstance(value, str)}
    rows = re.findall(r"^\| `([a-z]+\.[a-z]+)` +\| [A-Z]", text_of("docs/EVENTS.md"), re.MULTILINE)
    assert set(rows) == events


def test_the_exit_statuses_in_the_documents_are_the_programs() -> None:
    """They are 0, 1, 2 and 3."""
    meant = (validation.ALL_IS_WELL, validation.SOMETHING_FAILED, validation.WRONG_USAGE, status.NOT_RUNNING)
    assert meant == (0, 1, 2, 3)
    for name, statuses in (("docs/COMMANDS.md", "0123"), ("DECODE_GENERATIONS.md", "012")):
        assert re.findall(r"^  (\d)  \S", text_of(name), re.MULTILINE) == list(statuses)


def test_the_limits_in_the_documents_are_those_of_the_code() -> None:
    """Each documented number is that of a constant."""
    text = " ".join(text_of("GENERATION_CACHING.md").split())
    for words in (
        f"{header.ITEM_BYTES_LIMIT >> 20} MiB",
        f"{header.HEADER_BYTES_LIMIT:,} bytes",
        f"{header.DIMENSIONS_LIMIT} dimensions",
        f"{header.EMPTY_ITEMS_LIMIT:,} empty items",
        f"{plain.DEPTH_LIMIT} levels deep",
        f"{header.ITEM_VALUES_LIMIT:,} values",
        f"{header.TEXT_BYTES_LIMIT >> 20} MiB of UTF-8",
        f"{metadata._LIMIT >> 20} MiB",
        f"{walk._DEPTH_LIMIT:,} directories",
        f"{tally._COUNTED_LIMIT:,} items",
        f"{Config().work.max_output_bytes >> 30} GiB",
    ):
        assert words in text, words


def anchors_of(name: str) -> set[str]:
    """List the anchors that GitHub makes from a document's headings."""
    headings = re.findall(r"^#+ (.+)$", text_of(name), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", [*NAMES, *ONLY_LINKS])
def test_every_link_leads_somewhere(name: str) -> None:
    """The file exists, and so does the heading."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(name)):
        path, _, anchor = target.partition("#")
        assert not path.startswith("/"), target
        if "://" not in target:
            linked = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
            assert not linked.startswith(".."), target
            assert (REPOSITORY / linked).exists(), target
            assert not anchor or anchor in anchors_of(linked), target


def test_every_row_of_what_goes_wrong_is_a_test() -> None:
    """Every test of the fault suites has a row as well."""
    rows = re.findall(r"^\| (\d+) \|.*\| `fault_(\d\d)` \|$", text_of("docs/RELIABILITY.md"), re.MULTILINE)
    described = [int(row) for row, _ in rows]
    assert described == [int(number) for _, number in rows]
    assert set(described) >= set(range(1, 66))
    suites = "".join(path.read_text("utf-8") for path in sorted((REPOSITORY / "tests").rglob("test_*.py")))
    tested = re.findall(r'(?:def test|")_?(fault_[a-z0-9_]+)', suites)
    numbers = {int(number) for name in tested for number in re.findall(r"(?:^fault|and|to)_(\d\d)", name)}
    assert numbers >= set(described)


def test_the_map_of_the_code_has_a_row_for_every_room() -> None:
    """CONTRIBUTING's map names each folder and each module at the root of a package, and no other."""
    named = set(re.findall(r"^\| `((?:lib|daemon)/\w+(?:/|\.py))`", text_of("CONTRIBUTING.md"), re.MULTILINE))
    there = {
        f"{package}/{path.name}{'/' * path.is_dir()}"
        for package in ("lib", "daemon")
        for path in (REPOSITORY / package).iterdir()
    }
    assert named == {
        name
        for name in there
        if not name.startswith(("lib/__", "lib/py.", "daemon/__init", "daemon/__py", "daemon/py."))
    }


def test_the_code_that_contributing_names_is_there() -> None:
    """Every module that its text mentions exists."""
    named = set(re.findall(r"`((?:lib|daemon)/[\w/]+\.py)`", text_of("CONTRIBUTING.md")))
    assert named
    assert [name for name in sorted(named) if not (REPOSITORY / name).is_file()] == []


def test_readme_fits_on_a_few_screens() -> None:
    """Details are in other documents."""
    assert len(text_of("README.md").splitlines()) <= 250


def test_the_version_in_the_changelog_is_the_projects() -> None:
    """The newest entry has the current version."""
    version = re.search(r'^version = "(.+)"$', text_of("pyproject.toml"), re.MULTILINE)
    entries = re.findall(r"^## (\S+)", text_of("CHANGELOG.md"), re.MULTILINE)
    assert version is not None
    assert next(entry for entry in entries if entry != "Unreleased") == version[1]


def test_the_demo_shows_a_tree_and_a_page() -> None:
    """``make demo`` works in a checkout, takes a few seconds, and leaves nothing behind."""
    run = subprocess.run(
        [sys.executable, REPOSITORY / "tests" / "demo.py"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "try_completions.md" in run.stdout
    assert "## Completion 1" in run.stdout
    assert not Path(run.stdout.split()[-1]).exists()


def test_the_commands_in_the_documents_are_those_that_are_installed() -> None:
    """Each command exists after the installation."""
    scripts = text_of("pyproject.toml").partition("[project.scripts]")[2].partition("\n[")[0]
    assert set(re.findall(r"^([\w-]+) = ", scripts, re.MULTILINE)) == PROGRAMS.keys() - {"python"}


def test_nothing_in_the_documents_is_of_this_machine() -> None:
    """There is no path of the author's machine, and no trailing space."""
    for name in (*NAMES, "LICENSE"):
        assert not re.search(r"(?m)\.\./\.\./|[ \t]+$", text_of(name)), name
