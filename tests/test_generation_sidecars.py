"""The entry point of the commands: finding its packages, and one line for what is missing."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import save, wait_for

REPOSITORY = Path(__file__).parents[1]
ENTRIES = ("generation_sidecars.py", "decode_generations.py", "daemon/__main__.py", "lib/__init__.py")
TREES = ("lib", "daemon")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Copy the program into a folder of its own, as in a fresh clone."""
    target = tmp_path / "clone"
    for tree in TREES:
        shutil.copytree(REPOSITORY / tree, target / tree, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("generation_sidecars.py", "decode_generations.py", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, target / name)
    return target


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a project whose packages have the same names, and fail when imported."""
    project = tmp_path / "project"
    for name in (*TREES, "tests"):
        (project / name).mkdir(parents=True)
        (project / name / "__init__.py").write_text("raise SystemExit('the wrong package')\n")
    (project / "experiments").mkdir()
    return project


def run(*words: str | Path, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run this Python without the import path of the tests' environment."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHONPATH", "PYTHONSAFE"))
    }
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env={**kept, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def bare(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run this Python without any installed package."""
    return run("-S", *words, cwd=cwd)


@pytest.mark.parametrize("name", ENTRIES)
def test_a_python_that_is_too_old_can_read_what_says_so(name: str) -> None:
    """A SyntaxError would not say which version is needed."""
    ast.parse((REPOSITORY / name).read_text("utf-8"), feature_version=(3, 6))


@pytest.mark.parametrize(
    "words",
    [
        ("decode_generations.py", "--model", "gemma-3-12b", "--limit", "10"),
        ("-m", "daemon"),
        ("generation_sidecars.py", "--status"),
    ],
    ids=lambda words: words[-1],
)
def test_without_the_dependencies_one_line_says_what_to_run(words: tuple[str, ...], clone: Path) -> None:
    """In a fresh clone, the system's Python has none of them."""
    answer = bare(*words, cwd=clone)
    assert answer.returncode == 1
    assert answer.stdout == ""
    [line] = answer.stderr.splitlines()
    assert line.startswith(f"{sys.executable} has no numpy, orjson: run python3 -m venv {clone}/.venv && ")


def test_a_virtual_environment_that_is_there_is_named(clone: Path) -> None:
    """After `make run`, only the wrong Python was used."""
    python = clone / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.touch()
    answer = bare("decode_generations.py", cwd=clone)
    assert answer.stderr == f"{sys.executable} has no numpy, orjson: use {python} instead\n"


def test_the_library_raises_an_import_error(clone: Path) -> None:
    """A SystemExit would end a notebook."""
    code = "try:\n    import lib.generation\nexcept ImportError as error:\n    print(error)"
    answer = bare("-c", code, cwd=clone)
    assert answer.returncode == 0
    assert "has no numpy, orjson: run " in answer.stdout


@pytest.mark.parametrize("words", [("decode_generations.py",), ("-m", "daemon")], ids=lambda words: words[-1])
def test_a_python_that_is_too_old_is_reported(words: tuple[str, ...], clone: Path) -> None:
    """The message is one line."""
    run_as = "module" if words[0] == "-m" else "path"
    code = (
        "import sys, runpy; sys.version_info = (3, 9, 1); sys.path.insert(0, '.'); "
        f"sys.argv = [{words[-1]!r}]; runpy.run_{run_as}({words[-1]!r}, run_name='__main__')"
    )
    answer = run("-c", code, cwd=clone)
    assert answer.returncode == 1
    assert answer.stderr == f"generation-sidecars needs Python 3.10 or newer; {sys.executable} is 3.9.1\n"


def environments() -> list[dict[str, str]]:
    """List environments in which Python finds the wrong packages, or leaves out the script's folder."""
    return [{"PYTHONPATH": "."}, {"PYTHONPATH": ".", "PYTHONSAFEPATH": "1"}, {"PYTHONSAFEPATH": "1"}]


@pytest.mark.parametrize("environ", environments(), ids=str)
def test_fault_60_the_old_script_finds_its_own_packages(
    environ: dict[str, str], clone: Path, project: Path
) -> None:
    """A project may have packages called `lib` and `daemon`, on PYTHONPATH."""
    source = save(project / "experiments" / "a_completions.npy", ["text"])
    answer = run(clone / "decode_generations.py", cwd=project, **environ)
    assert (answer.returncode, source.with_suffix(".md").exists()) == (0, True), answer.stderr


@pytest.mark.parametrize("name", ["main", "decode"])
def test_fault_60_the_console_scripts_find_their_own_packages(name: str, clone: Path, project: Path) -> None:
    """A console script imports only the top-level module."""
    (project / "script.py").write_text(
        f"import sys\nsys.path.append({str(clone)!r})\n"
        f"from generation_sidecars import {name}\nsys.exit({name}())\n"
    )
    source = save(project / "experiments" / "a_completions.npy", ["text"])
    words = ["--backfill"] if name == "main" else []
    answer = run(project / "script.py", *words, cwd=project, PYTHONPATH=".")
    assert (answer.returncode, source.with_suffix(".md").exists()) == (0, True), answer.stderr


def test_fault_60_the_watcher_process_finds_them_too(clone: Path, project: Path, tmp_path: Path) -> None:
    """Events arrive long before the next sweep."""
    (tmp_path / "run").mkdir(mode=0o700)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    service = subprocess.Popen(
        [sys.executable, clone / "generation_sidecars.py", "experiments", "--log-format", "json"],
        cwd=project,
        env={**kept, "PYTHONPATH": ".", "RUNTIME_DIRECTORY": str(tmp_path / "run")},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert service.stderr is not None
        ready = next(line for line in service.stderr if "service.ready" in line)
        assert '"mode": "watching"' in ready
        source = save(project / "experiments" / "a_completions.npy", ["text"])
        wait_for(source.with_suffix(".md").exists)
    finally:
        service.terminate()
        service.communicate(timeout=60)
