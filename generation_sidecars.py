"""The entry point of the commands, which finds their packages and reports in one line what is missing.

Other projects may have packages called ``lib`` and ``daemon`` too, and ``PYTHONPATH`` may lead to those.
This file has the syntax of Python 3.6, so that a Python that is too old for the rest can still report that.
"""

import importlib
import os
import sys

_HOME = os.path.dirname(os.path.realpath(__file__))
_NEEDED = ("shtab", "structlog", "tomli", "tqdm", "watchdog")


def main(arguments: "list[str] | None" = None) -> int:
    """Run ``generation-sidecars``; return the exit status."""
    return _run("main", arguments)


def decode(arguments: "list[str] | None" = None) -> int:
    """Run ``decode-generations``; return the exit status."""
    return _run("decode", arguments)


def _run(command: str, arguments: "list[str] | None") -> int:
    """Run a command with this folder first in the import path, also for child processes."""
    sys.path[:] = [_HOME, *(path for path in sys.path if path != _HOME)]
    try:
        from lib import require

        require(_NEEDED)
        status: int = getattr(importlib.import_module("daemon.cli.main"), command)(arguments)
    except ImportError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:  # before the command handles it itself
        sys.stderr.write("Stopped.\n")
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
