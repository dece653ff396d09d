"""The command line: words in, an exit status out.  Heavy imports wait until a command needs them."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from daemon.config import Config, ConfigError, load, to_toml, with_overrides
from lib.names import FORMATS, KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

PROGRAM: Final = "generation-sidecars"
ALL_IS_WELL, SOMETHING_FAILED, WRONG_USAGE, NOT_RUNNING = 0, 1, 2, 3

_USAGE: Final = """\
%(prog)s [ROOT ...] [options]
       %(prog)s --backfill [--dry-run] [--force] [PATH ...] [options]
       %(prog)s --check-config [ROOT ...] [options]
       %(prog)s --status [--json]"""
_EPILOG: Final = """\
examples:
  generation-sidecars                                watch ./experiments until Ctrl-C
  generation-sidecars /data/experiments              watch another directory
  generation-sidecars --backfill /data/experiments   make what is missing, once
  generation-sidecars --backfill --dry-run runs/     say what that would do
  generation-sidecars --status                       ask the running service how it is

exit status:
  0  all is well
  1  some file failed, or the service could not run
  2  wrong usage or configuration
  3  --status found no service
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``generation-sidecars``; return the exit status."""
    parser = _parser()
    given = parser.parse_args(arguments)
    _check_combinations(parser, given)
    return guarded(lambda: _run(given))


def guarded(command: Callable[[], int]) -> int:
    """Run a command and return its exit status; what ends it early becomes a sentence and a status."""
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):  # not when it is closed, or somebody else's
            sys.stdout.reconfigure(errors="backslashreplace")
        status = command()
        if sys.stdout is not None:
            sys.stdout.flush()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return WRONG_USAGE
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


def _run(given: argparse.Namespace) -> int:
    if given.status:
        return _status(as_json=given.json)
    config = _config(given)
    if given.check_config:
        print(to_toml(config), end="")
        return ALL_IS_WELL
    if given.backfill:
        return backfill(given.paths or config.roots, config, force=given.force, dry_run=given.dry_run)
    return _watch(config, given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=_USAGE,
        description="Keep a readable .json and .md beside every cached language-model generation.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="what to watch or to sweep (default: experiments)",
    )
    commands = parser.add_argument_group("instead of watching").add_mutually_exclusive_group()
    commands.add_argument(
        "--backfill", action="store_true", help="sweep once and exit; PATH: a directory or one .npy"
    )
    commands.add_argument(
        "--check-config", action="store_true", help="show the effective configuration, or what is wrong"
    )
    commands.add_argument("--status", action="store_true", help="say what the running service is doing")
    commands.add_argument("--version", action="version", version=f"{PROGRAM} {version()}")
    sweep = parser.add_argument_group("with --backfill")
    sweep.add_argument(
        "--dry-run", action="store_true", help="print PLAN, path and reason for each sidecar; write nothing"
    )
    sweep.add_argument(
        "--force", action="store_true", help="render everything again, edited sidecars included"
    )
    parser.add_argument_group("with --status").add_argument("--json", action="store_true", help="for scripts")
    add_options(parser.add_argument_group("configuration (over the file)"))
    return parser


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


def _check_combinations(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    for flag in ("dry_run", "force"):
        if getattr(given, flag) and not given.backfill:
            parser.error(f"--{flag.replace('_', '-')} goes with --backfill")
    if given.json and not given.status:
        parser.error("--json goes with --status")
    if given.status and given.paths:
        parser.error("--status takes no PATH: it tells of every service of this user")


def _config(given: argparse.Namespace) -> Config:
    """Lay the command line over the file over the defaults."""
    config = Config() if given.config is None else load(given.config)
    roots = None if given.backfill else given.paths or None
    return with_overrides(
        config,
        roots=roots,
        limit=given.limit,
        jobs=given.jobs,
        formats=given.formats,
        markdown=given.markdown,
        log_level=given.log_level,
        log_format=given.log_format,
    )


def version() -> str:
    """Return the version of the installed distribution, or of this checkout."""
    from importlib import metadata

    try:
        return metadata.version(PROGRAM)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def backfill(paths: Sequence[str], config: Config, *, force: bool, dry_run: bool) -> int:
    """Sweep once; return the exit status."""
    from daemon.crew import Crew, local_processes
    from daemon.log import configure, get_logger
    from daemon.service import options_of
    from daemon.sweep import Scope, Sweep, missing, not_sources

    if wrong := not_sources(paths):
        _refuse(
            wrong, f"is not a source: its name ends in none of {', '.join(f'_{kind}.npy' for kind in KINDS)}"
        )
        return WRONG_USAGE
    if gone := missing(paths):
        _refuse(gone, "is not there")
        return SOMETHING_FAILED
    configure(config.log.level, config.log.format)
    scope = Scope(tuple(paths), frozenset(config.watch.ignore))
    options = options_of(config, force=force)
    if dry_run:
        from daemon.sweep import dry_run as show_plans

        return SOMETHING_FAILED if show_plans(scope, options, sys.stdout).failed else ALL_IS_WELL
    crew = Crew(lambda: local_processes(config.work.jobs), config.work.jobs)
    with _interruptible() as interrupted, contextlib.closing(crew):
        sweep = Sweep(scope, options, crew, get_logger(), interrupted)
        sums = sweep.run()
    if sweep.stopped:
        print("Stopped. What was done is whole; the same command does the rest.", file=sys.stderr)
        return SOMETHING_FAILED
    return SOMETHING_FAILED if sums.failed else ALL_IS_WELL


def _refuse(paths: Sequence[str], reason: str) -> None:
    from daemon.log import escaped

    for path in paths:
        print(f"{escaped(path) or repr(path)}: {reason}", file=sys.stderr)


class _Interrupted:
    """Whether SIGINT or SIGTERM came; the second one ends the program at once."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> bool:
        return self.count > 0

    def on_signal(self, _signal: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 1:
            os._exit(130)


@contextlib.contextmanager
def _interruptible() -> Iterator[_Interrupted]:
    interrupted = _Interrupted()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, interrupted.on_signal) for number in numbers]
    try:
        yield interrupted
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _status(*, as_json: bool) -> int:
    from datetime import datetime, timezone

    from daemon import status

    statuses, now = status.read_all(), datetime.now(timezone.utc)
    render = status.render_json if as_json else status.render_text
    print(render(statuses, now), end="")
    return status.exit_status(statuses, now)


def _watch(config: Config, given: argparse.Namespace) -> int:
    from daemon.log import CONFIG_REJECTED, configure, get_logger
    from daemon.service import Service
    from daemon.watch import Watch

    if files := [root for root in config.roots if os.path.exists(root) and not os.path.isdir(root)]:
        _refuse(files, "is not a directory; for single files there is --backfill")
        return WRONG_USAGE
    configure(config.log.level, config.log.format)
    log = get_logger()

    def reload() -> Config | None:
        try:
            fresh = _config(given)
        except ConfigError as error:
            log.error(
                CONFIG_REJECTED,
                problems=str(error).splitlines(),
                hint="The old configuration stays in force.",
            )
            return None
        configure(fresh.log.level, fresh.log.format)
        return fresh

    service = Service(
        config,
        version=version(),
        log=log,
        make_watch=lambda roots: Watch.open([Path(root) for root in roots]),
        reload=reload,
        make_default_root=config.roots == Config().roots and not given.paths,
    )
    return service.run()


if __name__ == "__main__":
    sys.exit(main())
