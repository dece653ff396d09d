"""The command lines: what they print, and their exit statuses."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from support import (
    BACKFILL,
    LONG_AGO_NS,
    PROGRAMS,
    command_of,
    environment_of,
    events_of,
    processes_with,
    save,
    types,
    unmeasured,
    wait_for,
)

import generation_sidecars
from daemon.cli import main as cli
from daemon.config.model import Config, parse, to_toml
from daemon.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SIDECARS: Final = ("generation-sidecars",)
DECODE: Final = ("decode-generations",)
MAINS: Final[dict[str, Callable[[Sequence[str]], int]]] = {
    "generation-sidecars": cli.main,
    "decode-generations": generation_sidecars.decode,
}
GONE: Final = "no such file or directory (relative to the current directory)"
sweeping = pytest.mark.parametrize("sweep", [BACKFILL, DECODE], ids=["backfill", "decode-generations"])
either = pytest.mark.parametrize("program", list(PROGRAMS))


def start(directory: Path, command: Sequence[Any], **options: Any) -> subprocess.Popen[bytes]:
    """Start a program for which only this directory counts."""
    options.setdefault("env", environment_of(directory))
    return subprocess.Popen(command, **options)


def finished(run: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Return the sums in a sweep's last event."""
    event = events_of(run.stderr)[-1]
    assert event["event"] == "sweep.finished"
    return {name: event[name] for name in ("rendered", "adopted", "fresh", "kept", "skipped", "failed")}


def fresh_tree(directory: Path) -> Path:
    """Make a tree that has just been swept: one source, two sidecars."""
    source = save(directory / "n1_completions.npy", ["x"], time_ns=LONG_AGO_NS)
    assert types(directory, *BACKFILL, directory).returncode == 0
    return source


def snapshot(directory: Path) -> dict[Path, tuple[int, int, int]]:
    """Return everything that a write would change."""
    looks = {path: path.lstat() for path in [directory, *directory.rglob("*")]}
    return {path: (look.st_ino, look.st_mtime_ns, look.st_ctime_ns) for path, look in looks.items()}


@sweeping
def test_a_sweep_over_a_sound_tree_ends_with_0(sweep: tuple[str, ...], tmp_path: Path) -> None:
    """Sources without text and edited pages are not failures."""
    source = fresh_tree(tmp_path)
    source.with_suffix(".md").write_text("mine")
    np.save(tmp_path / "ids_completions.npy", np.arange(3))
    run = types(tmp_path, *sweep, tmp_path)
    assert run.returncode == 0
    assert finished(run) == {"rendered": 0, "adopted": 0, "fresh": 1, "kept": 1, "skipped": 2, "failed": 0}


@sweeping
def test_a_sweep_that_failed_on_one_file_ends_with_1_and_did_the_others(
    sweep: tuple[str, ...], tmp_path: Path
) -> None:
    """One bad file does not stop the work on others."""
    (tmp_path / "a_completions.npy").write_bytes(b"not an array")
    good = save(tmp_path / "b_completions.npy", ["x"])
    run = types(tmp_path, *sweep, tmp_path)
    assert run.returncode == 1
    assert good.with_suffix(".json").exists()
    (failure,) = [event for event in events_of(run.stderr) if event["level"] == "error"]
    assert failure["event"] == "source.failed"
    assert failure["reason"] == "it does not begin like an .npy file"
    assert failure["hint"]


@sweeping
def test_a_path_that_is_not_there_is_named_and_ends_with_1(sweep: tuple[str, ...], tmp_path: Path) -> None:
    """If one of the paths is wrong, nothing is swept."""
    source = save(tmp_path / "b_completions.npy", ["x"])
    run = types(tmp_path, *sweep, "nowhere", "neither_completions.npy", tmp_path)
    assert run.returncode == 1
    assert run.stderr == "".join(f"{name}: {GONE}\n" for name in ("nowhere", "neither_completions.npy"))
    assert not source.with_suffix(".json").exists()


@sweeping
def test_without_a_path_the_default_directory_is_swept(sweep: tuple[str, ...], tmp_path: Path) -> None:
    """The default is experiments in the working directory."""
    (tmp_path / "experiments").mkdir()
    source = save(tmp_path / "experiments" / "n1_full_texts.npy", ["x"])
    assert types(tmp_path, *sweep).returncode == 0
    assert source.with_suffix(".md").exists()


@sweeping
def test_a_directory_named_like_a_kind_is_not_a_source(sweep: tuple[str, ...], tmp_path: Path) -> None:
    """Only the name of the file determines its kind."""
    folder = tmp_path / "n9..completions.." / "old_completions"
    folder.mkdir(parents=True)
    source = save(folder / "n1_full_texts.npy", ["x"])
    save(folder / "other.npy", ["x"])
    assert types(tmp_path, *sweep, tmp_path / "n9..completions..").returncode == 0
    assert source.with_suffix(".md").read_text().startswith("# Full Texts (Prompt + Completion)\n")
    assert len(list(folder.iterdir())) == 4


@sweeping
def test_one_file_given_twice_in_other_words_is_done_once(sweep: tuple[str, ...], tmp_path: Path) -> None:
    """A glob and a list may overlap."""
    save(tmp_path / "n1_completions.npy", ["x"])
    run = types(tmp_path, *sweep, "n1_completions.npy", "./n1_completions.npy", "n1_completions.npy", ".")
    assert run.returncode == 0
    assert finished(run)["failed"] == 0
    assert run.stderr.count('"sidecars.written"') == 1


def test_a_model_stands_for_its_generations(tmp_path: Path) -> None:
    """--model M sweeps only BASE_DIR/M/generations."""
    inside, outside = tmp_path / "runs" / "m" / "generations", tmp_path / "runs" / "m" / "other"
    for folder in (inside, outside):
        folder.mkdir(parents=True)
        save(folder / "n1_completions.npy", ["x"])
    assert types(tmp_path, *DECODE, "--base-dir", "runs", "--model", "m").returncode == 0
    assert (inside / "n1_completions.md").exists()
    assert not (outside / "n1_completions.md").exists()
    run = types(tmp_path, *DECODE, "--base-dir", "runs", "--model", "nobody")
    assert (run.returncode, run.stderr) == (1, f"runs/nobody/generations: {GONE}\n")


def test_a_dry_run_prints_plan_path_and_reason_of_every_sidecar(tmp_path: Path) -> None:
    """There is one line for each of the six plans, separated by tabs."""
    fresh_tree(tmp_path)
    for name in ("adopt", "edited", "stale"):
        save(tmp_path / f"{name}_completions.npy", ["x"], time_ns=LONG_AGO_NS)
    assert types(tmp_path, *BACKFILL, tmp_path).returncode == 0
    os.utime(tmp_path / "adopt_completions.md")
    (tmp_path / "edited_completions.md").write_text("mine")
    os.utime(tmp_path / "stale_completions.md", ns=(1, 1))
    save(tmp_path / "absent_completions.npy", ["x"])
    np.save(tmp_path / "ids_completions.npy", np.arange(3, dtype=np.int32))
    (tmp_path / "broken_completions.npy").write_bytes(b"not an array")
    run = types(tmp_path, *BACKFILL, "--formats", "md", "--dry-run", ".")
    assert run.stdout.splitlines() == [
        "render\t./absent_completions.md\tabsent",
        "adopt\t./adopt_completions.md\tthe same as what would be written",
        "failed\t./broken_completions.md\tit does not begin like an .npy file",
        "kept\t./edited_completions.md\tedited after it was written",
        "skipped\t./ids_completions.md\tan array of '<i4', not text",
        "fresh\t./n1_completions.md\tup to date",
        "render\t./stale_completions.md\tolder than what it is made from",
    ]
    assert (run.returncode, run.stderr) == (1, "")


@sweeping
def test_a_dry_run_writes_nothing(sweep: tuple[str, ...], tmp_path: Path) -> None:
    """It does not set times or remove temporary files either."""
    tree = tmp_path / "tree"
    tree.mkdir()
    fresh_tree(tree)
    os.utime(tree / "n1_completions.md")
    save(tree / "n2_completions.npy", ["x"])
    (tree / f".generation-sidecars-{'0' * 16}.tmp").touch()
    before = snapshot(tree)
    assert types(tmp_path, *sweep, "--dry-run", tree).returncode == 0
    assert types(tmp_path, *sweep, "--dry-run", "--force", tree).stdout.count("render\t") == 4
    assert snapshot(tree) == before
    (tree / f".generation-sidecars-{'0' * 16}.tmp").unlink()


def test_a_dry_run_says_what_the_sweep_then_does(tmp_path: Path) -> None:
    """Both use the same plans."""
    fresh_tree(tmp_path)
    save(tmp_path / "n2_completions.npy", ["x"])
    planned = types(tmp_path, *BACKFILL, "--dry-run", tmp_path).stdout
    sums = finished(types(tmp_path, *BACKFILL, tmp_path))
    assert (planned.count("render\t"), planned.count("fresh\t")) == (sums["rendered"], sums["fresh"])


@pytest.mark.parametrize("name", [b"a\nb", b"a\tb", b"a\x1b[2Jb", b"a\xffb", "é".encode(), b"-rf"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_odd_names_stay_on_one_line_of_three_fields(name: bytes, encoding: str, tmp_path: Path) -> None:
    """The line is safe for a terminal and for cut -f."""
    save(tmp_path / "n1_completions.npy", ["x"])
    folder = os.path.join(os.fsencode(tmp_path), b"tree")
    os.mkdir(folder)
    os.link(tmp_path / "n1_completions.npy", os.path.join(folder, name + b"_completions.npy"))
    run = types(tmp_path, *BACKFILL, "--dry-run", "tree", PYTHONIOENCODING=encoding)
    lines = run.stdout.splitlines()
    assert (run.returncode, run.stderr) == (0, "")
    assert [len(line.split("\t")) for line in lines] == [3, 3]
    assert "\x1b" not in run.stdout


def test_decode_generations_is_backfill_to_the_last_byte(tmp_path: Path) -> None:
    """Both commands make the same files, bytes and times."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        save(tmp_path / name / "n2_completions.npy", ["x", "# y"], time_ns=LONG_AGO_NS)
        save(tmp_path / name / "n2_full_texts.npy", [{"role": "user"}, None], time_ns=LONG_AGO_NS)
    assert types(tmp_path, *BACKFILL, "one").returncode == 0
    assert types(tmp_path, *DECODE, "other").returncode == 0

    def made_in(folder: Path) -> dict[str, tuple[bytes, int]]:
        return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}

    assert len(made_in(tmp_path / "one")) == 6
    assert made_in(tmp_path / "one") == made_in(tmp_path / "other")


@sweeping
def test_force_renders_what_was_edited(sweep: tuple[str, ...], tmp_path: Path) -> None:
    """No other flag overwrites an edit."""
    source = fresh_tree(tmp_path)
    page = source.with_suffix(".md").read_bytes()
    source.with_suffix(".md").write_text("mine")
    assert types(tmp_path, *sweep, "--force", tmp_path).returncode == 0
    assert source.with_suffix(".md").read_bytes() == page


@sweeping
def test_the_flags_reach_the_sidecars(sweep: tuple[str, ...], tmp_path: Path) -> None:
    """Flags take precedence over the file, which takes precedence over the defaults."""
    source = save(tmp_path / "n3_completions.npy", ["a", "b", "c"])
    (tmp_path / "my.toml").write_text('[sidecars]\nlimit = 1\nformats = ["md"]\nmarkdown = "plain"\n')
    flags = ("--config", "my.toml", "--limit", "2", "--markdown", "fenced", "--jobs", "2")
    assert types(tmp_path, *sweep, *flags, tmp_path).returncode == 0
    page = source.with_suffix(".md").read_text()
    assert "**Count:** 2 (showing first 2 of 3)" in page
    assert "```text\nb\n```" in page
    assert not source.with_suffix(".json").exists()


WRONG: Final = [
    ((*SIDECARS, "--dry-run"), "--dry-run requires --backfill"),
    ((*SIDECARS, "--force"), "--force requires --backfill"),
    ((*SIDECARS, "--scheduler", ""), "--scheduler requires --backfill"),
    ((*SIDECARS, "--json"), "--json requires --status"),
    ((*SIDECARS, "--status", "x"), "--status takes no PATH"),
    ((*SIDECARS, "--status", "--backfill"), "not allowed with argument"),
    ((*SIDECARS, "--frobnicate"), "unrecognized arguments: --frobnicate"),
    ((*BACKFILL, "--limit", "ten"), "'ten' is not a whole number"),
    ((*BACKFILL, "--limit"), "expected one argument"),
    ((*DECODE, "--model", "a", "b"), "--model already names a directory"),
    ((*DECODE, "--model", "a/b"), "--model is the name of one directory"),
    ((*DECODE, "--model", ".."), "--model is the name of one directory"),
    ((*DECODE, "--model", ""), "--model is the name of one directory"),
    ((*DECODE, "--config", ""), "the file name is empty"),
    ((*DECODE, "--backfill"), "unrecognized arguments: --backfill"),
    ((*SIDECARS, "--print-completion", "csh"), "invalid choice: 'csh'"),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_wrong_usage_is_explained_and_ends_with_2(
    words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence follows the usage, on stderr."""
    with pytest.raises(SystemExit) as ended:
        MAINS[words[0]](words[1:])
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.out == ""
    assert said.err.startswith(f"usage: {words[0]} ")
    assert sentence in said.err.splitlines()[-1]
    assert said.err.endswith(f"; see {words[0]} --help\n")


@pytest.mark.parametrize(
    "words", [("generation-sidecars",), ("generation-sidecars", "--check-config"), BACKFILL, DECODE]
)
def test_all_problems_of_flags_and_file_are_reported_and_end_with_2(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All mistakes can be corrected in one go."""
    flags = "--jobs 0 --limit -1 --formats json,html --markdown pretty --log-level loud"
    assert MAINS[words[0]]([*words[1:], *flags.split()]) == 2
    said = capsys.readouterr().err
    assert [line.split(":")[0] for line in said.splitlines()] == [
        "--formats", "--limit", "--markdown", "--jobs", "--log-level",
    ]  # fmt: skip
    file = tmp_path / "my.toml"
    file.write_text('rots = ["x"]\n[sidecars]\nlimt = 3\n[work]\njobs = "two"\n')
    assert MAINS[words[0]]([*words[1:], "--config", str(file)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{file}: rots: unknown key; did you mean roots?",
        f"{file}: sidecars.limt: unknown key; did you mean sidecars.limit?",
        f'{file}: work.jobs: found "two"; allowed: a whole number from 1 to 256',
    ]


def test_check_config_shows_what_is_in_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is printed as TOML that has the same meaning."""
    assert cli.main(["--check-config"]) == 0
    assert capsys.readouterr().out == to_toml(Config())
    file = tmp_path / "my.toml"
    file.write_text('roots = ["/a", "/b"]\n[sidecars]\nlimit = 10\n[work]\njobs = 3\n')
    assert cli.main(["--check-config", "--config", str(file), "--jobs", "5"]) == 0
    shown = parse(capsys.readouterr().out)
    assert (shown.roots, shown.sidecars.limit, shown.work.jobs) == (("/a", "/b"), 10, 5)
    assert cli.main(["--check-config", "--config", str(file), "/c"]) == 0
    assert parse(capsys.readouterr().out).roots == ("/c",)


@either
def test_version_says_name_and_number(program: str, tmp_path: Path) -> None:
    """Bug reports need it."""
    run = types(tmp_path, program, "--version")
    assert run.returncode == 0
    assert re.fullmatch(rf"{program} (\d+\.\d+\.\d+\S*|\(not installed\))\n", run.stdout)


@either
def test_help_ends_with_0_and_is_quick(program: str, tmp_path: Path) -> None:
    """It imports nothing that only other commands need."""
    run = types(tmp_path, program, "--help", PYTHONPROFILEIMPORTTIME="1")
    assert run.returncode == 0
    assert run.stdout.startswith(f"usage: {program} ")
    heavy = "numpy|watchdog|structlog|orjson|tomli|daemon.service|daemon.cli.backfill"
    assert not re.search(rf"\| +({heavy})$", run.stderr, re.MULTILINE)


@sweeping
def test_a_sweep_of_one_source_says_how_long_it_took(sweep: tuple[str, ...], tmp_path: Path) -> None:
    """Also when no process is started for it."""
    save(tmp_path / "n1_completions.npy", ["x"])
    event = events_of(types(tmp_path, *sweep, tmp_path).stderr)[-1]
    assert event["event"] == "sweep.finished"
    assert event["seconds"] > 0


@sweeping
def test_a_reader_who_leaves_is_not_an_error(sweep: tuple[str, ...], tmp_path: Path) -> None:
    """`… | head -1` ends with status 0 and without a traceback."""
    source = save(tmp_path / "n1_completions.npy", ["x"])
    for number in range(1200):
        os.link(source, tmp_path / f"{'long' * 20}{number}_completions.npy")
    command = command_of([*sweep, "--dry-run", tmp_path])
    process = start(tmp_path, command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"render\t")
    process.stdout.close()
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"")


@pytest.mark.parametrize(
    "words",
    [
        (*BACKFILL, "--dry-run", "."),
        (*DECODE, "--dry-run", "."),
        (*SIDECARS, "--check-config"),
        (*SIDECARS, "--version"),
        (*SIDECARS, "--print-completion", "zsh"),
    ],
)
def test_output_that_cannot_be_written_is_a_sentence_and_ends_with_1(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    """A full disk behind > is reported once, without a traceback."""
    save(tmp_path / "n1_completions.npy", ["x"])
    with Path("/dev/full").open("wb") as full:
        run = start(tmp_path, command_of(words), cwd=tmp_path, stdout=full, stderr=subprocess.PIPE)
        _, said = run.communicate(timeout=60)
    assert run.returncode == 1
    assert said == b"generation-sidecars cannot continue: No space left on device\n"


def test_a_current_directory_that_was_removed_is_named(tmp_path: Path) -> None:
    """A relative root can never come back then, so the service ends."""
    gone = tmp_path / "gone"
    gone.mkdir()
    command = ["sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", *command_of((*SIDECARS, "root"))]
    run = start(tmp_path, command, cwd=gone, stderr=subprocess.PIPE)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 1
    assert b"cannot continue: the current directory was removed; start it in another one" in said


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_a_sweep_works_with_closed_streams(redirection: str, tmp_path: Path) -> None:
    """Cron closes them, and a sidecar must not receive the log."""
    source = save(tmp_path / "n1_completions.npy", ["x"])
    line = f'exec "$@" {redirection}'
    command = ["bash", "-c", line, "bash", *command_of([*BACKFILL, tmp_path])]
    assert start(tmp_path, command).wait(60) == 0
    assert json.loads(source.with_suffix(".json").read_text()) == ["x"]


@pytest.mark.parametrize("words", [(*BACKFILL, "missing"), (*SIDECARS, "--json")])
def test_messages_to_a_closed_stderr_do_not_appear_on_stdout(words: tuple[str, ...], tmp_path: Path) -> None:
    """A script that reads the plans of a dry run would take them for plans."""
    line = ["bash", "-c", 'exec "$@" 2>&-', "bash", *command_of(words)]
    run = subprocess.run(
        line, cwd=tmp_path, env=environment_of(tmp_path), stdout=subprocess.PIPE, check=False
    )
    assert (run.returncode, run.stdout) == (1 if "missing" in words else 2, b"")


@sweeping
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_says_that_what_is_done_is_whole(
    sweep: tuple[str, ...], number: signal.Signals, tmp_path: Path
) -> None:
    """No incomplete file and no process stays; the same command does the rest."""
    tree = tmp_path / "tree"
    tree.mkdir()
    large = save(tree / "z_completions.npy", ["text " * 200] * 400_000)  # one text, many references
    small = save(tree / "a_completions.npy", ["x"])
    # a terminal's Ctrl-C reaches the workers as well
    process = start(tmp_path, command_of([*sweep, tree]), stderr=subprocess.PIPE, start_new_session=True)
    with contextlib.suppress(FileNotFoundError):
        wait_for(lambda: small.with_suffix(".md").exists() and list(tree.glob(".generation-sidecars-*")))
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert (
        said.decode().splitlines()[-1]
        == "Stopped. Finished sidecars are complete; run the same command again for the rest."
    )
    assert not large.with_suffix(".json").exists()
    assert not list(tree.glob(".generation-sidecars-*"))
    assert finished(types(tmp_path, *sweep, "--limit", "5", tree)) == {
        "rendered": 2, "adopted": 0, "fresh": 2, "kept": 0, "skipped": 0, "failed": 0,
    }  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_sweep_that_is_interrupted_says_so_when_nobody_reads_any_more(
    number: signal.Signals, tmp_path: Path
) -> None:
    """The status is that of the signal, even if its reader has ended or its terminal is closed."""
    save(tmp_path / "z_completions.npy", ["text " * 200] * 400_000)
    process = start(tmp_path, command_of([*BACKFILL, tmp_path]), stderr=subprocess.PIPE)
    wait_for(lambda: list(tmp_path.glob(".generation-sidecars-*")))
    assert process.stderr is not None
    process.stderr.close()
    process.send_signal(number)
    assert process.wait(60) == 128 + number
    assert not list(tmp_path.glob(".generation-sidecars-*"))


def test_a_sweep_under_nohup_outlives_its_terminal() -> None:
    """SIGHUP is ignored there, and stays so."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.stops == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ((*BACKFILL, "missing"), 1),
        ((*BACKFILL, "notes.txt"), 2),
        ((*DECODE, "notes.txt"), 2),
        ((*SIDECARS, "notes.txt"), 2),
        ((*SIDECARS, "--limit", "0"), 2),
        ((*SIDECARS, "--check-config", "--config", "missing"), 2),
    ],
)
def test_a_refusal_keeps_its_status_when_nobody_reads_it(
    words: tuple[str, ...], status: int, tmp_path: Path
) -> None:
    """A script that closed stderr relies on the status."""
    (tmp_path / "notes.txt").touch()
    reader, writer = os.pipe()
    os.close(reader)
    assert start(tmp_path, command_of(words), cwd=tmp_path, stderr=writer).wait(60) == status
    os.close(writer)


def test_ctrl_c_during_a_dry_run_is_a_word(tmp_path: Path) -> None:
    """Nothing was being written, so there is nothing to explain."""
    source = save(tmp_path / "n1_completions.npy", ["x"])
    for number in range(2000):
        os.link(source, tmp_path / f"{'long' * 20}{number}_completions.npy")
    # a shell that started the tests in the background has its children ignore Ctrl-C
    command = ["env", "--default-signal=INT", *command_of([*BACKFILL, "--dry-run", tmp_path])]
    environment = unmeasured(environment_of(tmp_path))
    process = start(tmp_path, command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None  # nobody reads on: it waits with its output
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, b"Stopped.\n")


@sweeping
def test_of_two_mistakes_the_graver_counts(sweep: tuple[str, ...], tmp_path: Path) -> None:
    """A missing path is 1, one that is not a source is 2; both are named."""
    (tmp_path / "notes.txt").touch()
    run = types(tmp_path, *sweep, "nowhere", "notes.txt")
    assert run.returncode == 2
    assert [line.partition(":")[0] for line in run.stderr.splitlines()] == ["nowhere", "notes.txt"]


def parts_are_whole(tree: Path) -> bool:
    """Tell whether every page has all the parts that it links to."""
    for page in tree.glob("*_completions.md"):
        found = re.search(r"^\*\*Part:\*\* 1 of (\d+)", page.read_text(), re.MULTILINE)
        assert found is not None, page
        for number in range(2, int(found[1]) + 1):
            part = page.with_name(f"{page.stem}.{number}.md")
            if f"**Part:** {number} of {found[1]}" not in part.read_text():
                return False
    return True


def test_a_sweep_that_is_killed_leaves_no_page_without_its_parts(tmp_path: Path) -> None:
    """A page appears after its parts; the same command makes the rest."""
    tree, config = tmp_path / "tree", tmp_path / "c.toml"
    tree.mkdir()
    config.write_text("[sidecars]\npage_bytes = 1000\nlinks = true\n")
    for number in range(24):
        save(tree / f"n{number}_completions.npy", [f"text {number} {line} " * 9 for line in range(30)])
    words = [*BACKFILL, "--config", config, tree]
    for enough in (4, 12):
        environment = unmeasured(environment_of(tmp_path))
        process = start(
            tmp_path, command_of(words), env=environment, stderr=subprocess.DEVNULL, start_new_session=True
        )
        wait_for(lambda enough=enough: len(list(tree.glob("*_completions.json"))) >= enough)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        wait_for(lambda: not processes_with(str(tree)))
        assert parts_are_whole(tree)
    assert types(tmp_path, *words).returncode == 0
    assert len(list(tree.glob("*_completions.md"))) == 24
    assert parts_are_whole(tree)
    assert not list(tree.glob(".generation-sidecars-*"))
    assert finished(types(tmp_path, *words))["fresh"] == 48


def test_the_other_roots_are_swept_when_one_is_missing(tmp_path: Path) -> None:
    """A disk that is not mounted is reported, and the status is 1."""
    (tmp_path / "runs").mkdir()
    source = save(tmp_path / "runs" / "n1_completions.npy", ["x"])
    (tmp_path / "link").symlink_to("not-mounted")
    (tmp_path / "c.toml").write_text('roots = ["gone", "link", "runs"]\n')
    done = types(tmp_path, *BACKFILL, "--config", "c.toml")
    assert done.returncode == 1
    assert "gone: no such file or directory" in done.stderr
    assert "link: no such file or directory" in done.stderr
    assert source.with_suffix(".md").exists()


@pytest.mark.parametrize("command", [SIDECARS, DECODE])
def test_zsh_offers_files_for_each_path(command: tuple[str, ...], tmp_path: Path) -> None:
    """`*:` stands before an argument that may be repeated, see _arguments in zshcompsys(1)."""
    script = types(tmp_path, *command, "--print-completion", "zsh").stdout
    assert [line for line in script.splitlines() if line.startswith('  "*:') and line.endswith(':_files"')]
    assert "(*)" not in script


@pytest.mark.parametrize("flags", [("--version",), ("--print-completion", "zsh")])
def test_a_few_lines_that_nobody_reads_are_not_an_error(flags: tuple[str, ...], tmp_path: Path) -> None:
    """They are flushed at the end, when the reader may be gone."""
    line = f"{shlex.join(map(str, command_of([*SIDECARS, *flags])))} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], check=False, capture_output=True, env=environment_of(tmp_path), text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
