# ruff: noqa: UP003, UP010, UP018, UP020, UP031, RUF046, NPY201 -- plain syntax: this also runs under Python 2.7
# ruff: noqa: ANN001, ANN201, ANN202 -- nor are there annotations or paths
# ruff: noqa: T201 -- a script, it says what it did
# mypy: disable-error-code="no-untyped-def, no-untyped-call"
"""Write small .npy caches with whatever numpy is installed, under any Python from 2.7 on.

    python make_caches.py DIRECTORY

Beside the files stands one manifest, ``expected.json``, a list of objects with the keys ``file``, ``read``,
``dtype``, ``shape`` and ``value``.  ``read`` is false for arrays that hold no text and are to be skipped
(then ``value`` is null).  ``value`` is what this very numpy reads, ``np.load(...).tolist()``, written by
:func:`encode` as tagged lists, so that it compares exactly:

    ["none"]  ["bool", true]  ["int", "12"]  ["float", "0.5"]    numbers as text; nan, inf, -inf
    ["text", "abc"]  ["points", [97, 55296]]                     the second when a surrogate is in it
    ["bytes", "00ff"]  ["py2str", "636166"]                      hexadecimal; a str of Python 2
    ["list", [...]]  ["tuple", [...]]  ["dict", [[key, value], ...]]    pairs in their order; see README.md
    ["scalar", "<f8", [...]]  ["array", "<U3", [...]]            a numpy scalar, a nested array's tolist()
"""

from __future__ import print_function, unicode_literals

import binascii
import io
import json
import os
import struct
import sys
import warnings

import numpy as np

PYTHON_2 = sys.version_info[0] == 2
TEXT_SCALAR = np.unicode_ if PYTHON_2 else np.str_
MANIFEST = "expected.json"
SUFFIX = "_completions.npy"
FILE_BYTES_LIMIT = 10000

ASCII = ["Hello world.", "two\nlines", "tab\tand  spaces ", "x"]
UTF_8 = ["caf\u00e9", "\u041f\u0440\u0438\u0432\u0435\u0442", "\u65e5\u672c\u8a9e", "\u2028 \u00a0\ufeff"]
ASTRAL = ["\U0001f600 smile", "\U0010ffff", "a\U00020000b"]
SURROGATES = ["\ud800", "a\udfffb", "\ude00\ud83d", "tail \udc80"]
NULS = ["\0", "a\0b", "end\0", "\0\0start", ""]


# --- the manifest's encoding


def encode(value):
    """Write a value as tagged lists of JSON; see the top of this file."""
    if isinstance(value, np.ndarray):
        return ["array", _dtype_text(value.dtype), encode_array(value)]
    if isinstance(value, np.generic):
        item = value.item()
        is_bytes = isinstance(value, np.bytes_)
        return ["scalar", _dtype_text(value.dtype), _bytes("bytes", item) if is_bytes else encode(item)]
    if value is None:
        return ["none"]
    if isinstance(value, bool):
        return ["bool", value]
    if isinstance(value, float):
        return ["float", repr(value)]
    if isinstance(value, type("")):
        return _text(value)
    if isinstance(value, bytes):
        return _bytes("py2str" if PYTHON_2 else "bytes", value)
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, [encode(item) for item in value]]
    if isinstance(value, dict):
        return ["dict", [[encode(k), encode(v)] for k, v in value.items()]]
    return ["int", "%d" % value]


def _text(value):
    # on a narrow Python 2 the encoder joins the two halves of an astral character
    raw = value.encode("utf-32-le", "surrogatepass")
    points = list(struct.unpack("<%dI" % (len(raw) // 4), raw))
    if any(0xD800 <= point < 0xE000 for point in points):
        return ["points", points]
    return ["text", value]


def _bytes(tag, value):
    return [tag, binascii.hexlify(value).decode("ascii")]


def _dtype_text(dtype):
    return "StringDType" if dtype.kind == "T" else str(dtype.str)


def encode_array(array):
    """Encode what ``array.tolist()`` gives, the texts of an ``S`` array as bytes on Python 2 too."""
    tagged = encode(array.tolist())
    return _retag(tagged) if array.dtype.kind == "S" else tagged


def _retag(tagged):
    if tagged[0] == "list":
        return ["list", [_retag(item) for item in tagged[1]]]
    return ["bytes", tagged[1]]


def plain(tagged, text_of_bytes):
    """Turn a tagged value into what a reader of texts sees.

    Tuples and arrays become lists, numpy's scalars Python's.  ``text_of_bytes`` says how ``bytes`` and a
    ``str`` of Python 2 look.
    """
    tag = tagged[0]
    if tag in ("bytes", "py2str"):
        return text_of_bytes(binascii.unhexlify(tagged[1]))
    if tag in ("scalar", "array"):
        return plain(tagged[2], text_of_bytes)
    if tag in ("list", "tuple"):
        return [plain(item, text_of_bytes) for item in tagged[1]]
    if tag == "dict":
        # a tuple as a key stays one: a list could not be a key
        return {_as_key(plain(k, text_of_bytes)): plain(v, text_of_bytes) for k, v in tagged[1]}
    if tag == "points":
        return struct.pack("<%dI" % len(tagged[1]), *tagged[1]).decode("utf-32-le", "surrogatepass")
    if tag in ("int", "float"):
        return {"int": int, "float": float}[tag](tagged[1])
    return tagged[1] if len(tagged) > 1 else None


def _as_key(key):
    return tuple(key) if isinstance(key, list) else key


# --- the arrays


def objects(items, shape=None):
    """Make an object array of exactly these items, whatever they are."""
    array = np.empty(len(items), dtype=object)
    for position, item in enumerate(items):
        array[position] = item
    return array if shape is None else array.reshape(shape)


def zero_d(item):
    """Make an object array without dimensions."""
    array = np.empty((), dtype=object)
    array[()] = item
    return array


def object_texts():
    """Give object arrays of texts alone."""
    same = "the same object, again and again"
    distinct = ["t%d" % i for i in range(300)]
    return {
        "object_ascii": objects(ASCII),
        "object_utf8": objects(UTF_8),
        "object_astral": objects(ASTRAL),
        "object_surrogates": objects(SURROGATES),
        "object_surrogate_pair": objects(["\ud83d" + "\ude00"]),
        "object_nul": objects(NULS),
        "object_empty_texts": objects(["", "", ""]),
        "object_blank_texts": objects([" ", "\n", "\r\n", "\t", "\x85"]),
        "object_same": objects([same] * 40),
        "object_lengths": objects(["y" * n for n in (0, 1, 127, 128, 255, 256, 257, 1000)]),
        "object_lengths_utf8": objects(["\u00e9" * n for n in (1, 127, 128, 255, 256)]),
        "object_1": objects(["alone"]),
        "object_2": objects(["one", "two"]),
        "object_0": objects([]),
        "object_999": objects((distinct * 4)[:999]),
        "object_1000": objects((distinct * 4)[:1000]),
        "object_1001": objects((distinct * 4)[:1001]),
        "object_2001": objects((distinct[:60] * 34)[:2001]),
        "object_controls": objects(
            ["\x1b[31mred\x1b[0m", "\x7f\x9b", "".join(map(_character, range(1, 32)))]
        ),
    }


def _character(point):
    return struct.pack("<I", point).decode("utf-32-le")


def object_shapes():
    """Give object arrays of other shapes and orders."""
    six = ["a", "b", "c", "d", "e", "f"]
    return {
        "object_2d": objects(six, (2, 3)),
        "object_2d_fortran": np.asfortranarray(objects(six, (2, 3))),
        "object_2d_transposed": objects(six, (2, 3)).T,
        "object_3d": objects(six + six[::-1], (2, 3, 2)),
        "object_3d_fortran": np.asfortranarray(objects(six + six[::-1], (2, 3, 2))),
        "object_column": objects(six[:3], (3, 1)),
        "object_strided": objects(six)[::2],
        "object_0d": zero_d("no dimension"),
        "object_0d_list": zero_d(["a", "list"]),
        "object_0x5": objects([], (0, 5)),
        "object_3x0": objects([], (3, 0)),
        "object_1x1": objects(["one"], (1, 1)),
    }


def object_values():
    """Give object arrays whose items are not all text."""
    chat = [{"role": "user", "content": "Hi \u00e9"}, {"role": "assistant", "content": "Hello.\n"}]
    shared = ["shared"]
    distinct = ["i%d" % i for i in range(50)]
    deep = "bottom"
    for _ in range(20):
        deep = [deep]
    return {
        "object_none": objects(["a", None, "", None]),
        "object_bool": objects(["a", True, False]),
        "object_int": objects(["a", 0, 1, -1, 255, 256, 65535, 65536, -129, 2**31 - 1, 2**31, -(2**31) - 1]),
        "object_int_64": objects(["a", 2**40, -(2**40), 2**63 - 1, -(2**63), 2**63, 2**64 - 1]),
        "object_int_big": objects(["a", 2**64, -(2**64), 10**40, -(10**40), 2**2040, 10**700]),
        "object_float": objects(["a", 0.0, -0.0, 0.1, 1e300, 5e-324, -2.5, 1e16, 123456789.0]),
        "object_not_finite": objects(["a", float("nan"), float("inf"), float("-inf")]),
        "object_bytes": objects(["a", b"", b"ascii", b"caf\xc3\xa9", b"caf\xe9", b"\x00\xff", b"z" * 300]),
        "object_list": objects([[], ["a"], ["a", "b"], [1, None, "c", ["d"]]]),
        "object_tuple": objects([(), ("a",), ("a", "b"), ("a", "b", "c"), ("a", 1, None, 2.5, ("e",))]),
        "object_dict": objects([{}, {"a": 1}, {"a": "b", "c": ["d", {"e": None}]}]),
        "object_dict_keys": objects(["a", {1: "one"}, {None: "n", 2.5: "f", True: "t"}]),
        "object_dict_tuple_key": objects(["a", {("a", 1): "tuple"}]),
        "object_dict_collision": objects(["a", {1: "number", "1": "text"}]),
        "object_dict_surrogate_key": objects([{"\ud800": "\udfff", "\u00e9": ""}]),
        "object_chat": objects([chat, chat[:1], [dict(message) for message in chat]]),
        "object_shared_list": objects([shared, shared, [shared, shared]]),
        "object_long_list": objects([(distinct * 21)[:1001]]),
        "object_long_dict": objects([{"k%d" % i: i for i in range(300)}, {"only": 1}]),
        "object_deep": objects([deep]),
        "object_mixed_2d": objects(["a", None, 3, ["b", "c"]], (2, 2)),
    }


def object_numpy():
    """Give object arrays that hold numpy's own scalars and arrays."""
    table = np.array([[1, 2], [3, 4]], dtype=np.int32)
    return {
        "object_np_str": objects([TEXT_SCALAR(text) for text in ("a", "caf\u00e9", "\U0001f600", "n" * 80)]),
        "object_np_bytes": objects(["a", np.bytes_(b"raw"), np.bytes_(b"caf\xe9")]),
        "object_np_float": objects(
            ["a", np.float64(0.1), np.float32(0.1), np.float16(0.5), np.float64("nan")]
        ),
        "object_np_int": objects(
            ["a", np.int64(-5), np.int8(-1), np.uint64(2**64 - 1), np.int32(7), np.uint8(255)]
        ),
        "object_np_bool": objects(["a", np.bool_(True), np.bool_(False)]),
        "object_np_int_big_endian": objects(["a", np.array([258], dtype=">i4")]),
        "object_of_arrays": objects(
            ["a", np.arange(4), np.array([0.5, np.nan]), np.array([], dtype=np.int64)]
        ),
        "object_of_tables": objects(
            ["a", table, np.asfortranarray(table), table.T, np.array(3), table[:, :1]]
        ),
        "object_of_bool_array": objects(["a", np.array([True, False])]),
        "object_of_u_array": objects(
            [np.array(["a", "b\u00e9", "\U0001f600"]), np.array(["c", ""], dtype=">U2")]
        ),
        "object_of_s_array": objects(["a", np.array([b"ab", b"c"], dtype="S2")]),
        "object_of_object_array": objects(
            ["a", objects(["in", None, ["list"]]), objects([objects(["deep"])])]
        ),
        "object_of_object_2d": objects(
            ["a", objects(ASCII, (2, 2)), np.asfortranarray(objects(ASCII, (2, 2)))]
        ),
    }


def python_2_texts():
    """Give what only Python 2 wrote: texts as bytes, in whatever encoding the terminal had."""
    if not PYTHON_2:
        return {}
    utf_8, latin_1 = b"caf\xc3\xa9 \xe2\x82\xac", b"caf\xe9 \xfc"
    return {
        "py2_ascii": objects([b"plain", b"", b"x" * 300]),
        "py2_utf8": objects([utf_8, "caf\u00e9", b"plain"]),
        "py2_latin1": objects([latin_1, b"\x93quoted\x94", b"\xff\x00\xfe"]),
        "py2_in_dict": objects([{b"role": b"user", b"content": utf_8}, [latin_1], (utf_8,)]),
        "py2_long_int": objects([b"a", int(7), long(7), 2**40, long(2) ** 80]),  # noqa: F821 -- Python 2 only
    }


def fixed_width():
    """Give U and S arrays of both byte orders."""
    texts = ASCII + UTF_8 + ASTRAL + ["a\0b", ""]
    surrogates = np.frombuffer(struct.pack("<4I", 0xD800, 0x61, 0xDFFF, 0xDC80), dtype="<U2")
    return {
        "u_little": np.array(texts, dtype="<U20"),
        "u_big": np.array(texts, dtype=">U20"),
        "u_surrogates": surrogates,
        "u_surrogates_big": surrogates.astype(">U2"),
        "u_nul": np.array(["a\0b", "\0lead", "in\0\0side"], dtype="<U8"),
        "u_0": np.ndarray(3, dtype="<U0"),  # np.zeros would make it <U1
        "u_all_empty": np.zeros(4, dtype="<U5"),
        "u_1": np.array(["alone"]),
        "u_0_items": np.array([], dtype="<U4"),
        "u_0d": np.array("no dimension"),
        "u_0d_big": np.array("no dimension", dtype=">U12"),
        "u_2d": np.array([["a", "bb", "ccc"], ["d", "", "\u00e9"]]),
        "u_2d_fortran": np.asfortranarray(np.array([["a", "bb", "ccc"], ["d", "", "\u00e9"]])),
        "u_2d_fortran_big": np.asfortranarray(
            np.array([["a", "bb"], ["c", "d"], ["e", "\u00e9"]], dtype=">U2")
        ),
        "u_3d_fortran": np.asfortranarray(np.array(list("abcdefghijkl")).reshape(2, 3, 2)),
        "u_0x5": np.empty((0, 5), dtype="<U3"),
        "u_3x0": np.empty((3, 0), dtype="<U3"),
        "u_2x0x2": np.empty((2, 0, 2), dtype="<U3"),
        "u_many": np.array(["%d" % i for i in range(700)]),
        "s_ascii": np.array([b"Hello world.", b"two\nlines", b""]),
        "s_utf8": np.array(["caf\u00e9".encode("utf-8"), "\u65e5\u672c".encode("utf-8")]),
        "s_latin1": np.array([b"caf\xe9", b"\xff\xfe", b"plain"]),
        "s_cut_character": np.array([b"caf\xc3", b"\xe2\x82", b"\xf0\x9f\x98"]),
        "s_nul": np.array([b"a\0b", b"\0lead"]),
        "s_0d": np.array(b"no dimension"),
        "s_0_items": np.array([], dtype="S4"),
        "s_2d_fortran": np.asfortranarray(np.array([[b"a", b"bb"], [b"c", b""]])),
        "s_3x0": np.empty((3, 0), dtype="S3"),
    }


def strings():
    """Give arrays of numpy 2's StringDType."""
    if not hasattr(getattr(np, "dtypes", None), "StringDType"):
        return {}
    string = np.dtypes.StringDType
    texts = ["a", "caf\u00e9 ", "\U0001f600", "", "n\0l", "long " * 60]
    return {
        "string_plain": np.array(texts, dtype=string()),
        "string_strict": np.array(texts, dtype=string(coerce=False)),
        "string_na_none": np.array(["a", None, ""], dtype=string(na_object=None)),
        "string_na_nan": np.array(["a", np.nan, ""], dtype=string(na_object=np.nan)),
        "string_na_text": np.array(["a", "missing", ""], dtype=string(na_object="missing")),
        "string_na_strict": np.array(["a", None], dtype=string(na_object=None, coerce=False)),
        "string_0_items": np.array([], dtype=string()),
        "string_0d": np.array("no dimension", dtype=string()),
        "string_2d": np.array([["a", "b"], ["c", "d"], ["e", "f"]], dtype=string()),
        "string_2d_fortran": np.asfortranarray(
            np.array([["a", "b"], ["c", "d"], ["e", "f"]], dtype=string())
        ),
        "string_inside_object": objects(["a", np.array(["in", None], dtype=string(na_object=None))]),
    }


def not_text():
    """Give arrays that hold no text, which use such names too."""
    return {
        "skip_int": np.arange(5, dtype="<i8"),
        "skip_int_big_endian": np.arange(5, dtype=">i4"),
        "skip_float_2d": np.zeros((2, 3), dtype="<f4"),
        "skip_bool": np.array([True, False]),
        "skip_complex": np.array([1j]),
        "skip_datetime": np.array(["2020-01-01"], dtype="<M8[D]"),
        "skip_void": np.zeros(2, dtype="V3"),
        "skip_0d": np.array(1.5),
        "skip_empty": np.zeros((0,), dtype="<u2"),
        "skip_structured": np.array([(1, 2.0)], dtype=[(str("id"), "<i4"), (str("score"), "<f8")]),
        "skip_structured_text": np.array([(1, "a")], dtype=[(str("id"), "<i4"), (str("text"), "<U4")]),
        "skip_structured_nested": np.zeros(
            1, dtype=[(str("a"), [(str("b"), "<i4")]), (str("c"), "<f4", (2,))]
        ),
    }


def versioned():
    """Give the same texts under each version of the format: case name -> (array, version)."""
    arrays = {"u": np.array(UTF_8), "object": objects(UTF_8), "s": np.array([b"ab", b"c"])}
    return {
        "%s_version_%d" % (letter, major): (array, (major, 0))
        for letter, array in arrays.items()
        for major in (1, 2, 3)
    }


# --- writing


def write(directory):
    """Write every case and the manifest into a directory, which is made when it is absent."""
    if not os.path.isdir(directory):
        os.makedirs(directory)
    groups = (object_texts, object_shapes, object_values, object_numpy, python_2_texts, fixed_width, strings)
    read = [(name, array, None) for group in groups for name, array in group().items()]
    read += [(name, array, version) for name, (array, version) in versioned().items()]
    manifest = [_write_case(directory, *case) for case in sorted(read, key=_first)]
    skipped = sorted(not_text().items(), key=_first)
    manifest += [_write_case(directory, name, array, None, is_read=False) for name, array in skipped]
    manifest = [entry for entry in manifest if entry]
    text = "[\n" + ",\n".join(json.dumps(entry, sort_keys=True) for entry in manifest) + "\n]\n"
    with io.open(os.path.join(directory, MANIFEST), "w", encoding="ascii") as file:
        file.write(type("")(text))
    return len(manifest)


def _first(case):
    return case[0]


def _write_case(directory, name, array, version, is_read=True):
    path = os.path.join(directory, name + SUFFIX)
    with io.open(path, "wb") as file:
        try:
            np.lib.format.write_array(file, array, version=version)
        except ValueError:
            if version != (3, 0):  # numpy 1.16 does not know it yet
                raise
            file.close()
            os.remove(path)
            return None
    if os.path.getsize(path) > FILE_BYTES_LIMIT:
        raise ValueError("%s takes %d bytes" % (name, os.path.getsize(path)))
    loaded = np.load(path, allow_pickle=True)
    return {
        "file": name + SUFFIX,
        "read": is_read,
        "dtype": _dtype_text(loaded.dtype),
        "shape": list(loaded.shape),
        "value": encode_array(loaded) if is_read else None,
    }


if __name__ == "__main__":
    # numpy remarks on format 2.0 and on StringDType, both meant here
    warnings.simplefilter("ignore")
    print("%d files, numpy %s" % (write(sys.argv[1]), np.__version__))
