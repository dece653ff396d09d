"""The unit files: valid, hardened, with the same sandbox, and a reason for each line."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parents[2] / "systemd"
SERVICE, BACKFILL = "generation-sidecars.service", "generation-sidecars-backfill.service"
USER_UNIT = "user/generation-sidecars.service"

needs_analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is missing")


def text_of(unit: str) -> str:
    """Return the text of a unit."""
    return (SYSTEMD / unit).read_text(encoding="utf-8")


def directives_of(unit: str) -> list[tuple[str, str]]:
    """List a unit's assignments in order."""
    lines = [line for line in text_of(unit).splitlines() if re.match(r"[A-Z]\w+=", line)]
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


def values_of(unit: str, name: str) -> list[str]:
    """List the values of one directive."""
    return [value for key, value in directives_of(unit) if key == name]


@needs_analyze
@pytest.mark.parametrize("unit", [SERVICE, BACKFILL])
def test_a_unit_has_an_exposure_of_at_most_0_3(unit: str) -> None:
    """Without --threshold, 252 succeeds whatever the score; 3 means 0.3 of 10."""
    command = ["systemd-analyze", "security", "--no-pager", "--offline=yes", "--threshold=3", SYSTEMD / unit]
    answer = subprocess.run(command, check=False, capture_output=True, text=True)
    if "unrecognized option" in answer.stderr or "Unknown" in answer.stderr:
        pytest.skip("this systemd-analyze cannot judge files (older than 250)")
    assert answer.returncode == 0, answer.stdout[-500:] + answer.stderr


@needs_analyze
@pytest.mark.parametrize("unit", [SERVICE, BACKFILL, USER_UNIT, "sidecars.slice"])
def test_a_unit_has_no_mistake(unit: str, tmp_path: Path) -> None:
    """Every directive is known and valid; another program takes the place of the service's."""
    copy = tmp_path / Path(unit).name
    program = re.compile(r"(?m)^(Exec\w+=)\S+")
    copy.write_text(
        program.sub(rf"\1{shutil.which('true')}", text_of(unit)).replace("sidecars.slice", "system.slice")
    )
    command = ["systemd-analyze", "verify", "--recursive-errors=no", copy]
    answer = subprocess.run(command, check=False, capture_output=True, text=True)
    complaints = [line for line in answer.stderr.splitlines() if copy.name in line]
    assert complaints == []


def test_both_units_have_the_same_sandbox() -> None:
    """A sweep must not be able to do what the service cannot."""
    found = [directives_of(unit) for unit in (SERVICE, BACKFILL)]
    sandboxes = [each[[name for name, _ in each].index("RootDirectory") :] for each in found]
    assert len(sandboxes[1]) > 30
    assert sandboxes[0] == [*sandboxes[1], ("WantedBy", "multi-user.target")]


@pytest.mark.parametrize("unit", [SERVICE, USER_UNIT])
def test_nothing_that_a_file_does_can_make_the_service_fail_for_good(unit: str) -> None:
    """It is restarted without limit, except after a rejected configuration."""
    assert values_of(unit, "StartLimitIntervalSec") == ["0"]
    assert values_of(unit, "Restart") == ["always"]
    assert values_of(unit, "RestartPreventExitStatus") == ["2"]
    assert values_of(unit, "OOMPolicy") == ["continue"]


@pytest.mark.parametrize("unit", [SERVICE, BACKFILL, USER_UNIT])
def test_a_unit_takes_nothing_from_its_users_jobs(unit: str) -> None:
    """RemoveIPC would delete shared memory of every program of that user; a core dump would hold texts."""
    assert values_of(unit, "RemoveIPC") == []
    assert values_of(unit, "LimitCORE") == ["0"]
    assert values_of(unit, "OOMScoreAdjust") == ["1000"]


def test_every_directive_has_its_reason_above_it() -> None:
    """Each block of directives begins with a comment."""
    above = ""
    for line in text_of(SERVICE).splitlines():
        if re.match(r"[A-Z]\w+=", line) and not line.startswith(("Description=", "WantedBy=")):
            assert above.startswith("#") or re.match(r"[A-Z]\w+=", above), line
        above = line


def test_a_reload_checks_the_configuration_that_is_loaded() -> None:
    """`systemctl reload` fails if it is rejected, after the service was told, for `--status`."""
    [told, checked] = values_of(SERVICE, "ExecReload")
    [started] = values_of(SERVICE, "ExecStart")
    assert "MAINPID" in told
    assert "--check-config" in checked
    assert re.findall(r"/etc/[\w/.-]+", checked) == re.findall(r"/etc/[\w/.-]+", started)
