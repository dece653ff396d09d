"""What an installation does, as values: each says itself in words, and can be carried out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from installer.places import COMPLETIONS, PROGRAMS

if TYPE_CHECKING:
    from installer.pythons import Interpreter

COMPLETE = "complete"
_SOURCES = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "decode_generations.py",
    "generation_sidecars.py",
    "lib",
    "daemon",
    "systemd/man",
)
_MISSING = re.compile(r"No matching distribution found for (\S+)")
_OFFLINE = re.compile(
    r"name resolution|[Nn]etwork is unreachable|NewConnectionError|ConnectTimeout|ProxyError"
)
_EXTRAS = "[metrics]"  # a key of the configuration asks for it, and who sets it should not have to install
_PATIENCE_SECONDS = 420  # more than the unit's TimeoutStartSec and the stop of an older version before it


class Failed(Exception):  # noqa: N818  # not an error of this program
    """A step failed; ``output`` is what its program said, if there was one."""

    def __init__(self, reason: str, output: str = "") -> None:
        super().__init__(f"{reason}:\n{output}" if output else reason)
        self.output = output


class Action:
    """One step: ``str`` says it, :meth:`do` carries it out and raises :class:`Failed` or ``OSError``."""

    changes = True

    def do(self) -> None:
        """Carry it out."""
        raise NotImplementedError


@dataclass(frozen=True)
class Build(Action):
    """Make the virtual environment of this version; a half-made one is never left, nor taken for a whole."""

    target: Path
    python: Interpreter
    clone: Path
    wheels: str | None = None

    def __str__(self) -> str:
        return f"build {self.target} with {self.python} from {self.clone}"

    def do(self) -> None:
        """Build from a copy: setuptools would leave its traces, owned by root, in the clone."""
        shutil.rmtree(self.target, ignore_errors=True)
        self.target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory() as copy:
                copy_sources(self.clone, Path(copy))
                run(self.python.executable, "-I", "-m", "venv", str(self.target))
                self._install(copy + _EXTRAS)
                self._write_completions()
            (self.target / COMPLETE).touch()
        except BaseException:
            shutil.rmtree(self.target, ignore_errors=True)
            raise

    def _install(self, what: str) -> None:
        try:
            run(str(self.target / "bin/python"), "-I", "-m", *self._pip(), what)
        except Failed as failed:
            raise Failed(_pip_failure(failed.output, self.wheels) or str(failed)) from None

    def _write_completions(self) -> None:
        for program in PROGRAMS:
            for shell, place in COMPLETIONS.items():
                path = self.target / place.format(program)
                path.parent.mkdir(parents=True, exist_ok=True)
                script = run(str(self.target / "bin" / program), "--print-completion", shell)
                path.write_text(script, encoding="utf-8")

    def _pip(self) -> list[str]:
        offline = ["--no-index", "--find-links", self.wheels] if self.wheels else []
        return ["pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", *offline]


def _pip_failure(output: str, wheels: str | None) -> str:
    """Return one sentence for packages that cannot be had; pip says it many times over. Else nothing."""
    missing = _MISSING.findall(output)
    if not missing and not _OFFLINE.search(output):
        return ""
    what = f"{missing[-1]} is" if missing else "packages are"
    if wheels:
        return f"{what} not in {wheels}: fill it as systemd/README.md says, on a machine with this Python."
    return f"{what} not to be had from the network: take the packages from a directory with --wheels DIR."


@dataclass(frozen=True)
class Directory(Action):
    """Make a directory that everybody may look into."""

    path: Path

    def __str__(self) -> str:
        return f"make {self.path}"

    def do(self) -> None:
        """Make it and what is above it."""
        self.path.mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True)
class Write(Action):
    """Write a text file, whole or not at all."""

    path: Path
    text: str

    def __str__(self) -> str:
        return f"write {self.path}"

    def do(self) -> None:
        """Replace the file by a rename."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.new")
        temporary.write_text(self.text, encoding="utf-8")
        temporary.replace(self.path)


@dataclass(frozen=True)
class Link(Action):
    """Make a symbolic link, or turn it; there is no moment without it."""

    path: Path
    target: str

    def __str__(self) -> str:
        return f"link {self.path} -> {self.target}"

    def do(self) -> None:
        """Replace the link by a rename."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.new")
        with suppress(FileNotFoundError):
            temporary.unlink()
        temporary.symlink_to(self.target)
        temporary.replace(self.path)


@dataclass(frozen=True)
class Remove(Action):
    """Remove a file, a link or a tree; one that is gone already is fine."""

    path: Path

    def __str__(self) -> str:
        return f"remove {self.path}"

    def do(self) -> None:
        """Remove it, and its directory too when that was made for drop-ins and is empty now."""
        if self.path.is_dir() and not self.path.is_symlink():
            shutil.rmtree(self.path)
        else:
            with suppress(FileNotFoundError):
                self.path.unlink()
        if self.path.parent.suffix == ".d":
            with suppress(OSError):  # the administrator's own drop-ins stay
                self.path.parent.rmdir()


@dataclass(frozen=True)
class Command(Action):
    """Run a program that changes or checks something; its words are shown only when it fails."""

    words: tuple[str, ...]
    why: str

    def __str__(self) -> str:
        return self.why

    def do(self) -> None:
        """Run it to its end."""
        run(*self.words)


@dataclass(frozen=True)
class CheckConfig(Command):
    """Check the configuration in place, which a later start would refuse; changes nothing."""

    changes = False

    def do(self) -> None:
        """Run the check; a failure has the problems, each with the file's name."""
        try:
            run(*self.words)
        except Failed as failed:
            raise Failed("The configuration is rejected", failed.output or str(failed)) from None


def run(*words: str) -> str:
    """Run a program, and return what it said; raise :class:`Failed` with that when it failed."""
    environment = {**os.environ, "PYTHONNOUSERSITE": "1"}
    try:
        answer = subprocess.run(  # noqa: S603  # words, never a shell's
            words,
            check=False,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_PATIENCE_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Failed(f"{' '.join(words)}: {error}") from error
    if answer.returncode:
        raise Failed(f"{' '.join(words)} ended with status {answer.returncode}", answer.stdout)
    return answer.stdout


def copy_sources(clone: Path, target: Path) -> None:
    """Copy what a wheel is made from, and nothing else."""
    for name in _SOURCES:
        if (clone / name).is_dir():
            shutil.copytree(clone / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(clone / name, target / name)


def source_files(clone: Path) -> list[Path]:
    """List what a wheel is made from, in a lasting order."""
    trees = [path for name in _SOURCES for path in sorted((clone / name).rglob("*")) or [clone / name]]
    return [path for path in trees if path.is_file() and path.parent.name != "__pycache__"]
