"""What the command lines of both programs share: flags, exit statuses, and how they end early."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

from daemon.config.refusals import ALL_IS_WELL, SOMETHING_FAILED, RefusedError
from lib.names import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daemon.config.model import Config

PROGRAM: Final = "generation-sidecars"


class Parser(argparse.ArgumentParser):
    """Says with each mistake where help is."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, and end with status 2."""
        super().error(f"{message}; {self.prog} --help tells more")


def add_options(group: Any) -> None:
    """Add the flags that lie over the configuration file."""
    group.add_argument("--config", type=_file, metavar="FILE", help="a TOML file; see config.example.toml")
    group.add_argument(
        "--limit", type=_whole_number, metavar="N", help="keep the first N items in both formats"
    )
    group.add_argument("--jobs", type=_whole_number, metavar="N", help="worker processes (default: 1)")
    group.add_argument(
        "--formats", type=_names, metavar="json,md", help=f"which sidecars (default: {','.join(FORMATS)})"
    )
    group.add_argument("--markdown", metavar="STYLE", help="auto, plain or fenced (default: auto)")
    group.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error (default: info)")
    group.add_argument("--log-format", metavar="FORMAT", help="auto, console or json (default: auto)")


def add_sweep_flags(group: Any) -> None:
    """Add the flags of a sweep."""
    group.add_argument(
        "--dry-run", action="store_true", help="print PLAN, path and reason for each sidecar; write nothing"
    )
    group.add_argument(
        "--force", action="store_true", help="render everything again, edited sidecars included"
    )
    group.add_argument(
        "--no-progress", action="store_true", help="on a terminal, show lines of the log and no bar"
    )


def _file(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("the name of the file is empty")
    return text


def _whole_number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _names(text: str) -> list[str]:
    return text.split(",")


def effective_config(given: argparse.Namespace, roots: Sequence[str] | None = None) -> Config:
    """Lay the flags of :func:`add_options`, and roots if there are any, over the file over the defaults.

    :raises ConfigError: with all that is wrong at once.
    """
    from daemon.config.model import Config, load, with_overrides  # takes as long as the rest of --help

    return with_overrides(
        Config() if given.config is None else load(given.config),
        roots=roots,
        limit=given.limit,
        jobs=given.jobs,
        formats=given.formats,
        markdown=given.markdown,
        log_level=given.log_level,
        log_format=given.log_format,
    )


def guarded(command: Callable[[], int]) -> int:
    """Run a command and return its exit status; what ends it early becomes a sentence and a status."""
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):  # not when it is closed, or somebody else's
            sys.stdout.reconfigure(errors="backslashreplace")
        status = command()
        if sys.stdout is not None:
            sys.stdout.flush()
    except RefusedError as error:
        print(error, file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return SOMETHING_FAILED
    except BrokenPipeError:
        _drop_output()  # its reader (head, less) has gone: nothing is left to say
        return ALL_IS_WELL
    except OSError as error:
        _drop_output()
        print(f"{PROGRAM}: {error.strerror or error}", file=sys.stderr)
        return SOMETHING_FAILED
    return status


def _drop_output() -> None:
    """Have Python's own flush at the end succeed, which would complain once more."""
    with contextlib.suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def refuse(paths: Sequence[str], reason: str) -> None:
    """Say of each path why nothing is done about it."""
    from daemon.report.terminal import escaped

    for path in paths:
        print(f"{escaped(path) or repr(path)}: {reason}", file=sys.stderr)


class Version(argparse.Action):
    """``--version``: finds the version out only when it is asked for, which takes a while."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show program's version number and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print it, and end."""
        print(f"{parser.prog} {version()}")
        parser.exit()


def version() -> str:
    """Return the version of the installed distribution, or of this checkout."""
    from importlib import metadata

    try:
        return metadata.version(PROGRAM)
    except metadata.PackageNotFoundError:
        return "(not installed)"
