"""The metrics file, read back with Prometheus's own parser."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from doubles import Log
from prometheus_client.parser import text_string_to_metric_families
from support import python

from daemon.config.validation import RefusedError
from daemon.report.metrics import Metrics, require_library
from daemon.report.outcomes import Done
from daemon.report.status import Status
from lib.outcome import Figures, Outcome, Verdict
from lib.sync.walk import Task

if TYPE_CHECKING:
    from pathlib import Path

STATUS = Status("1.2", 1, "2026-01-01T00:00:00+00:00", "2026-01-01T00:10:00+00:00", ("/x",))


def samples(path: Path) -> dict[str, float]:
    """Return all samples of a file by name and sorted labels."""
    return {
        sample.name + "".join(f",{key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


def test_what_was_done_is_counted(tmp_path: Path) -> None:
    """Counters have kind and result, and exist before their first increase."""
    path = tmp_path / "a.prom"
    metrics = Metrics(str(path), "1.2", Log())
    verdicts = (Verdict("json", "rendered", ""), Verdict("md", "kept", ""))
    figures = Figures(10, 2, 8, 1.0, 1)
    outcome = Outcome("a_completions.npy", "completions", verdicts, figures=figures, bytes=99)
    metrics.notice(Done(Task("/x", (), "a_completions.npy"), outcome), 0.0)
    metrics.notice(STATUS, 0.0)
    found = samples(path)
    assert found["generation_sidecars_sidecars_total,kind=completions,result=rendered"] == 1
    assert found["generation_sidecars_sidecars_total,kind=completions,result=kept"] == 1
    assert found["generation_sidecars_sidecars_total,kind=full_texts,result=failed"] == 0
    assert found["generation_sidecars_written_bytes_total,kind=completions"] == 99
    assert found["generation_sidecars_items_total,kind=completions"] == 10
    assert found["generation_sidecars_blank_items_total,kind=completions"] == 2
    assert found["generation_sidecars_build_info,version=1.2"] == 1


def test_how_the_service_is_stands_in_gauges(tmp_path: Path) -> None:
    """The gauges have the numbers of ``--status``."""
    path = tmp_path / "a.prom"
    metrics = Metrics(str(path), "1.2", Log())
    sweep, counts = {"rendered": 1, "seconds": 1.5}, {"failed": 2, "kept": 1}
    status = replace(STATUS, directories=3, sources=7, pending=2, last_sweep=sweep, counts=counts)
    status = replace(status, last_sweep_ended="2026-01-01T00:09:00+00:00")
    metrics.notice(status, 0.0)
    found = {name.removeprefix("generation_sidecars_"): value for name, value in samples(path).items()}
    assert (found["directories"], found["sources"], found["pending_sources"]) == (3, 7, 2)
    assert found["troubled_sources,state=failed"] == 2
    assert found["troubled_sources,state=skipped"] == 0
    assert found["watching"] == 1
    assert found["start_time_seconds"] == 1767225600
    assert found["last_sweep_duration_seconds"] == 1.5
    assert found["last_sweep_timestamp_seconds"] == 1767226140
    assert found["last_update_timestamp_seconds"] == pytest.approx(time.time(), abs=60)


def test_a_file_that_cannot_be_written_is_reported_once(tmp_path: Path) -> None:
    """The event has path, reason and hint, and is repeated only after a success."""
    log, path = Log(), tmp_path / "not yet" / "a.prom"
    metrics = Metrics(str(path), "1", log)
    for _ in range(2):
        metrics.notice(STATUS, 0.0)
    [event] = log.of("metrics.failed")
    assert (event["path"], event["reason"]) == (str(path), "No such file or directory")
    assert all(word in event["hint"] for word in ("exist", "have room", "writable", "BindPaths"))
    path.parent.mkdir()
    metrics.notice(STATUS, 0.0)
    assert samples(path)
    assert len(log.of("metrics.failed")) == 1


def test_without_the_library_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is an optional dependency."""
    require_library()
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(RefusedError, match=r"pip install 'generation-sidecars\[metrics\]'"):
        require_library()


def test_the_service_does_not_import_it_unasked() -> None:
    """The same is true of tqdm and shtab."""
    code = (
        "import sys, daemon.cli.main, daemon.service, daemon.cli.backfill;"
        "assert not {'prometheus_client', 'tqdm', 'shtab'} & set(sys.modules)"
    )
    python(code)
