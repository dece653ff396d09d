"""``generation-sidecars`` and ``decode-generations``: arguments in, exit status out.

The second is a sweep with the name and the flags of an older script.  Each imports only what it needs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from daemon.cli import flags
from daemon.config.model import Config, to_toml
from daemon.config.validation import ALL_IS_WELL, WRONG_USAGE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_USAGE: Final = """\
%(prog)s [ROOT ...] [options]
       %(prog)s --backfill [--dry-run] [--force] [PATH ...] [options]
       %(prog)s --check-config [ROOT ...] [options]
       %(prog)s --status [--json]"""
_COMMANDS: Final = {
    "--backfill": "sweep once and exit; a PATH is a directory or one .npy",
    "--check-config": "print the effective configuration, or every problem",
    "--status": "show what the running service is doing",
}
_EPILOG: Final = """\
examples:
  generation-sidecars                                watch ./experiments until Ctrl-C
  generation-sidecars /data/experiments              watch another directory
  generation-sidecars --backfill /data/experiments   make all missing sidecars, once
  generation-sidecars --backfill --dry-run runs/     show what that would do
  generation-sidecars --status                       show what the running service is doing

exit status:
  0  all is well
  1  some file failed, a path is missing, the service could not run, or its
     configuration was rejected
  2  wrong usage or configuration
  3  --status found no service
"""
_DECODE_EPILOG: Final = """\
examples:
  decode-generations                             everything below ./experiments
  decode-generations --model gemma               only experiments/gemma/generations
  decode-generations --dry-run runs/             show what would be done below ./runs
  decode-generations --force n1_completions.npy  make the sidecars of one file again

exit status:
  0  all is well
  1  some file failed, or a path is missing
  2  wrong usage or configuration
"""


@flags.guarded
def main(arguments: Sequence[str] | None) -> int:
    """Run ``generation-sidecars``; return the exit status."""
    parser = _parser()
    given = parser.parse(arguments)
    _check_combinations(parser, given)
    if given.status:
        return _status(as_json=given.json)
    config = _config(given)
    if given.check_config:
        print(to_toml(config), end="")
        return ALL_IS_WELL
    if given.backfill:
        from daemon.cli.backfill import backfill

        return backfill(given.paths or config.roots, config, given)
    return _watch(config, given)


@flags.guarded
def decode(arguments: Sequence[str] | None) -> int:
    """Run ``decode-generations``; return the exit status."""
    parser = _decode_parser()
    given = parser.parse(arguments)
    if given.model is not None and given.paths:
        parser.error("--model already names a directory; leave PATH out")
    if given.model in {"", ".", ".."} or "/" in (given.model or ""):
        parser.error("--model is the name of one directory below --base-dir")
    config = flags.effective_config(given)
    from daemon.cli.backfill import backfill

    tree = os.path.join(given.base_dir, given.model, "generations") if given.model else given.base_dir
    return backfill(given.paths or [tree], config, given)


def _parser() -> flags.Parser:
    parser = flags.Parser(
        flags.PROGRAM,
        _USAGE,
        "Keep a readable .json and .md beside every cached language-model generation.",
        _EPILOG,
        paths="what to watch (ROOT) or sweep (default: experiments)",
    )
    commands = parser.add_argument_group("instead of watching").add_mutually_exclusive_group()
    flags.add_switches(commands, _COMMANDS)
    flags.add_information_flags(commands)
    sweep = parser.add_argument_group("with --backfill")
    flags.add_switches(sweep, flags.SWEEP_SWITCHES)
    sweep.add_argument(
        "--scheduler", metavar="ADDRESS", help="run conversions on this Dask cluster, such as tcp://host:8786"
    )
    flags.add_switches(parser.add_argument_group("with --status"), {"--json": "print JSON"})
    parser.add_configuration()
    return parser


def _decode_parser() -> flags.Parser:
    parser = flags.Parser(
        "decode-generations",
        "%(prog)s [--base-dir DIR] [--model M] [--dry-run] [--force] [options] [PATH ...]",
        "Make a readable .json and .md beside every cached generation that lacks a fresh one.",
        _DECODE_EPILOG,
        paths="directories or single .npy files (default: DIR)",
    )
    parser.add_argument(
        "--base-dir",
        default="experiments",
        metavar="DIR",
        help="the directory that holds all models (default: experiments)",
    )
    parser.add_argument("--model", metavar="M", help="sweep only DIR/M/generations")
    flags.add_switches(parser, flags.SWEEP_SWITCHES)
    parser.set_defaults(scheduler=None)
    flags.add_information_flags(parser)
    parser.add_configuration()
    return parser


def _check_combinations(parser: flags.Parser, given: argparse.Namespace) -> None:
    for flag in (*flags.SWEEP_SWITCHES, "--scheduler"):
        if getattr(given, flag[2:].replace("-", "_")) not in {None, False} and not given.backfill:
            parser.error(f"{flag} requires --backfill")
    if given.json and not given.status:
        parser.error("--json requires --status")
    if given.status and given.paths:
        parser.error("--status takes no PATH; it shows every service of this user")


def _config(given: argparse.Namespace) -> Config:
    """Return the effective configuration, after checking that the library for its metrics is installed."""
    config = flags.effective_config(given, None if given.backfill else given.paths or None)
    if config.metrics.textfile is not None:
        from daemon.report.metrics import require_library

        require_library()
    return config


def _status(*, as_json: bool) -> int:
    from datetime import datetime, timezone

    from daemon.report.status import exit_status, render_json
    from daemon.report.status_file import read_all
    from daemon.report.status_text import render_text
    from daemon.report.systemd import failed_unit

    readings, now = read_all(), datetime.now(timezone.utc)
    failed = None if any(reading.is_alive for reading in readings) else failed_unit()
    render = render_json if as_json else render_text
    print(render(readings, now, failed), end="")
    return exit_status(readings, now, failed)


def _watch(config: Config, given: argparse.Namespace) -> int:
    from daemon.report.logging import configure, get_logger
    from daemon.service import Service
    from daemon.watch.client import Watch

    def configured(config: Config) -> Config:
        configure(config.log.level, config.log.format)
        return config

    files = [root for root in config.roots if os.path.exists(root) and not os.path.isdir(root)]
    for path in files:
        flags.refuse(path, "is not a directory; use --backfill for single files")
    if files:
        return WRONG_USAGE

    service = Service(
        configured(config),
        version=flags.version(),
        log=get_logger(),
        make_watch=Watch,
        reload=lambda: configured(_config(given)),
        make_default_root=config.roots == Config().roots and not given.paths,
    )
    return service.run()
