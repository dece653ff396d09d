"""Coverage-guided fuzzing of the readers: any bytes are read and rendered, or refused with one of our errors.

    python tests/fuzz/fuzz_readers.py --seconds 600

It starts from the short files of every age and the hostile ones.  An exception that is not ours, an input
that takes more than a second, or memory beyond the bound ends it with a status that is not 0, and leaves the
input in ``tests/fuzz/corpus``, where it is a row of ``test_corpus.py`` from then on: mend the reader, and
keep it.  Needs atheris.  libFuzzer's own flags, and a directory for what it learns, may follow.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

import atheris  # noqa: E402  # the path comes first

with atheris.instrument_imports(include=["lib"]):
    from support import AGES, DATA, is_read


import hostile  # noqa: E402

LARGEST = 4096
"""Bytes of an input: what matters in a reader can be said in so many."""
OUTPUT_LIMIT = 1 << 20
SLOW_SECONDS = 1.0
HANG_SECONDS = 30
"""By the clock on the wall: the machine may be busy."""
MEMORY_MEGABYTES = 400
"""More for one input."""
ALL_MEMORY_MEGABYTES = 4000
"""Of the fuzzer: its instrumentation keeps some 700 bytes of each input, which without it are let go."""


def one_input(data: bytes) -> None:
    """Read and render, or refuse, in a second of the processor's time and a bound of memory."""
    began, before = time.process_time(), most_megabytes()
    is_read(data, output_limit=OUTPUT_LIMIT)
    if time.process_time() - began > SLOW_SECONDS:
        raise AssertionError("it took more than a second")
    if most_megabytes() - before > MEMORY_MEGABYTES:
        raise AssertionError(f"it took more than {MEMORY_MEGABYTES} megabytes")


def most_megabytes() -> int:
    """Return the most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def lay_out_seeds(directory: Path) -> None:
    """Write the files to start from."""
    whole = [path.read_bytes() for age in AGES for path in sorted((DATA / age).glob("*.npy"))]
    made = [make() for _, make, _ in hostile.hostile_files()]
    for number, data in enumerate(data for data in (*whole, *made) if len(data) <= LARGEST):
        (directory / str(number)).write_bytes(data)


def main() -> None:
    """Fuzz for a while."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    given, flags = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as seeds:
        lay_out_seeds(Path(seeds))
        limits = [f"-max_len={LARGEST}", f"-timeout={HANG_SECONDS}", f"-rss_limit_mb={ALL_MEMORY_MEGABYTES}"]
        limits += [f"-max_total_time={given.seconds}", f"-artifact_prefix={CORPUS}/"]
        atheris.Setup([sys.argv[0], *limits, *flags, seeds, str(CORPUS)], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
