"""What is missing on this machine, as a list of actions; empty when all is as wished.  It changes nothing."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from installer.actions import (
    COMPLETE,
    Action,
    Build,
    CheckConfig,
    Command,
    Directory,
    Link,
    Remove,
    Write,
    source_files,
)
from installer.places import CLONE, SLICE, UNITS, Places, Refused, Wish
from installer.unitfile import config_text, differences, drop_in, sets_roots

if TYPE_CHECKING:
    from installer.pythons import Interpreter


@dataclass(frozen=True)
class Planner:
    """Compares a machine with a wish; ``active`` says whether the service runs now."""

    places: Places
    active: bool
    clone: Path = CLONE

    def install(self, wish: Wish, python: Interpreter) -> list[Action]:
        """Plan an installation or an upgrade; raise :class:`Refused` where something is in the way."""
        environment = self.places.opt / self._version(python)
        build = [] if (environment / COMPLETE).exists() else [self._build(environment, wish, python)]
        roots = [] if self.places.sandbox_root.is_dir() else [Directory(self.places.sandbox_root)]
        config = self._config(wish)
        units = self._units(wish, python)
        links = self._links(environment.name)
        changes: list[Action] = [*build, *roots, *config, *units, *links]
        checked = [self._check_config(environment, wish)]
        start = self._start(restart=bool(changes), reload=bool(units))
        return [*build, *roots, *config, *checked, *units, *links, *start, *self._leftovers(environment.name)]

    def differences(self, wish: Wish) -> list[str]:
        """Say what an installation that is there does otherwise than wished."""
        text = _content(self.places.drop_in(UNITS[0]))
        return [] if text is None else differences(text, wish)

    def uninstall(self) -> list[Action]:
        """Plan the removal of everything but the configuration; files of others at our places stay."""
        unit_files = [self.places.units / name for name in (*UNITS, SLICE)]
        files = [*unit_files, *(self.places.drop_in(unit) for unit in UNITS)]
        there = [Remove(path) for path in files if path.exists()]
        links = [Remove(path) for path, target in self.places.links.items() if _link(path) == target]
        opt = [Remove(self.places.opt)] if self.places.opt.exists() else []
        if not (there or links or opt):
            return []
        forget = _systemctl("have systemd forget the units", "daemon-reload")
        return [*self._stop(), *there, *links, *opt, forget]

    def _version(self, python: Interpreter) -> str:
        """Name the environment after what is in it: the sources, and the Python."""
        digest = hashlib.sha256(str(python).encode())
        for path in source_files(self.clone):
            digest.update(f"\0{path.relative_to(self.clone)}\0".encode() + path.read_bytes())
        return digest.hexdigest()[:12]

    def _build(self, environment: Path, wish: Wish, python: Interpreter) -> Action:
        return Build(environment, python, self.clone, wish.wheels)

    def _config(self, wish: Wish) -> list[Action]:
        path = self.places.config
        if wish.config is None:
            text = config_text((self.clone / "config.example.toml").read_text(encoding="utf-8"))
            return [] if path.exists() else [Write(path, text)]
        text = Path(wish.config).read_text(encoding="utf-8")
        if sets_roots(text):
            raise Refused(
                f"{wish.config} sets roots, which the service does not use: its sandbox has to know the "
                "directories, so they are named with --experiments. Remove roots from the file."
            )
        if not path.exists():
            return [Write(path, text)]
        if path.read_text(encoding="utf-8") != text:
            raise Refused(
                f"{path} is there and differs from {wish.config}. It is never overwritten: copy the "
                "file over it yourself, or leave --config out."
            )
        return []

    def _units(self, wish: Wish, python: Interpreter) -> list[Action]:
        sources = self.clone / "systemd"
        texts = {self.places.units / name: (sources / name).read_text("utf-8") for name in (*UNITS, SLICE)}
        texts |= {self.places.drop_in(unit): drop_in(unit, wish, python.extra_paths) for unit in UNITS}
        return [Write(path, text) for path, text in texts.items() if _content(path) != text]

    def _links(self, version: str) -> list[Action]:
        wanted = {self.places.current: version}
        for path, target in self.places.links.items():
            if os.path.lexists(path) and _link(path) != target:
                raise Refused(f"{path} is there already and not from here: move it out of the way.")
            wanted[path] = target
        return [Link(path, target) for path, target in wanted.items() if _link(path) != target]

    def _check_config(self, environment: Path, wish: Wish) -> Action:
        python, config = str(environment / "bin/python"), str(self.places.config)
        words = (python, "-I", "-m", "daemon", "--check-config", "--config", config, "--", *wish.directories)
        return CheckConfig(words, f"check {config}")

    def _start(self, *, restart: bool, reload: bool) -> list[Action]:
        actions: list[Action] = []
        if reload:
            actions.append(_systemctl("have systemd read the units", "daemon-reload"))
        if not os.path.lexists(self.places.units / "multi-user.target.wants" / UNITS[0]):
            actions.append(_systemctl("start the service at every boot", "enable", "--quiet", UNITS[0]))
        if restart or not self.active:
            actions.append(_systemctl("start the service and wait until it is ready", "restart", UNITS[0]))
        return actions

    def _stop(self) -> list[Action]:
        if not (self.places.units / UNITS[0]).exists():
            return []
        return [
            _systemctl("stop the service, for good", "disable", "--quiet", "--now", UNITS[0]),
            _systemctl("stop a sweep that runs", "stop", UNITS[1], SLICE),
        ]

    def _leftovers(self, version: str) -> list[Action]:
        """Older versions go last: until the restart the service still runs from one."""
        keep = {version, self.places.current.name, self.places.sandbox_root.name}
        with suppress(FileNotFoundError):
            return [Remove(path) for path in sorted(self.places.opt.iterdir()) if path.name not in keep]
        return []


def _systemctl(why: str, *words: str) -> Command:
    return Command(("systemctl", *words), why)


def _content(path: Path) -> str | None:
    with suppress(FileNotFoundError):
        return path.read_text(encoding="utf-8")
    return None


def _link(path: Path) -> str | None:
    return os.readlink(path) if path.is_symlink() else None
