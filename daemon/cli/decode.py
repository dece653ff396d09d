"""``decode-generations``: a sweep with the name and the flags of an older script."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from daemon.cli import flags

if TYPE_CHECKING:
    from collections.abc import Sequence


_EPILOG: Final = """\
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
    """Run ``decode-generations``; return the exit status."""
    parser = _parser()
    given = parser.parse(arguments)
    if given.model is not None and given.paths:
        parser.error("--model already names a directory; leave PATH out")
    if given.model in {"", ".", ".."} or "/" in (given.model or ""):
        parser.error("--model is the name of one directory below --base-dir")
    config = flags.effective_config(given)
    from daemon.cli.backfill import backfill  # `--help` does not need it

    tree = os.path.join(given.base_dir, given.model, "generations") if given.model else given.base_dir
    return backfill(given.paths or [tree], config, given)


def _parser() -> flags.Parser:
    parser = flags.Parser(
        "decode-generations",
        "%(prog)s [--base-dir DIR] [--model M] [--dry-run] [--force] [options] [PATH ...]",
        "Make a readable .json and .md beside every cached generation that lacks a fresh one.",
        _EPILOG,
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
