"""The few names that numpy writes into the pickle of an array: recognised, never called.

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

import numpy as np

from lib.encoded_text import decoded
from lib.errors import Corrupt, NotText, TooLarge, Unsafe
from lib.npy.fixed_width import check_code_points
from lib.npy.header import empty_lists


class Role(Enum):
    """A recognised name, by what a call of it would make; the value stands in error messages."""

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
_MISSING: Final = frozenset({("pandas._libs.missing", "NA"), ("pandas", "NA")})
"""What older and newer pandas put in the place of a missing text; numpy's StringDType may hold it too."""
_DTYPE_CODE: Final = re.compile(r"b1|[iu][1248]|f[248]|[USO][0-9]{1,9}")
_OBJECT_FLAGS: Final = 63
"""``NPY_OBJECT_DTYPE_FLAGS``: items are pickled one by one, counted, and made by Python only."""


@dataclass(slots=True)
class DType:
    """A dtype as its code (``O``, ``T``, ``f``, …), item size in bytes and byte order."""

    letter: str
    item_bytes: int = 8
    order: str = "|"


def recognise(module: object, name: object) -> Role | None:
    """Recognise a global by its two names; None for the value of pandas that stands for none.

    :raises Unsafe: it is not one that arrays of plain data need, and could be code.
    """
    if not isinstance(module, str) or not isinstance(name, str):
        raise Unsafe("its pickle names something by what is not a name")
    if (module, name) in _MISSING:
        return None
    role = _NAMES.get((module, name))
    if role is None:
        full = f"{module}.{name}"[:200]
        raise Unsafe(f"its pickle names {full!r}, which plain text never needs")
    return role


def reduced(callee: object, arguments: object) -> Any:
    """Return what REDUCE would make of a recognised name and arguments, without calling anything.

    An array is a new list; :func:`array_contents` returns what belongs into it, once its state was read.

    :raises SourceFault: numpy never writes this.
    """
    if not isinstance(callee, Role) or type(arguments) is not tuple:
        raise Unsafe("its pickle calls something that is not a name")
    match callee, arguments:
        case (Role.RECONSTRUCT, (Role.NDARRAY, (0,), b"b")):
            return []
        case (Role.DTYPE, (str() | bytes() as code, (0 | False), (1 | True))):
            return _dtype(decoded(code))
        case (Role.STRING_DTYPE, (bool() | int(), *rest)) if len(rest) <= 1:
            return DType("T")
        case (Role.SCALAR, (DType() as dtype, bytes() as data)):
            return _numbers(dtype, data, ())[0]
        case (Role.ENCODE, (str() as text, "latin1")):
            return _latin1(text)
        case (Role.BYTES, ()):
            return b""
    raise Unsafe(f"its pickle makes {callee.value} in a way that numpy never does")


def build_dtype(dtype: DType, state: object) -> None:
    """Set a dtype's byte order from its state; metadata (of h5py's strings) does not matter.

    :raises Unsafe: it is not a simple dtype as numpy writes it.
    """
    match state if type(state) is tuple else None:
        case (3 | 4, str() | bytes() as order, None, None, None, int() as size, int(), flags, *metadata):
            dtype.order = decoded(order)
            if (
                dtype.order not in {"<", ">", "|", "="}
                or size not in {-1, dtype.item_bytes}
                or list(map(type, metadata)) not in ([], [dict])
            ):
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
            if isinstance(data, bytes):
                return shape, _numbers(dtype, data, shape, fortran_order=bool(fortran))
            if dtype.letter not in "OT" or len(data) != math.prod(shape):
                raise Corrupt("its pickle holds an array with another number of items than its shape says")
            return shape, data
    raise Corrupt("its pickle holds an array in a form that numpy never writes")


def check_shape(shape: tuple[Any, ...]) -> None:
    """Check a shape that was read from a pickle.

    :raises Corrupt: it is not made of sizes.
    """
    if len(shape) > 64 or not all(type(size) is int and 0 <= size < 1 << 62 for size in shape):
        raise Corrupt("its pickle holds an array whose shape is not made of sizes")


def _dtype(code: str) -> DType:
    if not _DTYPE_CODE.fullmatch(code):
        raise NotText(f"it holds numpy values of type {code[:40]!r}, not text")
    letter, size = code[0], int(code[1:])
    return DType(letter, size * 4 if letter == "U" else size)


def _numbers(dtype: DType, data: bytes, shape: tuple[int, ...], *, fortran_order: bool = False) -> list[Any]:
    """Return numbers or texts, flat and in C order."""
    count = math.prod(shape)
    if dtype.letter not in "biufUS":
        raise Unsafe("its pickle turns bytes into objects")
    if count * dtype.item_bytes != len(data):
        raise Corrupt("its pickle holds an array whose bytes do not match its shape")
    if dtype.item_bytes == 0:
        return ["" if dtype.letter == "U" else b""] * count
    order = dtype.order if dtype.order in "<>" else "<"
    characters = dtype.item_bytes // 4 if dtype.letter == "U" else dtype.item_bytes
    if dtype.letter == "U":
        check_code_points(data, big_endian=order == ">")
    values: np.ndarray[Any, Any] = np.frombuffer(data, dtype=f"{order}{dtype.letter}{characters}")
    if fortran_order and count:  # without sizes of 1, there are never too many dimensions for numpy
        values = values.reshape([size for size in shape if size > 1], order="F").ravel()
    return values.tolist()  # type: ignore[no-any-return]


def _latin1(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise Corrupt("its pickle holds bytes above 255") from None
