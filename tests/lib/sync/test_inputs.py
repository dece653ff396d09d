"""Who can read a sidecar: no more people than each of the files that it shows."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING, Final

import pytest
from support import LONG_AGO_NS, METADATA, SECOND_NS, SOURCE, as_nobody, needs_root, results, save, sync

from lib.files.reader import open_directory
from lib.options import Extras, Options
from lib.sync.engine import sync_source

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_root

FULL_TEXTS: Final = "n3_full_texts.npy"
PAIRS: Final = Extras(pairs=True)
SOMEBODY: Final = 12_345
TEAM, OTHER_TEAM = 20_001, 20_002


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Save completions that everybody may read, with full texts and metadata, some time ago."""
    (tmp_path / METADATA).write_text(json.dumps({"model_name": "secret-model"}))
    os.utime(tmp_path / METADATA, ns=(LONG_AGO_NS, LONG_AGO_NS))
    save(tmp_path / FULL_TEXTS, ["ask A: one", "ask B: two"], time_ns=LONG_AGO_NS)
    return save(tmp_path / SOURCE, ["one", "two"], time_ns=LONG_AGO_NS)


def permissions(source: Path, *suffixes: str) -> list[int]:
    """Return the permission bits of sidecars."""
    return [stat.S_IMODE(source.with_suffix(suffix).stat().st_mode) for suffix in suffixes]


def page(source: Path) -> str:
    """Return the page of a source."""
    return source.with_suffix(".md").read_text()


def test_a_source_that_is_closed_closes_its_sidecars(source: Path) -> None:
    """Without rendering them again; a dry run changes nothing."""
    sync(source)
    before = [source.with_suffix(suffix).stat().st_ino for suffix in (".json", ".md")]
    source.chmod(0o600)
    assert results(sync(source, dry_run=True)) == {"json": "fresh", "md": "fresh"}
    assert permissions(source, ".json", ".md") == [0o644, 0o644]
    assert results(sync(source)) == {"json": "fresh", "md": "fresh"}
    assert permissions(source, ".json", ".md") == [0o600, 0o600]
    assert [source.with_suffix(suffix).stat().st_ino for suffix in (".json", ".md")] == before
    source.chmod(0o644)
    assert sync(source).result == "fresh"


def test_an_edited_page_is_closed_and_kept(source: Path) -> None:
    """Its readers are those of the source, although a person wrote it."""
    sync(source)
    source.with_suffix(".md").write_text("edited")
    source.chmod(0o640)
    for _ in range(2):
        assert results(sync(source)) == {"json": "fresh", "md": "kept"}
        assert permissions(source, ".json", ".md") == [0o640, 0o640]
    assert page(source) == "edited"


def test_every_part_of_a_page_is_closed(source: Path) -> None:
    """The page itself comes last, so that interrupted work is done again."""
    save(source, [f"{number} " * 300 for number in range(20)], time_ns=LONG_AGO_NS)
    extras = Extras(page_bytes=4000)
    sync(source, extras=extras)
    source.chmod(0o600)
    assert sync(source, extras=extras).result == "fresh"
    parts = sorted(source.parent.glob("*.md"))
    assert len(parts) > 2
    assert {stat.S_IMODE(part.stat().st_mode) for part in parts} == {0o600}


def test_fault_54_a_page_is_as_closed_as_its_metadata_and_its_full_texts(source: Path) -> None:
    """The list shows neither, and stays open."""
    source.with_name(METADATA).chmod(0o600)
    sync(source)
    assert permissions(source, ".json", ".md") == [0o644, 0o600]
    source.with_name(METADATA).chmod(0o644)
    source.with_name(FULL_TEXTS).chmod(0o640)
    sync(source, force=True, extras=PAIRS)
    assert permissions(source, ".json", ".md") == [0o644, 0o640]
    source.with_name(FULL_TEXTS).chmod(0o600)
    assert sync(source, extras=PAIRS).result == "fresh"
    assert permissions(source, ".json", ".md") == [0o644, 0o600]
    assert "ask A" in page(source)


def test_a_group_counts_only_where_all_inputs_have_it(source: Path) -> None:
    """Who is in both groups is not known, so that others must be allowed the same."""
    os.chown(source, 0, TEAM)
    os.chown(source.with_name(METADATA), 0, OTHER_TEAM)
    source.chmod(0o640)
    source.with_name(METADATA).chmod(0o640)
    sync(source)
    assert permissions(source, ".json", ".md") == [0o640, 0o600]
    assert source.with_suffix(".json").stat().st_gid == TEAM
    os.chown(source.with_name(METADATA), 0, TEAM)
    sync(source, force=True)
    assert permissions(source, ".md") == [0o640]


def test_fault_54_another_owners_closed_metadata_is_not_shown(source: Path) -> None:
    """Open to everybody it is; closed later, the page is rendered without it, once."""
    metadata = source.with_name(METADATA)
    os.chown(metadata, SOMEBODY, SOMEBODY)
    sync(source)
    assert "secret-model" in page(source)
    metadata.chmod(0o640)
    outcome = sync(source)
    assert results(outcome) == {"json": "fresh", "md": "rendered"}
    assert outcome.warnings == (
        f"{METADATA}: it belongs to another user, and not everybody may read it; the page says unknown",
    )
    assert "secret-model" not in page(source)
    assert permissions(source, ".md") == [0o644]
    assert sync(source).result == "fresh"


def test_a_page_stamped_by_metadata_that_is_closed_later_is_rendered_without_it(source: Path) -> None:
    """Its time is not an edit's."""
    metadata = source.with_name(METADATA)
    os.chown(metadata, SOMEBODY, SOMEBODY)
    os.utime(metadata, ns=(LONG_AGO_NS + SECOND_NS,) * 2)
    sync(source)
    metadata.chmod(0o600)
    assert results(sync(source)) == {"json": "fresh", "md": "rendered"}
    assert "secret-model" not in page(source)
    assert sync(source).result == "fresh"


def test_fault_54_another_owners_closed_full_texts_are_not_shown(source: Path) -> None:
    """Whoever can write the directory could move them beside completions of their own."""
    full_texts = source.with_name(FULL_TEXTS)
    os.chown(full_texts, SOMEBODY, SOMEBODY)
    full_texts.chmod(0o600)
    outcome = sync(source, extras=PAIRS)
    assert "belongs to another user" in outcome.warnings[0]
    assert "ask A" not in page(source)
    assert sync(source, extras=PAIRS).result == "fresh"


def test_access_lists_that_differ_leave_the_owner_alone(source: Path) -> None:
    """The same list on both is taken over."""
    if shutil.which("setfacl") is None:
        pytest.skip("acl is not installed")
    subprocess.run(["setfacl", "-m", "u:1234:r", str(source)], check=True)
    sync(source)
    assert permissions(source, ".json", ".md") == [0o644, 0o600]
    subprocess.run(["setfacl", "-m", "u:1234:r", str(source.with_name(METADATA))], check=True)
    sync(source, force=True)
    listed = subprocess.run(
        ["getfacl", "-cp", str(source.with_suffix(".md"))], check=True, capture_output=True
    )
    assert "user:1234:r--" in listed.stdout.decode()


def test_a_page_without_metadata_that_its_maker_may_not_read_stays(source: Path) -> None:
    """It is compared in every sweep, and the reason does not blame the file system."""
    source.with_name(METADATA).chmod(0o600)
    source.parent.chmod(0o777)
    with open_directory(str(source.parent)) as directory, as_nobody():
        first, second = (sync_source(directory, SOURCE, Options(formats=("md",))) for _ in range(2))
    assert (first.result, second.result) == ("rendered", "fresh")
    assert second.verdicts[0].reason == "the same as what would be written"


@needs_root
def test_a_colleagues_sidecar_that_is_too_open_is_replaced(source: Path) -> None:
    """Its permissions are not ours to change; the directory is."""
    sync(source)
    os.chown(source, 65_534, 65_534)
    source.chmod(0o600)
    source.parent.chmod(0o777)
    with open_directory(str(source.parent)) as directory, as_nobody():
        assert results(sync_source(directory, SOURCE, Options(formats=("json",)))) == {"json": "rendered"}
    assert permissions(source, ".json") == [0o600]
