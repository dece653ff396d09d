"""The shape of the library, held by its imports and calls."""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path

import pytest
from support import python

ROOT = Path(__file__).parents[1]
LIBRARY = sorted((ROOT / "lib").rglob("*.py"))
SHELL = sorted((ROOT / "daemon").rglob("*.py"))
MODULES = [path for path in LIBRARY + SHELL if path.stem != "__init__"]
ROOMS = (
    "lib.names",
    "lib.errors",
    "lib.options",
    "lib.outcome",
    "lib.encoded_text",
    "lib.npy",
    "lib.json_writer",
    "lib.markdown",
    "lib.render",
    "lib.files",
    "lib.sync",
    "lib.cache",
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
PURE = ROOMS[: ROOMS.index("lib.render") + 1]
WRITERS = {
    "lib.files.atomic",  # sidecars, and the files of a cache: the only one in the library
    "lib.files.temporary",  # litter, which it removes
    "lib.files.permissions",  # of a sidecar
    "lib.files.lock",  # the lock of a cache
    "lib.files.replacing",  # the files of a cache, together
    "lib.cache.saving",  # np.save, into a hidden file
    "daemon.cli.flags",  # /dev/null in the place of a closed stream
    "daemon.report.status_file",  # the status, in a directory of its own
}
"""The modules that may create, change, move or remove files, and what."""
SYSTEM_WRITERS = frozenset({
    "chmod", "chown", "copy_file_range", "creat", "fchmod", "fchown", "ftruncate", "lchmod",
    "lchown", "link", "makedirs", "mkdir", "mkfifo", "mknod", "posix_fallocate", "pwrite",
    "pwritev", "remove", "removedirs", "removexattr", "rename", "renames", "replace", "rmdir",
    "setxattr", "splice", "symlink", "truncate", "unlink", "utime",
})  # fmt: skip
"""What of ``os`` changes files; opening has a rule of its own."""
PATH_WRITERS = frozenset({
    "chmod", "hardlink_to", "lchmod", "mkdir", "rename", "rmdir", "symlink_to", "tofile", "touch",
    "unlink", "write_bytes", "write_text",
})  # fmt: skip
"""Methods of paths and arrays that change files, whatever they are called on."""
WRITING_LIBRARIES = frozenset(
    {"bz2", "dbm", "fileinput", "gzip", "lzma", "shutil", "sqlite3", "tarfile", "tempfile", "zipfile"}
)
NUMPY_WRITERS = frozenset({"DataSource", "memmap", "save", "savetxt", "savez", "savez_compressed"})
WRITING_FLAGS = ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND", "O_TMPFILE")


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
        "daemon", "watchdog", "structlog", "tomli", "logging", "argparse", "decode_generations",
    }  # fmt: skip


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_arrows_point_one_way(path: Path) -> None:
    """A module imports only from its own room or from those before it, types included."""
    own = ROOMS.index(room_of(name_of(path)) or "")
    found = {room for name in imports(path, run_time=False) if (room := room_of(name)) is not None}
    assert found <= set(ROOMS[: own + 1])


def test_no_modules_import_each_other() -> None:
    """Not in a circle of any length, types included: each can be read after those that it imports."""
    modules = {name_of(path): imports(path, run_time=False) for path in MODULES}
    arrows = {
        module: {found for name in names for found in (name, name.rpartition(".")[0]) if found in modules}
        for module, names in modules.items()
    }
    graphlib.TopologicalSorter(arrows).prepare()


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(name_of(path)) in PURE], ids=name_of)
def test_pure_modules_touch_no_file(path: Path) -> None:
    """What decides and renders knows neither of the two edges, nor the system, nor a clock."""
    modules = {name.split(".")[0] for name in imports(path)}
    assert not modules & {
        "os", "io", "pathlib", "shutil", "tempfile", "socket", "subprocess", "time", "fcntl",
    }  # fmt: skip
    assert "open" not in calls(path)


@pytest.mark.parametrize("path", LIBRARY + SHELL, ids=name_of)
def test_nothing_runs_what_a_file_says(path: Path) -> None:
    """No unpickling, no evaluation, no memory mapping of sources: anywhere."""
    forbidden = {
        "eval", "exec", "compile", "__import__", "np.load", "numpy.load", "np.memmap", "os.system",
        "os.popen",
    }  # fmt: skip
    assert not calls(path) & forbidden
    assert not {name.split(".")[0] for name in imports(path)} & {
        "pickle", "cPickle", "marshal", "shelve", "dill", "mmap",
    }  # fmt: skip
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) != "np.save":
            assert not any(keyword.arg == "allow_pickle" for keyword in node.keywords), ast.unparse(node)


class Writes(ast.NodeVisitor):
    """Finds what a module could change files with, by name: calls, and functions that are handed on."""

    def __init__(self, tree: ast.Module) -> None:
        self.found: list[str] = []
        self._modules: dict[str, str] = {}
        self._constants: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self._modules[alias.asname or alias.name.split(".")[0]] = alias.name
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self._modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                self._constants[ast.unparse(target)] = ast.unparse(node.value)
        self.visit(tree)

    def visit_Name(self, node: ast.Name) -> None:
        """Look at a name that may have been imported."""
        self._check_name(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Look at a function of a module, or a method of anything."""
        self._check_name(node)
        if node.attr in PATH_WRITERS:
            self.found.append(ast.unparse(node))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Look at how something is opened or replaced, and at functions that are looked up by their name."""
        name = self._dotted(node.func)
        is_builtin = name in {"open", "io.open", "os.fdopen"}
        if (
            (name == "os.open" and not self._only_reads(node))
            or ((is_builtin or name.endswith(".open")) and not self._mode_reads(node, is_builtin=is_builtin))
            or (name == "getattr" and self._dotted(node.args[0]) in {"os", "shutil", "numpy"})
            # Path.replace; str.replace takes two arguments, dataclasses.replace keywords
            or (
                name.endswith(".replace")
                and len(node.args) == 1
                and not node.keywords
                and "draft" not in name
            )
        ):
            self.found.append(ast.unparse(node))
        self.generic_visit(node)

    def _dotted(self, node: ast.AST) -> str:
        """Return the full name of what is referred to, as far as imports tell it."""
        first, dot, rest = ast.unparse(node).partition(".")
        return self._modules.get(first, first) + dot + rest

    def _check_name(self, node: ast.Name | ast.Attribute) -> None:
        module, _, function = self._dotted(node).rpartition(".")
        if (
            (module == "os" and function in SYSTEM_WRITERS)
            or (module == "numpy" and function in NUMPY_WRITERS)
            or module.split(".")[0] in WRITING_LIBRARIES
        ):
            self.found.append(ast.unparse(node))

    def _mode_reads(self, node: ast.Call, *, is_builtin: bool) -> bool:
        """Tell whether a mode is "r" or absent; a method's first argument counts if it looks like a mode."""
        modes = [keyword.value for keyword in node.keywords if keyword.arg == "mode"]
        if is_builtin:
            modes += node.args[1:2]
        else:
            modes += [arg for arg in node.args[:1] if isinstance(arg, ast.Constant)]
        return all(
            isinstance(mode, ast.Constant) and not set(str(mode.value)) & set("wax+") for mode in modes
        )

    def _only_reads(self, node: ast.Call) -> bool:
        flags = " ".join(map(ast.unparse, node.args[1:2]))
        for name, value in self._constants.items():
            flags = re.sub(rf"\b{re.escape(name)}\b", value, flags)
        return "O_RDONLY" in flags and not any(flag in flags for flag in WRITING_FLAGS)


@pytest.mark.parametrize(
    "path", [path for path in LIBRARY + SHELL if name_of(path) not in WRITERS], ids=name_of
)
def test_only_the_writing_edge_writes(path: Path) -> None:
    """No other module creates, renames, removes or changes a file."""
    assert Writes(tree_of(path)).found == []


def test_the_list_of_writers_is_no_longer_than_it_must_be() -> None:
    """A module that has stopped writing leaves it."""
    assert {name_of(path) for path in LIBRARY + SHELL if Writes(tree_of(path)).found} == WRITERS


@pytest.mark.parametrize(
    "line",
    [
        "path.write_text('x')",
        "Path(name).write_bytes(b'x')",
        "path.open('w')",
        "path.open(mode='ab')",
        "open(name, 'r+')",
        "open(name, mode)",
        "io.open(name, 'x')",
        "os.fdopen(descriptor, 'wb')",
        "os.open(name, os.O_WRONLY | os.O_CREAT)",
        "os.open(name, _FLAGS)",
        "os.open(name, flags)",
        "os.unlink(name)",
        "remove(name)",
        "system.rename(name, other)",
        "list(map(os.remove, names))",
        "getattr(os, 'unlink')(name)",
        "path.replace(other)",
        "path.unlink()",
        "shutil.move(name, other)",
        "copyfile(name, other)",
        "np.save(name, array)",
        "array.tofile(name)",
        "tempfile.mkstemp()",
    ],
)
def test_a_write_in_a_module_that_only_reads_is_found(line: str) -> None:
    """Put into a module that reads metadata, each of these lines would be noticed."""
    reader = (ROOT / "lib" / "sync" / "inputs.py").read_text("utf-8")
    head = (
        "import io, os, shutil, tempfile\nimport numpy as np\nimport os as system\nfrom os import remove\n"
        "from shutil import copyfile\n_FLAGS = os.O_RDWR | os.O_CLOEXEC\n"
    )
    body = reader.replace(
        "from __future__ import annotations\n", f"from __future__ import annotations\n{head}"
    )
    assert Writes(ast.parse(body)).found == []
    assert Writes(ast.parse(f"{body}\ndef write(path, name):\n    {line}\n")).found


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_the_library_is_silent_and_timeless(path: Path) -> None:
    """It prints nothing, logs nothing, reads no clock and no configuration."""
    assert not calls(path) & {
        "print", "logging.getLogger", "time.time", "time.monotonic", "os.getenv", "input",
    }  # fmt: skip
    assert "os.environ" not in path.read_text("utf-8")


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_modules_stay_small(path: Path) -> None:
    """One concept in 80 to 350 lines, so that each is read in one sitting."""
    assert len(path.read_text("utf-8").splitlines()) <= 380


def test_looking_for_a_cache_does_not_import_numpy(tmp_path: Path) -> None:
    """A generation script that only asks for a path starts quickly."""
    code = (
        "import sys, lib.generation as g; g.get_generation_cache_path('m', 'p', 's', 1, 2, 1.0, sys.argv[1])"
    )
    python(f"{code}; assert not {{'numpy', 'lib.npy.fixed_width'}} & set(sys.modules), 'numpy'", tmp_path)
