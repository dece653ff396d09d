"""Where everything goes, and what an installation is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NAME = "generation-sidecars"
UNITS = (f"{NAME}.service", f"{NAME}-backfill.service")
SLICE = "sidecars.slice"
DROP_IN = "10-installed.conf"
PROGRAMS = (NAME, "decode-generations")
COMPLETIONS = {
    "bash": "share/bash-completion/completions/{}",
    "zsh": "share/zsh/site-functions/_{}",
    "fish": "share/fish/vendor_completions.d/{}.fish",
}
FOR_EVERYBODY = ("bin/{}", "share/man/man1/{}.1", *COMPLETIONS.values())
CLONE = Path(__file__).resolve().parents[2]


class Refused(Exception):  # noqa: N818  # it is an answer: nothing was changed
    """What was asked for cannot be done as things are; ``problems`` are sentences for the administrator."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Wish:
    """What the administrator asked for, checked: absolute directories without links, existing accounts."""

    directories: tuple[str, ...]
    user: str
    group: str
    config: str | None = None
    wheels: str | None = None


@dataclass(frozen=True)
class Places:
    """The places of an installation; ``root`` is "/" but in tests."""

    root: Path = Path("/")

    @property
    def opt(self) -> Path:
        """The program: one virtual environment a version, ``current`` leads to the one in force."""
        return self.root / "opt" / NAME

    @property
    def current(self) -> Path:
        """The link that units and programs go through, so that an upgrade takes one rename."""
        return self.opt / "current"

    @property
    def sandbox_root(self) -> Path:
        """The empty directory that the units call "/"."""
        return self.opt / "root"

    @property
    def config(self) -> Path:
        """The administrator's file: written once, never overwritten."""
        return self.root / "etc" / NAME / "config.toml"

    @property
    def units(self) -> Path:
        """Where an administrator's units go, systemd.unit(5)."""
        return self.root / "etc" / "systemd" / "system"

    @property
    def local(self) -> Path:
        """Where commands, manual pages and completions for everybody go."""
        return self.root / "usr" / "local"

    @property
    def links(self) -> dict[Path, str]:
        """The links there, and where each leads: into the version in force."""
        names = [place.format(program) for program in PROGRAMS for place in FOR_EVERYBODY]
        return {self.local / name: f"/opt/{NAME}/current/{name}" for name in names}

    def drop_in(self, unit: str) -> Path:
        """Return what fills user and directories into a unit."""
        return self.units / f"{unit}.d" / DROP_IN
