"""From a configuration to what the library is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.options import Extras, Options

if TYPE_CHECKING:
    from daemon.config.model import Config


def options_of(config: Config, *, force: bool = False) -> Options:
    """Say how sidecars are made under a configuration."""
    wanted = config.sidecars
    return Options(
        wanted.formats,
        wanted.limit,
        wanted.markdown,
        config.work.max_output_bytes,
        force,
        extras=Extras(wanted.summary, wanted.links, wanted.pairs, wanted.page_bytes),
        count=config.index.enabled,
    )
