"""The header: parsed strictly, evaluated never."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import hostile
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import MemoryBytes, frugally, promptly

from lib.errors import Corrupt, NotText, SidecarError, Unfinished, Unsafe
from lib.npy.header import DIMENSIONS_LIMIT, HEADER_BYTES_LIMIT, Header, empty_lists, read_header

if TYPE_CHECKING:
    from collections.abc import Callable


def read(data: bytes) -> Header:
    """Read the header of a file in memory."""
    return read_header(MemoryBytes(data))


def saved(array: Any, version: tuple[int, int] | None = None) -> bytes:
    """Return the bytes that numpy writes."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


def plain_header(descr: str, shape: str, fortran: str = "False") -> bytes:
    """Make a header without data."""
    return hostile.npy(descr=descr, shape=shape, fortran=fortran)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.filterwarnings("ignore:Stored array in format")
def test_every_version_of_the_format_is_read(version: tuple[int, int]) -> None:
    """Formats 1.0, 2.0 and 3.0 differ only in the width of a length and in the encoding."""
    data = saved(np.array(["abc", "d"]), version)
    header = read(data)
    assert (header.letter, header.characters, header.shape) == ("U", 3, (2,))
    assert len(data) - header.data_offset == 24


@given(
    dtype=st.sampled_from(["<U3", ">U3", "S5", "O", "U0", "S0"]),
    shape=st.lists(st.integers(0, 4), max_size=4).map(tuple),
    order=st.sampled_from("CF"),
)
def test_headers_of_numpy_are_read_as_numpy_reads_them(
    dtype: str, shape: tuple[int, ...], order: Any
) -> None:
    """Letter, item size, order and shape are those of the array that was saved."""
    array = np.ndarray(shape, dtype=dtype, order=order)
    if dtype == "O":
        array[...] = None
    header = read(saved(array))
    assert header.letter == array.dtype.kind
    assert header.shape == shape
    assert header.big_endian == dtype.startswith(">")
    assert header.fortran_order == (array.flags.f_contiguous and not array.flags.c_contiguous)
    assert header.count == (shape[0] if shape else 1)
    assert header.count * header.texts_per_item == array.size
    if dtype != "O":
        assert header.item_bytes == array.dtype.itemsize


def test_long_integers_of_python_2_are_sizes() -> None:
    """Python 2 wrote ``(3L,)`` on some machines."""
    assert read(hostile.npy(bytes(12), descr="'<U1'", shape="(3L,)")).shape == (3,)


@pytest.mark.parametrize("descr", ["'|O'", "'O'", "'|O8'", "'|O4'"])
def test_objects_have_several_names(descr: str) -> None:
    """An object dtype may tell the size of a pointer."""
    assert read(hostile.npy(bytes(3) + b".", descr=descr)).letter == "O"


@pytest.mark.parametrize("quote", "'\"")
def test_spaces_quotes_and_order_of_keys_do_not_matter(quote: str) -> None:
    """Other writers of the format lay their header out as they like."""
    header = " { 'shape' :( 3 , ) ,'fortran_order':True,  'descr':'<U1'} ".replace("'", quote)
    assert read(hostile.npy(bytes(12), header=header)).fortran_order


@pytest.mark.parametrize("length", range(len(hostile.good_u_file())))
def test_a_file_cut_anywhere_is_unfinished(length: int) -> None:
    """Every beginning of a good file may still grow into it."""
    with pytest.raises(Unfinished, match=r"ends after|bytes of the"):
        read(hostile.good_u_file()[:length])


@pytest.mark.parametrize(
    ("make", "error", "reason"),
    [
        (lambda: b"PK\x03\x04" + bytes(40), Corrupt, "it does not begin like an .npy file"),
        (lambda: hostile.npy(version=(9, 9)), Corrupt, "its .npy format version 9.9 is unknown"),
        (
            lambda: hostile.npy(header=b" " * 20_000),
            Corrupt,
            "its header claims 20,000 bytes; 10,000 are allowed",
        ),
        (lambda: hostile.npy(header="[]"), Corrupt, "its header is not a dictionary"),
        (lambda: hostile.npy(header=b"{\xff}", version=(3, 0)), Corrupt, "its header is not UTF-8"),
        (lambda: hostile.npy(header="{}"), Corrupt, "its header is not the one that numpy writes"),
        (lambda: plain_header("'<i8'", "(3,)"), NotText, "an array of '<i8', not text"),
        (lambda: plain_header("[('a', '<i4')]", "(3,)"), NotText, "a structured array, not text"),
        (lambda: plain_header("'<U1'", "'3'"), Corrupt, "its shape is not a tuple of sizes"),
        (lambda: plain_header("'<U1'", "(3)"), Corrupt, "its shape is not a tuple of sizes"),
        (lambda: plain_header("'<U1'", "(3 3,)"), Corrupt, "its shape is not a tuple of sizes"),
        (lambda: plain_header("True", "(3,)"), Corrupt, "its header has a value of the wrong type"),
        (lambda: hostile.good_u_file() + b"\0", Corrupt, "it has 1 bytes after its end"),
        (
            lambda: plain_header("'<U1'", f"({2**62},)"),
            Corrupt,
            "its header promises more bytes than a file can hold",
        ),
        (
            lambda: plain_header("'<U0'", f"({2**27},)"),
            Unsafe,
            "it promises millions of items and holds none",
        ),
        (
            lambda: plain_header("'|O'", "(300,)"),
            Unfinished,
            "it has 128 bytes, too few for the 300 items its header promises",
        ),
    ],
)
def test_a_refusal_says_what_is_wrong(
    make: Callable[[], bytes], error: type[SidecarError], reason: str
) -> None:
    """The reason is a clause about the file, with its numbers."""
    with pytest.raises(error) as caught:
        read(make())
    assert caught.value.reason == reason
    assert caught.value.hint.endswith(".")


def test_dimensions_have_a_limit() -> None:
    """Numpy 2 has 64 dimensions, and no file more."""
    ones = "(" + "1, " * DIMENSIONS_LIMIT + ")"
    assert len(read(hostile.npy(bytes(4), descr="'<U1'", shape=ones)).shape) == DIMENSIONS_LIMIT
    with pytest.raises(Corrupt, match="65 dimensions"):
        read(hostile.npy(bytes(4), descr="'<U1'", shape=ones.replace("(", "(1, ")))


class Endless:
    """A file of a vast size that gives its header and then zeros."""

    def __init__(self, header: bytes, size: int) -> None:
        self._header = header
        self.size = size

    def read_at(self, offset: int, length: int) -> bytes:
        """Return bytes of the header, or zeros."""
        return self._header[offset : offset + length].ljust(length, b"\0")


@pytest.mark.parametrize(
    ("descr", "shape", "reason"),
    [
        ("'<U16777217'", "(1,)", "a text takes 67,108,868 bytes; 67,108,864 are allowed"),
        ("'<U8'", "(1, 10000000)", "one item would take 320,000,000 bytes of memory"),
        ("'|S1'", "(1, 10000000)", "one item would be a list of 10,000,000 texts"),
    ],
)
def test_an_item_must_fit_into_memory(descr: str, shape: str, reason: str) -> None:
    """A sparse file may be as large as its header says, and still mean gigabytes at once."""
    header = plain_header(descr, shape)
    texts = read_sizes(shape)
    width = int(descr.strip("'").lstrip("<|US")) * (4 if "U" in descr else 1)
    with pytest.raises(Unsafe) as caught:
        read_header(Endless(header, len(header) + texts * width))
    assert caught.value.reason == reason


def read_sizes(shape: str) -> int:
    """Multiply the sizes of a shape."""
    return int(np.prod([int(size) for size in shape.strip("()").split(",") if size.strip()]))


def test_a_vast_file_of_small_items_is_fine() -> None:
    """256 GiB of texts are read block by block."""
    header = plain_header("'<U64'", f"({2**30},)")
    assert read_header(Endless(header, len(header) + 2**38)).count == 2**30


@pytest.mark.parametrize(
    ("shape", "lists"), [((), 1), ((3,), 3), ((0,), 1), ((0, 9), 1), ((3, 0), 3), ((2, 3, 0, 9), 6)]
)
def test_lists_of_an_empty_array_are_counted(shape: tuple[int, ...], lists: int) -> None:
    """What comes after the first zero makes no lists."""
    assert empty_lists(shape) == lists


@pytest.mark.parametrize(
    "case",
    [case for case in hostile.hostile_files() if case[0].startswith("header_")],
    ids=lambda case: case[0],
)
def test_no_header_takes_long_or_much(case: hostile.Case) -> None:
    """Each hostile header is refused in under 50 ms and one megabyte."""
    data = case[1]()

    def refuse() -> None:
        with pytest.raises(SidecarError):
            read(data)

    promptly(0.05, refuse)
    frugally(1_000_000, refuse)


@given(st.binary(max_size=HEADER_BYTES_LIMIT // 50), st.sampled_from([(1, 0), (2, 0), (3, 0)]))
def test_any_bytes_as_a_header_give_one_of_our_errors(header: bytes, version: tuple[int, int]) -> None:
    """Whatever the header says, what escapes is a SidecarError."""
    with pytest.raises(SidecarError):
        read(hostile.npy(b"data", header=header, version=version))


@pytest.mark.parametrize(
    ("data", "keeper", "command"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "git-lfs", "git lfs pull"),
        (b"/annex/objects/SHA256E-s9--4d7a.npy\n", "git-annex", "git annex get"),
    ],
)
def test_a_pointer_says_how_to_get_the_array(data: bytes, keeper: str, command: str) -> None:
    """What git checked out stands for it."""
    with pytest.raises(Corrupt) as caught:
        read(data)
    assert caught.value.reason == f"it is a pointer of {keeper}, not the array itself"
    assert caught.value.hint == f"Get the array: {command}"
