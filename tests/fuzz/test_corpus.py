"""What the fuzzer learned, and what it ever found: read or refused, quickly."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from faults.service import rounds
from support import is_read, need, promptly, unmeasured

HERE: Final = Path(__file__).parent
CORPUS: Final = sorted((HERE / "corpus").iterdir())


@pytest.mark.parametrize("path", CORPUS, ids=[path.name for path in CORPUS])
def test_fault_18_what_the_fuzzer_reached_is_read_or_refused(path: Path) -> None:
    """Together they go every way through the readers that the fuzzer came upon."""
    promptly(1, lambda: is_read(path.read_bytes()))


@pytest.mark.faults
@pytest.mark.timeout(0)
def test_fault_18_a_minute_of_fuzzing_finds_nothing() -> None:
    """Coverage-guided, from the files of every age, the hostile ones and the corpus."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        pytest.skip("atheris has no wheel for this Python")
    need(importlib.util.find_spec("atheris"), "atheris is not installed")
    seconds = rounds(60)
    command = [sys.executable, str(HERE / "fuzz_readers.py"), "--seconds", str(seconds)]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        env=unmeasured(os.environ),
        timeout=seconds + 300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "DONE" in done.stderr
