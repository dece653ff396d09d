"""Measure everything, print a line at a time, and write the table into benchmarks/README.md.

python benchmarks/run.py [--directory DIR] [--write] [PART ...]

PART is one or more of converting, watching, sweeping, weighing; without, all are run.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import tempfile
from pathlib import Path
from typing import Final

from measuring import HERE, Row

README: Final = HERE / "README.md"
PARTS: Final = ("converting", "watching", "sweeping", "weighing")
HEAD: Final = "| what | generation-sidecars | beside it |\n| --- | --- | --- |"


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--directory", type=Path, help="on the disk that is to be measured (default: TMPDIR)")
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/README.md")
    given = parser.parse_args()
    parts = given.parts or PARTS
    if "watching" in parts and shutil.which("inotifywait") is None:
        parser.error("inotifywait is missing. On Debian or Ubuntu: sudo apt install inotify-tools")
    for part in parts:
        rows = []
        print(f"\n{part}\n\n{HEAD}", flush=True)
        with tempfile.TemporaryDirectory(dir=given.directory) as directory:
            for row in importlib.import_module(part).rows(Path(directory)):
                print(row, flush=True)
                rows.append(row)
        if given.write:
            _write(part, rows)


def _write(part: str, rows: list[Row]) -> None:
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    before, rest = README.read_text("utf-8").split(begin)
    table = "\n".join([HEAD, *map(str, rows)])
    README.write_text(f"{before}{begin}\n\n{table}\n\n{end}{rest.split(end)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
