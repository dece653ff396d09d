"""The installer without a boot: its plans, what it writes, what it refuses, and its messages."""

from __future__ import annotations

import errno
import os
import pwd
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import needs_root

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY / "systemd"))

from installer import checks, main, pythons  # noqa: E402  # lies in systemd/, which is no package
from installer.places import Places, Refused, Wish  # noqa: E402
from installer.plan import Planner  # noqa: E402
from installer.pythons import Interpreter  # noqa: E402
from installer.steps import (  # noqa: E402
    COMPLETE,
    Failed,
    Step,
    build,
    check_config,
    pip_failure,
    run,
    source_files,
)
from installer.unitfile import config_text, drop_in, quoted  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

WISH = Wish(("/data/experiments",), "alice", "lab")
PYTHON = Interpreter("/usr/bin/python3.11", "/usr", (3, 11, 2))
UNIT = "generation-sidecars.service"
INSTALL = REPOSITORY / "systemd/install"
ME = pwd.getpwuid(os.getuid()).pw_name


def installed(places: Places, wish: Wish = WISH) -> None:
    """Carry out an installation without its commands; the build leaves an empty environment."""
    for step in Planner(places, active=False).install(wish, PYTHON):
        first, path = step.words.split()[:2]
        if first == "build":
            Path(path).mkdir(parents=True)
            Path(path, COMPLETE).touch()
        elif first in {"make", "write", "link"}:
            step.do()
    wants = places.units / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / UNIT).symlink_to(f"../{UNIT}")


def changes_of(steps: list[Step]) -> list[str]:
    """Return the words of the steps that change something."""
    return [step.words for step in steps if step.changes]


def call(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the installer as a program."""
    return subprocess.run([INSTALL, *words], check=False, capture_output=True, text=True)


def test_a_new_machine_gets_everything_in_an_order_that_never_breaks(tmp_path: Path) -> None:
    """Build and check come before the units; the start comes last."""
    words = [step.words for step in Planner(Places(tmp_path), active=False).install(WISH, PYTHON)]
    assert words[0].startswith("build ")
    check = next(number for number, text in enumerate(words) if text.startswith("check "))
    assert check < words.index(f"write {tmp_path}/etc/systemd/system/{UNIT}")
    assert words[-1] == "start the service and wait until it is ready"


def test_a_second_installation_has_nothing_to_do(tmp_path: Path) -> None:
    """Nothing is changed; a stopped service is started."""
    installed(Places(tmp_path))
    assert changes_of(Planner(Places(tmp_path), active=True).install(WISH, PYTHON)) == []
    stopped = Planner(Places(tmp_path), active=False).install(WISH, PYTHON)
    assert changes_of(stopped) == ["start the service and wait until it is ready"]


def test_another_version_is_built_beside_the_old_one_which_goes_last(tmp_path: Path) -> None:
    """The running service keeps its files until its restart."""
    installed(Places(tmp_path))
    steps = Planner(Places(tmp_path), active=True).install(WISH, replace(PYTHON, version=(3, 12, 0)))
    assert [step.words.split()[0] for step in steps] == ["build", "check", "link", "start", "remove"]


def test_another_directory_changes_the_drop_ins_only(tmp_path: Path) -> None:
    """The units are reloaded and the service is restarted."""
    installed(Places(tmp_path))
    wish = replace(WISH, directories=("/data/other",))
    units = tmp_path / "etc/systemd/system"
    assert changes_of(Planner(Places(tmp_path), active=True).install(wish, PYTHON)) == [
        f"write {units}/{UNIT}.d/10-installed.conf",
        f"write {units}/generation-sidecars-backfill.service.d/10-installed.conf",
        "reload systemd's units",
        "start the service and wait until it is ready",
    ]


def test_an_edited_configuration_stays(tmp_path: Path) -> None:
    """A --config that differs from it is refused; one that is equal is accepted."""
    places = Places(tmp_path)
    installed(places)
    places.config.write_text("[sidecars]\nlimit = 3\n")
    planner = Planner(places, active=True)
    assert changes_of(planner.install(WISH, PYTHON)) == []
    mine = tmp_path / "mine.toml"
    mine.write_text("[sidecars]\nlimit = 4\n")
    with pytest.raises(Refused, match="never overwritten"):
        planner.install(replace(WISH, config=str(mine)), PYTHON)
    mine.write_text("[sidecars]\nlimit = 3\n")
    assert changes_of(planner.install(replace(WISH, config=str(mine)), PYTHON)) == []


def test_a_given_configuration_is_checked_before_it_is_written(tmp_path: Path) -> None:
    """A rejected one is not in the way of the corrected one; what is not UTF-8 does not end the planning."""
    mine = tmp_path / "mine.toml"
    mine.write_bytes(b"# \xff")
    steps = Planner(Places(tmp_path), active=False).install(replace(WISH, config=str(mine)), PYTHON)
    words = [step.words for step in steps]
    assert words.index(f"check {mine}") < words.index(f"write {tmp_path}/etc/generation-sidecars/config.toml")
    places = Places(tmp_path / "other")
    installed(places)
    places.config.write_bytes(b"# \xff")
    assert changes_of(Planner(places, active=True).install(WISH, PYTHON)) == []


def test_what_cannot_be_read_is_refused_before_anything_is_changed(tmp_path: Path) -> None:
    """Something else has the place of the configuration; without root, it may be closed."""
    places = Places(tmp_path)
    places.config.mkdir(parents=True)
    with pytest.raises(Refused, match=r"config\.toml cannot be read: Is a directory"):
        Planner(places, active=False).install(WISH, PYTHON)


@needs_root
def test_the_installed_configuration_is_checked_as_the_services_user(tmp_path: Path) -> None:
    """Root can read a file that the service cannot, with which its next start would fail."""
    path = tmp_path / "c.toml"
    path.touch(0o600)
    check_config(path, "cat", str(path)).do()
    with pytest.raises(Failed, match="Permission denied"):
        check_config(path, "cat", str(path), user="nobody", group="nogroup").do()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyboardInterrupt(), "It was interrupted."),
        (OSError(errno.EROFS, "Read-only file system", "/etc/x"), "/etc/x: Read-only file system"),
    ],
)
def test_an_end_in_the_middle_is_a_sentence(
    error: BaseException, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither Ctrl-C nor a refusal of the system is a traceback or a number."""

    def fail(_given: object) -> None:
        raise error

    monkeypatch.setattr(main, "_run", fail)
    assert main.main(["--uninstall"]) == main.FAILED
    expected = f"{words}\nThe removal is incomplete. Run the same command again to continue.\n"
    assert capsys.readouterr().err == expected


def test_the_configuration_in_place_is_checked_every_time(tmp_path: Path) -> None:
    """It is checked even if there is nothing else to do."""
    installed(Places(tmp_path))
    [check] = Planner(Places(tmp_path), active=True).install(WISH, PYTHON)
    assert check.words == f"check {tmp_path}/etc/generation-sidecars/config.toml"
    refused = check_config(Path("c.toml"), "sh", "-c", "echo 'c.toml: work.jobs: found 0'; exit 2")
    with pytest.raises(Failed, match=r"^The configuration is rejected:\nc.toml: work.jobs: found 0$"):
        refused.do()


@pytest.mark.parametrize("line", ['roots = ["/a"]', '  "roots"=[', "[sidecars]\nroots = 1"])
def test_a_given_configuration_with_roots_is_refused(line: str, tmp_path: Path) -> None:
    """The key would be ignored: the directories come from --experiments."""
    mine = tmp_path / "mine.toml"
    mine.write_text(f"# roots = []\n{line}\n")
    planner, wish = Planner(Places(tmp_path), active=False), replace(WISH, config=str(mine))
    if line.startswith("["):  # a mistake that --check-config names
        planner.install(wish, PYTHON)
        return
    with pytest.raises(Refused, match="sets roots"):
        planner.install(wish, PYTHON)


def test_what_changes_for_people_is_said(tmp_path: Path) -> None:
    """It lists directories that are dropped or added, and a new user or group."""
    planner = Planner(Places(tmp_path), active=True)
    assert planner.differences(WISH) == []
    installed(Places(tmp_path))
    assert planner.differences(WISH) == []
    assert planner.differences(Wish(("/data/other",), "bob", "crew")) == [
        'no longer watched: "/data/experiments"; its sidecars stay',
        'newly watched: "/data/other"',
        "user: bob instead of alice; existing files keep theirs",
        "group: crew instead of lab; existing files keep theirs",
    ]


@pytest.mark.parametrize(
    ("said", "wheels", "sentence"),
    [
        (
            "WARNING: Retrying: NewConnectionError('Temporary failure in name resolution')\n" * 5
            + "ERROR: No matching distribution found for setuptools>=77\n" * 2,
            None,
            (
                "setuptools>=77 is not available from the network: take the packages from a directory with "
                "--wheels DIR."
            ),
        ),
        (
            "ERROR: No matching distribution found for numpy",
            "/w",
            "numpy is not in /w: fill it as systemd/README.md says, on a machine with this Python.",
        ),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "/w",
            "A disk is full: free some space where /opt and the temporary files (/tmp) are.",
        ),
    ],
)
def test_without_the_packages_or_space_one_sentence_names_the_way_out(
    said: str, wheels: str | None, sentence: str
) -> None:
    """The output of pip is a page long."""
    assert pip_failure(said, wheels) == sentence


def test_the_version_covers_every_file_of_the_program() -> None:
    """A change in a sub-package alone is built as well."""
    found = {str(path.relative_to(REPOSITORY)) for path in source_files(REPOSITORY)}
    assert {"daemon/report/status.py", "lib/npy/header.py", "generation_sidecars.py"} <= found
    assert not any("__pycache__" in name for name in found)


def test_a_program_of_that_name_from_elsewhere_is_not_replaced(tmp_path: Path) -> None:
    """Another /usr/local/bin/decode-generations is named, and kept by an uninstallation."""
    places = Places(tmp_path)
    (tmp_path / "usr/local/bin").mkdir(parents=True)
    (tmp_path / "usr/local/bin/decode-generations").write_text("mine")
    with pytest.raises(Refused, match="did not make it"):
        Planner(places, active=False).install(WISH, PYTHON)
    assert Planner(places, active=False).uninstall() == []


def test_uninstalling_leaves_the_configuration_and_what_is_the_administrators(tmp_path: Path) -> None:
    """The administrator's drop-ins are kept like the configuration."""
    places = Places(tmp_path)
    installed(places)
    mine = places.drop_in(UNIT).with_name("override.conf")
    mine.write_text("[Service]\nMemoryMax=8G\n")
    for step in Planner(places, active=True).uninstall():
        if step.words.startswith("remove "):
            step.do()
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"etc/generation-sidecars/config.toml", str(mine.relative_to(tmp_path))}
    assert Planner(places, active=False).uninstall() == []


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    """The next run starts over; the installed version is not touched."""
    broken = tmp_path / "clone"
    target = tmp_path / "opt/version"
    broken.mkdir()
    with pytest.raises(OSError, match="pyproject"):
        build(target, PYTHON, broken, None).do()
    assert not target.exists()


def test_a_failed_step_shows_what_its_program_said() -> None:
    """The message also has the exit status."""
    with pytest.raises(Failed, match=r"(?s)status 3.*no space"):
        run("sh", "-c", "echo no space; exit 3")


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("/data/a b", '"/data/a b"'),
        ("/data/100%", '"/data/100%%"'),
        ('/data/"x"', r'"/data/\"x\""'),
        ("/data/a\\b", r'"/data/a\\b"'),
    ],
)
def test_odd_names_are_quoted_for_systemd(word: str, written: str) -> None:
    """A dollar sign is doubled in commands only."""
    assert quoted(word) == written
    assert quoted("/a$b", for_command=True) == '"/a$$b"'
    assert quoted("/a$b") == '"/a$b"'


def test_the_drop_in_names_user_group_and_directories() -> None:
    """Each directory is waited for, bound and watched."""
    lines = drop_in(UNIT, replace(WISH, directories=("/data/a", "/srv/b"))).splitlines()
    for line in ("User=alice", "Group=lab", 'BindPaths="/srv/b"', 'RequiresMountsFor="/data/a"'):
        assert line in lines
    assert lines[-1].endswith('--config /etc/generation-sidecars/config.toml -- "/data/a" "/srv/b"')
    assert "ProtectHome=tmpfs" not in lines


@pytest.mark.parametrize("home", ["/home/alice/runs", "/root/runs", "/run/user/1000/runs"])
def test_a_directory_in_a_home_is_let_through(home: str) -> None:
    """With ProtectHome=yes, systemd would drop the bind."""
    assert "ProtectHome=tmpfs" in drop_in(UNIT, replace(WISH, directories=("/data/a", home)))


def test_a_python_of_its_own_is_shown_to_the_sandbox() -> None:
    """A Python below /usr is visible without that."""
    assert PYTHON.extra_paths == ()
    other = Interpreter("/opt/python/bin/python3.13", "/opt/python", (3, 13, 0))
    assert 'BindReadOnlyPaths="/opt/python"' in drop_in(UNIT, WISH, other.extra_paths)


def test_the_installed_configuration_leaves_the_roots_to_the_installer() -> None:
    """All other lines are those of the example."""
    example = (REPOSITORY / "config.example.toml").read_text(encoding="utf-8")
    text = config_text(example)
    assert "\nroots" not in text
    assert set(example.splitlines()) - set(text.splitlines()) == {'roots = ["experiments"]'}


def test_a_hidden_python_is_refused_with_the_reason(tmp_path: Path) -> None:
    """It reports that it is below /root."""
    script = tmp_path / "python3"
    script.write_text(
        "#!/bin/sh\n"
        'echo \'{"version": [3, 12, 1], "where": ["/root/x/bin/python3", "/root/x"], "lacks": []}\'\n'
    )
    script.chmod(0o755)
    assert "hides /root" in str(pythons.examine(str(script)))
    with pytest.raises(Refused, match=r"(?s)No Python.*apt install python3 python3-venv"):
        pythons.choose(str(script))


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ('{"version": [3, 8, 1], "where": ["/usr/bin/python3.8", "/usr"], "lacks": []}', "3.10 or newer"),
        (
            '{"version": [3, 11, 1], "where": ["/usr/bin/python3.11", "/usr"], "lacks": ["ensurepip"]}',
            "python3-venv",
        ),
        ("nonsense", "does not run like Python 3"),
        ("'; echo Unknown option: -I >&2; exit 2; '", "Python 3: Unknown option: -I"),
    ],
)
def test_a_python_that_will_not_do_says_why(told: str, reason: str, tmp_path: Path) -> None:
    """It is too old, incomplete, or not a Python."""
    script = tmp_path / "python3"
    script.write_text(f"#!/bin/sh\necho '{told}'\n")
    script.chmod(0o755)
    assert reason in str(pythons.examine(str(script)))


def test_directories_are_refused_with_every_reason(tmp_path: Path) -> None:
    """They are missing, a file, the system's, or inside another; all are reported at once."""
    (tmp_path / "file").touch()
    (tmp_path / "in").mkdir()
    asked = [str(tmp_path / "none"), str(tmp_path / "file"), "/usr/lib", str(tmp_path), str(tmp_path / "in")]
    with pytest.raises(Refused) as refused:
        checks.checked_directories(asked)
    said = str(refused.value)
    for words in (
        "no directory",
        "is not a directory",
        "is a system directory",
        "give only the outer directory",
    ):
        assert words in said


def test_a_link_is_resolved_and_a_directory_taken_once(tmp_path: Path) -> None:
    """The sandbox is built from real paths."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    asked = [str(tmp_path / "link"), str(tmp_path / "real")]
    assert checks.checked_directories(asked) == (str(tmp_path / "real"),)


def test_the_program_tells_every_mistake_and_changes_nothing(tmp_path: Path) -> None:
    """Wrong user, group, directory and file are reported together, with status 2."""
    answer = call("--experiments", str(tmp_path / "x"), "--user", "nobody-here", "--group", "no-group",
                  "--config", str(tmp_path / "y"), "--dry-run")  # fmt: skip
    assert answer.returncode == 2
    for words in ("no user 'nobody-here'", "no group 'no-group'", "no directory", "There is no file"):
        assert words in answer.stderr
    assert answer.stderr.endswith("Nothing was changed.\n")
    assert "Traceback" not in answer.stderr


def test_root_is_no_user_for_the_service(tmp_path: Path) -> None:
    """A service of root would not be contained."""
    answer = call("--experiments", str(tmp_path), "--user", "root", "--dry-run")
    assert answer.returncode == 2
    assert "must not run as root" in answer.stderr


def test_arguments_that_are_missing_are_named() -> None:
    """Directory and user have no default."""
    answer = call("--user", ME)
    assert answer.returncode == 2
    assert "--experiments and --user" in answer.stderr


@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="systemd runs here")
def test_without_systemd_it_says_so(tmp_path: Path) -> None:
    """A container cannot use a unit."""
    answer = call("--experiments", str(tmp_path), "--user", "nobody")
    assert answer.returncode == 2
    assert "systemd is not running on this machine" in answer.stderr


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Return a directory that everybody can write to; pytest's own are private."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def test_dry_run_says_what_it_would_do_and_does_nothing(open_directory: Path) -> None:
    """It works without root and systemd, and notes that they are missing."""
    before = Path("/opt/generation-sidecars").exists()
    answer = call("--experiments", str(open_directory), "--user", "nobody", "--dry-run")
    if "No Python" in answer.stderr:
        pytest.skip("no Python of the system's is complete here")
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert f"would write /etc/systemd/system/{UNIT}.d/10-installed.conf" in lines
    assert Path("/opt/generation-sidecars").exists() == before
