"""The shared library: caching generations with numpy, reading them back safely, rendering them for people.

Its import says in one line what this Python lacks; the syntax of this file is that of Python 3.6.
"""

import importlib.util
import os
import sys

_HOME = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


def require(names: "tuple[str, ...]") -> None:
    """Check that this Python is new enough and has these packages.

    :raises ImportError: it is not, or lacks one; the message says what to run.
    """
    if sys.version_info < (3, 10):  # noqa: UP036  # this is what says it
        version = ".".join(str(number) for number in sys.version_info[:3])
        raise ImportError(f"generation-sidecars needs Python 3.10 or newer; {sys.executable} is {version}")
    missing = [name for name in names if not (name in sys.modules or importlib.util.find_spec(name))]
    if missing:
        raise ImportError(f"{sys.executable} has no {', '.join(missing)}: {_remedy()}", name=missing[0])


def _remedy() -> str:
    """Return what to run: in a clone with or without its virtual environment, or for an installed wheel."""
    ready = os.path.join(_HOME, ".venv", "bin", "python")
    is_clone = os.path.exists(os.path.join(_HOME, "pyproject.toml"))
    if not is_clone or sys.executable == ready:
        return f"run {sys.executable} -m pip install {'-e ' + _HOME if is_clone else 'generation-sidecars'}"
    if os.path.exists(ready):
        return f"use {ready} instead"
    return f"run python3 -m venv {_HOME}/.venv && {ready} -m pip install -e {_HOME}, then use {ready}"


require(("numpy", "orjson"))
