"""The script that everybody writes: python plain.py SOURCE."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np


def plain_script(source: Path) -> None:
    """Convert as everybody does: np.load, json.dump, a loop of f-strings; nothing is flushed."""
    items = np.load(source, allow_pickle=True)
    with source.with_suffix(".json").open("w", encoding="utf-8") as file:
        json.dump(items.tolist(), file, indent=2, ensure_ascii=False)
    with source.with_suffix(".md").open("w", encoding="utf-8") as file:
        file.write(
            f"# Completions Only\n\n**Model:** m\n**Generated:** now\n**Count:** {len(items)}\n\n---\n\n"
        )
        for number, text in enumerate(items, 1):
            file.write(f"## Completion {number}\n\n{text}\n\n---\n\n")


if __name__ == "__main__":
    plain_script(Path(sys.argv[1]))
