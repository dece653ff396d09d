"""Files that must not be read: broken, lying and hostile ones, put together byte by byte.

Opcodes are those of ``pickletools``; an array's pickle is the one numpy 1.17 to 1.26 writes (protocol 3),
or 2.x (protocol 4).  Each case is a name, a function that makes the bytes (some take megabytes), and what
must come of it: a key of :data:`ACCEPTED`.

What must come of it is meant for a source that is read **and** rendered: a reader may well pass a cycle, a
million levels, or a name where a value belongs, if they are stopped before anything is published.  A case
whose name begins with ``bomb_`` is small when read with care, and more than 256 MiB once it is written out as
JSON: it needs a ``max_output_bytes`` below that, or a limit on depth.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

Case = tuple[str, Callable[[], bytes], str]

ACCEPTED: Final[dict[str, frozenset[str]]] = {
    "Corrupt": frozenset({"Corrupt"}),
    "Unsafe": frozenset({"Unsafe"}),
    "Unfinished": frozenset({"Unfinished"}),
    "NotText": frozenset({"NotText"}),
    "refused": frozenset({"Corrupt", "Unsafe"}),
    # a dtype that nobody uses for text: a lie, or somebody else's data
    "refused_or_skipped": frozenset({"Corrupt", "Unsafe", "NotText"}),
    # a length beyond the end of the file: a lie, or a file that is not yet whole
    "unread": frozenset({"Corrupt", "Unsafe", "Unfinished"}),
}

DEEP: Final = 1_000_000
TEXTS: Final = ("One.", "Two.", "Three.")
OUTER, DTYPE_OF_OUTER, ITEMS_OF_OUTER = 0, 1, 2
"""What :func:`array` leaves in the memo under these numbers."""
FREE: Final = 3
"""The first memo number that :func:`array` does not use."""


def hostile_files(canary: str = "canary") -> list[Case]:
    """Give every case; names are unique.  Code that a case smuggles in would create the file ``canary``."""
    families = (
        _starts(),
        _headers(),
        _shapes(),
        _not_text(),
        _code_points(),
        _other_content(),
        _code(canary),
        _names(),
        _array_states(),
        _dtypes(),
        _scalars(),
        _lengths(),
        _floods(),
        _memos(),
        _nesting(),
        _cycles(),
        _bombs(),
        _stack(),
        _values(),
    )
    return [case for family in families for case in family]


def truncated_files() -> list[Case]:
    """Give two good files, one ``U`` and one of objects, cut after every byte but the last."""
    cases: list[Case] = []
    for kind, whole in (("u", good_u_file()), ("object", good_object_file())):
        cases += [(f"cut_{kind}_{n}", _cut(whole, n), "Unfinished") for n in range(len(whole))]
    return cases


def _cut(whole: bytes, length: int) -> Callable[[], bytes]:
    return lambda: whole[:length]


def good_u_file() -> bytes:
    """Make a sound file of three texts, dtype ``U``."""
    return npy(_ucs4(*TEXTS, width=6), descr="'<U6'")


def good_object_file(protocol: int = 3) -> bytes:
    """Make a sound file of three texts, dtype object; every text ends in a full stop, as a pickle does."""
    return npy(array(b"".join(map(text, TEXTS)), protocol=protocol))


# --- the parts that files are put together from


def npy(
    data: bytes = b"",
    *,
    descr: str = "'|O'",
    fortran: str = "False",
    shape: str = "(3,)",
    version: tuple[int, int] = (1, 0),
    header: str | bytes | None = None,
) -> bytes:
    """Make a file: magic, version, length, header (padded as numpy does, unless given as bytes), data."""
    width = "<H" if version == (1, 0) else "<I"
    if header is None:
        header = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"
    if isinstance(header, str):
        start = 8 + struct.calcsize(width)
        header = header.encode("utf-8") + b" " * (-(start + len(header.encode("utf-8")) + 1) % 64) + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack(width, len(header)) + header + data


def name(module: str, attribute: str, protocol: int = 3) -> bytes:
    """Look a name up: GLOBAL, or STACK_GLOBAL from protocol 4 on."""
    if protocol >= 4:
        return _short_text(module) + _short_text(attribute) + b"\x93"
    return f"c{module}\n{attribute}\n".encode()


def _short_text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value.encode())]) + value.encode()


def text(value: str) -> bytes:
    """Push a text: BINUNICODE."""
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def raw_bytes(value: bytes) -> bytes:
    """Push bytes: BINBYTES."""
    return b"B" + struct.pack("<I", len(value)) + value


def integer(value: int) -> bytes:
    """Push an integer: LONG1."""
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def group(*values: bytes) -> bytes:
    """Push a tuple: MARK ... TUPLE."""
    return b"(" + b"".join(values) + b"t"


def call(function: bytes, *arguments: bytes) -> bytes:
    """Push what a function returns: REDUCE."""
    return function + group(*arguments) + b"R"


def dtype(code: str, state: bytes = b"", **options: Any) -> bytes:
    """Push a dtype of that code; without a state, one of object's kind."""
    state = state or dtype_state(**options)
    return call(name("numpy", "dtype"), text(code), b"\x89", b"\x88") + state + b"b"


def dtype_state(*, size: int = -1, alignment: int = -1, flags: int = 63, order: str = "|") -> bytes:
    """Push the state that a dtype of version 3 is built from."""
    return group(b"K\x03", text(order), b"N", b"N", b"N", integer(size), integer(alignment), integer(flags))


def u_dtype(characters: int) -> bytes:
    """Push a dtype ``<U``."""
    return dtype(f"U{characters}", size=4 * characters, alignment=4, flags=8, order="<")


def reconstruct(subtype: bytes = b"", shape: bytes = b"", code: bytes = b"") -> bytes:
    """Push numpy's empty array, ready to be built."""
    return call(
        name("numpy.core.multiarray", "_reconstruct"),
        subtype or name("numpy", "ndarray"),
        shape or group(b"K\x00"),
        code or raw_bytes(b"b"),
    )


def nested(content: bytes, *, shape: bytes = b"", kind: bytes = b"", fortran: bytes = b"\x89") -> bytes:
    """Push an array as it stands inside another one: no memo used."""
    state = group(b"K\x01", shape or group(b"K\x03"), kind or dtype("O8"), fortran, content)
    return reconstruct() + state + b"b"


def array(
    items: bytes, count: int = 3, *, protocol: int = 3, before: bytes = b"", after: bytes = b""
) -> bytes:
    """Make the pickle of a one-dimensional object array; ``items`` pushes its items.

    ``before`` and ``after`` stand before its first and after its last opcode; see :data:`OUTER` for the memo.
    """
    put = (b"q\x00", b"q\x01", b"q\x02") if protocol < 4 else (b"\x94",) * 3
    outer = call(
        name(
            "numpy._core.multiarray" if protocol >= 4 else "numpy.core.multiarray", "_reconstruct", protocol
        ),
        name("numpy", "ndarray", protocol),
        group(b"K\x00"),
        b"C\x01b",
    )
    kind = (
        call(name("numpy", "dtype", protocol), text("O8"), b"\x89", b"\x88") + put[1] + dtype_state() + b"b"
    )
    values = b"]" + put[2] + (b"(" + items + b"e" if count else b"")
    state = group(b"K\x01", group(integer(count)), kind, b"\x89", values)
    return bytes([0x80, protocol]) + before + outer + put[0] + state + b"b" + after + b"."


def bare(payload: bytes, protocol: int = 3) -> bytes:
    """Make a file whose pickle is that payload and nothing else."""
    return npy(bytes([0x80, protocol]) + payload + b".")


def inside(payload: bytes, protocol: int = 3) -> bytes:
    """Make a file in whose sound array that payload is the second of three items."""
    return npy(array(text("a") + payload + text("c"), protocol=protocol))


def _get(number: int) -> bytes:
    return b"h" + bytes([number])


def _put(number: int) -> bytes:
    return b"q" + bytes([number])


def _ucs4(*values: str, width: int) -> bytes:
    return b"".join(value.ljust(width, "\0").encode("utf-32-le") for value in values)


def _fixed(prefix: str, files: dict[str, bytes], expected: str) -> list[Case]:
    return [(f"{prefix}_{case}", _always(data), expected) for case, data in files.items()]


def _always(data: bytes) -> Callable[[], bytes]:
    return lambda: data


def _both(prefix: str, payloads: dict[str, bytes], expected: str) -> list[Case]:
    """Give each payload as the whole pickle and as one item of a sound array."""
    cases = _fixed(prefix, {f"{case}_bare": bare(data) for case, data in payloads.items()}, expected)
    return cases + _fixed(
        prefix, {f"{case}_inside": inside(data) for case, data in payloads.items()}, expected
    )


# --- the file and its header


def _starts() -> list[Case]:
    good, good_u = good_object_file(), good_u_file()
    corrupt = {
        "text_file": b"Just a text, saved under the wrong name.\n" * 4,
        "json_file": b'["One.", "Two.", "Three."]' * 8,
        "zip": b"PK\x03\x04" + bytes(200),
        "gzip": b"\x1f\x8b\x08" + bytes(200),
        "bare_pickle": array(b"".join(map(text, TEXTS))),
        "bare_list": b"\x80\x03](" + b"".join(map(text, TEXTS)) + b"e.",
        "zeros": bytes(4096),
        "magic_other_case": good.replace(b"NUMPY", b"numpy", 1),
        "magic_off_by_one": b"\x92" + good[1:],
        "byte_order_mark": b"\xef\xbb\xbf" + good,
        "version_0_0": npy(version=(0, 0)),
        "version_1_1": npy(version=(1, 1)),
        "version_4_0": npy(version=(4, 0)),
        "version_9_9": npy(version=(9, 9)),
        "version_255_255": npy(version=(255, 255)),
        "u_one_byte_more": good_u + b"\0",
        "u_zeros_after": good_u + bytes(4096),
        "u_twice": good_u * 2,
    }
    trailing = {
        "object_one_byte_more": good + b"\0",
        "object_newline_after": good + b"\n",
        "object_zeros_after": good + bytes(4096),
        "object_stop_after": good + b".",
        "object_twice": good * 2,
        "object_second_pickle": good + array(text("x"), 1),
        "object_text_after": good + b"\nand more text.",
    }
    # a reader that looks at the last byte first cannot tell these from a file in the making
    return _fixed("start", corrupt, "Corrupt") + _fixed("start", trailing, "unread")


def _headers() -> list[Case]:
    known = "'descr': '|O', 'fortran_order': False, 'shape': (3,)"
    headers: dict[str, str | bytes] = {
        "empty": b"",
        "newline": b"\n",
        "no_dictionary": "('|O', False, (3,))",
        "list": "[1, 2, 3]",
        "missing_descr": "{'fortran_order': False, 'shape': (3,), }",
        "missing_order": "{'descr': '|O', 'shape': (3,), }",
        "missing_shape": "{'descr': '|O', 'fortran_order': False, }",
        "no_keys": "{}",
        "extra_key": f"{{{known}, 'extra': 1, }}",
        "extra_python_key": f"{{{known}, '__class__': '|O', }}",
        "key_twice": f"{{'descr': '<U3', {known}, }}",
        "bytes_key": "{b'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
        "integer_key": "{1: '|O', 'fortran_order': False, 'shape': (3,), }",
        "unclosed": f"{{{known}, ",
        "unclosed_text": "{'descr': '|O, 'fortran_order': False, 'shape': (3,), }",
        "second_dictionary": f"{{{known}, }}{{{known}, }}",
        "word_after": f"{{{known}, }} and more",
        "comment": f"{{{known}, }} # comment",
        "nul_inside": f"{{{known}, \0}}",
        "code_import": "__import__('os').system('true')",
        "code_as_descr": "{'descr': __import__('os').sep, 'fortran_order': False, 'shape': (3,), }",
        "code_as_shape": "{'descr': '|O', 'fortran_order': False, 'shape': (len('abc'),), }",
        "code_arithmetic": "{'descr': '|O', 'fortran_order': False, 'shape': (9**9**9,), }",
        "code_product": "{'descr': '|O', 'fortran_order': False, 'shape': ('a'*10**9,), }",
        "code_comprehension": f"{{{known} for _ in ()}}",
        "code_f_string": "{'descr': f'{1}', 'fortran_order': False, 'shape': (3,), }",
        "code_lambda": f"(lambda: {{{known}}})()",
        "descr_none": "{'descr': None, 'fortran_order': False, 'shape': (3,), }",
        "descr_number": "{'descr': 3, 'fortran_order': False, 'shape': (3,), }",
        "descr_two_literals": "{'descr': '|' 'O', 'fortran_order': False, 'shape': (3,), }",
        "order_number": "{'descr': '|O', 'fortran_order': 0, 'shape': (3,), }",
        "order_text": "{'descr': '|O', 'fortran_order': 'False', 'shape': (3,), }",
        "order_none": "{'descr': '|O', 'fortran_order': None, 'shape': (3,), }",
        "not_utf8": b"{'descr': '|O', '\xff': 1, 'fortran_order': False, 'shape': (3,), }\n",
        "brackets_9000": "[" * 9_000,
        "parentheses_8000": f"{{'descr': '|O', 'fortran_order': False, 'shape': {'(' * 4000}{')' * 4000}}}",
        "minus_9000": f"{{'descr': '|O', 'fortran_order': False, 'shape': ({'-' * 8_000}3,), }}",
        "tilde_9000": "~" * 9_000 + "1",
        "spaces_9000": " " * 9_000,
        "shape_of_digits": f"{{'descr': '|O', 'fortran_order': False, 'shape': ({'9' * 8_000},), }}",
    }
    data = array(b"".join(map(text, TEXTS)))
    cases = _fixed("header", {key: npy(data, header=value) for key, value in headers.items()}, "Corrupt")
    version_3 = npy(data, header=headers["not_utf8"], version=(3, 0))
    return cases + _fixed("header", {"version_3_not_utf8": version_3}, "Corrupt") + _long_headers(known, data)


def _long_headers(known: str, data: bytes) -> list[Case]:
    def long(header: str, version: tuple[int, int] = (2, 0)) -> Callable[[], bytes]:
        return lambda: npy(data, header=header, version=version)

    return [
        ("header_600_kB", long("{" + known + " " * 600_000 + "}"), "refused"),
        ("header_600_kB_of_brackets", long("[" * 600_000), "refused"),
        ("header_600_kB_of_zeros", long("(" + "0," * 300_000 + ")"), "refused"),
        ("header_60_000", long("{" + known + " " * 59_000 + "}", (1, 0)), "refused"),
        ("header_65535_claimed", lambda: b"\x93NUMPY\x01\x00\xff\xff" + good_u_file()[10:], "unread"),
        ("header_4_GiB_claimed", lambda: b"\x93NUMPY\x02\x00" + b"\xff" * 4 + good_u_file()[10:], "unread"),
        ("header_2_GiB_claimed", lambda: b"\x93NUMPY\x03\x00\x00\x00\x00\x80" + good_u_file()[10:], "unread"),
        ("header_short_length", lambda: b"\x93NUMPY\x01\x00\x08\x00" + good_u_file()[10:], "Corrupt"),
    ]


def _shapes() -> list[Case]:
    ones = "(" + "1, " * 65 + ")"
    wrong = {
        "negative": "(-1,)",
        "minus_three": "(-3,)",
        "true": "(True,)",
        "false": "(False, 3)",
        "float": "(1.0,)",
        "exponent": "(3e0,)",
        "complex": "(3j,)",
        "text": "('3',)",
        "none": "None",
        "none_inside": "(None,)",
        "number": "3",
        "number_in_parentheses": "(3)",
        "list": "[3]",
        "set": "{3}",
        "nested": "((3,),)",
        "two_commas": "(3,,)",
        "comma_alone": "(,)",
        "plus": "(+3,)",
        "hexadecimal": "(0x3,)",
        "octal": "(0o3,)",
        "underscore": "(1_0,)",
        "spaced_digits": "(1 0,)",
        "other_digits": "(\u0663,)",
        "dimensions_65": ones,
        "dimensions_1000": "(" + "1, " * 1000 + ")",
    }
    items = array(b"".join(map(text, TEXTS)))
    cases = _fixed("shape_object", {key: npy(items, shape=value) for key, value in wrong.items()}, "Corrupt")
    u_data = _ucs4(*TEXTS, width=6)
    files = {key: npy(u_data, shape=value, descr="'<U6'") for key, value in wrong.items()}
    cases += _fixed("shape_u", files, "Corrupt")
    vast = {
        "2_62": ("'<U6'", f"({2**62},)"),
        "2_63": ("'<U6'", f"({2**63},)"),
        "2_64_plus_3": ("'<U6'", f"({2**64 + 3},)"),
        "2_32_twice": ("'<U6'", f"({2**32}, {2**32})"),
        "2_32_twice_of_one_byte": ("'|S1'", f"({2**32}, {2**32})"),
        "2_61_of_eight_bytes": ("'<U2'", f"({2**61},)"),
        "256_GiB": ("'<U64'", f"({2**30},)"),
        "width_8589934592": ("'<U8589934592'", "(3,)"),
        "width_2_30": ("'<U1073741824'", "(1,)"),
        "width_2_62": (f"'<U{2**62}'", "(3,)"),
        "width_9_times_9": ("'<U" + "9" * 9 + "'", "(9,)"),
        "s_width_2_40": (f"'|S{2**40}'", "(3,)"),
        "object_2_62": ("'|O'", f"({2**62},)"),
        "object_2_64_plus_3": ("'|O'", f"({2**64 + 3},)"),
        "object_2_32_twice": ("'|O'", f"({2**32}, {2**32})"),
        "object_2_30": ("'|O'", f"({2**30},)"),
    }
    files = {key: npy(items, descr=descr, shape=shape) for key, (descr, shape) in vast.items()}
    cases += _fixed("vast", files, "unread")
    empty = {
        "u0_2_27": ("'<U0'", f"({2**27},)"),
        "s0_2_40": ("'|S0'", f"({2**40},)"),
        "u0_2_62": ("'<U0'", f"({2**62},)"),
        "u_2_40_by_0": ("'<U3'", f"({2**40}, 0)"),
        "u0_2d": ("'<U0'", f"({2**20}, {2**20})"),
        "u0_one_row": ("'<U0'", f"(1, {2**40})"),
    }
    files = {key: npy(descr=descr, shape=shape) for key, (descr, shape) in empty.items()}
    return cases + _fixed("empty_items", files, "refused")


def _not_text() -> list[Case]:
    descrs = {
        "i8": "'<i8'",
        "big_f4": "'>f4'",
        "bool": "'|b1'",
        "complex": "'<c16'",
        "date": "'<M8[ns]'",
        "delta": "'<m8[D]'",
        "void": "'|V8'",
        "structured": "[('a', '<i4'), ('b', '<U3')]",
        "structured_objects": "[('a', '|O')]",
    }
    return _fixed("not_text", {key: npy(bytes(24), descr=value) for key, value in descrs.items()}, "NotText")


def _code_points() -> list[Case]:
    """Give ``U`` arrays with a number in them that is no character."""
    good, count = b"a\0\0\0", 100_000
    files = {
        "first_beyond": npy(struct.pack("<3I", 0x110000, 97, 97), descr="'<U1'"),
        "last": npy(struct.pack("<3I", 97, 97, 0xFFFFFFFF), descr="'<U1'"),
        "minus_one": npy(struct.pack("<3i", -1, -1, -1), descr="'<U1'"),
        "sign_bit": npy(struct.pack("<3I", 97, 0x80000061, 97), descr="'<U1'"),
        "big_endian": npy(struct.pack(">3I", 97, 0x110000, 97), descr="'>U1'"),
        "wrong_byte_order": npy(struct.pack("<3I", 97, 97, 97), descr="'>U1'"),
        "after_nul": npy(struct.pack("<6I", 97, 0, 0, 0x110000, 98, 0), descr="'<U2'"),
        "no_dimension": npy(struct.pack("<2I", 97, 0x110000), descr="'<U2'", shape="()"),
        "fortran": npy(
            struct.pack("<4I", 97, 98, 0x110000, 99), descr="'<U1'", shape="(2, 2)", fortran="True"
        ),
        "late": npy(good * (count - 1) + b"\0\0\x11\0", descr="'<U1'", shape=f"({count},)"),
    }
    return _fixed("code_point", files, "refused")


def _other_content() -> list[Case]:
    """Give object headers over a pickle that holds something else."""
    u_array = b"\x80\x03" + nested(raw_bytes(_ucs4("a", "b", "c", width=1)), kind=u_dtype(1)) + b"."
    int_dtype = dtype("i8", size=-1, alignment=-1, flags=0, order="<")
    int_array = b"\x80\x03" + nested(raw_bytes(bytes(24)), kind=int_dtype) + b"."
    three = b"](" + b"".join(map(text, TEXTS)) + b"e"
    files = {
        "none_of_three": npy(array(b"", 0)),
        "two_items": npy(array(text("a") + text("b"), 2)),
        "four_items": npy(array(text("a") * 4, 4)),
        "fewer_in_the_list": npy(b"\x80\x03" + nested(b"](" + text("a") + text("b") + b"e") + b"."),
        "more_in_the_list": npy(b"\x80\x03" + nested(b"](" + text("a") * 4 + b"e") + b"."),
        "empty_list": npy(b"\x80\x03" + nested(b"]") + b"."),
        "a_text": bare(text("One.")),
        "a_dict": bare(b"}" + text("a") + text("b") + b"s"),
        "a_list": bare(three),
        "a_tuple": bare(text("a") + text("b") + text("c") + b"\x87"),
        "none": bare(b"N"),
        "a_number": bare(b"K\x03"),
        "bytes": bare(raw_bytes(b"abc")),
        "u_array": npy(u_array),
        "numeric_array": npy(int_array),
        "a_list_of_the_array": npy(b"\x80\x03]" + nested(three) + b"a."),
        "two_dimensions": npy(b"\x80\x03" + nested(three, shape=group(b"K\x01", b"K\x03")) + b"."),
        "no_dimension": npy(b"\x80\x03" + nested(b"]" + text("a") + b"a", shape=b")") + b"."),
        "column_for_row": npy(
            b"\x80\x03" + nested(three, shape=group(b"K\x03", b"K\x01")) + b".", shape="(1, 3)"
        ),
        "one_for_no_dimension": npy(array(text("a"), 1), shape="()"),
        "unbuilt_array": bare(reconstruct()),
    }
    nothing = {
        "nothing": npy(),
        "u_bytes": npy(_ucs4(*TEXTS, width=6)),
        "protocol_only": npy(b"\x80\x03"),
        "stop_only": npy(b"."),
    }
    return _fixed("content", files, "refused") + _fixed("content", nothing, "unread")


# --- ways to run code


def _code(canary: str) -> list[Case]:
    named = _calls(canary)
    system, command = name("os", "system"), text(f"touch '{canary}'")
    namespace, getattr_ = call(name("argparse", "Namespace")), name("builtins", "getattr")
    shape = group(b"K\x01")
    memmap = (text(canary), text("u1"), text("w+"), b"K\x00", shape)
    named |= {
        "inst": b"(" + command + b"ios\nsystem\n",
        "obj": b"(" + system + command + b"o",
        "newobj": name("numpy", "memmap") + group(*memmap) + b"\x81",
        "newobj_ex": name("numpy", "memmap") + group(*memmap) + b"}\x92",
        "build": namespace + b"}" + text("__setstate__") + system + b"sb" + command + b"b",
        "text_arguments": system + b"(S\"touch '" + canary.encode() + b"'\"\ntR",
        "old_text_arguments": b"(cos\nsystem\nV" + f"touch '{canary}'".encode() + b"\no",
        "binstring": system
        + b"(T"
        + struct.pack("<i", len(canary) + 8)
        + f"touch '{canary}'".encode()
        + b"tR",
        "through_memo": system + _put(9) + b"0" + _get(9) + command + b"\x85R",
        "stack_global_through_memo": b"\x8c\x02os\x94\x8c\x06system\x94\x93" + command + b"\x85R",
        "ufunc_reconstruct": call(
            call(name("numpy.core", "_ufunc_reconstruct"), text("os"), text("system")), command
        ),
        "getattr": call(
            call(getattr_, call(getattr_, name("os", "path"), text("os")), text("system")), command
        ),
        "import": call(
            call(getattr_, call(name("builtins", "__import__"), text("os")), text("system")), command
        ),
    }
    cases = _both("code", named, "refused")
    dotted = {
        "dotted": call(name("os", "path.os.system", 4), command),
        "dotted_numpy": call(name("numpy", "lib.format.os.system", 4), command),
        "dotted_ndarray": call(name("numpy", "ndarray.__reduce__.__self__", 4), command),
        "stack_global": call(name("os", "system", 4), command),
        "empty_module": call(name("", "system", 4), command),
    }
    cases += _fixed("code", {f"{key}_bare": bare(data, 4) for key, data in dotted.items()}, "refused")
    cases += _fixed("code", {f"{key}_inside": inside(data, 4) for key, data in dotted.items()}, "refused")
    opcodes = {
        "ext1": b"\x82\x01",
        "ext2": b"\x83\x01\x00",
        "ext4": b"\x84\x01\x00\x00\x00",
        "ext4_negative": b"\x84\xff\xff\xff\xff",
        "persid": b"Pcanary\n",
        "binpersid": text("canary") + b"Q",
    }
    return cases + _both("code", opcodes, "refused") + _code_places(call(system, command))


def _calls(canary: str) -> dict[str, bytes]:
    """Give a call of each of many functions that would create the canary, or lead to one that does."""
    command, source = text(f"touch '{canary}'"), text(f"open({canary!r}, 'w').close()")
    path, write = text(canary), text("w")
    evil = b"\x80\x03" + call(name("os", "system"), command) + b"."
    functions: dict[str, tuple[str, str, tuple[bytes, ...]]] = {
        "os_system": ("os", "system", (command,)),
        "posix_system": ("posix", "system", (command,)),
        "os_popen": ("os", "popen", (command,)),
        "os_mkdir": ("os", "mkdir", (path,)),
        "posix_mkdir": ("posix", "mkdir", (path,)),
        "os_mknod": ("os", "mknod", (path,)),
        "subprocess_call": ("subprocess", "call", (b"]" + text("touch") + b"a" + path + b"a",)),
        "subprocess_getoutput": ("subprocess", "getoutput", (command,)),
        "eval": ("builtins", "eval", (source,)),
        "eval_python_2": ("__builtin__", "eval", (source,)),
        "exec": ("builtins", "exec", (source,)),
        "open": ("builtins", "open", (path, write)),
        "io_open": ("io", "open", (path, write)),
        "io_open_inner": ("_io", "open", (path, write)),
        "codecs_open": ("codecs", "open", (path, write)),
        "file_handler": ("logging", "FileHandler", (path,)),
        "timeit": ("timeit", "timeit", (source, text("pass"), name("time", "time"), b"K\x01")),
        "cprofile": ("cProfile", "run", (source,)),
        "pickle_loads": ("pickle", "loads", (raw_bytes(evil),)),
        "pickle_loads_inner": ("_pickle", "loads", (raw_bytes(evil),)),
        "numpy_savetxt": ("numpy", "savetxt", (path, b"]K\x01a")),
        "numpy_memmap": ("numpy", "memmap", (path, text("u1"), text("w+"), b"K\x00", group(b"K\x01"))),
        "numpy_open_memmap": (
            "numpy.lib.format",
            "open_memmap",
            (path, text("w+"), text("u1"), group(b"K\x01")),
        ),
        "numpy_runstring": ("numpy.testing._private.utils", "runstring", (source, b"}")),
        "numpy_runstring_public": ("numpy.testing", "runstring", (source, b"}")),
        "numpy_myeval": ("numpy.f2py.crackfortran", "myeval", (source, b"}", b"}")),
        "numpy_exec_command": ("numpy.distutils.exec_command", "exec_command", (command,)),
        "numpy_load": ("numpy", "load", (path,)),
        "numpy_fromfile": ("numpy", "fromfile", (path,)),
        "numpy_multiarray_fromfile": ("numpy.core.multiarray", "fromfile", (path,)),
        "numpy_load_library": ("numpy.ctypeslib", "load_library", (path, text("/"))),
        "numpy_data_source": ("numpy", "DataSource", (path,)),
        "numpy_vectorize": ("numpy", "vectorize", (name("os", "system"),)),
        "numpy_frompyfunc": ("numpy", "frompyfunc", (name("os", "system"), b"K\x01", b"K\x01")),
        "numpy_f2py_os": ("numpy.f2py", "os.system", (command,)),
        "partial": ("functools", "partial", (name("os", "system"), command)),
        "attrgetter": ("operator", "attrgetter", (text("system"),)),
        "import_module": ("importlib", "import_module", (text("this"),)),
        "code_type": ("marshal", "loads", (raw_bytes(b"c" + bytes(64)),)),
        "ctypes": ("ctypes", "CDLL", (path,)),
        "webbrowser": ("webbrowser", "open", (path,)),
        "reconstructor": (
            "copyreg",
            "_reconstructor",
            (name("builtins", "list"), name("builtins", "object"), b"N"),
        ),
        "newobj_function": ("copyreg", "__newobj__", (name("builtins", "object"),)),
    }
    return {
        key: call(name(module, attribute), *values) for key, (module, attribute, values) in functions.items()
    }


def _code_places(payload: bytes) -> list[Case]:
    """Hide one call in every corner of a sound array's pickle."""
    sound = b"".join(map(text, TEXTS))
    items = b"](" + sound + b"e"
    files = {
        "before": npy(array(sound, before=payload + b"0")),
        "after": npy(array(sound, after=payload + b"0")),
        "after_stop": good_object_file() + payload + b".",
        "last_item": npy(array(text("a") * 2 + payload)),
        "in_list": inside(b"]" + payload + b"a"),
        "in_tuple": inside(payload + b"\x85"),
        "dict_key": inside(b"}" + payload + b"Ns"),
        "dict_value": inside(b"}" + text("a") + payload + b"s"),
        "discarded": inside(payload + b"0" + text("b")),
        "as_class": bare(reconstruct(subtype=payload)),
        "as_type_code": bare(reconstruct(code=payload)),
        "as_shape": npy(b"\x80\x03" + nested(items, shape=payload) + b"."),
        "in_shape": npy(b"\x80\x03" + nested(items, shape=payload + b"\x85") + b"."),
        "as_dtype": npy(b"\x80\x03" + nested(items, kind=payload) + b"."),
        "as_order": npy(b"\x80\x03" + nested(items, fortran=payload) + b"."),
        "as_content": npy(b"\x80\x03" + nested(payload) + b"."),
        "as_state": bare(reconstruct() + payload + b"b"),
        "as_dtype_state": npy(b"\x80\x03" + nested(items, kind=dtype("O8", state=payload)) + b"."),
        "as_function": bare(payload + b")R"),
        "in_inner_array": inside(nested(b"]" + payload + b"a", shape=group(b"K\x01"))),
    }
    return _fixed("code_place", files, "refused")


def _names() -> list[Case]:
    """Give names beside the known ones, and known names where no value belongs."""
    reconstruct_name = name("numpy.core.multiarray", "_reconstruct")
    string_dtype = name("numpy._core._internal", "_convert_to_stringdtype_kwargs")
    payloads = {
        "reconstruct_as_item": reconstruct_name,
        "ndarray_as_item": name("numpy", "ndarray"),
        "dtype_as_item": name("numpy", "dtype"),
        "dtype_instance_as_item": dtype("O8"),
        "module_longer": call(name("numpy.core.multiarray.evil", "_reconstruct")),
        "module_shorter": call(name("numpy.core", "_reconstruct")),
        "module_spaces": call(name(" numpy", "dtype"), text("O8")),
        "module_capitals": call(name("Numpy", "dtype"), text("O8")),
        "look_alike": call(name("numpy", "dtyp\u0435"), text("O8")),
        "private_dtype": call(name("numpy.core._internal", "_reconstruct")),
        "fromstring": call(name("numpy.core.multiarray", "fromstring"), raw_bytes(b"A" * 8), text("O")),
        "frombuffer": call(name("numpy.core.multiarray", "frombuffer"), raw_bytes(b"A" * 8), text("O")),
        "frombuffer_5": call(
            name("numpy.core.numeric", "_frombuffer"), raw_bytes(b"A" * 8), dtype("O8"), b")"
        ),
        "datetime": call(name("datetime", "datetime"), raw_bytes(b"\x07\xe4\x01\x01\0\0\0\0\0\0")),
        "complex": call(name("builtins", "complex"), b"K\x01", b"K\x02"),
        "ordered_dict": call(name("collections", "OrderedDict")),
        "set": call(name("builtins", "set"), b"]" + text("a") + b"a"),
        "bytes_of_a_terabyte": call(name("__builtin__", "bytes"), integer(2**40)),
        "bytearray_of_a_terabyte": call(name("builtins", "bytearray"), integer(2**40)),
        "range": call(name("builtins", "range"), integer(2**40)),
        "encode_rot13": call(name("_codecs", "encode"), text("abc"), text("rot13")),
        "encode_zlib": call(name("_codecs", "encode"), text("abc"), text("zlib_codec")),
        "encode_idna": call(name("_codecs", "encode"), text("\u00e9" * 5_000), text("idna")),
        "encode_too_wide": call(name("_codecs", "encode"), text("\u0100"), text("latin1")),
        "encode_number": call(name("_codecs", "encode"), b"K\x01", text("latin1")),
        "encode_three": call(name("_codecs", "encode"), text("a"), text("latin1"), text("ignore")),
        "decode": call(name("_codecs", "decode"), raw_bytes(b"a"), text("unicode_escape")),
        "long_name": call(name("a" * 1_000_000, "b")),
        "name_not_utf8": b"c\xff\xfe\n\xff\n",
        "name_of_numbers": b"K\x01K\x02\x93",
        "string_dtype_of_code": call(string_dtype, name("os", "system")),
        "string_dtype_of_dict": call(string_dtype, b"}"),
        "string_dtype_many": call(string_dtype, *([b"N"] * 9)),
    }
    return _both("name", payloads, "refused")


# --- numpy's own constructors as tools


def _array_states() -> list[Case]:
    """Give arrays whose parts do not fit together; numpy would follow bytes of some as pointers."""
    pointers, items = raw_bytes(b"A" * 24), b"](" + b"".join(map(text, TEXTS)) + b"e"
    kind, three = dtype("O8"), group(b"K\x03")
    ndarray, build = name("numpy", "ndarray"), reconstruct()
    plain = dtype("O8", flags=0)
    payloads = {
        "objects_over_bytes": nested(pointers),
        "objects_over_text": nested(text("A" * 24)),
        "objects_over_tuple": nested(group(text("a"), text("b"), text("c"))),
        "objects_over_none": nested(b"N"),
        "objects_over_dict": nested(b"}"),
        "flags_0_over_bytes": nested(pointers, kind=plain),
        "flags_0_over_list": nested(items, kind=plain),
        "u_over_list": nested(items, kind=u_dtype(6)),
        "u_too_few_bytes": nested(raw_bytes(bytes(8)), kind=u_dtype(1)),
        "u_too_many_bytes": nested(raw_bytes(bytes(16)), kind=u_dtype(1)),
        "u_code_point": nested(raw_bytes(b"\xff" * 12), kind=u_dtype(1)),
        "u_of_a_gigabyte": nested(raw_bytes(b""), kind=u_dtype(2**28)),
        "shape_negative": nested(items, shape=group(integer(-3))),
        "shape_2_62": nested(items, shape=group(integer(2**62))),
        "shape_2_32_twice": nested(items, shape=group(integer(2**32), integer(2**32))),
        "shape_2_70": nested(items, shape=group(integer(2**70))),
        "shape_wraps_to_3": nested(items, shape=group(integer(2**64 + 3))),
        "shape_true": nested(items, shape=group(b"\x88", b"K\x03")),
        "shape_float": nested(items, shape=group(b"G" + struct.pack(">d", 3.0))),
        "shape_text": nested(items, shape=text("3")),
        "shape_list": nested(items, shape=b"]K\x03a"),
        "shape_number": nested(items, shape=b"K\x03"),
        "shape_none": nested(items, shape=b"N"),
        "shape_65": nested(b"]" + text("a") + b"a", shape=group(*([b"K\x01"] * 65))),
        "shape_vast_and_empty": nested(b"]", shape=group(integer(2**40), b"K\x00")),
        "order_number": nested(items, fortran=b"K\x07"),
        "order_text": nested(items, fortran=text("C")),
        "version_0": build + group(b"K\x00", three, kind, b"\x89", items) + b"b",
        "version_2": build + group(b"K\x02", three, kind, b"\x89", items) + b"b",
        "version_huge": build + group(integer(2**70), three, kind, b"\x89", items) + b"b",
        "state_of_four": build + group(three, kind, b"\x89", items) + b"b",
        "state_of_six": build + group(b"K\x01", three, kind, b"\x89", items, b"N") + b"b",
        "state_list": build + b"](" + b"K\x01" + three + kind + b"\x89" + items + b"eb",
        "state_none": build + b"Nb",
        "state_dict": build + b"}b",
        "built_twice": nested(items) + group(b"K\x01", group(b"K\x01"), kind, b"\x89", b"]Na") + b"b",
        "dtype_is_text": nested(items, kind=text("O8")),
        "dtype_is_class": nested(items, kind=name("numpy", "dtype")),
        "reconstruct_vast": reconstruct(shape=group(integer(10**12))),
        "reconstruct_objects": reconstruct(code=raw_bytes(b"O")),
        "reconstruct_text_shape": reconstruct(shape=text("0")),
        "reconstruct_dtype_class": reconstruct(subtype=name("numpy", "dtype")),
        "reconstruct_memmap": reconstruct(subtype=name("numpy", "memmap")),
        "reconstruct_matrix": reconstruct(subtype=name("numpy", "matrix")),
        "reconstruct_list": reconstruct(subtype=name("builtins", "list")),
        "reconstruct_no_arguments": name("numpy.core.multiarray", "_reconstruct") + b")R",
        "ndarray_over_bytes": call(ndarray, three, text("O"), pointers),
        "ndarray_vast": call(ndarray, group(integer(10**12)), text("u1")),
        "ndarray_strides": call(ndarray, three, text("u1"), pointers, b"K\x00", group(integer(2**40))),
        "ndarray_newobj": ndarray + group(three, text("O"), pointers) + b"\x81",
        "ndarray_newobj_ex": ndarray + group(three) + b"}" + text("buffer") + pointers + b"s\x92",
        "ndarray_called": call(ndarray, three),
        "ndarray_class_built": ndarray + b"}b",
    }
    whole = _fixed("array", {f"{key}_bare": bare(data) for key, data in payloads.items()}, "refused")
    return whole + _fixed(
        "array", {f"{key}_inside": inside(data) for key, data in payloads.items()}, "refused"
    )


def _dtypes() -> list[Case]:
    items, make = b"](" + b"".join(map(text, TEXTS)) + b"e", name("numpy", "dtype")
    head, tail = (b"K\x03", text("|")), (integer(-1), integer(-1), integer(63))
    names, fields = text("a") + b"\x85", b"}" + text("a") + dtype("O8") + b"K\x00\x86s"
    kinds = {
        "metadata": dtype(
            "O8", state=group(b"K\x04", text("|"), b"N", b"N", b"N", *tail, b"}Nc" + b"os\nsystem\ns")
        ),
        "subarray": dtype("O8", state=group(*head, dtype("O8") + b"K\x03\x85\x86", b"N", b"N", *tail)),
        "fields": dtype("O8", state=group(*head, b"N", names, fields, *tail)),
        "fields_without_names": dtype("O8", state=group(*head, b"N", b"N", fields, *tail)),
        "version_9": dtype("O8", state=group(b"K\x09", text("|"), b"N", b"N", b"N", *tail)),
        "version_0": dtype("O8", state=group(b"K\x00", text("|"), b"N", b"N", b"N", *tail)),
        "short_state": dtype("O8", state=group(*head)),
        "state_none": dtype("O8", state=b"N"),
        "state_dict": dtype("O8", state=b"}"),
        "size_3": dtype("O8", size=3),
        "size_0": dtype("O8", size=0),
        "size_vast": dtype("O8", size=2**62),
        "order_text": dtype("O8", order="pointer"),
        "code_list": call(make, text("O,O"), b"\x89", b"\x88") + dtype_state() + b"b",
        "code_fields": call(make, text("i8,O"), b"\x89", b"\x88") + dtype_state() + b"b",
        "code_repeated": call(make, text("(2147483648,)O"), b"\x89", b"\x88") + dtype_state() + b"b",
        "code_void": call(make, text("V8"), b"\x89", b"\x88") + dtype_state() + b"b",
        "code_dict": call(make, b"}" + text("names") + b"]s", b"\x89", b"\x88") + dtype_state() + b"b",
        "code_empty": call(make, text(""), b"\x89", b"\x88") + dtype_state() + b"b",
        "code_u_vast": call(make, text("U2147483647"), b"\x89", b"\x88") + dtype_state() + b"b",
        "no_arguments": call(make) + dtype_state() + b"b",
        "class_code": call(make, name("builtins", "object"), b"\x89", b"\x88") + dtype_state() + b"b",
    }
    whole = {f"{key}_bare": npy(b"\x80\x03" + nested(items, kind=data) + b".") for key, data in kinds.items()}
    within = {f"{key}_inside": inside(nested(items, kind=data)) for key, data in kinds.items()}
    pointers = {
        f"{key}_pointers": inside(nested(raw_bytes(b"A" * 24), kind=data)) for key, data in kinds.items()
    }
    return _fixed("dtype", whole | within | pointers, "refused_or_skipped")


def _scalars() -> list[Case]:
    scalar = name("numpy.core.multiarray", "scalar")
    int_dtype = dtype("i8", order="<", flags=0)
    payloads = {
        "object": call(scalar, dtype("O8"), raw_bytes(b"A" * 8)),
        "object_flags_0": call(scalar, dtype("O8", flags=0), raw_bytes(b"A" * 8)),
        "object_other_object": call(scalar, dtype("O8"), b"]"),
        "object_alone": call(scalar, dtype("O8")),
        "too_short": call(scalar, int_dtype, raw_bytes(b"abc")),
        "too_long": call(scalar, int_dtype, raw_bytes(bytes(9))),
        "empty": call(scalar, int_dtype, raw_bytes(b"")),
        "number": call(scalar, int_dtype, b"K\x01"),
        "no_dtype": call(scalar, text("i8"), raw_bytes(bytes(8))),
        "no_arguments": call(scalar),
        "three_arguments": call(scalar, int_dtype, raw_bytes(bytes(8)), b"N"),
        "u_too_short": call(scalar, u_dtype(4), raw_bytes(bytes(8))),
        "u_code_point": call(scalar, u_dtype(1), raw_bytes(b"\xff" * 4)),
        "u_vast": call(scalar, u_dtype(2**28), raw_bytes(bytes(4))),
        "void": call(scalar, dtype("V8"), raw_bytes(bytes(8))),
        "array_dtype": call(scalar, nested(b"](NNNe"), raw_bytes(bytes(8))),
    }
    return _both("scalar", payloads, "refused_or_skipped")


# --- sizes


def _lengths() -> list[Case]:
    """Give opcodes that claim more than the file holds."""
    terabyte = struct.pack("<Q", 2**40)
    payloads = {
        "binbytes8": b"\x8e" + terabyte,
        "binunicode8": b"\x8d" + terabyte,
        "bytearray8": b"\x96" + terabyte,
        "binbytes8_sign": b"\x8e" + b"\xff" * 8,
        "binunicode8_sign": b"\x8d" + struct.pack("<Q", 2**63),
        "binbytes": b"B\xff\xff\xff\xff",
        "binunicode": b"X\xff\xff\xff\xff",
        "binunicode_2_GB": b"X\x00\x00\x00\x80",
        "binstring": b"T\xff\xff\xff\x7f",
        "binstring_negative": b"T\xff\xff\xff\xff",
        "frame_8_GB": b"\x95" + struct.pack("<Q", 2**33) + b"N",
        "frame_sign": b"\x95" + b"\xff" * 8 + b"N",
        "long4_2_GB": b"\x8b\xff\xff\xff\x7f",
        "long4_negative": b"\x8b\xff\xff\xff\xff",
        "long1": b"\x8a\xff",
        "short_binunicode": b"\x8c\xff",
        "short_binbytes": b"C\xff",
        "short_binstring": b"U\xff",
    }
    return _both("length", payloads, "unread")


def _floods() -> list[Case]:
    """Give megabytes that an interpreter would hold on to, or turn into more."""
    digits = b"9" * 5_000_000
    million = 2_000_000
    makers: dict[str, Callable[[], bytes]] = {
        "int_digits": lambda: b"I" + digits + b"\n",
        "long_digits": lambda: b"L" + digits + b"L\n",
        "float_digits": lambda: b"F" + digits + b"\n",
        "int_without_end": lambda: b"I" + digits,
        "get_digits": lambda: b"g" + digits + b"\n",
        "put_digits": lambda: b"Np" + digits + b"\n",
        "string_escapes": lambda: b"S'" + b"\\x41" * 1_000_000 + b"'\n",
        "unicode_escapes": lambda: b"V" + b"\\u0041" * 1_000_000 + b"\n",
        "long4_8_MB": lambda: b"\x8b" + struct.pack("<i", 8_000_000) + b"\x7f" * 8_000_000,
        "name_without_end": lambda: b"c" + b"a" * 5_000_000,
        "marks": lambda: b"(" * million,
        "nones": lambda: b"N" * million,
        "lists": lambda: b"]" * million,
        "dicts": lambda: b"}" * million,
        "tuples": lambda: b")" * million,
        "memoized": lambda: b"N" + b"\x94" * million,
        "pushed_and_dropped": lambda: b"N0" * million,
        "doubled": lambda: b"N" + b"2" * million,
        "protocols": lambda: b"\x80\x03" * million,
        "frames": lambda: (b"\x95" + bytes(8)) * 500_000,
        "arrays_unbuilt": lambda: reconstruct() * 20_000,
        "names": lambda: name("numpy", "dtype") * 100_000,
    }
    # inside a sound array these would change nothing: reading on is as good as refusing
    harmless = {"memoized", "protocols", "frames"}
    cases = [(f"flood_{key}_bare", _later(bare, make), "unread") for key, make in makers.items()]
    return cases + [
        (f"flood_{key}_inside", _later(inside, make), "unread")
        for key, make in makers.items()
        if key not in harmless
    ]


def _later(wrap: Callable[[bytes], bytes], make: Callable[[], bytes]) -> Callable[[], bytes]:
    return lambda: wrap(make())


def _memos() -> list[Case]:
    payloads = {
        "put_billion": b"]p1000000000\n",
        "put_negative": b"]p-1\n",
        "put_no_number": b"]pone\n",
        "put_empty": b"]p\n",
        "put_spaces": b"]p 1 \n",
        "put_2_64": b"]p18446744073709551617\n",
        "long_binput_2_31": b"]r\xff\xff\xff\x7f",
        "long_binput_2_32": b"]r\xff\xff\xff\xff",
        "long_binput_billion": b"]r\x00\xca\x9a\x3b",
        "binget_unknown": b"h\xfe",
        "long_binget_unknown": b"j\xff\xff\xff\x7f",
        "get_unknown": b"g99\n",
        "get_negative": b"g-1\n",
        "get_no_number": b"gone\n",
        "get_empty": b"g\n",
    }
    cases = _both("memo", payloads, "refused")
    files = {
        "put_nothing": npy(b"\x80\x03q\x00."),
        "memoize_nothing": npy(b"\x80\x04\x94."),
        "put_a_mark": npy(b"\x80\x03(q\x00."),
        "fifteen_bytes": npy(b"]p1000000000\n.", shape="(1,)"),
    }
    return cases + _fixed("memo", files, "refused")


# --- structure


def _nesting() -> list[Case]:
    """Give containers in containers, a million deep, also where a C unpickler dies of following them."""
    tuples = b")" + b"\x85" * DEEP
    inner, outer = reconstruct() + b"(K\x01K\x01\x85" + dtype("O8") + b"\x89]", b"atb"
    makers: dict[str, Callable[[], bytes]] = {
        "lists": lambda: b"]" * DEEP + b"a" * (DEEP - 1),
        "lists_by_appends": lambda: b"](" * DEEP + b"e" * DEEP,
        "lists_by_list": lambda: b"(" * DEEP + b"l" * DEEP,
        "tuples": lambda: tuples,
        "tuples_of_two": lambda: b"N" + b"N\x86" * DEEP,
        "tuples_by_mark": lambda: b"(" * DEEP + b"t" * DEEP,
        "dicts": lambda: b"}N" * DEEP + b"N" + b"s" * DEEP,
        "dicts_by_setitems": lambda: b"}(N" * DEEP + b"N" + b"u" * DEEP,
        "lists_and_tuples": lambda: b"]" * DEEP + b"\x85a" * (DEEP - 1),
        "tuple_as_key": lambda: b"}" + tuples + b"Ns",
        "tuple_as_key_twice": lambda: b"}" + tuples + b"Ns" + tuples + b"Ns",
        "lists_10_000": lambda: b"]" * 10_000 + b"a" * 9_999,
        "tuple_10_000_as_key": lambda: b"}" + b")" + b"\x85" * 10_000 + b"Ns",
        "arrays": lambda: inner * 5_000 + b"N" + outer * 5_000,
        "shapes": lambda: nested(b"](NNNe", shape=tuples),
        "arguments": lambda: name("numpy", "dtype") + tuples + b"R",
    }
    cases: list[Case] = []
    for key, make in makers.items():
        cases.append((f"deep_{key}_bare", _later(bare, make), "refused"))
        cases.append((f"deep_{key}_inside", _later(inside, make), "refused"))
    return cases


def _cycles() -> list[Case]:
    put, get = _put(FREE), _get(FREE)
    payloads = {
        "list": b"]" + put + get + b"a",
        "list_by_appends": b"]" + put + b"(" + get * 3 + b"e",
        "dict_value": b"}" + put + text("a") + get + b"s",
        "dict_in_list": b"]" + put + b"}" + text("a") + get + b"sa",
        "tuple_in_its_list": b"]" + put + get + b"\x85a",
        "list_in_its_tuple": b"]" + put + b"\x85" + _put(FREE + 1) + b"0" + get + _get(FREE + 1) + b"a",
        "two_lists": b"]" + put + b"]" + _put(FREE + 1) + get + b"aa",
    }
    cases = _both("cycle", payloads, "refused")
    state = group(b"K\x01", group(b"K\x01"), dtype("O8"), b"\x89", b"]" + get + b"a")
    files = {
        "item_is_the_array": inside(_get(OUTER)),
        "item_is_the_item_list": inside(_get(ITEMS_OF_OUTER)),
        "item_is_the_dtype": inside(_get(DTYPE_OF_OUTER)),
        "item_holds_the_array": inside(b"]" + _get(OUTER) + b"a"),
        "item_holds_the_item_list": inside(_get(ITEMS_OF_OUTER) + b"\x85"),
        "inner_array": inside(reconstruct() + put + state + b"b"),
        "inner_array_shares_the_list": inside(nested(_get(ITEMS_OF_OUTER))),
        "list_changed_afterwards": npy(
            array(b"".join(map(text, TEXTS)), after=_get(ITEMS_OF_OUTER) + text("more") + b"a0")
        ),
        "array_built_again": npy(
            array(
                b"".join(map(text, TEXTS)),
                after=group(b"K\x01", group(b"K\x03"), _get(DTYPE_OF_OUTER), b"\x89", _get(ITEMS_OF_OUTER))
                + b"b",
            )
        ),
    }
    return cases + _fixed("cycle", files, "refused")


def _bombs() -> list[Case]:
    """Give small files that mean much: more than 256 MiB of JSON each."""
    put, get = _put(FREE), _get(FREE)
    megabyte = text("x" * 1_000_000)
    texts = b"(" + text("y" * 1000) * 1000 + b"e"
    state = group(b"K\x01", group(integer(1000)), dtype("O8"), b"\x89", b"]" + texts)

    def shared(value: bytes, times: int, rest: bytes = b"") -> Callable[[], bytes]:
        # a container is numbered before the rest is put into it
        return lambda: npy(array(value + put + rest + get * (times - 1), times), shape=f"({times},)")

    def doubling(wrap: Callable[[bytes], bytes], leaf: bytes = text("x" * 64)) -> Callable[[], bytes]:
        levels = [wrap(_get(FREE + n)) + _put(FREE + n + 1) + b"0" for n in range(60)]
        return lambda: inside(leaf + put + b"0" + b"".join(levels) + _get(FREE + 60))

    return [
        ("bomb_text_10_000_times", shared(megabyte, 10_000), "refused"),
        ("bomb_bytes_10_000_times", shared(raw_bytes(b"x" * 1_000_000), 10_000), "refused"),
        ("bomb_list_100_000_times", shared(b"]", 100_000, texts), "refused"),
        ("bomb_array_100_000_times", shared(reconstruct(), 100_000, state + b"b"), "refused"),
        ("bomb_key_10_000_times", shared(b"}", 10_000, megabyte + b"Ns"), "refused"),
        ("bomb_escapes", shared(text("\x01" * 1_000_000), 1_000), "refused"),
        ("bomb_doubling_lists", doubling(lambda get: b"](" + get * 2 + b"e"), "refused"),
        ("bomb_doubling_tuples", doubling(lambda get: get * 2 + b"\x86"), "refused"),
        (
            "bomb_doubling_dicts",
            doubling(lambda get: b"}(" + text("a") + get + text("b") + get + b"u"),
            "refused",
        ),
        ("bomb_doubling_empty_lists", doubling(lambda get: b"](" + get * 2 + b"e", b"]"), "refused"),
        (
            "bomb_indentation",
            lambda: inside(b"]" * 200 + b"(" + b"N" * 1_000_000 + b"e" + b"a" * 199),
            "refused",
        ),
    ]


def _stack() -> list[Case]:
    """Give opcodes that find too little, too much, or the wrong thing on the stack."""
    good = b"".join(map(text, TEXTS))
    alone = {
        f"alone_{op.hex()}": op for op in (b"e", b"t", b"l", b"d", b"u", b"a", b"s", b"b", b"R", b"o", b"0")
    }
    alone |= {
        f"alone_{op.hex()}": op for op in (b"1", b"2", b"\x81", b"\x85", b"\x86", b"\x87", b"\x92", b"\x93")
    }
    alone |= {"alone_mark": b"(", "alone_nothing": b"", "alone_90": b"\x90", "alone_91": b"\x91"}
    payloads = {
        "append_to_none": b"NNa",
        "append_to_tuple": b")Na",
        "append_to_text": text("a") + b"Na",
        "append_to_array": nested(b"](NNNe") + b"Na",
        "appends_to_dict": b"}(NNe",
        "setitem_on_list": b"]NNs",
        "setitem_on_array": nested(b"](NNNe") + b"K\x00Ns",
        "setitems_odd": b"}(Nu",
        "setitems_on_none": b"N(NNu",
        "build_list": b"]Nb",
        "build_dict": b"}}b",
        "build_text": text("a") + b"}b",
        "reduce_text": text("a") + b")R",
        "reduce_list_arguments": name("numpy", "dtype") + b"]R",
        "reduce_none": b"N)R",
        "key_list": b"}]Ns",
        "key_dict": b"}}Ns",
        "key_array": b"}" + nested(b"](NNNe") + b"Ns",
        "key_tuple_of_list": b"}]\x85Ns",
        "key_list_in_setitems": b"}(]Nu",
        "dict_odd": b"(Nd",
        "dup": b"N2\x86",
        "pop_mark": b"(NNN1N",
        "dup_of_list": b"]2a",
        "set": b"\x8f(" + text("a") + b"\x90",
        "frozenset": b"(" + text("a") + b"\x91",
        "bytearray": b"\x96" + struct.pack("<Q", 1) + b"a",
        "next_buffer": b"\x97",
        "readonly_buffer": b"\x97\x98",
        "unknown_00": b"\x00",
        "unknown_7f": b"\x7f",
        "unknown_99": b"\x99",
        "unknown_ff": b"\xff",
        "mark_below": b"N(NNt\x86\x86\x86",
    }
    files = {
        "items_without_mark": npy(array(good).replace(b"](", b"]", 1).replace(b"]q\x02(", b"]q\x02", 1)),
        "mark_too_many": npy(array(b"(" + good)),
        "value_left_below": npy(array(good, before=b"N")),
        "list_left_below": npy(array(good, before=b"]")),
        "mark_left_below": npy(array(good, before=b"(")),
        "value_left_above": npy(array(good, after=b"N")),
        "mark_left_above": npy(array(good, after=b"(")),
        "popped": npy(array(good, after=b"0")),
        "stop_in_the_middle": npy(array(text("a") + b"." + text("b"))),
        "protocol_9": npy(b"\x80\x09" + array(good)[2:]),
        "protocol_255": npy(b"\x80\xff" + array(good)[2:]),
        "protocol_in_the_middle": inside(b"\x80\x09" + text("b")),
    }
    wholes = {key: npy(b"\x80\x03" + data + b".") for key, data in alone.items()}
    return _both("stack", payloads, "refused") + _fixed("stack", files | wholes, "unread")


def _values() -> list[Case]:
    """Give values that are badly written."""
    payloads = {
        "text_not_utf8": b"X\x02\x00\x00\x00\xff\xfe",
        "text_cut_character": b"X\x01\x00\x00\x00\xc3",
        "text_overlong": b"X\x02\x00\x00\x00\xc0\x80",
        "text_beyond_unicode": b"X\x04\x00\x00\x00\xf4\x90\x80\x80",
        "short_text_not_utf8": b"\x8c\x01\xff",
        "int_empty": b"I\n",
        "int_word": b"Ione\n",
        "int_underscore": b"I1_0\n",
        "int_hexadecimal": b"I0x10\n",
        "int_nul": b"I1\0\n",
        "long_word": b"LoneL\n",
        "float_word": b"Fone\n",
        "float_underscore": b"F1_0.0\n",
        "string_no_quotes": b"Sabc\n",
        "string_one_quote": b"S'abc\n",
        "string_bad_escape": b"S'\\xZZ'\n",
        "unicode_bad_escape": b"V\\u12\n",
    }
    return _both("value", payloads, "refused")
