"""``make demo``: two small generations, one sweep, and what appears beside them; nothing is left behind."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

import numpy as np  # noqa: E402 (the path comes first: the demo also runs where nothing is installed)

from lib.generation import get_generation_cache_path, save_generations_to_cache  # noqa: E402 (see above)

PROMPT = "Name an animal."
ANSWERS = ["A red panda.", "```python\nprint('a fence that max_tokens left open')", ""]


def say(text: str = "") -> None:
    """Print one line, at once: the sweep writes to the same terminal."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show_tree(directory: Path) -> None:
    """Print every file below a directory, indented as it lies."""
    for path in sorted(directory.rglob("*")):
        depth = len(path.relative_to(directory).parts)
        say(f"{'  ' * depth}{path.name}{'/' if path.is_dir() else ''}")


def main(directory: Path) -> None:
    """Save, sweep, show."""
    experiments = directory / "experiments"
    cache_path = get_generation_cache_path("gemma", "base", "animals", 3, 100, 1.0, base_dir=experiments)
    say("1. A generation run saves its texts with lib.generation; both sidecars come with the arrays.")
    metadata = {"model_name": "google/gemma-2-27b-it", "timestamp": "2025-11-13 02:52:15"}
    save_generations_to_cache(cache_path, [f"{PROMPT} {answer}" for answer in ANSWERS], ANSWERS, metadata)
    say("2. Another run knows nothing of this project and saves with numpy: try_completions.npy")
    np.save(experiments / "try_completions.npy", np.array(["Hello", "world"], dtype=object))
    say("3. generation-sidecars --backfill makes what is missing:")
    say()
    sweep = [sys.executable, "-m", "daemon", "--backfill", str(experiments), "--log-format", "console"]
    subprocess.run(sweep, cwd=REPOSITORY, check=True)
    say()
    say("4. This is there now:")
    say()
    show_tree(directory)
    say()
    page = Path(f"{cache_path}_completions.md")
    say(f"5. And this is {page.name}; the open fence in the second answer could not break it:")
    say()
    say(page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="generation-sidecars-demo-") as scratch:
        main(Path(scratch))
    say(f"That was all; the demo's files are removed again from {scratch}")
