"""Faults 1 to 17: files that are unusual, broken and hostile, through a whole sweep over a real directory."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import TYPE_CHECKING, Any, Final

import hostile
import pytest
from faults.tools import quick_directory, sweep_here
from make_caches import plain as plain_of_manifest
from support import AGES, DATA, finite, keys_are_plain, manifest_of

from lib.encoded_text import decoded

if TYPE_CHECKING:
    from pathlib import Path

OURS_BEFORE: Final = '[\n  "an older version\'s"\n]'
OUTPUT_LIMIT: Final = 1 << 24
AN_HOUR_AGO_NS: Final = 1_700_000_000_000_000_000

UNUSUAL: Final = {
    "fault_01_objects_of_every_kind": ("object_", "py2_in", "py2_long"),
    "fault_02_python_2_text_and_bytes": ("py2_", "s_"),
    "fault_03_string_dtype": ("string_",),
    "fault_04_orders_and_shapes": (
        "u_2d",
        "u_3",
        "u_0",
        "u_1",
        "u_2x",
        "u_big",
        "object_2d",
        "object_3",
        "object_0",
    ),
    "fault_05_nul_empty_and_surrogates": (
        "u_nul",
        "u_surr",
        "u_all",
        "object_nul",
        "object_surr",
        "object_empty",
    ),
    "fault_06_values_that_json_has_not": (
        "object_not_finite",
        "object_int_big",
        "object_bool",
        "object_dict",
    ),
    "fault_07_format_versions": ("u_version_", "object_version_", "s_version_"),
}
"""Names of files of the corpus, by the line of the catalogue that they belong to."""

HOSTILE: Final = {
    "fault_09_not_this_format": ("start_",),
    "fault_10_headers": ("header_",),
    "fault_11_shapes": ("shape_", "vast_", "empty_"),
    "fault_12_code_points": ("code_point_",),
    "fault_13_other_content": ("content_",),
    "fault_14_code": ("code_", "name_"),
    "fault_15_pointers": ("array_", "dtype_", "scalar_"),
    "fault_16_lengths_and_floods": ("length_", "flood_", "memo_", "stack_", "value_"),
    "fault_17_depth_cycles_and_bombs": ("deep_", "cycle_", "bomb_"),
}


@pytest.mark.parametrize(
    ("age", "row"),
    [
        (age, row)
        for age in AGES
        for row, names in UNUSUAL.items()
        if any(entry["file"].startswith(names) for entry in manifest_of(age))
    ],
)
def test_unusual_files_are_read(tmp_path: Path, age: str, row: str) -> None:
    """Each has the JSON of what its own numpy read, whichever numpy is installed here."""
    expected = {
        entry["file"]: finite(plain_of_manifest(entry["value"], decoded))
        for entry in manifest_of(age)
        if entry["read"] and entry["file"].startswith(UNUSUAL[row])
    }
    expected = {name: value for name, value in expected.items() if keys_are_plain(value)}
    for name in expected:
        shutil.copy(DATA / age / name, tmp_path / name)
    assert len(expected) >= 3
    sums, log = sweep_here(tmp_path, formats=("json",))
    assert log.of("source.failed") == []
    assert sums["rendered"] == len(expected)
    for name, value in expected.items():
        text = (tmp_path / name).with_suffix(".json").read_text("utf-8")
        assert json.loads(text, parse_constant=pytest.fail) == _read_back(value), name


def _read_back(value: Any) -> Any:
    """Return what comes back when it was written by the rules: no surrogate survives as itself."""
    return json.loads(re.sub("[\ud800-\udfff]", "\ufffd", json.dumps(value, ensure_ascii=False)))


def refuse_all(root: Path, files: list[hostile.Case]) -> None:
    """Sweep a directory of files that must be refused, each beside an older sidecar."""
    for name, make, _ in files:
        source = root / f"{name}_completions.npy"
        source.write_bytes(make())
        sidecar = source.with_suffix(".json")
        sidecar.write_text(OURS_BEFORE)
        os.utime(sidecar, ns=(AN_HOUR_AGO_NS, AN_HOUR_AGO_NS))
    sums, log = sweep_here(root, max_output_bytes=OUTPUT_LIMIT)
    refused = [*log.of("source.failed"), *log.of("source.skipped")]
    assert len(refused) == len(files)
    assert sums["rendered"] == sums["fresh"] == sums["adopted"] == 0
    assert all(event["reason"] and event["hint"] for event in log.of("source.failed"))
    assert sorted(os.listdir(root)) == sorted(
        f"{name}_completions{suffix}" for name, _, _ in files for suffix in (".json", ".npy")
    )
    for name, _, _ in files:
        sidecar = root / f"{name}_completions.json"
        assert sidecar.read_text() == OURS_BEFORE
        assert sidecar.stat().st_mtime_ns == AN_HOUR_AGO_NS


@pytest.mark.parametrize("row", HOSTILE)
def test_hostile_files_are_refused(tmp_path: Path, row: str) -> None:
    """No sidecar, an older one untouched, one event with a reason each, and no code ran."""
    canary = tmp_path / "canary"
    files = [
        case
        for case in hostile.hostile_files(str(canary))
        if case[0].startswith(HOSTILE[row])
        and not (row == "fault_14_code" and case[0].startswith("code_point_"))
    ]
    assert len(files) >= 10
    with quick_directory() as root:
        refuse_all(root, files)
    assert not canary.exists()


def test_fault_08_files_cut_anywhere_are_refused() -> None:
    """After every byte of the header, and of the data."""
    with quick_directory() as root:
        refuse_all(root, hostile.truncated_files())


def test_every_hostile_file_belongs_to_a_line_of_the_catalogue() -> None:
    """Those that hold no text are no fault."""
    families = tuple(prefix for prefixes in HOSTILE.values() for prefix in prefixes)
    others = [name for name, _, _ in hostile.hostile_files() if not name.startswith((*families, "not_text_"))]
    assert others == []
