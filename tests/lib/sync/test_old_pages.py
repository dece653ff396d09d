"""A tree of pages in the former style, as an upgrade finds it: what is fresh, made again, or kept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support import LONG_AGO_NS, SECOND_NS, results, save, sync

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ["# Why?\n\nBecause.", "A. eyes\nB. fur", ""]
OLD_PAGE = """\
# Completions Only

**Model:** unknown
**Generated:** unknown
**Count:** 3

---

## Completion 1

```text
# Why?

Because.
```

---

## Completion 2

A. eyes
B. fur

---

## Completion 3



---

"""
NEW_PAGE = OLD_PAGE.replace("```text\n# Why?\n\nBecause.\n```", "> # Why?\n>\n> Because.")
NEW_PAGE = NEW_PAGE.replace("A. eyes\n", "A. eyes  \n").replace("3\n\n\n\n---", "3\n\n*(blank)*\n\n---")


@pytest.fixture
def tree(tmp_path: Path) -> list[Path]:
    """Lay out sets whose sidecars the former version made; return the sources."""
    sources = [tmp_path / f"m{number}" / "n3_completions.npy" for number in range(4)]
    for number, source in enumerate(sources):
        source.parent.mkdir()
        stamp_ns = LONG_AGO_NS + number * SECOND_NS
        save(source, TEXTS, time_ns=stamp_ns)
        sync(source, formats=("json",))
        page = source.with_suffix(".md")
        page.write_text(OLD_PAGE)
        os.utime(page, ns=(stamp_ns, stamp_ns))
    return sources


def test_old_pages_are_fresh_and_stay_as_they_are(tree: list[Path]) -> None:
    """An upgrade makes no work: the time says that they are right."""
    for source in tree:
        assert results(sync(source)) == {"json": "fresh", "md": "fresh"}
        assert source.with_suffix(".md").read_text() == OLD_PAGE


def test_an_old_page_is_made_new_when_its_source_is(tree: list[Path]) -> None:
    """And only that one."""
    save(tree[1], TEXTS, time_ns=LONG_AGO_NS + 60 * SECOND_NS)
    assert [results(sync(source))["md"] for source in tree] == ["fresh", "rendered", "fresh", "fresh"]
    pages = [source.with_suffix(".md").read_text() for source in tree]
    assert pages == [OLD_PAGE, NEW_PAGE, OLD_PAGE, OLD_PAGE]


@pytest.mark.parametrize("edited", [OLD_PAGE, OLD_PAGE + "Checked by Ada.\n"])
def test_an_old_page_that_was_written_since_is_kept(tree: list[Path], edited: str) -> None:
    """Edited, or copied without its time: it differs from what would be written now."""
    page = tree[2].with_suffix(".md")
    page.write_text(edited)
    assert results(sync(tree[2])) == {"json": "fresh", "md": "kept"}
    assert page.read_text() == edited


def test_force_makes_every_old_page_new(tree: list[Path]) -> None:
    """The one command of an upgrade; afterwards all is fresh."""
    for source in tree:
        assert results(sync(source, force=True)) == {"json": "rendered", "md": "rendered"}
        assert source.with_suffix(".md").read_text() == NEW_PAGE
        assert results(sync(source)) == {"json": "fresh", "md": "fresh"}


def test_a_new_page_that_lost_its_time_is_adopted(tree: list[Path]) -> None:
    """As ever: the same bytes as would be written."""
    page = tree[0].with_suffix(".md")
    page.write_text(NEW_PAGE)
    assert results(sync(tree[0])) == {"json": "fresh", "md": "adopted"}
    assert page.stat().st_mtime_ns == LONG_AGO_NS
