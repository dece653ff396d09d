"""The contestants: each makes both sidecars of one source, or of all below a directory, in a fresh process.

    python benchmarks/contestants.py NAME SOURCE|DIRECTORY [REPEATS]

For one source it prints the seconds of each repeat, without the imports: all are warm, as a service or a long
script is.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data import remove_sidecars
from plain import plain_script

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK: Final = 1 << 20


def ours(source: Path) -> None:
    """Convert with this project's engine, with all its flushing, in a process tuned as a worker is."""
    from lib.files.reader import open_directory
    from lib.options import Options
    from lib.sync.engine import sync_source

    with open_directory(str(source.parent)) as directory:
        outcome = sync_source(directory, source.name, Options())
    if outcome.result != "rendered":
        raise SystemExit(f"{source}: {outcome.reason}")


def plain_script_flushed(source: Path) -> None:
    """Convert as everybody does, and wait for the disk."""
    plain_script(source)
    for suffix in (".json", ".md"):
        with source.with_suffix(suffix).open("rb") as file:
            os.fsync(file.fileno())


def floor(source: Path) -> None:
    """Do what no converter can do without: read as many bytes, write as many as both sidecars have, flush."""
    sizes = [source.with_suffix(f".floor{suffix}").stat().st_size for suffix in (".json", ".md")]
    block = b"x" * _CHUNK
    with source.open("rb", buffering=0) as file:
        while file.read(_CHUNK):
            pass
    for suffix, size in zip((".json", ".md"), sizes, strict=True):
        with source.with_suffix(suffix).open("wb", buffering=0) as file:
            for start in range(0, size, _CHUNK):
                file.write(block[: min(_CHUNK, size - start)])
            os.fsync(file.fileno())


CONTESTANTS: Final[dict[str, Callable[[Path], None]]] = {
    "ours": ours,
    "plain": plain_script,
    "plain flushed": plain_script_flushed,
    "floor": floor,
}


def main() -> None:
    """Convert, a few times if asked to, and print the seconds of each."""
    import numpy as np  # noqa: F401  # warm, for everybody

    from daemon.workers.worker import tune
    from lib.npy import fixed_width as texts  # noqa: F401  # the same

    convert, path = CONTESTANTS[sys.argv[1]], Path(sys.argv[2])
    if path.is_dir():
        for source in sorted(path.rglob("*_completions.npy")):
            convert(source)
        return
    if convert is ours:
        tune()
    for _ in range(int(sys.argv[3]) if len(sys.argv) > 3 else 1):
        remove_sidecars(path)
        began = time.perf_counter()
        convert(path)
        print(time.perf_counter() - began)


if __name__ == "__main__":
    main()
