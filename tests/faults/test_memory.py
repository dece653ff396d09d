"""Fault 34: great files, very many directories, very many hints; memory stays where it is."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Final

import hostile
import numpy as np
import pytest
from faults.tools import quick_directory, start_sweep
from support import need, objects, peak_kilobytes, python, wait_for

GIGABYTE: Final = 1_000_000_000
BOUND_KILOBYTES: Final = 120_000
"""The largest process of a sweep."""
BATCH: Final = 1000
_TEXT: Final = "00000000 A sentence of some length, as a model makes them.\n" * 18
"""Its first eight characters are a number, another one in each text."""


def sweep_figures(root: Path) -> tuple[dict[str, Any], int]:
    """Sweep a tree in a process of its own; return its sums, and its largest process in kilobytes."""
    with (root.parent / f"{root.name}.log").open("w+b") as log:
        sweep = start_sweep(root, stderr=log)
        peak = 0

        def is_over() -> bool:
            # not from the usage that wait4(2) reports: there a program starts with what its parent had
            nonlocal peak
            peak = max([peak, *map(_peak_or_none, processes_of(sweep.pid))])
            return sweep.poll() is not None

        wait_for(is_over, 500)
        log.seek(0)
        last = json.loads(log.read().splitlines()[-1])
    os.unlink(log.name)
    assert sweep.returncode == 0
    assert last["event"] == "sweep.finished"
    assert peak, "it was too quick to be seen"
    return last, peak


def processes_of(group: int) -> list[int]:
    """Name a process and its children."""
    try:
        children = Path(f"/proc/{group}/task/{group}/children").read_text().split()
    except OSError:
        return []
    return [group, *map(int, children)]


def _peak_or_none(pid: int) -> int:
    try:
        return peak_kilobytes(pid)
    except (OSError, LookupError):  # it has ended
        return 0


def write_fixed_texts(path: Path, size: int) -> int:
    """Write a ``U`` array of this many bytes; return the number of its texts."""
    rest = _TEXT[8:].encode("utf-32-le")
    count = size // (4 * len(_TEXT))
    with path.open("wb") as file:
        file.write(hostile.npy(descr=f"'<U{len(_TEXT)}'", shape=f"({count},)"))
        for number in range(count):
            file.write(f"{number:08}".encode("utf-32-le") + rest)
    return count


def write_objects(path: Path, size: int) -> int:
    """Write an object array of about this many bytes, as numpy 1 does; return the number of its texts."""
    text = hostile.text(_TEXT)
    batches = size // (len(text) * BATCH)
    whole = hostile.array(text, batches * BATCH)
    start = whole.index(text)
    with path.open("wb") as file:
        file.write(hostile.npy(whole[:start], shape=f"({batches * BATCH},)"))
        for number in range(batches):
            texts = (text[:5] + b"%08d" % (number * BATCH + item) + text[13:] for item in range(BATCH))
            file.write((b"(" if number else b"") + b"".join(texts) + b"e")
        file.write(whole[start + len(text) + 1 :])
    return batches * BATCH


@pytest.mark.faults
@pytest.mark.parametrize(
    ("write", "size"), [(write_fixed_texts, 4 * GIGABYTE), (write_objects, 2 * GIGABYTE)]
)
def test_fault_34_a_file_of_gigabytes(write: Any, size: int) -> None:
    """4 GB of ``U``, 2 GB of objects: both sidecars, whole, in the memory of a small one."""
    with quick_directory() as root:
        need(shutil.disk_usage(root).free > 2 * size, "there is not enough room")
        source = root / "great_completions.npy"
        count = write(source, size)
        sums, peak = sweep_figures(root)
        assert sums["rendered"] == 2
        assert peak < BOUND_KILOBYTES
        assert source.with_suffix(".json").stat().st_size > count * len(_TEXT)
        with source.with_suffix(".md").open("rb") as page:
            page.seek(-2 * len(_TEXT), os.SEEK_END)
            assert f"## Completion {count}\n".encode() in page.read()


@pytest.mark.faults
def test_fault_34_a_hundred_thousand_directories() -> None:
    """A sweep of all of them, and of a source in each hundredth."""
    with quick_directory() as root:
        for number in range(100_000):
            folder = root / f"d{number % 300}" / f"e{number}"
            folder.mkdir(parents=True)
            if number % 100 == 0:
                (folder / "n1_completions.npy").write_bytes(hostile.good_u_file())
        sums, peak = sweep_figures(root)
        assert sums["rendered"] == 2000
        assert peak < BOUND_KILOBYTES


GREEDY_KILOBYTES: Final = 250 << 10
_CONVERSION: Final = """
import os, sys
from lib.options import Options
from lib.sync.engine import sync_source
outcome = sync_source(os.open(sys.argv[1], os.O_RDONLY), "n1_completions.npy", Options())
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print(peak, sum(os.times()[:2]), outcome.reason if outcome.result == "failed" else "")
"""


def _sparse_rows(file: Any) -> None:
    start = hostile.npy(descr="'<U15000000'", shape="(34,)")
    file.write(start)
    file.truncate(len(start) + 34 * 60_000_000)


def _great_item(file: Any) -> None:
    text = b"X" + (10_000_000).to_bytes(4, "little") + b"y" * 10_000_000
    start, end = hostile.array(b"](" + hostile.text("!") + b"e", 1).split(hostile.text("!"))
    file.write(hostile.npy(start, shape="(1,)"))
    for _ in range(200):
        file.write(text)
    file.write(end)


def _great_row(file: Any) -> None:
    rows = np.full((2, 120), "z" * 250_000, dtype="<U250000", order="F")
    rows[1, 1] = "another"
    np.save(file, rows)


_WORDS: Final = "a word\n"


def _message(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _chat(begin: str, count: int) -> list[dict[str, str]]:
    return [_message(f"{begin} {number} 😀 {'a word ' * 140}") for number in range(count)]


GREEDY: Final[dict[str, tuple[Any, str]]] = {
    "34 sparse texts of 60 MB": (_sparse_rows, ""),
    "one item of 200 texts of 10 MB": (_great_item, "item 1: an item takes more than 128 MiB"),
    "two rows of 120 MB in Fortran order": (_great_row, ""),
    "a text of 250 MB of control characters": (
        lambda file: np.save(file, objects(["\x01" * 250_000_000])),
        "item 1: its pickle asks for 250,000,000 bytes",
    ),
    "a text of 60 MB of control characters": (
        lambda file: np.save(file, objects(["\x01" * 60_000_000])),
        "item 1: an item takes more than 128 MiB as it is rendered",
    ),
    "a text of 60 MB of prose": (
        lambda file: np.save(file, objects(["a few words\nand more\n\n" * 2_800_000])),
        "",
    ),
    "a text of 60 MB of code fences": (lambda file: np.save(file, objects(["```\ncode\n" * 6_600_000])), ""),
    "a text of 20 MB of C1 controls": (lambda file: np.save(file, objects(["\x9b" * 10_000_000])), ""),
    "an item of two texts of 60 MB": (
        lambda file: np.save(file, objects([["x" * 60_000_000, "y" * 60_000_000]])),
        "",
    ),
    "an item of millions of numbers": (lambda file: np.save(file, objects([[10**6] * 3_000_000])), ""),
    "a text of 60 MB with an emoji": (lambda file: np.save(file, objects([_WORDS * 8_500_000 + "😀"])), ""),
    "the same in code fences": (lambda file: np.save(file, objects(["# a\n```\n" * 7_500_000 + "😀"])), ""),
    "a chat of two messages of 60 MB": (
        lambda file: np.save(file, objects([[_message(_WORDS * 8_500_000), _message("😀\n" * 7_000_000)]])),
        "",
    ),
    "two chats of 110,000 messages with emoji": (
        lambda file: np.save(file, objects([_chat(number, 110_000) for number in "12"])),
        "",
    ),
    "a chat whose messages have other things": (
        lambda file: np.save(file, objects([[{**_message("x"), "calls": [_WORDS * 8_500_000, "😀" * 99]}]])),
        "",
    ),
    "a key of 60 MB with an emoji": (lambda file: np.save(file, objects([{"k" * 60_000_000 + "😀": 1}])), ""),
    "a row of texts with emoji": (
        lambda file: np.save(file, np.array([[m["content"] for m in _chat("1", 110_000)]], dtype=object)),
        "",
    ),
    "an item of bytes in Latin-1": (
        lambda file: np.save(file, objects([[b"%d" % n + b"caf\xe9 " * 200 for n in range(100_000)]])),
        "",
    ),
    "a row of millions of short texts": (
        lambda file: np.save(file, np.array([[b"x%d" % number for number in range(2_000_000)]])),
        "",
    ),
    "an item of millions of short texts": (
        lambda file: np.save(file, objects([list(map(str, range(3_000_000)))])),
        "item 1: an item takes more than 128 MiB",
    ),
    "an item of references to texts with emoji": (
        lambda file: np.save(file, objects(_referred_to([m["content"] for m in _chat("1", 100_000)]))),
        "",
    ),
    "three items of 28 MB and references into them": (
        lambda file: np.save(file, objects(_with_references())),
        "",
    ),
}


def _referred_to(texts: list[str]) -> list[Any]:
    return [*texts, texts]


def _with_references() -> list[Any]:
    great = [[f"{letter}{number:07d}" + "w" * 270 for number in range(100_000)] for letter in "abc"]
    return great + [great[number % 3][number * 7 % 100_000] for number in range(100_000)]


@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", GREEDY)
def test_fault_46_a_small_file_that_asks_for_much(name: str) -> None:
    """Converted, or refused by the number of its item; below 250 MiB in either case."""
    write, reason = GREEDY[name]
    with quick_directory() as root:
        with (root / "n1_completions.npy").open("wb") as file:
            write(file)
        told = python(_CONVERSION, root).split(maxsplit=2)
        assert int(told[0]) < GREEDY_KILOBYTES
        assert float(told[1]) < 30
        assert "".join(told[2:]).startswith(reason)
        assert bool(told[2:]) == bool(reason)


_HINTS: Final = """
import resource
from daemon.workers.process_pool import ProcessPool
from daemon.schedule.scheduler import Scheduler
from lib.sync.walk import Task
from lib.options import Options
scheduler = Scheduler(ProcessPool(1, Options()), Options(), 0.5, None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
taken = 0
for number in range(10**6):
    taken += scheduler.hint(Task("/data", ("run", str(number)), "n1_completions.npy"), 0.0, closed=True)
print(taken, len(scheduler.queue), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_fault_34_a_million_hints_at_once() -> None:
    """The table takes what it can hold and leaves the rest to a sweep."""
    taken, pending, kilobytes = map(int, python(_HINTS).split())
    assert taken == pending == 50_000
    assert kilobytes < 60_000
