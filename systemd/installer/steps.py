"""The steps of an installation; each has words to print, and a function that carries it out."""

from __future__ import annotations

import errno
import grp
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
    from collections.abc import Callable

    from installer.pythons import Interpreter

COMPLETE = "complete"
"""The file that marks an environment as complete."""
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
_PIP = ("-I", "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check")
_MISSING = re.compile(r"No matching distribution found for (\S+)")
_OFFLINE = re.compile(
    r"name resolution|[Nn]etwork is unreachable|NewConnectionError|ConnectTimeout|ProxyError"
)
_EXTRAS = (
    "[metrics]"  # a key of the configuration needs it, and setting it must not require another installation
)
_PATIENCE_SECONDS = 420  # more than the unit's TimeoutStartSec, plus the time to stop an older version


class Failed(Exception):  # noqa: N818  # not an error of this program
    """A step failed; ``output`` is what its program printed, if there was one."""

    def __init__(self, reason: str, output: str = "") -> None:
        super().__init__(f"{reason}:\n{output}" if output else reason)
        self.output = output


@dataclass(frozen=True)
class Step:
    """One step; ``do`` carries it out, and raises :class:`Failed` or ``OSError``."""

    words: str
    do: Callable[[], object]
    changes: bool = True


def make_directory(path: Path) -> Step:
    """Make a directory and its parents."""
    return Step(f"make {path}", lambda: path.mkdir(parents=True, exist_ok=True))


def write(path: Path, text: str) -> Step:
    """Write a text file atomically."""
    return Step(f"write {path}", lambda: _replace(path, lambda new: new.write_text(text, encoding="utf-8")))


def link(path: Path, target: str) -> Step:
    """Make or replace a symbolic link."""
    return Step(f"link {path} -> {target}", lambda: _replace(path, lambda new: new.symlink_to(target)))


def remove(path: Path) -> Step:
    """Remove a file, a link or a tree, if it exists, and its directory of drop-ins if that is then empty."""
    return Step(f"remove {path}", lambda: _remove(path))


def command(words: str, *program: str) -> Step:
    """Run a program, whose output is shown only if it fails."""
    return Step(words, lambda: run(*program))


def check_config(path: Path, *program: str, user: str | None = None, group: str | None = None) -> Step:
    """Check a configuration; with the user and group of the service, as it will at its next start."""

    def do() -> None:
        try:
            run(*program, user=user, group=group)
        except Failed as failed:
            raise Failed("The configuration is rejected", failed.output or str(failed)) from None

    return Step(f"check {path}", do, changes=False)


def build(target: Path, python: Interpreter, clone: Path, wheels: str | None) -> Step:
    """Make the virtual environment of this version; an incomplete one is removed, and never used."""

    def do() -> None:
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _build(target, python, clone, wheels)
            (target / COMPLETE).touch()
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise

    return Step(f"build {target} with {python} from {clone}", do)


def run(*words: str, user: str | None = None, group: str | None = None) -> str:
    """Run a program and return its output; raise :class:`Failed` with it if the program fails."""
    environment = {**os.environ, "PYTHONNOUSERSITE": "1"}
    groups = os.getgrouplist(user, grp.getgrnam(group).gr_gid) if user and group else None
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
            user=user,
            group=group,
            extra_groups=groups,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Failed(f"{' '.join(words)}: {error}") from error
    if answer.returncode:
        raise Failed(f"{' '.join(words)} ended with status {answer.returncode}", answer.stdout)
    return answer.stdout


def source_files(clone: Path) -> list[Path]:
    """List the files from which a wheel is made, in a constant order."""
    trees = [path for name in _SOURCES for path in sorted((clone / name).rglob("*")) or [clone / name]]
    return [path for path in trees if not path.is_dir() and path.parent.name != "__pycache__"]


def _replace(path: Path, make: Callable[[Path], object]) -> None:
    """Make a file or a link and rename it to its path, so that the path always exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    make(new)
    new.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if path.parent.suffix == ".d":
        with suppress(OSError):  # the administrator's own drop-ins stay
            path.parent.rmdir()


def _build(target: Path, python: Interpreter, clone: Path, wheels: str | None) -> None:
    """Build from a copy, because setuptools would leave files owned by root in the clone."""
    with tempfile.TemporaryDirectory() as copy:
        for path in source_files(clone):
            copied = Path(copy, path.relative_to(clone))
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copied)
        # venv would hide the errors of ensurepip
        run(python.executable, "-I", "-m", "venv", "--without-pip", str(target))
        offline = ("--no-index", "--find-links", wheels) if wheels else ()
        try:
            run(str(target / "bin/python"), "-I", "-m", "ensurepip", "--default-pip")
            run(str(target / "bin/python"), *_PIP, *offline, copy + _EXTRAS)
        except Failed as failed:
            raise Failed(pip_failure(failed.output, wheels) or str(failed)) from None
    for program in PROGRAMS:
        for shell, place in COMPLETIONS.items():
            path = target / place.format(program)
            path.parent.mkdir(parents=True, exist_ok=True)
            script = run(str(target / "bin" / program), "--print-completion", shell)
            path.write_text(script, encoding="utf-8")


def pip_failure(output: str, wheels: str | None) -> str:
    """Return one sentence if a disk is full or packages are unavailable, where pip prints a page; else ""."""
    if os.strerror(errno.ENOSPC) in output:
        return "A disk is full: free some space where /opt and the temporary files (/tmp) are."
    missing = _MISSING.findall(output)
    if not missing and not _OFFLINE.search(output):
        return ""
    what = f"{missing[-1]} is" if missing else "packages are"
    if wheels:
        return f"{what} not in {wheels}: fill it as systemd/README.md says, on a machine with this Python."
    return f"{what} not available from the network: take the packages from a directory with --wheels DIR."
