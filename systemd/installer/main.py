"""The command line of the installer: arguments in, an exit status out."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from installer import checks, pythons
from installer.places import NAME, UNITS, Places, Refused, Wish
from installer.plan import Planner
from installer.steps import Failed, Step, run

if TYPE_CHECKING:
    from collections.abc import Callable

DONE, FAILED, REFUSED = 0, 1, 2
_EPILOG = """\
examples:
  sudo systemd/install --experiments /data/experiments --user alice --group lab
  sudo systemd/install --experiments /data/a /home/alice/b --user alice --dry-run
  sudo systemd/install --uninstall

exit status:
  0  done, or nothing to do
  1  a step failed; run the same command again to continue
  2  refused: nothing was changed
"""


def main(arguments: list[str] | None = None) -> int:
    """Run ``systemd/install``; return the exit status."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if not given.uninstall and not (given.experiments and given.user):
        parser.error("--experiments and --user are required, except with --uninstall")
    os.umask(0o022)  # root's may be stricter, but the service's user must be able to read the files
    try:
        return _run(given)
    except Refused as refused:
        for problem in refused.problems:
            _say(problem, sys.stderr)
        _say("Nothing was changed.", sys.stderr)
        return REFUSED
    except (Failed, OSError, KeyboardInterrupt) as error:
        what = "removal" if given.uninstall else "installation"
        _say(_reason(error), sys.stderr)
        _say(f"The {what} is incomplete. Run the same command again to continue.", sys.stderr)
        return FAILED


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "It was interrupted."
    is_of_a_file = isinstance(error, OSError) and error.filename is not None
    return f"{error.filename}: {error.strerror}" if is_of_a_file else str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="systemd/install",
        description="Run generation-sidecars as a systemd service on this machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--experiments", nargs="+", action="extend", metavar="DIR", help="the directories to watch"
    )
    parser.add_argument("--user", help="the user of the service, who must be able to write there")
    parser.add_argument("--group", help="the group of the service (default: the user's own)")
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="install this configuration, which must not set roots, instead of the example",
    )
    parser.add_argument("--python", metavar="FILE", help="the Python to build with (default: the system's)")
    parser.add_argument(
        "--wheels", metavar="DIR", help="take packages from this directory instead of the network"
    )
    parser.add_argument("--uninstall", action="store_true", help="remove everything except the configuration")
    parser.add_argument("--dry-run", action="store_true", help="show what would be done, and change nothing")
    return parser


def _run(given: argparse.Namespace) -> int:
    machine = checks.machine_problems()
    if machine and not given.dry_run:
        raise Refused(*machine)
    planner = Planner(Places(), active=_is_active())
    steps = planner.uninstall() if given.uninstall else _install(planner, given)
    _carry_out(steps, dry_run=given.dry_run)
    for problem in machine:
        _say(f"Note: {problem}")
    if not given.dry_run:
        _say(_farewell(uninstalled=given.uninstall, changed=any(step.changes for step in steps)))
    return DONE


def _install(planner: Planner, given: argparse.Namespace) -> list[Step]:
    wish, python = _checked(given)
    _say(f"{wish.user}:{wish.group}, {', '.join(wish.directories)}, {python}")
    steps = planner.install(wish, python)
    for line in planner.differences(wish):
        _say(line)
    return steps


def _checked(given: argparse.Namespace) -> tuple[Wish, pythons.Interpreter]:
    """Check everything that was asked for; all problems are reported at once."""
    problems: list[str] = []

    def ask(check: Callable[..., Any], *details: Any) -> Any:
        try:
            return check(*details)
        except Refused as refused:
            problems.extend(refused.problems)
            return None

    account = ask(checks.checked_user, given.user)
    group: Any = ask(checks.checked_group, given.group, account) if account or given.group else None
    directories = ask(checks.checked_directories, given.experiments)
    python = ask(pythons.choose, given.python)
    if account and group and directories and os.geteuid() == 0:
        problems += checks.unwritable(directories, account, group.gr_gid)
    if given.config is not None and not os.path.isfile(given.config):
        problems.append(f"There is no file {given.config}.")
    if given.wheels is not None and not os.path.isdir(given.wheels):
        problems.append(f"There is no directory {given.wheels}.")
    if problems:
        raise Refused(*problems)
    wheels = given.wheels and os.path.abspath(given.wheels)
    return Wish(directories, account.pw_name, group.gr_name, given.config, wheels), python


def _say(line: str, to: TextIO | None = None) -> None:
    """Print a line at once, as steps take a while and errors must appear after the steps."""
    print(line, file=to, flush=True)


def _is_active() -> bool:
    """Ask systemd whether the service is running; False without systemd."""
    try:
        run("systemctl", "is-active", "--quiet", UNITS[0])
    except Failed:
        return False
    return True


def _carry_out(steps: list[Step], *, dry_run: bool) -> None:
    for step in steps:
        _say(f"{'would ' if dry_run else ''}{step.words}")
        if not dry_run:
            step.do()
    if not any(step.changes for step in steps):
        _say("Nothing to change.")


def _farewell(*, uninstalled: bool, changed: bool) -> str:
    if uninstalled:
        return f"{NAME} is no longer installed. /etc/{NAME} and all sidecars are kept." if changed else ""
    return (
        f"{NAME} is running.\n"
        f"  see what it does      {NAME} --status\n"
        f"  follow its log        journalctl -u {NAME} -f\n"
        f"  sweep once, now       systemctl start {NAME}-backfill\n"
        f"  change its settings   edit /etc/{NAME}/config.toml, then systemctl reload {NAME}\n"
        f"  remove it             systemd/install --uninstall"
    )
