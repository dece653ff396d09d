"""A sweep and the service are one engine: the same tree ends in the same state, for the same reasons."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import hostile
import pytest
from faults.service import serving
from support import AGES, BACKFILL, DATA, LONG_AGO_NS, SECOND_NS, save, types

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = "[work]\nmax_output_bytes = 33554432\n"
REASONS = {"source.failed", "source.skipped", "sidecar.kept", "sidecar.adopted", "metadata.unreadable"}


def corpus(root: Path) -> None:
    """Put every kind of source and of sidecar that the suites know into a tree."""
    for age in AGES:
        shutil.copytree(DATA / age, root / "ages" / age)
    for folder, cases in (("hostile", hostile.hostile_files()), ("cut", hostile.truncated_files())):
        (root / folder).mkdir()
        for name, make, _ in cases:
            (root / folder / f"{name}_completions.npy").write_bytes(make())
    for path in [*root.rglob("*.npy"), *root.rglob("*.json")]:
        os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))
    sidecars = root / "sidecars"
    sidecars.mkdir()
    for name in ("stale", "edited", "same", "blocked", "narrow", "described", "undescribed"):
        save(sidecars / f"{name}_completions.npy", ["One.", "Two."], time_ns=LONG_AGO_NS)
    (sidecars / "stale_completions.json").write_text("old")
    os.utime(sidecars / "stale_completions.json", ns=(LONG_AGO_NS - SECOND_NS,) * 2)
    (sidecars / "edited_completions.md").write_text("mine")
    (sidecars / "same_completions.json").write_text('[\n  "One.",\n  "Two."\n]')
    (sidecars / "blocked_completions.md").mkdir()
    (sidecars / "narrow_completions.npy").chmod(0o600)
    (sidecars / "described_metadata.json").write_text('{"model_name": "m"}')
    (sidecars / "undescribed_metadata.json").write_text("nonsense")
    for path in sidecars.iterdir():
        if path.suffix in {".json", ".md"} and path.name.partition("_")[0] in {"edited", "same"}:
            os.utime(path, ns=(LONG_AGO_NS + SECOND_NS,) * 2)
    (sidecars / "link_completions.npy").symlink_to("same_completions.npy")
    os.mkfifo(sidecars / "pipe_completions.npy")
    (sidecars / "dir_completions.npy").mkdir()
    (sidecars / ".generation-sidecars-0123456789abcdef.tmp").write_text("left behind")


def state(root: Path) -> dict[str, tuple[Any, ...]]:
    """Return all that can be seen of a tree."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in root.rglob("*"):
        look = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
        time = look.st_mtime_ns if content is not None else 0
        found[str(path.relative_to(root))] = (look.st_mode, look.st_nlink, time, content)
    return found


def reasons(log: str, root: Path) -> set[tuple[str, ...]]:
    """Return what the log tells of each source, without the times."""
    events = [json.loads(line) for line in log.splitlines(keepends=True) if line.endswith("}\n")]
    fields = ("event", "kind", "format", "reason", "hint", "attempt", "retry_seconds")
    return {
        (os.path.relpath(event["source"], root), *(str(event.get(field)) for field in fields))
        for event in events
        if event["event"] in REASONS
    }


@pytest.mark.faults
def test_a_sweep_and_the_service_leave_the_same_tree(tmp_path: Path) -> None:
    """Over the corpus of faults: names, permissions, times, contents, and what is said of each source."""
    swept, served = tmp_path / "swept", tmp_path / "served" / "experiments"
    swept.mkdir()
    served.parent.mkdir()
    corpus(swept)
    subprocess.run(["cp", "-a", swept, served], check=True)
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    run = types(tmp_path, *BACKFILL, swept, "--config", config)
    assert run.returncode == 1
    expected = reasons(run.stderr, swept)
    assert len(expected) > 300
    with serving(served.parent, "--config", str(config)) as service:
        service.until(lambda: len(reasons(service.log.read_text(), served)) >= len(expected))
        service.until(lambda: '"sweep.finished"' in service.log.read_text())
        log = service.log
    assert reasons(log.read_text(), served) == expected
    assert state(served) == state(swept)
