"""What both commands share: flags, the effective configuration, and how errors end a command."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

from daemon.config.model import FLAGS, KEYS, Config, load, with_overrides
from daemon.config.validation import ALL_IS_WELL, SOMETHING_FAILED, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daemon.config.validation import Check

PROGRAM: Final = "generation-sidecars"
INTERRUPTED: Final = 130
"""The exit status after SIGINT, as shells have it."""


class Parser(argparse.ArgumentParser):
    """The paths and options of both commands; every error mentions ``--help``."""

    def __init__(self, prog: str, usage: str, description: str, epilog: str, *, paths: str) -> None:
        raw = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, usage, description, epilog, formatter_class=raw)
        self.add_argument("paths", nargs="*", metavar="PATH", help=paths)

    def add_options(self) -> None:
        """Add ``--config``, and the flag of each key that has one."""
        group = self.add_argument_group("configuration (takes precedence over the file)")
        group.add_argument(
            "--config", type=_file, metavar="FILE", help="a TOML file; see config.example.toml"
        )
        for name in FLAGS:
            row = KEYS[FLAGS[name]]
            if row.flag.startswith("--"):
                group.add_argument(row.flag, type=_reader(row.check), metavar=row.metavar, help=row.help)

    def error(self, message: str) -> NoReturn:
        """Print an error in the command line, and exit with status 2."""
        super().error(f"{message}; see {self.prog} --help")


def add_sweep_flags(group: Any) -> None:
    """Add the flags of a sweep."""
    group.add_argument(
        "--dry-run", action="store_true", help="print plan, path and reason of each sidecar; write nothing"
    )
    group.add_argument(
        "--force", action="store_true", help="render everything again, edited sidecars included"
    )
    group.add_argument("--no-progress", action="store_true", help="show log lines instead of a progress bar")


def _file(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("the file name is empty")
    return text


def _reader(check: Check) -> Callable[[str], Any]:
    """Return the parser of a flag's value, which is checked later with those of the file."""

    def read(text: str) -> Any:
        try:
            return check.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def effective_config(given: argparse.Namespace, roots: Sequence[str] | None = None) -> Config:
    """Return the defaults, overridden by the file, overridden by the flags and ``roots``.

    :raises ConfigError: with every problem at once.
    """
    config = Config() if given.config is None else load(given.config)
    return with_overrides(config, **{name: getattr(given, name, roots) for name in FLAGS})


def guarded(command: Callable[[], int]) -> int:
    """Run a command and return its exit status; an error becomes one line on stderr."""
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):  # not when it is closed or replaced
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            status = command()
        finally:  # also when argparse ends the program, after --version and the like
            if sys.stdout is not None:
                sys.stdout.flush()
    except RefusedError as error:
        print(error, file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()  # its reader (head, less) has gone
        return ALL_IS_WELL
    except OSError as error:
        _drop_output()
        print(f"{PROGRAM}: {error.strerror or error}", file=sys.stderr)
        return SOMETHING_FAILED
    return status


def _drop_output() -> None:
    """Redirect stdout to /dev/null, or the flush at exit would report the same error again."""
    with contextlib.suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def refuse(paths: Sequence[str], reason: str) -> None:
    """Print why paths are refused, one line each."""
    from daemon.report.logging import escaped

    for path in paths:
        print(f"{escaped(path) or repr(path)}: {reason}", file=sys.stderr)


class Version(argparse.Action):
    """``--version``: looks the version up only when it is asked for, because that is slow."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show program's version number and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print the version and exit."""
        print(f"{parser.prog} {version()}")
        parser.exit()


def version() -> str:
    """Return the version of the installed distribution, or of this checkout."""
    from importlib import metadata

    try:
        return metadata.version(PROGRAM)
    except metadata.PackageNotFoundError:
        return "(not installed)"
