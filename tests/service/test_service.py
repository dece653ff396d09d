"""The installed service on a machine with a real systemd, booted in a container over this one.

One boot, many findings: ``scenarios.py`` runs inside, and each of its scenarios is a test here.  It needs
root, ``systemd-nspawn`` and a Python of the system's; what it changes is on an overlay that goes with it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from scenarios import SCENARIOS  # lies beside this file, which is no package

REPOSITORY = Path(__file__).parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"
BOOT_SECONDS = 280
_DRIVER = f"""\
[Unit]
Description=The test driver
After=basic.target systemd-journald.service
SuccessAction=poweroff-force
FailureAction=poweroff-force

[Service]
Type=oneshot
ExecStart={SYSTEM_PYTHON} /srv/clone/tests/service/scenarios.py
StandardOutput=file:/srv/findings/driver.log
StandardError=inherit
"""
_TARGET = "[Unit]\nRequires=basic.target\nWants=driver.service\nAfter=basic.target\n"

pytestmark = [pytest.mark.service, pytest.mark.timeout(400)]


def _missing() -> str:
    """Say why no machine can be booted here; empty when one can."""
    if os.geteuid() != 0:
        return "only root can boot a container"
    lacks = [name for name in ("systemd-nspawn", SYSTEM_PYTHON, "useradd") if not shutil.which(name)]
    if lacks:
        return f"{', '.join(lacks)} missing (apt install systemd-container python3-venv passwd)"
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        return "this root cannot mount (a container without privileges?)"
    asked = subprocess.run([SYSTEM_PYTHON, "-c", "import ensurepip, venv"], check=False, capture_output=True)
    return "" if asked.returncode == 0 else "the system's Python has no venv (apt install python3-venv)"


@pytest.fixture(scope="session")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Boot the machine once, let the scenarios run, and give what they found."""
    reason = _missing()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"CI must run this suite: {reason}")
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("machine")
    clone, wheels, found = (folder / name for name in ("clone", "wheels", "findings"))
    found.mkdir()
    shutil.copytree(
        REPOSITORY, clone, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__")
    )
    _fill(wheels, clone, folder / "pip")
    with _Machine(folder / "disk") as root:
        _lay_driver(root)
        log = _boot(root, {clone: "/srv/clone", wheels: "/srv/wheels"}, found)
    driver = found / "driver.log"
    if not (found / "findings.json").exists():
        pytest.fail(
            f"the machine found nothing:\n{log[-5000:]}\n{driver.read_text() if driver.exists() else ''}"
        )
    return json.loads((found / "findings.json").read_text())


class _Machine:
    """A copy of this machine's root directory whose changes go to a memory disk, and then away."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Path:
        self._folder.mkdir()
        _run("mount", "-t", "tmpfs", "-o", "size=4G", "machine", self._folder)
        root, upper, work = (self._folder / name for name in ("root", "upper", "work"))
        for path in (root, upper, work):
            path.mkdir()
        _run("mount", "-t", "overlay", "machine", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", root)
        return root

    def __exit__(self, *_error: object) -> None:
        for path in (self._folder / "root", self._folder):
            subprocess.run(["umount", "--lazy", path], check=False)


def _fill(wheels: Path, clone: Path, environment: Path) -> None:
    """Fetch what the installer inside, which has no network, will need."""
    copy = environment / "copy"
    _run(SYSTEM_PYTHON, "-m", "venv", environment)
    shutil.copytree(clone, copy)  # setuptools leaves its traces in it
    _run(
        environment / "bin/pip",
        "wheel",
        "--quiet",
        "--wheel-dir",
        wheels,
        f"{copy}[metrics]",
        "setuptools>=77",
    )
    for wheel in wheels.glob("generation_sidecars*"):
        wheel.unlink()  # it shall build its own


def _lay_driver(root: Path) -> None:
    units = root / "etc/systemd/system"
    (units / "driver.service").write_text(_DRIVER)
    (units / "driver.target").write_text(_TARGET)
    journald = root / "etc/systemd/journald.conf.d"
    journald.mkdir(parents=True, exist_ok=True)
    (journald / "memory.conf").write_text("[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n")


def _boot(root: Path, shown: dict[Path, str], found: Path) -> str:
    """Run the machine until it powers itself off; return what its console showed."""
    command = [
        "systemd-nspawn",
        "--quiet",
        "--register=no",
        "--keep-unit",
        "--private-network",
        "--machine=sidecars",
        f"--directory={root}",
        *(f"--bind-ro={path}:{place}" for path, place in shown.items()),
        f"--bind={found}:/srv/findings",
        "--boot",
        "systemd.unit=driver.target",
    ]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as machine:
        try:
            return machine.communicate(timeout=BOOT_SECONDS)[0]
        except subprocess.TimeoutExpired:
            machine.kill()
            return machine.communicate()[0] + f"\nIt ran for longer than {BOOT_SECONDS} s."


def _run(*words: str | Path) -> None:
    answer = subprocess.run(words, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert answer.returncode == 0, f"{words}:\n{answer.stdout}"


@pytest.mark.parametrize("name", [scenario.__name__ for scenario in SCENARIOS])
def test_the_service(name: str, findings: dict[str, Any]) -> None:
    """Each scenario went as its name says; see its docstring in ``scenarios.py``."""
    assert name in findings, f"the machine ended before it came to {name}: {list(findings)}"
    error = findings[name]["error"]
    assert not error, error
