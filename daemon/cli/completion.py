"""``--print-completion``: a shell completion script, made from a parser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from daemon.config.model import KEYS

if TYPE_CHECKING:
    import argparse

SHELLS: Final = ("bash", "zsh", "fish")
_FILES: Final = {"paths", "config", "base_dir"}


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the script for one of :data:`SHELLS`."""
    import shtab  # only needed here

    for action in parser._actions:  # noqa: SLF001 -- shtab reads attributes of actions
        if action.dest in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.dest in KEYS:
            action.choices = KEYS[action.dest].check.words or None
    text: str = shtab.complete(parser, shell)
    return text
