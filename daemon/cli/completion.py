"""``--print-completion``: a script that lets a shell complete a program's words, made from its own parser."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final, get_args

if TYPE_CHECKING:
    from collections.abc import Sequence

SHELLS: Final = ("bash", "zsh", "fish")
_FILES: Final = {"paths", "config", "base_dir"}


class PrintCompletion(argparse.Action):
    """Prints the script and ends."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(
            option_strings,
            dest,
            choices=SHELLS,
            metavar="SHELL",
            help="print what makes bash, zsh or fish complete these words, and exit",
        )

    def __call__(self, parser: argparse.ArgumentParser, _namespace: Any, shell: Any, *_: Any) -> None:
        """Print it, and end."""
        print(script(parser, shell))
        parser.exit()


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the script for one of :data:`SHELLS`."""
    import shtab  # for this alone, as is the configuration

    from daemon.config.model import Level, LogFormat, Markdown

    words = {
        "markdown": get_args(Markdown),
        "formats": ("json", "md", "json,md"),
        "log_level": get_args(Level),
        "log_format": get_args(LogFormat),
    }
    for action in parser._actions:  # noqa: SLF001 -- what the library asks for is set on each of them
        if action.dest in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        if action.dest in words:
            action.choices = words[action.dest]
    text: str = shtab.complete(parser, shell)
    return text
