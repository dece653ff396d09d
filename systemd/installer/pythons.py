"""Choose a Python for the service: new enough, with venv, and visible in the sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from installer.places import Refused

OLDEST = (3, 10)
NEWEST_KNOWN = 14
HIDDEN = ("/root", "/home", "/run", "/tmp", "/var/tmp")  # noqa: S108  # nothing is written there
_PROBE = """
import json, os, sys
lacks = []
for name in ("venv", "ensurepip", "ctypes"):
    try:
        __import__(name)
    except ImportError:
        lacks.append(name)
where = [os.path.realpath(path) for path in (sys.executable, sys.base_prefix)]
print(json.dumps({"version": sys.version_info[:3], "where": where, "lacks": lacks}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A usable Python; ``executable`` and ``prefix`` are paths without links."""

    executable: str
    prefix: str
    version: tuple[int, ...]

    @property
    def extra_paths(self) -> tuple[str, ...]:
        """The paths that the sandbox must show besides ``/usr``."""
        return () if is_below(self.prefix, ("/usr",)) else (self.prefix,)

    def __str__(self) -> str:
        return f"{self.executable} ({'.'.join(map(str, self.version))})"


def choose(asked: str | None = None) -> Interpreter:
    """Return the Python that was asked for, or the first usable one; :class:`Refused` has all reasons."""
    reasons = []
    for path in [asked] if asked else _candidates():
        found = examine(path)
        if isinstance(found, Interpreter):
            return found
        reasons.append(f"  {path}: {found}")
    hint = "Install one (on Debian or Ubuntu: apt install python3 python3-venv), or name one with --python."
    raise Refused("\n".join(["No Python that the service can use:", *reasons, hint]))


def examine(path: str) -> Interpreter | str:
    """Return the interpreter at a path, or why it cannot be used."""
    try:
        answer = subprocess.run(  # noqa: S603  # an interpreter of the system, or one that root named
            [path, "-I", "-c", _PROBE], check=True, capture_output=True, timeout=60
        )
        told = json.loads(answer.stdout)
    except OSError as error:
        return f"it does not run: {error.strerror}"
    except (subprocess.SubprocessError, ValueError) as error:
        said = (getattr(error, "stderr", None) or b"").decode(errors="replace").split("\n")
        return ": ".join(["it does not run like Python 3", *list(filter(str.strip, said))[-1:]])
    executable, prefix = told["where"]
    python = Interpreter(executable, prefix, tuple(told["version"]))
    for place in (python.executable, python.prefix):
        if is_below(place, HIDDEN):
            return f"it is {place}, and the sandbox hides /{place.split('/')[1]} from the service"
    if python.version[:2] < OLDEST:
        return f"it is {'.'.join(map(str, python.version))}; 3.10 or newer is needed"
    if told["lacks"]:
        return f"it lacks {' and '.join(told['lacks'])} (on Debian or Ubuntu: apt install python3-venv)"
    return python


def is_below(path: str, directories: tuple[str, ...]) -> bool:
    """Tell whether a path is one of the directories or inside one."""
    return any(path == directory or path.startswith(directory + "/") for directory in directories)


def _candidates() -> list[str]:
    names = ["python3", *(f"python3.{minor}" for minor in range(NEWEST_KNOWN, OLDEST[1] - 1, -1))]
    paths = [f"{place}/{name}" for name in names for place in ("/usr/bin", "/usr/local/bin")]
    return list(dict.fromkeys([*(path for path in paths if os.access(path, os.X_OK)), sys.executable]))
