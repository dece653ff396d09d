r"""The header of an ``.npy`` file, parsed strictly and without evaluating anything.

Format: the docstring of ``numpy.lib.format`` (NEP 1).  Magic ``\x93NUMPY``, two version bytes, the header's
length (two bytes in 1.0, four in 2.0 and 3.0, little endian), then a Python dictionary literal with exactly
the keys ``descr``, ``fortran_order`` and ``shape``, padded with spaces and ended by a newline.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lib.errors import Corrupt, NotText, TooLarge, Unfinished, Unsafe

if TYPE_CHECKING:
    from lib.npy.buffer import Bytes

MAGIC: Final = b"\x93NUMPY"
HEADER_BYTES_LIMIT: Final = 10_000
"""numpy refuses longer headers too; one of a text array has about 120 bytes."""
DIMENSIONS_LIMIT: Final = 64
TEXT_BYTES_LIMIT: Final = 64 << 20
ITEM_BYTES_LIMIT: Final = 128 << 20
"""One item (one text, or one row of a table) must fit into memory, as it is stored and as it is rendered."""
VALUE_BYTES: Final = 32
"""Each value counts as at least these of its item's."""
ITEM_VALUES_LIMIT: Final = ITEM_BYTES_LIMIT // VALUE_BYTES
EMPTY_ITEMS_LIMIT: Final = 1 << 20
"""The most items that may take no bytes at all; more is a bomb (``<U0`` × 2**27 takes numpy a gigabyte)."""
_STOP: Final = b"."
"""The last byte of every pickle."""
_POINTERS: Final = {
    b"version https://git-lfs.github.com/spec/": ("git-lfs", "git lfs pull"),
    b"/annex/objects/": ("git-annex", "git annex get"),
}
"""How files begin that stand for an array stored elsewhere."""
_FIELDS_OF_OBJECTS: Final = "fields of objects"
_LENGTH_BYTES: Final = {(1, 0): 2, (2, 0): 4, (3, 0): 4}
_PAIR: Final = re.compile(r"\s*'(\w{1,32})'\s*:\s*('[^'\\]{0,64}'|True|False|\([0-9L,\s]*\)|\[)\s*,?")
_AFTER_FIELDS: Final = re.compile(
    r"\]\s*,\s*'fortran_order'\s*:\s*(True|False)\s*,\s*'shape'\s*:\s*(\([0-9L,\s]*\))\s*,?\s*\}"
)
_SHAPE: Final = re.compile(r"\(\s*\)|\((\s*[0-9]{1,20}L?\s*,)+(\s*[0-9]{1,20}L?)?\s*\)")
"""Python 2 wrote long integers with an L."""
_TEXT_DTYPE: Final = re.compile(r"[<>|=]?([US])([0-9]{1,25})")
_NUMBER_DTYPE: Final = re.compile(r"[<>|=]?([biuf])([1248])")
_OBJECT_DTYPE: Final = re.compile(r"\|?O[0-9]?")


@dataclass(frozen=True, slots=True)
class Header:
    """What a text array's header says: how items are stored, their shape, where the data begins (bytes)."""

    letter: str
    """``U`` (UCS-4), ``S`` (bytes) or ``O`` (a pickle); of numbers ``b``, ``i``, ``u`` or ``f``."""
    characters: int
    """Length of one item in characters (``U``) or bytes; 0 for ``O``."""
    big_endian: bool
    fortran_order: bool
    shape: tuple[int, ...]
    data_offset: int

    @property
    def item_bytes(self) -> int:
        """Size of one text of a ``U`` or ``S`` array in bytes."""
        return self.characters * (4 if self.letter == "U" else 1)

    @property
    def count(self) -> int:
        """Number of items along the first axis: what a page numbers.  A 0-d array is one item."""
        return self.shape[0] if self.shape else 1

    @property
    def texts_per_item(self) -> int:
        """Number of array elements in one item."""
        return math.prod(self.shape[1:])


def read_header(source: Bytes, *, whole: bool = False) -> Header:
    """Parse the header, and compare it with the size of the file, and with the last byte of a pickle.

    To read the array as a ``whole``, numbers and booleans are allowed, and items of any size.

    :raises Unfinished: the file is shorter than its header says, or does not end as a pickle does.
    :raises NotText: the header is sound, but the array does not hold text.
    :raises Corrupt: this is not what numpy writes.
    :raises Unsafe: reading it would take more memory than is allowed.
    """
    text, data_offset = _header_text(source)
    descr, fortran_order, shape = _three_values(text)
    header = _typed(descr, fortran_order, shape, data_offset, numbers=whole)
    if descr == _FIELDS_OF_OBJECTS:  # no items, but a pickle that says so
        return header
    _check_sizes(header, source.size)
    if not whole:
        _check_item(header)
    if header.letter == "O" and source.read_at(source.size - 1, 1) != _STOP:
        raise Unfinished("it does not end where numpy's data ends: cut short, or still being written")
    return header


def _header_text(source: Bytes) -> tuple[str, int]:
    start = source.read_at(0, 12)
    if not MAGIC.startswith(start[:6]):
        raise _not_an_array(source)
    if len(start) < 12:
        raise Unfinished(f"it ends after {len(start)} bytes, inside its header")
    version = (start[6], start[7])
    width = _LENGTH_BYTES.get(version)
    if width is None:
        raise Corrupt(f"its .npy format version {version[0]}.{version[1]} is unknown")
    length = int.from_bytes(start[8 : 8 + width], "little")
    if length > HEADER_BYTES_LIMIT:
        raise Corrupt(f"its header claims {length:,} bytes; {HEADER_BYTES_LIMIT:,} are allowed")
    raw = source.read_at(8 + width, length)
    if len(raw) < length:
        raise Unfinished(f"it ends after {source.size:,} bytes, inside its header")
    try:
        return raw.decode("utf-8" if version == (3, 0) else "latin-1"), 8 + width + length
    except UnicodeDecodeError:
        raise Corrupt("its header is not UTF-8") from None


def _not_an_array(source: Bytes) -> Corrupt:
    """Return the error for a file that does not begin like an array."""
    start = source.read_at(0, 256)
    for beginning, (keeper, command) in _POINTERS.items():
        if start.startswith(beginning):
            return Corrupt(
                f"it is a pointer of {keeper}, not the array itself", hint=f"Get the array: {command}"
            )
    return Corrupt("it does not begin like an .npy file")


def _three_values(text: str) -> tuple[str, bool, tuple[int, ...]]:
    body = text.strip().replace('"', "'")  # other writers of the format quote as they like
    if not (body.startswith("{") and body.endswith("}")):
        raise Corrupt("its header is not a dictionary")
    values: dict[str, str] = {}
    position = 1
    while match := _PAIR.match(body, position):
        key, value = match.groups()
        if key == "descr" and value == "[":
            return _structured(body, position)
        if key in values:
            raise Corrupt(f"its header names {key} twice")
        values[key] = value
        position = match.end()
    if body[position:].strip() != "}" or sorted(values) != ["descr", "fortran_order", "shape"]:
        raise Corrupt("its header is not the one that numpy writes")
    if values["fortran_order"] not in {"True", "False"} or not values["descr"].startswith("'"):
        raise Corrupt("its header has a value of the wrong type")
    return values["descr"][1:-1], values["fortran_order"] == "True", _shape(values["shape"])


def _structured(body: str, position: int) -> tuple[str, bool, tuple[int, ...]]:
    """Read what stands after the fields of a structured array; of these, only empty arrays are read."""
    after = _AFTER_FIELDS.search(body, position)
    if after is None or after.end() != len(body):
        raise NotText("a structured array, not text")
    fields = _FIELDS_OF_OBJECTS if "O'" in body[position : after.start()] else "fields"
    return fields, after[1] == "True", _shape(after[2])


def _shape(literal: str) -> tuple[int, ...]:
    if not _SHAPE.fullmatch(literal):
        raise Corrupt("its shape is not a tuple of sizes")
    return tuple(map(int, re.findall(r"[0-9]+", literal)))


def _typed(
    descr: str, fortran_order: bool, shape: tuple[int, ...], data_offset: int, *, numbers: bool
) -> Header:
    if len(shape) > DIMENSIONS_LIMIT:
        raise Corrupt(f"its shape has {len(shape)} dimensions; {DIMENSIONS_LIMIT} are allowed")
    if _OBJECT_DTYPE.fullmatch(descr):
        return Header("O", 0, False, fortran_order, shape, data_offset)
    match = _TEXT_DTYPE.fullmatch(descr) or (_NUMBER_DTYPE.fullmatch(descr) if numbers else None)
    if match is None:
        if 0 in shape:
            return Header("U", 0, False, fortran_order, shape, data_offset)
        is_structured = descr in {"fields", _FIELDS_OF_OBJECTS}
        raise NotText("a structured array, not text" if is_structured else f"an array of {descr!r}, not text")
    return Header(match[1], int(match[2]), descr[0] == ">", fortran_order, shape, data_offset)


def _check_sizes(header: Header, size: int) -> None:
    texts = math.prod(header.shape)
    if header.letter == "O":
        # an item takes at least one byte of pickle: None does
        if texts > max(size - header.data_offset, 0):
            raise Unfinished(f"it has {size:,} bytes, too few for the {texts:,} items its header promises")
    else:
        expected = header.data_offset + texts * header.item_bytes
        if expected >= 1 << 63:
            raise Corrupt("its header promises more bytes than a file can hold")
        if size < expected:
            raise Unfinished(f"it has {size:,} bytes of the {expected:,} that its header promises")
        if size > expected:
            raise Corrupt(f"it has {size - expected:,} bytes after its end")
    holds_nothing = texts == 0 or (header.letter != "O" and header.item_bytes == 0)
    if holds_nothing and empty_lists(header.shape) > EMPTY_ITEMS_LIMIT:
        raise Unsafe("it promises millions of items and holds none")


def _check_item(header: Header) -> None:
    """Check that one item is not too large to be shown."""
    texts = math.prod(header.shape)
    if header.item_bytes > TEXT_BYTES_LIMIT and texts:
        raise TooLarge(f"a text takes {header.item_bytes:,} bytes; {TEXT_BYTES_LIMIT:,} are allowed")
    if header.item_bytes * header.texts_per_item > ITEM_BYTES_LIMIT:
        raise TooLarge(f"one item would take {header.item_bytes * header.texts_per_item:,} bytes of memory")
    # beside its characters, a text takes as much as two values
    if header.texts_per_item > ITEM_VALUES_LIMIT >> (header.letter != "O"):
        raise TooLarge(f"one item would be a list of {header.texts_per_item:,} texts")


def empty_lists(shape: tuple[int, ...]) -> int:
    """Count what ``tolist`` makes of an array: its values, or its lists if one of its dimensions is 0."""
    sizes = shape[: shape.index(0)] if 0 in shape else shape
    return math.prod(sizes)


def nest(flat: list[Any], shape: tuple[int, ...]) -> Any:
    """Nest a flat list, C order, as an array of ``shape`` would; ``()`` gives the one value itself.

    >>> nest([1, 2, 3, 4], (2, 2))
    [[1, 2], [3, 4]]
    """
    if not shape:
        return flat[0]
    for axis in range(len(shape) - 1, 0, -1):
        size, count = shape[axis], math.prod(shape[:axis])
        flat = [flat[start * size : (start + 1) * size] for start in range(count)]
    return flat
