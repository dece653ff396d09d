"""``--dry-run``: one line for each sidecar, and nothing is written."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TextIO

from daemon.report.logging import escaped
from daemon.schedule.sweeper import steps
from daemon.workers.worker import convert
from lib.names import sidecar_name
from lib.sync.walk import Folder, Step, Trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lib.options import Options

_WORDS: Final = {"rendered": "render", "adopted": "adopt"}


def dry_run(paths: Sequence[str], ignore: frozenset[str], options: Options, out: TextIO) -> int:
    """Print plan, path and reason of each sidecar, tab-separated; return how many would fail."""
    failed = 0
    dry = replace(options, dry_run=True, count=False)
    for step in steps(paths, dry, ignore):
        for plan, path, reason in _rows(step, dry):
            failed += plan == "failed"
            print(plan, escaped(path), escaped(reason), sep="\t", file=out)
    return failed


def _rows(step: Step, options: Options) -> list[tuple[str, str, str]]:
    if isinstance(step, Trouble):
        return [("failed", step.path, step.error.reason)]
    if isinstance(step, Folder):
        return []
    (outcome,) = convert([step.task], options)
    directory = os.path.dirname(step.task.path)
    return [
        (
            _WORDS.get(verdict.result, verdict.result),
            os.path.join(directory, sidecar_name(step.task.name, verdict.fmt)),
            verdict.reason,
        )
        for verdict in outcome.verdicts
    ]
