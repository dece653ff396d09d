"""Reading and rendering whole files: caches of every age, hostile ones, and files cut short or damaged."""

from __future__ import annotations

import io
import json
import math
from functools import partial
from typing import TYPE_CHECKING, Any

import hostile
import numpy as np
import pytest
from make_caches import plain as plain_of_manifest
from support import (
    AGES,
    DATA,
    MemoryBytes,
    as_json,
    finite,
    flat_items,
    frugally,
    is_read,
    keys_are_plain,
    manifest_of,
    npy,
    promptly,
    python,
    render_bytes,
)

from lib.encoded_text import decoded
from lib.errors import Corrupt, NotText, SidecarError, TooLarge, Unfinished, Unsafe
from lib.npy.array_reader import read_items, read_whole
from lib.npy.fixed_width import BLOCK_BYTES
from lib.npy.header import read_header

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = hostile.hostile_files()


@pytest.mark.parametrize("age", AGES)
def test_every_age_of_numpy_gives_the_same_json(age: str) -> None:
    """Each file of the corpus renders as what its own numpy read, byte for byte."""
    read = 0
    for entry in manifest_of(age):
        data = (DATA / age / entry["file"]).read_bytes()
        if 0 in entry["shape"] and not entry["read"]:
            assert render_bytes(data)[0] == b"[]"
            continue
        if not entry["read"]:
            with pytest.raises(NotText):
                render_bytes(data)
            continue
        expected = plain_of_manifest(entry["value"], decoded)
        if keys_are_plain(expected):
            got, wanted = render_bytes(data)[0], as_json(finite(expected))
            if age.endswith("py2.7"):  # its dictionaries had no order to keep
                got, wanted = json.loads(got), json.loads(wanted)
            assert got == wanted, entry["file"]
            read += 1
        else:
            with pytest.raises(Corrupt, match="neither text nor a number"):
                render_bytes(data)
    assert read >= 80


@pytest.mark.parametrize("name", ["ascii", "chat", "dict", "list", "tuple", "shared_list", "3d", "0d"])
def test_what_python_2_called_str_is_loaded_as_numpy_loads_it(name: str) -> None:
    """As text, at any depth."""
    path = DATA / "numpy-1.16.6-py2.7" / f"object_{name}_completions.npy"
    array = np.load(path, allow_pickle=True)
    assert repr(read_whole(MemoryBytes(path.read_bytes()))) == repr(array.tolist())


def test_what_python_2_called_str_is_text_where_numpy_refuses_it() -> None:
    """UTF-8, else Latin-1; the bytes of an array inside an item stay bytes."""
    directory = DATA / "numpy-1.16.6-py2.7"
    utf8, latin1, array = (
        read_whole(MemoryBytes((directory / f"{name}_completions.npy").read_bytes()))
        for name in ("py2_utf8", "py2_latin1", "object_of_s_array")
    )
    assert utf8 == ["café €", "café", "plain"]
    assert latin1[0] == "café ü"
    assert array == ["a", [b"ab", b"c"]]


@pytest.mark.parametrize("age", AGES)
def test_a_limit_reads_the_first_items_of_every_age(age: str) -> None:
    """The first items are the same whether or not the rest is read."""
    for entry in manifest_of(age):
        source = MemoryBytes((DATA / age / entry["file"]).read_bytes())
        if entry["read"] and "tuple_key" not in entry["file"]:
            whole = [item for block in read_items(source) for item in block]
            for limit in (1, 2, 3):
                some = [item for block in read_items(source, limit=limit) for item in block]
                assert repr(some).split(" at 0x")[0] == repr(whole[:limit]).split(" at 0x")[0], entry["file"]


@pytest.mark.parametrize("case", HOSTILE, ids=[case[0] for case in HOSTILE])
def test_a_hostile_file_is_refused_at_once(case: hostile.Case) -> None:
    """Each is refused with the right error, a reason, and in under a second (what is written out: ten)."""
    name, make, expected = case
    data = make()

    def refuse() -> SidecarError:
        with pytest.raises(SidecarError) as caught:
            render_bytes(data, output_limit=1 << 24)
        return caught.value

    fault = promptly(10 if name.startswith("bomb_") else 1, refuse)
    assert {base.__name__ for base in type(fault).mro()} & hostile.ACCEPTED[expected], fault.reason
    assert 10 < len(fault.reason) < 300
    assert fault.reason[0].islower()
    assert not fault.reason.endswith(".")
    assert fault.hint


FLAT = [
    case for case in HOSTILE if case[0].startswith(("flood_", "deep_", "length_", "memo_", "vast_", "empty_"))
]


@pytest.mark.faults
def test_hostile_files_take_no_memory() -> None:
    """Refusing a flood takes a few times the bytes of one block, not of what the file promises."""
    assert len(FLAT) > 150
    for name, make, _ in FLAT:
        assert not frugally(48_000_000, partial(is_read, make())), name


def test_files_cut_short_are_unfinished() -> None:
    """A good file cut at any byte may still be being written: it is waited for, not refused."""
    for name, make, _ in hostile.truncated_files():
        with pytest.raises(Unfinished) as caught:
            render_bytes(make())
        assert "end" in caught.value.reason or "bytes" in caught.value.reason, name


@pytest.mark.parametrize("descr", ["U", "S", "O"])
@pytest.mark.parametrize("shape", [(2, 3), (3, 1, 2), (700, 3), (1, 1)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_tables_are_nested_lists(descr: str, shape: tuple[int, ...], order: Any) -> None:
    """An array of more dimensions gives rows as ``tolist`` does, in either order of memory."""
    texts = [f"text {number}" for number in range(math.prod(shape))]
    array = np.array(np.array(texts, dtype=descr).reshape(shape), order=order)
    assert flat_items(npy(array)) == array.tolist()
    assert flat_items(npy(array), limit=2) == array.tolist()[:2]


@pytest.mark.parametrize("shape", [(0,), (0, 5), (3, 0), (2, 0, 2), (2, 2, 0)])
@pytest.mark.parametrize("descr", ["<U3", "S2", "O", "f8", ">i4", "?", "c16", "M8[s]", "V3"])
def test_fault_45_arrays_without_items_are_empty_lists(descr: str, shape: tuple[int, ...]) -> None:
    """The lists of an array that holds nothing are those that ``tolist`` gives, whatever its dtype."""
    array = np.empty(shape, dtype=descr)
    assert flat_items(npy(array)) == read_whole(MemoryBytes(npy(array))) == array.tolist()
    assert render_bytes(npy(array))[0] == as_json(array.tolist())


@pytest.mark.parametrize("descr", ["<U600", ">U600", "S2400"])
@pytest.mark.parametrize("shape", [(2, 150), (3, 7, 20), (1, 2, 3, 30)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_great_rows_are_read_as_numpy_reads_them(descr: str, shape: tuple[int, ...], order: Any) -> None:
    """An item of more than a block is read a few texts at a time, in either order of memory."""
    texts = [
        f"{number} ".ljust(number % 600, "é" if "U" in descr else "e") for number in range(math.prod(shape))
    ]
    array = np.asarray(np.array(texts).reshape(shape).astype(descr), order=order)
    assert array[0].nbytes > BLOCK_BYTES
    assert read_whole(MemoryBytes(npy(array))) == np.load(io.BytesIO(npy(array))).tolist()
    assert flat_items(npy(array)) == np.array(texts).reshape(shape).tolist()


def test_a_file_that_shrinks_under_the_reader_is_told_apart() -> None:
    """Fewer bytes than a moment ago is a change, not a fault of the file."""

    class Shrinking(MemoryBytes):
        def read_at(self, offset: int, length: int) -> bytes:
            return super().read_at(offset, length) if offset < 12 else super().read_at(offset, length)[:-1]

    data = hostile.good_u_file()
    header = read_header(MemoryBytes(data))
    with pytest.raises(SidecarError, match="shorter while it was read"):
        list(read_items(Shrinking(data), header))


# --- memory

READER = """
import sys
from pathlib import Path
from lib.npy.fixed_width import BLOCK_BYTES
from lib.npy.header import read_header
from lib.npy.array_reader import read_items, read_whole
from lib.render.page import Page
from lib.render.stream import rendered
from lib.files.reader import open_directory, open_file
from lib.render.statistics import Statistics

with open_directory(sys.argv[1]) as directory, open_file(directory, sys.argv[2]) as source:
    header = read_header(source)
    page = Page("completions", None, header.count, header.count)
    statistics, size = Statistics(), 0
    for pieces in rendered(page, read_items(source, header), ("json", "md"), statistics):
        size += sum(map(len, pieces))
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
print(statistics.figures().records, size, peak.split()[1])
"""


def reader_figures(path: Path) -> tuple[int, int, int]:
    """Read and render a file in a process of its own: items, bytes written, and its peak in kilobytes."""
    records, size, peak = map(int, python(READER, path.parent, path.name).split())
    return records, size, peak


def big_object_file(path: Path, batches: int) -> int:
    """Write batches of a thousand texts of a kilobyte, as numpy 1 does; return the number of items."""
    text = hostile.text("A sentence of some length, as a model makes them.\n" * 20)
    count = batches * 1000
    data = hostile.array(text, count)
    start = data.index(text)
    assert data[start + len(text) :].startswith(b"e")
    with path.open("wb") as file:
        file.write(hostile.npy(data[:start], shape=f"({count},)"))
        for number in range(batches):
            file.write((b"(" if number else b"") + text * 1000 + b"e")
        file.write(data[start + len(text) + 1 :])
    return count


@pytest.mark.faults
def test_a_great_object_file_takes_little_memory(tmp_path: Path) -> None:
    """300 MB of pickled texts stream through less than 150 MB."""
    path = tmp_path / "big_completions.npy"
    count = big_object_file(path, 300)
    assert path.stat().st_size > 300_000_000
    records, size, peak = reader_figures(path)
    assert records == count
    assert size > 600_000_000
    assert peak < 150_000


@pytest.mark.faults
def test_a_great_file_of_fixed_texts_takes_little_memory(tmp_path: Path) -> None:
    """300 MB of ``U`` stream through less than 150 MB."""
    path = tmp_path / "big_completions.npy"
    row = "text ".ljust(1000, "x").encode("utf-32-le")
    with path.open("wb") as file:
        file.write(hostile.npy(descr="'<U1000'", shape="(75000,)"))
        for _ in range(750):
            file.write(row * 100)
    records, _, peak = reader_figures(path)
    assert records == 75_000
    assert peak < 150_000


def test_a_sparse_file_streams_as_far_as_it_is_wanted(tmp_path: Path) -> None:
    """256 GiB with a right header: the first items come at once."""
    path = tmp_path / "sparse_completions.npy"
    header = hostile.npy(descr="'<U64'", shape=f"({2**30},)")
    with path.open("wb") as file:
        file.write(header)
        try:
            file.truncate(len(header) + 2**38)
        except OSError as error:
            pytest.skip(f"this file system has no such files: {error}")
    from lib.files.reader import open_directory, open_file

    with open_directory(str(tmp_path)) as directory, open_file(directory, path.name) as source:
        assert [item for block in read_items(source, limit=5) for item in block] == [""] * 5


def test_a_long_integer_is_named_and_counts_only_when_it_is_shown() -> None:
    """As every item that no page shows."""
    source = MemoryBytes(npy(np.array(["a", 1 << 16_000, "b"], dtype=object)))
    assert list(read_items(source, limit=1)) == [["a"]]
    with pytest.raises(TooLarge, match=r"^item 2: "):
        list(read_items(source))


def test_one_item_has_a_limit_in_memory() -> None:
    """A single text of more than 256 MiB is refused before it is read."""
    with pytest.raises((Unsafe, Unfinished)):
        render_bytes(hostile.npy(b"\x80\x03" + b"X\xff\xff\xff\x7f" + b"."))
