"""The shape of the library, held by its imports and calls."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = sorted((ROOT / "lib").glob("*.py"))
SHELL = sorted((ROOT / "daemon").glob("*.py"))
LAYERS = (
    {"names", "errors"},
    {"outcome", "header", "tally", "inert"},
    {"cursor", "memo", "scaffold", "texts", "jsontext", "page"},
    {"machine", "plain", "markdown", "links"},
    {"pickled", "pages"},
    {"reading", "render"},
    {"survey", "index"},
    {"source", "beneath"},
    {"plan", "permissions", "metadata"},
    {"publish"},
    {"sinks", "prompts"},
    {"parts"},
    {"conversion"},
    {"sync", "generation"},
)
"""From the ground up: a module imports from lower layers, or from its own."""
PURE = {"names", "errors", "outcome", "header", "tally", "inert", "cursor", "memo", "scaffold", "texts"} | {
    "jsontext",
    "machine",
    "pickled",
    "plain",
    "markdown",
    "page",
    "links",
    "pages",
    "reading",
    "render",
    "survey",
    "index",
}
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
            found |= {f"{module}.{alias.name}" if module == "lib" else module for alias in node.names}
    return found


def own(path: Path, *, run_time: bool = True) -> set[str]:
    """Return the library's modules that one of them imports."""
    return {name.removeprefix("lib.") for name in imports(path, run_time=run_time) if name.startswith("lib.")}


def calls(path: Path) -> set[str]:
    """Return everything that a module calls, as it is written."""
    return {ast.unparse(node.func) for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)}


def test_every_module_has_a_layer() -> None:
    """A new module says where it stands."""
    assert {path.stem for path in LIBRARY} - {"__init__"} == set().union(*LAYERS)


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
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


@pytest.mark.parametrize(
    "path", [path for path in LIBRARY if path.stem != "__init__"], ids=lambda path: path.stem
)
def test_arrows_point_one_way(path: Path) -> None:
    """A module imports at run time only from its own layer or from lower ones."""
    level = next(number for number, names in enumerate(LAYERS) if path.stem in names)
    assert own(path) <= set().union(*LAYERS[: level + 1])


@pytest.mark.parametrize("path", [path for path in LIBRARY if path.stem in PURE], ids=lambda path: path.stem)
def test_pure_modules_touch_no_file(path: Path) -> None:
    """What decides and renders knows neither of the two edges, nor the system, nor a clock."""
    assert not own(path) & {"source", "publish", "sinks", "sync"}
    assert not imports(path) & {
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


@pytest.mark.parametrize("path", LIBRARY + SHELL, ids=lambda path: f"{path.parent.name}.{path.stem}")
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
    [path for path in LIBRARY if path.stem not in {"publish", "permissions"}],
    ids=lambda path: path.stem,
)
def test_only_the_writing_edge_writes(path: Path) -> None:
    """Nobody else creates, renames, removes or changes a file."""
    system = {f"os.{name}" for name in WRITERS} | {"open", "Path.write_text", "shutil.rmtree", "shutil.copy"}
    assert not calls(path) & (system - ({"os.open"} if path.stem == "source" else set()))


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
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


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_modules_stay_small(path: Path) -> None:
    """About 60 to 200 lines, so that each is read in one sitting."""
    assert len(path.read_text("utf-8").splitlines()) <= 265


def test_looking_for_a_cache_does_not_import_numpy() -> None:
    """A generation script that only asks for a path starts quickly."""
    code = (
        "import sys, lib.generation as g; g.get_generation_cache_path('m', 'p', 's', 1, 2, 1.0);"
        "assert not {'numpy', 'lib.texts'} & set(sys.modules), 'numpy'"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
