"""Plan an installation as a list of steps; nothing is changed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from installer.places import CLONE, SLICE, UNITS, Places, Refused, Wish
from installer.steps import (
    COMPLETE,
    Step,
    build,
    check_config,
    command,
    link,
    make_directory,
    remove,
    source_files,
    write,
)
from installer.unitfile import config_text, differences, drop_in, sets_roots

if TYPE_CHECKING:
    from installer.pythons import Interpreter


@dataclass(frozen=True)
class Planner:
    """Compares a machine with a wish; ``active``: the service is running."""

    places: Places
    active: bool
    clone: Path = CLONE

    def install(self, wish: Wish, python: Interpreter) -> list[Step]:
        """Plan an installation or an upgrade; raise :class:`Refused` if something is in the way."""
        environment, config = self.places.opt / self._version(python), self.places.config
        program = []
        if not (environment / COMPLETE).exists():
            program.append(build(environment, python, self.clone, wish.wheels))
        if not self.places.sandbox_root.is_dir():
            program.append(make_directory(self.places.sandbox_root))
        words = (str(environment / "bin/python"), "-I", "-m", "daemon", "--check-config", "--config")
        program += self._config(wish, words)
        words = (*words, str(config), "--", *wish.directories)
        check = check_config(config, *words, user=wish.user, group=wish.group)
        units = self._units(wish, python)
        links = self._links(environment.name)
        start = self._start(restart=bool(program or units or links), reload=bool(units))
        return [*program, check, *units, *links, *start, *self._old_versions(environment.name)]

    def differences(self, wish: Wish) -> list[str]:
        """List what the wish changes for users of the current installation."""
        text = _content(self.places.drop_in(UNITS[0]))
        return [] if text is None else differences(text, wish)

    def uninstall(self) -> list[Step]:
        """Plan the removal of everything except the configuration, and of other people's files."""
        service = self.places.units / UNITS[0]
        files = [*(self.places.units / name for name in (*UNITS, SLICE)), *map(self.places.drop_in, UNITS)]
        links = [path for path, target in self.places.links.items() if _target(path) == target]
        there = [path for path in [*files, *links, self.places.opt] if os.path.lexists(path)]
        stop = [
            command("stop and disable the service", "systemctl", "disable", "--quiet", "--now", UNITS[0]),
            command("stop a running sweep", "systemctl", "stop", UNITS[1], SLICE),
        ]
        forget = command("reload systemd's units", "systemctl", "daemon-reload")
        return [*(stop if service.exists() else []), *map(remove, there), *([forget] if there else [])]

    def _version(self, python: Interpreter) -> str:
        """Name the environment by a hash of its sources and its Python."""
        digest = hashlib.sha256(str(python).encode())
        for path in source_files(self.clone):
            digest.update(f"\0{path.relative_to(self.clone)}\0".encode() + path.read_bytes())
        return digest.hexdigest()[:12]

    def _config(self, wish: Wish, words: tuple[str, ...]) -> list[Step]:
        """Plan to write the configuration, once; a given one is checked before, by ``words`` and its path."""
        path, given = self.places.config, wish.config
        before = _content(path)
        if given is None:
            example = (self.clone / "config.example.toml").read_text(encoding="utf-8")
            return [write(path, config_text(example))] if before is None else []
        text = _content(Path(given)) or ""
        if sets_roots(text):
            raise Refused(
                f"{given} sets roots, which the service does not use: its sandbox must know the directories. "
                "Give them with --experiments, and remove roots from the file."
            )
        if before not in {None, text}:
            raise Refused(
                f"{path} exists and differs from {given}. It is never overwritten: copy the file over it "
                "yourself, or leave --config out."
            )
        return [check_config(Path(given), *words, given), write(path, text)] if before is None else []

    def _units(self, wish: Wish, python: Interpreter) -> list[Step]:
        sources = self.clone / "systemd"
        texts = {self.places.units / name: (sources / name).read_text("utf-8") for name in (*UNITS, SLICE)}
        texts |= {self.places.drop_in(unit): drop_in(unit, wish, python.extra_paths) for unit in UNITS}
        return [write(path, text) for path, text in texts.items() if _content(path) != text]

    def _links(self, version: str) -> list[Step]:
        for path, target in self.places.links.items():
            if os.path.lexists(path) and _target(path) != target:
                raise Refused(f"{path} exists, but this program did not make it: move it out of the way.")
        wanted = {self.places.current: version, **self.places.links}
        return [link(path, target) for path, target in wanted.items() if _target(path) != target]

    def _start(self, *, restart: bool, reload: bool) -> list[Step]:
        steps = []
        if reload:
            steps.append(command("reload systemd's units", "systemctl", "daemon-reload"))
        if not os.path.lexists(self.places.units / "multi-user.target.wants" / UNITS[0]):
            words = "start the service at every boot"
            steps.append(command(words, "systemctl", "enable", "--quiet", UNITS[0]))
        if restart or not self.active:
            words = "start the service and wait until it is ready"
            steps.append(command(words, "systemctl", "restart", UNITS[0]))
        return steps

    def _old_versions(self, version: str) -> list[Step]:
        """Plan to remove older versions, last: the service runs from one until its restart."""
        keep = {version, self.places.current.name, self.places.sandbox_root.name}
        found = sorted(self.places.opt.iterdir()) if self.places.opt.is_dir() else []
        return [remove(path) for path in found if path.name not in keep]


def _content(path: Path) -> str | None:
    """Return the text of a file, None if there is none; the check reports what is not UTF-8."""
    try:
        return path.read_text("utf-8", "surrogateescape") if path.exists() else None
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}.") from None


def _target(path: Path) -> str | None:
    return os.readlink(path) if path.is_symlink() else None
