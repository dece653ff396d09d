"""What both commands share: flags, the effective configuration, and the handling of errors."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import os
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

from daemon.config.model import KEYS, Config, load, with_overrides
from daemon.config.validation import ALL_IS_WELL, SOMETHING_FAILED, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PROGRAM: Final = "generation-sidecars"
INTERRUPTED: Final = 130
"""The exit status after SIGINT, as in a shell."""
SHELLS: Final = ("bash", "zsh", "fish")
SWEEP_SWITCHES: Final = {
    "--dry-run": "print plan, path and reason of each sidecar; write nothing",
    "--force": "render everything again, edited sidecars included",
    "--no-progress": "show log lines instead of a progress bar",
}
_COMPLETED_AS_FILES: Final = {"paths", "config", "base_dir"}


class Parser(argparse.ArgumentParser):
    """The paths and options of both commands; every error mentions ``--help``."""

    def __init__(self, prog: str, usage: str, description: str, epilog: str, *, paths: str) -> None:
        raw = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, usage, description, epilog, formatter_class=raw)
        self.add_argument("paths", nargs="*", metavar="PATH", help=paths)

    def add_configuration(self) -> None:
        """Add ``--config``, and the flag of each key that has one."""
        group = self.add_argument_group("configuration (takes precedence over the file)")
        group.add_argument(
            "--config", type=_file, metavar="FILE", help="a TOML file; see config.example.toml"
        )
        for key, row in KEYS.items():
            if row.flag.startswith("--"):
                group.add_argument(
                    row.flag, dest=key, type=row.check.read, metavar=row.metavar, help=row.help
                )

    def parse(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Parse a command line; if it only asks for information, print it and exit."""
        given = self.parse_args(arguments)
        if given.version:
            print(f"{self.prog} {version()}")
            self.exit()
        if given.print_completion is not None:
            print(self.completion(given.print_completion))
            self.exit()
        return given

    def completion(self, shell: str) -> str:
        """Return the completion script for one of :data:`SHELLS`."""
        import shtab  # only needed here

        for action in self._actions:
            if action.dest in _COMPLETED_AS_FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            elif action.dest in KEYS:
                action.choices = KEYS[action.dest].check.words or None
        text: str = shtab.complete(self, shell)
        # in zsh, shtab offers files for the first path only
        return text.replace('"(*)::', '"*:').replace("one_or_more='(*)'", "one_or_more='*'")

    def error(self, message: str) -> NoReturn:
        """Print an error in the command line, and exit with status 2."""
        super().error(f"{message}; see {self.prog} --help")


def add_switches(group: Any, switches: Mapping[str, str]) -> None:
    """Add flags without a value; ``switches``: the help of each."""
    for flag, text in switches.items():
        group.add_argument(flag, action="store_true", help=text)


def add_information_flags(group: Any) -> None:
    """Add the flags that :meth:`Parser.parse` carries out."""
    add_switches(group, {"--version": "print the version and exit"})
    group.add_argument(
        "--print-completion",
        choices=SHELLS,
        metavar="SHELL",
        help="print a shell completion script (bash, zsh or fish) and exit",
    )


def _file(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("the file name is empty")
    return text


def effective_config(given: argparse.Namespace, roots: Sequence[str] | None = None) -> Config:
    """Return the effective configuration: ``roots`` and flags take precedence over the file.

    :raises ConfigError: with every problem at once.
    """
    config = Config() if given.config is None else load(given.config)
    return with_overrides(config, {key: getattr(given, key, None) for key in KEYS} | {"roots": roots})


def guarded(command: Callable[[Sequence[str] | None], int]) -> Callable[[Sequence[str] | None], int]:
    """Make a command return an exit status instead of raising; an error becomes one line on stderr."""

    @functools.wraps(command)
    def run(arguments: Sequence[str] | None) -> int:
        try:
            sys.stderr = sys.stderr or io.StringIO()  # if it is closed, `print` and argparse use stdout
            if isinstance(sys.stdout, io.TextIOWrapper):  # it may be closed or replaced
                sys.stdout.reconfigure(errors="backslashreplace")
            try:
                return command(arguments)
            finally:  # also when argparse ends the program, after --help and the like
                if sys.stdout is not None:
                    sys.stdout.flush()
        except RefusedError as error:
            say(f"{error}\n")
            return error.status
        except KeyboardInterrupt:
            say("Stopped.\n")
            return INTERRUPTED
        except BrokenPipeError:
            _drop_output()  # its reader, such as head or less, has ended
            return ALL_IS_WELL
        except OSError as error:
            _drop_output()
            say(f"{PROGRAM} cannot continue: {_reason(error)}\n")
            return SOMETHING_FAILED

    return run


def _reason(error: OSError) -> str:
    try:
        os.getcwd()
    except OSError as lost:  # a relative root cannot be found, nor ever come back
        if lost.errno == error.errno:
            return "the current directory was removed; start it in another one, or give absolute paths"
    return error.strerror or str(error)


def _drop_output() -> None:
    """Redirect stdout to /dev/null, because the flush at exit would fail as well."""
    with contextlib.suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def refuse(path: str, reason: str) -> None:
    """Print why a path cannot be used."""
    from daemon.report.logging import escaped

    say(f"{escaped(path) or repr(path)}: {reason}\n")


def say(text: str) -> None:
    """Print to stderr; if that fails, the exit status stays the same."""
    with contextlib.suppress(OSError, ValueError):
        print(text, end="", file=sys.stderr, flush=True)


def version() -> str:
    """Return the version of the installed distribution, or of this checkout."""
    from importlib import metadata  # slow

    try:
        return metadata.version(PROGRAM)
    except metadata.PackageNotFoundError:
        return "(not installed)"
