"""``--print-completion``: a shell completion script, made from a parser."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from daemon.config.model import FLAGS, KEYS

if TYPE_CHECKING:
    from collections.abc import Sequence

SHELLS: Final = ("bash", "zsh", "fish")
_FILES: Final = {"paths", "config", "base_dir"}


class PrintCompletion(argparse.Action):
    """Prints the script and exits."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(
            option_strings,
            dest,
            choices=SHELLS,
            metavar="SHELL",
            help="print a shell completion script (bash, zsh or fish) and exit",
        )

    def __call__(self, parser: argparse.ArgumentParser, _namespace: Any, shell: Any, *_: Any) -> None:
        """Print the script and exit."""
        print(script(parser, shell))
        parser.exit()


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the script for one of :data:`SHELLS`."""
    import shtab  # only needed here

    words = {name: KEYS[key].check.words for name, key in FLAGS.items()}
    for action in parser._actions:  # noqa: SLF001 -- shtab reads attributes of actions
        if action.dest in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        if words.get(action.dest):
            action.choices = words[action.dest]
    text: str = shtab.complete(parser, shell)
    return text
