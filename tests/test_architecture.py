"""The shape of the library, held by its imports and calls."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = sorted((ROOT / "lib").rglob("*.py"))
SHELL = sorted((ROOT / "daemon").rglob("*.py"))
MODULES = [path for path in LIBRARY + SHELL if path.stem != "__init__"]
ROOMS = (
    "lib.names",
    "lib.errors",
    "lib.options",
    "lib.outcome",
    "lib.npy",
    "lib.render",
    "lib.files",
    "lib.sync",
    "lib.generation",
    "daemon.signals",
    "daemon.config",
    "daemon.report",
    "daemon.watch",
    "daemon.workers",
    "daemon.schedule",
    "daemon.service",
    "daemon.cli",
    "daemon.__main__",
)
"""From the ground up: a module imports from its own room and from those before it."""
PURE = ("lib.names", "lib.errors", "lib.options", "lib.outcome", "lib.npy", "lib.render")
WRITERS = {
    "open",
    "rename",
    "replace",
    "unlink",
    "remove",
    "mkdir",
    "makedirs",
    "rmdir",
    "link",
    "symlink",
    "write",
}
WRITERS |= {
    "truncate",
    "ftruncate",
    "utime",
    "chmod",
    "fchmod",
    "chown",
    "fchown",
    "mkfifo",
    "mknod",
    "setxattr",
}


def tree_of(path: Path) -> ast.Module:
    """Parse a module."""
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(path: Path, *, run_time: bool = True) -> set[str]:
    """Return the modules that a module imports, wherever it does; without those for types only if asked."""
    tree = tree_of(path)
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if run_time and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            skipped |= {inner for statement in node.body for inner in ast.walk(statement)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            module = node.module or ""
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def name_of(path: Path) -> str:
    """Return the dotted name of a module."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def room_of(module: str) -> str | None:
    """Return the room that a dotted name belongs to; None for what is not the project's."""
    return next((room for room in ROOMS if f"{module}.".startswith(f"{room}.")), None)


def calls(path: Path) -> set[str]:
    """Return everything that a module calls, as it is written."""
    return {ast.unparse(node.func) for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)}


def test_every_module_has_a_room() -> None:
    """A new folder says where it stands."""
    assert {room_of(name_of(path)) for path in MODULES} == set(ROOMS)


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_the_library_never_imports_the_daemon(path: Path) -> None:
    """Not even for a type, nor any of the shell's own libraries."""
    tops = {name.split(".")[0] for name in imports(path, run_time=False)}
    assert not tops & {
        "daemon",
        "watchdog",
        "structlog",
        "tomli",
        "logging",
        "argparse",
        "decode_generations",
    }


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_arrows_point_one_way(path: Path) -> None:
    """A module imports only from its own room or from those before it."""
    own = ROOMS.index(room_of(name_of(path)) or "")
    found = {room for name in imports(path) if (room := room_of(name)) is not None}
    assert found <= set(ROOMS[: own + 1])


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(name_of(path)) in PURE], ids=name_of)
def test_pure_modules_touch_no_file(path: Path) -> None:
    """What decides and renders knows neither of the two edges, nor the system, nor a clock."""
    modules = {name.split(".")[0] for name in imports(path)}
    assert not modules & {
        "os",
        "io",
        "pathlib",
        "shutil",
        "tempfile",
        "socket",
        "subprocess",
        "time",
        "fcntl",
    }
    assert "open" not in calls(path)


@pytest.mark.parametrize("path", LIBRARY + SHELL, ids=name_of)
def test_nothing_runs_what_a_file_says(path: Path) -> None:
    """No unpickling, no evaluation, no memory mapping of sources: anywhere."""
    forbidden = {
        "eval",
        "exec",
        "compile",
        "__import__",
        "np.load",
        "numpy.load",
        "np.memmap",
        "os.system",
        "os.popen",
    }
    assert not calls(path) & forbidden
    assert not {name.split(".")[0] for name in imports(path)} & {
        "pickle",
        "cPickle",
        "marshal",
        "shelve",
        "dill",
        "mmap",
    }
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) != "np.save":
            assert not any(keyword.arg == "allow_pickle" for keyword in node.keywords), ast.unparse(node)


@pytest.mark.parametrize(
    "path",
    [path for path in LIBRARY if path.stem not in {"atomic", "permissions"}],
    ids=name_of,
)
def test_only_the_writing_edge_writes(path: Path) -> None:
    """Nobody else creates, renames, removes or changes a file."""
    system = {f"os.{name}" for name in WRITERS} | {"open", "Path.write_text", "shutil.rmtree", "shutil.copy"}
    assert not calls(path) & (system - ({"os.open"} if name_of(path) == "lib.files.reader" else set()))


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_the_library_is_silent_and_timeless(path: Path) -> None:
    """It prints nothing, logs nothing, reads no clock and no configuration."""
    assert not calls(path) & {
        "print",
        "logging.getLogger",
        "time.time",
        "time.monotonic",
        "os.getenv",
        "input",
    }
    assert "os.environ" not in path.read_text("utf-8")


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_modules_stay_small(path: Path) -> None:
    """About 60 to 200 lines, so that each is read in one sitting."""
    assert len(path.read_text("utf-8").splitlines()) <= 265


def test_looking_for_a_cache_does_not_import_numpy() -> None:
    """A generation script that only asks for a path starts quickly."""
    code = (
        "import sys, lib.generation as g; g.get_generation_cache_path('m', 'p', 's', 1, 2, 1.0);"
        "assert not {'numpy', 'lib.npy.fixed_width'} & set(sys.modules), 'numpy'"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
