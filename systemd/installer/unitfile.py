"""The texts of drop-ins and configuration, as pure functions."""

from __future__ import annotations

import re

from installer.places import NAME, UNITS, Wish

_HOMES = ("/home/", "/root/", "/run/user/")
_PYTHON = f"/opt/{NAME}/current/bin/python -I -X faulthandler -m daemon"
_CONFIG = f"/etc/{NAME}/config.toml"
_COMMANDS = {
    UNITS[0]: f"{_PYTHON} --config {_CONFIG} --",
    UNITS[1]: f"{_PYTHON} --backfill --config {_CONFIG} --",
}
_ROOTS = re.compile(r"(?m)^roots = .*$")
_SETS_ROOTS = re.compile(r"""(?m)^[ \t]*(roots|"roots"|'roots')[ \t]*=""")
_TABLE = re.compile(r"(?m)^[ \t]*\[")


def quoted(word: str, *, for_command: bool = False) -> str:
    r"""Write a word as systemd reads it back, systemd.syntax(7); in a command "$" would be a variable.

    >>> print(quoted('/data/100% "mine"'))
    "/data/100%% \"mine\""
    """
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped.replace("$", "$$") if for_command else escaped}"'


def drop_in(unit: str, wish: Wish, extra_paths: tuple[str, ...] = ()) -> str:
    """Return a unit's drop-in with user, group and directories; ``extra_paths`` are readable too."""
    directories = [quoted(path) for path in wish.directories]
    arguments = " ".join(quoted(path, for_command=True) for path in wish.directories)
    lines = [
        "# Written by systemd/install: run it again to change this. Put your own settings into another file",
        f"# of this directory: systemctl edit {unit}",
        "[Unit]",
        *(f"RequiresMountsFor={path}" for path in directories),
        "",
        "[Service]",
        f"User={wish.user}",
        f"Group={wish.group}",
        *(f"BindPaths={path}" for path in directories),
        *(f"BindReadOnlyPaths={quoted(path)}" for path in extra_paths),
        *_home_lines(wish.directories),
        "ExecStart=",
        f"ExecStart={_COMMANDS[unit]} {arguments}",
        "",
    ]
    return "\n".join(lines)


def _home_lines(directories: tuple[str, ...]) -> list[str]:
    """Show directories below a home, and nothing else of any home."""
    if not any(f"{path}/".startswith(_HOMES) for path in directories):
        return []
    return ["# Not yes: systemd drops what is bound below an inaccessible directory.", "ProtectHome=tmpfs"]


def config_text(example: str) -> str:
    """Make the installed configuration from the example; the directories come from the drop-in."""
    note = (
        "# The service gets its directories from systemd/install --experiments: its sandbox must know them.\n"
        "# This key is only used by commands that you run with this file.\n# "
    )
    return _ROOTS.sub(lambda found: note + found.group(), example, count=1)


def sets_roots(config: str) -> bool:
    """Tell whether a configuration sets the directories, with a key before its first table."""
    return _SETS_ROOTS.search(_TABLE.split(config, maxsplit=1)[0]) is not None


def differences(text: str, wish: Wish) -> list[str]:
    """List the directories, the user and the group that change when a drop-in is replaced."""
    before = re.findall(r"(?m)^BindPaths=(.*)$", text)
    wished = [quoted(path) for path in wish.directories]
    lines = [f"no longer watched: {path}; its sidecars stay" for path in before if path not in wished]
    lines += [f"newly watched: {path}" for path in wished if path not in before]
    for key, value in (("User", wish.user), ("Group", wish.group)):
        old = re.findall(rf"(?m)^{key}=(.*)$", text)
        if old and old[-1] != value:
            lines.append(f"{key.lower()}: {value} instead of {old[-1]}; existing files keep theirs")
    return lines
