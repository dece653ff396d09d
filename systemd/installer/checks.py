"""The checks before anything is changed."""

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
    """List the reasons why nothing can be installed on this machine."""
    problems = []
    if os.geteuid() != 0:
        problems.append("Only root can install a service: run it with sudo.")
    if not Path("/run/systemd/system").is_dir():
        problems.append(
            "systemd is not running on this machine (/run/systemd/system is missing). In a container, run "
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
        raise Refused("The service must not run as root: name the user who owns the experiments.")
    return account


def checked_group(name: str | None, account: pwd.struct_passwd) -> grp.struct_group:
    """Return the group, by default the user's own."""
    try:
        return grp.getgrgid(account.pw_gid) if name is None else grp.getgrnam(name)
    except KeyError:
        raise Refused(f"There is no group {account.pw_gid if name is None else name!r}.") from None


def checked_directories(paths: list[str]) -> tuple[str, ...]:
    """Return the directories without links; refuse other files and system directories."""
    real = list(map(os.path.realpath, paths))
    problems = [fault for path, place in zip(paths, real, strict=True) if (fault := _fault(path, place))]
    for place in real:
        outer = [other for other in real if other != place and is_below(place, (other,))]
        if outer:
            problems.append(f"{place} is inside {outer[0]}: give only the outer directory.")
    if problems:
        raise Refused(*dict.fromkeys(problems))
    return tuple(dict.fromkeys(real))


def _fault(path: str, place: str) -> str | None:
    if not os.path.lexists(path):
        return f"There is no directory {path}. Create it first, for the user who will write there."
    if not os.path.isdir(place):
        return f"{path} is not a directory."
    if place == "/" or is_below(place, _SYSTEM):
        return f"{path} is a system directory: experiments must be elsewhere."
    if not place.isprintable():
        return f"{path!r} has characters that a systemd unit cannot hold: rename it."
    return None


def unwritable(directories: tuple[str, ...], account: pwd.struct_passwd, group: int) -> list[str]:
    """List the directories that the user cannot read, enter and write to; this must run as root."""
    return [
        f"{path} is not writable by {account.pw_name}: give that user the directory (chown), or name the "
        "user or the group it belongs to (--user, --group)."
        for path in directories
        if not _as_user(account, group, path)
    ]


def _as_user(account: pwd.struct_passwd, group: int, path: str) -> bool:
    """Ask in a process of that user: only the kernel knows about ACLs, mounts and NFS."""
    answer = subprocess.run(  # noqa: S603  # no shell
        ["test", "-r", path, "-a", "-w", path, "-a", "-x", path],  # noqa: S607  # where root's PATH says
        check=False,
        user=account.pw_uid,
        group=group,
        extra_groups=os.getgrouplist(account.pw_name, group),
    )
    return answer.returncode == 0
