"""The checks before anything is changed; all problems are reported together."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from pathlib import Path

from installer.places import Refused
from installer.pythons import is_below

_SYSTEM = ("/boot", "/dev", "/etc", "/lib", "/lib64", "/opt/generation-sidecars", "/proc", "/sys", "/usr")


def machine_problems() -> list[str]:
    """List why this user cannot install anything on this machine."""
    problems = []
    if os.geteuid() != 0:
        problems.append("Only root can install a service: run it with sudo.")
    if not Path("/run/systemd/system").is_dir():
        problems.append(
            "systemd does not run this machine (/run/systemd/system is missing). In a container, run "
            "generation-sidecars itself; see README.md."
        )
    return problems


def checked_user(name: str) -> pwd.struct_passwd:
    """Return the account; refuse an unknown one, and root."""
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise Refused(f"There is no user {name!r}.") from None
    if account.pw_uid == 0:
        raise Refused("The service must not run as root: name the user whose experiments they are.")
    return account


def checked_group(name: str | None, account: pwd.struct_passwd) -> grp.struct_group:
    """Return the group, by default the user's own."""
    try:
        return grp.getgrgid(account.pw_gid) if name is None else grp.getgrnam(name)
    except KeyError:
        raise Refused(f"There is no group {account.pw_gid if name is None else name!r}.") from None


def checked_directories(paths: list[str]) -> tuple[str, ...]:
    """Return the directories without links; refuse what is not a directory, or belongs to the system."""
    real = list(map(os.path.realpath, paths))
    problems = [fault for path, place in zip(paths, real, strict=True) if (fault := _fault(path, place))]
    for place in real:
        outer = [other for other in real if other != place and is_below(place, (other,))]
        if outer:
            problems.append(f"{place} lies inside {outer[0]}: name the outer one only.")
    if problems:
        raise Refused(*problems)
    return tuple(dict.fromkeys(real))


def _fault(path: str, place: str) -> str | None:
    if not os.path.lexists(path):
        return f"There is no directory {path}. Make it first, for the user who will write there."
    if not os.path.isdir(place):
        return f"{path} is not a directory."
    if place == "/" or is_below(place, _SYSTEM):
        return f"{path} belongs to the system: experiments must lie elsewhere."
    if not place.isprintable():
        return f"{path!r} holds characters that a unit cannot: rename it."
    return None


def unwritable(directories: tuple[str, ...], account: pwd.struct_passwd, group: int) -> list[str]:
    """Name the directories that the user could not read, enter and write; root asks as that user."""
    return [
        f"{path} is not writable by {account.pw_name}: give that user the directory (chown), or name the "
        "user or the group it belongs to (--user, --group)."
        for path in directories
        if not _as_user(account, group, path)
    ]


def _as_user(account: pwd.struct_passwd, group: int, path: str) -> bool:
    """Ask in a process of the user: only the kernel knows about ACLs, mounts and NFS."""
    answer = subprocess.run(  # noqa: S603  # no shell
        ["test", "-r", path, "-a", "-w", path, "-a", "-x", path],  # noqa: S607  # where root's PATH says
        check=False,
        user=account.pw_uid,
        group=group,
        extra_groups=os.getgrouplist(account.pw_name, group),
    )
    return answer.returncode == 0
