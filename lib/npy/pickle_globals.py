"""The few names that numpy writes into the pickle of an array, as tokens: recognised, never called.

What ``ndarray.__reduce__``, ``dtype.__reduce__`` and numpy's scalars put into a pickle is documented only by
numpy's sources (``array_reduce``, ``arraydescr_reduce`` and ``gentype_reduce``); every shape accepted here
was read off files written by numpy 1.16 to 2.4.  Anything else is refused by name.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from lib.errors import Corrupt, NotText, TooLarge, Unsafe
from lib.npy.header import empty_lists


class Role(Enum):
    """What calling a recognised name would make; the value is how a sentence calls it."""

    RECONSTRUCT = "an array"
    SCALAR = "a scalar"
    NDARRAY = "numpy.ndarray"
    DTYPE = "a dtype"
    STRING_DTYPE = "a StringDType"
    ENCODE = "encoded bytes"
    BYTES = "bytes"
    TEXT = "a text"


_ARRAY_MODULES: Final = ("numpy.core.multiarray", "numpy._core.multiarray")
_NAMES: Final[dict[tuple[str, str], Role]] = {
    **{(module, "_reconstruct"): Role.RECONSTRUCT for module in _ARRAY_MODULES},
    **{(module, "scalar"): Role.SCALAR for module in _ARRAY_MODULES},
    ("numpy", "ndarray"): Role.NDARRAY,
    ("numpy", "dtype"): Role.DTYPE,
    ("numpy._core._internal", "_convert_to_stringdtype_kwargs"): Role.STRING_DTYPE,
    # how Python 3 writes bytes in protocol 2, numpy's own b"b" included
    ("_codecs", "encode"): Role.ENCODE,
    # empty bytes in protocol 2, and what h5py's dtypes of objects say of their items
    ("__builtin__", "bytes"): Role.BYTES,
    ("builtins", "bytes"): Role.BYTES,
    ("__builtin__", "str"): Role.TEXT,
    ("builtins", "str"): Role.TEXT,
    ("__builtin__", "unicode"): Role.TEXT,
}
_DTYPE_CODE: Final = re.compile(r"([biufUSO])([0-9]{1,9})")
_PLAIN_SIZES: Final = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}
_OBJECT_FLAGS: Final = 63
"""``NPY_OBJECT_DTYPE_FLAGS``: items are pickled one by one, counted, and made by Python only."""


@dataclass(frozen=True, slots=True)
class Name:
    """A recognised global: ``role`` says what a call of it would have made."""

    role: Role


@dataclass(slots=True)
class DType:
    """A dtype as its code (``O``, ``T``, ``f``, …), item size in bytes and byte order."""

    letter: str
    item_bytes: int = 8
    order: str = "|"


def recognise(module: object, name: object) -> Name:
    """Recognise a global by its two names, or refuse it.

    :raises Unsafe: it is not one of those that numpy writes: it could be code.
    """
    role = _NAMES.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
    if role is None:
        full = f"{module}.{name}"[:200]
        raise Unsafe(f"its pickle names {full!r}, which plain text never needs")
    return Name(role)


def reduced(callee: object, arguments: object) -> Any:
    """Return what REDUCE stands for, from the token and its arguments, without calling anything.

    A new list stands for an array: :func:`array_contents` tells what it holds, once its state was read.

    :raises SourceFault: numpy never writes this.
    """
    if not isinstance(callee, Name) or type(arguments) is not tuple:
        raise Unsafe("its pickle calls something that is not a name")
    match callee.role, arguments:
        case (Role.RECONSTRUCT, (Name(role=Role.NDARRAY), (0,), b"b")):
            return []
        case (Role.DTYPE, (str() | bytes() as code, (0 | False), (1 | True))):
            return _dtype(code if isinstance(code, str) else code.decode("latin-1"))
        case (Role.STRING_DTYPE, (bool() | int(), *rest)) if len(rest) <= 1:
            return DType("T")
        case (Role.SCALAR, (DType() as dtype, bytes() as data)):
            return _numbers(dtype, data, 1)[0]
        case (Role.ENCODE, (str() as text, "latin1")):
            return _latin1(text)
        case (Role.BYTES, ()):
            return b""
    raise Unsafe(f"its pickle makes {callee.role.value} in a way that numpy never does")


def build_dtype(dtype: DType, state: object) -> None:
    """Take a dtype's state: only its byte order matters; metadata (h5py's strings) is passed over."""
    match state if type(state) is tuple else None:
        case (3, str() | bytes() as order, None, None, None, int() as size, int(), int() as flags) | (
            4,
            str() | bytes() as order,
            None,
            None,
            None,
            int() as size,
            int(),
            int() as flags,
            dict(),
        ):
            dtype.order = order if isinstance(order, str) else order.decode("latin-1")
            if dtype.order not in {"<", ">", "|", "="} or size not in {-1, dtype.item_bytes}:
                raise Unsafe("its pickle holds a dtype that numpy never writes")
            if dtype.letter == "O" and flags != _OBJECT_FLAGS:
                raise Unsafe("its pickle holds a dtype of objects that numpy would take for pointers")
            return
    raise Unsafe("its pickle holds a structured or decorated dtype")


def array_contents(state: object, values_limit: int) -> tuple[tuple[int, ...], list[Any]]:
    """Return shape and items (flat, C order) of a nested array from its state.

    The state is a version, shape, dtype, order flag, and the array's bytes or its list of items.

    :raises SourceFault: numpy never writes this, or it would be more than ``values_limit`` values.
    """
    match state if type(state) is tuple else None:
        case (1, tuple() as shape, DType() as dtype, (bool() | 0 | 1) as fortran, (bytes() | list()) as data):
            check_shape(shape)
            if empty_lists(shape) > values_limit:
                raise TooLarge(f"an array inside it has more than {values_limit:,} elements")
            return shape, _array_items(dtype, data, shape, fortran_order=bool(fortran))
    raise Corrupt("its pickle holds an array in a form that numpy never writes")


def check_shape(shape: tuple[Any, ...]) -> None:
    """Check a shape that was read from a pickle.

    :raises Corrupt: it is not made of sizes.
    """
    if len(shape) > 64 or not all(type(size) is int and 0 <= size < 1 << 62 for size in shape):
        raise Corrupt("its pickle holds an array whose shape is not made of sizes")


def _array_items(dtype: DType, data: Any, shape: tuple[int, ...], *, fortran_order: bool) -> list[Any]:
    count = math.prod(shape)
    if isinstance(data, list):
        if dtype.letter not in "OT" or len(data) != count:
            raise Corrupt("its pickle holds an array with another number of items than its shape says")
        return data
    if dtype.letter in "OT":
        raise Unsafe("its pickle fills an array of objects from bytes")
    items = _numbers(dtype, data, count)
    if not fortran_order or len(shape) < 2:
        return items
    return [items[index] for index in _fortran_positions(shape)]


def _fortran_positions(shape: tuple[int, ...]) -> list[int]:
    positions = [0]
    stride = 1
    strides = []
    for size in shape:
        strides.append(stride)
        stride *= size
    for size, step in zip(shape, strides, strict=True):
        positions = [position + step * index for position in positions for index in range(size)]
    return positions


def _dtype(code: str) -> DType:
    match = _DTYPE_CODE.fullmatch(code)
    if match is None:
        raise NotText(f"it holds numpy values of type {code[:40]!r}, which are no text")
    letter, size = match[1], int(match[2])
    if size not in _PLAIN_SIZES.get(letter, (size,)):
        raise NotText(f"it holds numpy values of type {code[:40]!r}, which are no text")
    return DType(letter, size * 4 if letter == "U" else size)


def _numbers(dtype: DType, data: bytes, count: int) -> list[Any]:
    if dtype.letter not in "biufUS":
        raise Unsafe("its pickle turns bytes into objects")
    if count * dtype.item_bytes != len(data):
        raise Corrupt("its pickle holds an array whose bytes do not match its shape")
    if dtype.item_bytes == 0:
        return ["" if dtype.letter == "U" else b""] * count
    # numpy is slow to import and only nested arrays and scalars need it here
    import numpy as np

    from lib.npy.fixed_width import check_code_points

    order = dtype.order if dtype.order in "<>" else "<"
    characters = dtype.item_bytes // 4 if dtype.letter == "U" else dtype.item_bytes
    if dtype.letter == "U":
        check_code_points(data, big_endian=order == ">")
    values: list[Any] = np.frombuffer(data, dtype=f"{order}{dtype.letter}{characters}").tolist()
    return values


def _latin1(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise Corrupt("its pickle holds bytes above 255") from None
