"""Output on a terminal: the bar, the summary, colours, completion and the manual."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Final

import pytest
from support import BACKFILL, REPOSITORY, Terminal, command_of, environment_of, save, unmeasured, wait_for

from daemon.cli import main as cli
from daemon.cli.flags import SHELLS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DECODE: Final = ("decode-generations",)
PARSERS: Final = {"generation-sidecars": cli._parser, "decode-generations": cli._decode_parser}
sweeping = pytest.mark.parametrize("sweep", [BACKFILL, DECODE], ids=["backfill", "decode-generations"])


def on_terminal(words: Sequence[str | Path], directory: Path, **environment: str) -> Terminal:
    """Start a command on a terminal."""
    environment = {"TERM": "xterm", "NO_COLOR": "", **environment}
    command = ["env", "--default-signal=INT", *command_of(words)]
    return Terminal(command, directory, unmeasured(environment_of(directory, **environment)))


def lines_of(terminal: Terminal) -> list[str]:
    """Return the lines on its screen that are not empty."""
    return [line.rstrip() for line in terminal.screen.split("\n") if line.strip()]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make a tree with one good source and one bad one."""
    (tmp_path / "tree").mkdir()
    save(tmp_path / "tree/a_completions.npy", ["one", "", "three"])
    (tmp_path / "tree/b_completions.npy").write_bytes(b"nonsense")
    return tmp_path / "tree"


@sweeping
def test_a_sweep_shows_a_bar_what_needs_attention_and_a_summary(sweep: tuple[str, ...], tree: Path) -> None:
    """The bar has rate and time left, and is removed at the end; successes are not listed."""
    terminal = on_terminal([*sweep, tree], tree.parent)
    assert terminal.end() == 1
    assert re.search(rb"sweeping: .*\d/2 \[\d\d:\d\d<.*sources/s\]", terminal.raw)
    lines = lines_of(terminal)
    assert "source.failed" in lines[0]
    assert not [line for line in lines if "sweeping" in line or "sidecars.written" in line]
    at = next(number for number, line in enumerate(lines) if line.startswith("sidecars "))
    assert at == 1
    assert lines[at + 1].split()[:7] == ["completions", "2", "0", "0", "0", "0", "2"]
    assert lines[at + 4] == "Read 1 source: 3 items, 1 blank, 3 distinct within their files."
    assert lines[at + 6].startswith("It took ")
    assert lines[at + 7 : at + 10] == [
        "1 file failed:",
        f"  {tree}/b_completions.npy",
        "      it does not begin like an .npy file",
    ]


@sweeping
def test_no_progress_shows_lines_and_the_summary(sweep: tuple[str, ...], tree: Path) -> None:
    """Every event is shown."""
    terminal = on_terminal([*sweep, "--no-progress", tree], tree.parent)
    assert terminal.end() == 1
    assert b"sweeping" not in terminal.raw
    assert [line for line in lines_of(terminal) if "sidecars.written" in line]
    assert [line for line in lines_of(terminal) if line.startswith("sidecars ")]


def test_a_terminal_that_cannot_draw_has_no_bar(tree: Path) -> None:
    """An editor's window is one."""
    terminal = on_terminal([*BACKFILL, tree], tree.parent, TERM="dumb")
    assert terminal.end() == 1
    assert b"sweeping" not in terminal.raw
    assert b"\x1b" not in terminal.raw


def test_no_color_is_heeded(tree: Path) -> None:
    """Bar, log and summary have no colours."""
    coloured, plain = (
        on_terminal([*BACKFILL, tree], tree.parent, **given) for given in ({}, {"NO_COLOR": "1"})
    )
    assert coloured.end() == plain.end() == 1
    assert b"\x1b[31m" in coloured.raw
    assert not re.search(rb"\x1b\[[\d;]*m", plain.raw)


def test_machines_get_one_event_a_line_even_on_a_terminal(tree: Path) -> None:
    """``--log-format json`` is meant for programs."""
    terminal = on_terminal([*BACKFILL, "--log-format", "json", tree], tree.parent)
    assert terminal.end() == 1
    assert all(line.startswith("{") for line in lines_of(terminal))
    assert "sweep.finished" in lines_of(terminal)[-1]


def test_ctrl_c_says_what_was_done(tmp_path: Path) -> None:
    """The summary is shown, and says how to do the rest."""
    small = save(tmp_path / "a_completions.npy", ["x"])
    save(tmp_path / "z_completions.npy", ["text " * 200] * 400_000)
    terminal = on_terminal([*BACKFILL, tmp_path], tmp_path)
    wait_for(lambda: small.with_suffix(".md").exists() and list(tmp_path.glob(".generation-sidecars-*")))
    os.killpg(terminal.process.pid, signal.SIGINT)
    assert terminal.end() == 130
    assert (
        lines_of(terminal)[-1]
        == "Stopped. Finished sidecars are complete; run the same command again for the rest."
    )
    [row] = [line for line in lines_of(terminal) if line.startswith("completions")]
    assert row.split()[1] == "2"
    assert not list(tmp_path.glob(".generation-sidecars-*"))


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("program", PARSERS)
def test_every_shell_can_parse_its_completion(program: str, shell: str, tmp_path: Path) -> None:
    """The script contains every flag."""
    words = PARSERS[program]().completion(shell)
    for flag in re.findall(r"--[a-z][a-z-]+", PARSERS[program]().format_help()):
        assert flag in words or flag.removeprefix("--") in words, flag
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "completion"
    path.write_text(words)
    subprocess.run([shell, "-n", path], check=True)


def completions(tmp_path: Path, *words: str) -> set[str]:
    """Return what bash offers after these words."""
    path = tmp_path / "completion"
    path.write_text(cli._parser().completion("bash"))
    asked = " ".join(f"'{word}'" for word in ("generation-sidecars", *words))
    code = (
        f"source {path}; complete -p generation-sidecars >/dev/null || exit 1; "
        f'COMP_WORDS=({asked}); COMP_CWORD={len(words)}; COMP_LINE="${{COMP_WORDS[*]}}"; '
        "$(complete -p generation-sidecars | sed -E 's/.* -F ([^ ]+).*/\\1/') generation-sidecars "
        f"'{words[-1]}' ''; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    run = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_bash_completes_flags_words_and_files(tmp_path: Path) -> None:
    """The script is run in bash, as if Tab were pressed."""
    (tmp_path / "experiments").mkdir()
    assert completions(tmp_path, "--back") == {"--backfill"}
    assert completions(tmp_path, "--markdown", "") == {"auto", "plain", "fenced"}
    assert completions(tmp_path, "--log-level", "w") == {"warning"}
    assert "experiments" in " ".join(completions(tmp_path, "exp"))


@pytest.mark.parametrize("program", PARSERS)
def test_the_manual_has_every_flag_and_no_other(program: str) -> None:
    """It is written by hand, so it is compared with the parser."""
    page = (REPOSITORY / "systemd/man" / f"{program}.1").read_text().replace("\\-", "-")
    assert set(re.findall(r"--[a-z][a-z-]+", page)) - {"--backfill"} == set(
        re.findall(r"--[a-z][a-z-]+", PARSERS[program]().format_help())
    ) - {"--backfill"}


@pytest.mark.parametrize("program", PARSERS)
def test_the_manual_is_well_formed(program: str) -> None:
    """The formatter that ``man`` uses gives no warning."""
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    page = REPOSITORY / "systemd/man" / f"{program}.1"
    run = subprocess.run(
        ["groff", "-man", "-ww", "-z", "-Tutf8", page], capture_output=True, text=True, check=True
    )
    assert run.stderr == ""
