"""Every error that a person can cause names the path, the reason and what to do, without a traceback."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from support import as_nobody, needs_root, save, small_disk, types

from daemon.cli import main as cli

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One mistake: how to cause it, the command, and what the answer must contain."""

    name: str
    typed: str
    status: int
    says: tuple[str, ...]
    make: Callable[[Path], object] = lambda _: None


def text(name: str, content: str | bytes) -> Callable[[Path], object]:
    """Write a file."""
    return lambda path: (path / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def source(name: str, items: object) -> Callable[[Path], object]:
    """Save a source."""
    return lambda path: save(path / name, items)


BAD: Final = "bad_completions.npy"
SWEEP: Final = "generation-sidecars --backfill --log-format console"
HEADER: Final = b"{'descr': '<U5', 'fortran_order': False, 'shape': (3,), }"
WHOLE: Final = b"\x93NUMPY\x01\x00\x76\x00" + HEADER.ljust(117) + b"\n"
ROWS: Final = (
    Row("path missing", f"{SWEEP} nowhere", 1, ("nowhere: no such file", "relative to the current")),
    Row("path empty", f"{SWEEP} ''", 1, ("'': no such file", "relative to the current directory")),
    Row("path too long", f"{SWEEP} {'x' * 300}", 1, ("xxx: cannot be looked up: File name too long",)),
    Row("no source", f"{SWEEP} a.npy", 2, ("a.npy: is not a source", "_completions.npy", "the directory"),
        text("a.npy", "x")),
    Row("root is a file", "generation-sidecars a.txt", 2, ("a.txt: is not a directory", "--backfill"),
        text("a.txt", "x")),
    Row("roots overlap", "generation-sidecars a a/b", 2, ('found "a/b"', 'inside "a"', "allowed: ")),
    Row("no configuration", "generation-sidecars --config c.toml", 2,
        ("c.toml: cannot be read: No such file", "leave --config out")),
    Row("no TOML", "generation-sidecars --config c.toml", 2,
        ("c.toml: is not TOML", "see config.example.toml"), text("c.toml", "roots = [")),
    Row("no UTF-8", "generation-sidecars --config c.toml", 2,
        ("c.toml: is not UTF-8 (at line 1, byte 3)", "save it as UTF-8"), text("c.toml", b"# \xff")),
    Row("no service", "generation-sidecars --status", 3, ("No service is running", "Start one: ")),
    Row("no service as JSON", "generation-sidecars --status --json", 3, ("[]",)),
    Row("no scheduler", "generation-sidecars --backfill --scheduler nonsense .", 1,
        ("nonsense: no address of a scheduler", "such as tcp://host:8786")),
    Row("not an npy", f"{SWEEP} .", 1,
        (f"source=./{BAD}", "does not begin like an .npy file", "Save it again"), text(BAD, "x" * 100)),
    Row("cut short", f"{SWEEP} .", 1, (f"source=./{BAD}", "it has 128 bytes of the 188", "generate it again"),
        text(BAD, WHOLE)),
    Row("pickled code", f"{SWEEP} .", 1,
        (f"source=./{BAD}", "its pickle names 'posix.system'", "Do not open it"),
        lambda path: save(path / BAD, np.array([_Evil()], dtype=object))),
    Row("no text", f"{SWEEP} .", 0, (f"source=./{BAD}", "not text", "nothing needs to be done"),
        source(BAD, np.arange(3))),
    Row("edited sidecar", f"{SWEEP} .", 0,
        (f"source=./{BAD}", "edited after it was written", "--force"),
        lambda path: (save(path / BAD, ["x"], time_ns=10**18), text("bad_completions.md", "mine")(path))),
    Row("a link", f"{SWEEP} .", 1, (f"source=./{BAD}", "a symbolic link", "Links are never followed"),
        lambda path: (path / BAD).symlink_to("/dev/zero")),
    Row("a FIFO", f"{SWEEP} .", 1, (f"source=./{BAD}", "a FIFO"), lambda path: os.mkfifo(path / BAD)),
    Row("something in the way", f"{SWEEP} .", 1,
        (f"source=./{BAD}", "a directory stands where the sidecar belongs", "Move it away"),
        lambda path: (save(path / BAD, ["x"]), (path / "bad_completions.md").mkdir())),
    Row("too large", f"{SWEEP} --config c.toml .", 1, (f"source=./{BAD}", "max_output_bytes", "Raise"),
        lambda path: (save(path / BAD, ["x" * 9000]),
                      text("c.toml", "[work]\nmax_output_bytes = 100")(path))),
    Row("metadata broken", f"{SWEEP} .", 0,
        ("bad_metadata.json: it is not a JSON object", "the page says unknown"),
        lambda path: (save(path / BAD, ["x"]), text("bad_metadata.json", "[]")(path))),
    Row("a foreign index", f"{SWEEP} --config c.toml .", 1,
        ("path=./generations.md", "generation-sidecars did not write it", "index.enabled"),
        lambda path: (save(path / BAD, ["x"]), text("generations.md", "mine")(path),
                      text("c.toml", "roots = ['elsewhere']\n[index]\nenabled = true")(path))),
)  # fmt: skip


class _Evil:
    """An object that no cache should hold."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/it-ran",)


def answer(directory: Path, typed: str) -> tuple[int, str]:
    """Run a command; return its status and its output."""
    run = types(directory, *shlex.split(typed))
    return run.returncode, run.stdout + run.stderr


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_mistake_is_answered_with_path_reason_and_way_out(row: Row, tmp_path: Path) -> None:
    """The command runs in a directory of its own."""
    row.make(tmp_path)
    status, said = answer(tmp_path, row.typed)
    assert status == row.status, said
    for words in row.says:
        assert words in said, said
    assert "Traceback" not in said


@needs_root
def test_no_permission_says_whom_to_give_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A user without permissions meets another user's directory."""
    with small_disk(tmp_path / "disk", "size=1m,mode=755") as disk:
        save(disk / BAD, ["x"])
        words = [*SWEEP.split()[1:], "."]
        monkeypatch.chdir(tmp_path)
        assert cli.main([*words, "--limit", "1"]) == 0  # modules are imported while they can be read
        for sidecar in ("bad_completions.json", "bad_completions.md"):
            (disk / sidecar).unlink()
        try:
            os.chdir(disk)
            with as_nobody():
                status = cli.main(words)
        finally:
            os.chdir(tmp_path)
    said = capfd.readouterr().err
    assert status == 1
    assert f"source=./{BAD}" in said
    assert "Permission denied" in said
    assert "Give the user that runs this read and write permission" in said


@needs_root
def test_a_path_in_a_closed_directory_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whether it exists, the user that asks may not know."""
    with small_disk(tmp_path / "disk", "size=1m,mode=700") as disk:
        words = [*SWEEP.split()[1:], str(save(disk / BAD, ["x"]))]
        assert cli.main(words) == 0  # modules are imported while they can be read
        monkeypatch.chdir("/")
        for path in (words[-1], str(disk / "runs")):
            with as_nobody():
                assert cli.main([*words[:-1], path]) == 1
            assert f"{path}: the user that runs this has no permission" in capfd.readouterr().err


@needs_root
def test_a_full_disk_says_so(tmp_path: Path) -> None:
    """The hint asks to free space."""
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        save(disk / BAD, ["x" * 700_000])
        status, said = answer(disk, f"{SWEEP} .")
        assert sorted(path.name for path in disk.iterdir()) == [BAD]
    assert status == 1
    assert f"source=./{BAD}" in said
    assert "No space left on device" in said
    assert "make room on it" in said
