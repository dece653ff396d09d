"""Where everything goes, and what the administrator asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NAME = "generation-sidecars"
UNITS = (f"{NAME}.service", f"{NAME}-backfill.service")
SLICE = "sidecars.slice"
PROGRAMS = (NAME, "decode-generations")
COMPLETIONS = {
    "bash": "share/bash-completion/completions/{}",
    "zsh": "share/zsh/site-functions/_{}",
    "fish": "share/fish/vendor_completions.d/{}.fish",
}
FOR_EVERYBODY = ("bin/{}", "share/man/man1/{}.1", *COMPLETIONS.values())
CLONE = Path(__file__).resolve().parents[2]


class Refused(Exception):  # noqa: N818  # an answer, not an error: nothing was changed
    """The installation was refused; ``problems`` are sentences for the administrator."""

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
    """The places of an installation; ``root`` is "/" except in tests."""

    root: Path = Path("/")

    @property
    def opt(self) -> Path:
        """The program: one virtual environment a version."""
        return self.root / "opt" / NAME

    @property
    def current(self) -> Path:
        """The link to the installed version, so that an upgrade takes one rename."""
        return self.opt / "current"

    @property
    def sandbox_root(self) -> Path:
        """The empty directory that is "/" for the units."""
        return self.opt / "root"

    @property
    def config(self) -> Path:
        """The administrator's file: written once, never overwritten."""
        return self.root / "etc" / NAME / "config.toml"

    @property
    def units(self) -> Path:
        """The directory for an administrator's units, systemd.unit(5)."""
        return self.root / "etc/systemd/system"

    @property
    def links(self) -> dict[Path, str]:
        """Commands, manual pages and completions for all users: links into the installed version."""
        names = [place.format(program) for program in PROGRAMS for place in FOR_EVERYBODY]
        return {self.root / "usr/local" / name: f"/opt/{NAME}/current/{name}" for name in names}

    def drop_in(self, unit: str) -> Path:
        """Return the file that adds user and directories to a unit."""
        return self.units / f"{unit}.d" / "10-installed.conf"
