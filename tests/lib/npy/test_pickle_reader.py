"""Object arrays: the stream of blocks gives what numpy's own loader gives, and forgets what it gave."""

from __future__ import annotations

import pickle
import random
from typing import TYPE_CHECKING, Any

import hostile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import NUMPY_2, MemoryBytes, flat_items, npy, objects

from lib.errors import Corrupt, NotText, SourceFault, TooLarge, Unfinished, Unsafe
from lib.npy.array_reader import read_items
from lib.npy.pickle_reader import ItemStream
from lib.npy.values import measured, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

PROTOCOLS = (2, 3, 4)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec=None))
    | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.none(), inner)
    ),
    max_leaves=12,
)


def pickled(array: Any, protocol: int) -> bytes:
    """Make an .npy file of an object array with that pickle protocol."""
    shape = "(" + "".join(f"{size}, " for size in array.shape) + ")"
    return hostile.npy(pickle.dumps(array, protocol), shape=shape)


def read(items: list[Any], protocol: int = 4) -> list[Any]:
    """Pickle items as an array and read them back as data."""
    return flat_items(pickled(objects(items), protocol))


class Counting(MemoryBytes):
    """Bytes in memory that count how many of them were read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.bytes_read = 0

    def read_at(self, offset: int, length: int) -> bytes:
        """Return the bytes and count them."""
        data = super().read_at(offset, length)
        self.bytes_read += len(data)
        return data


@settings(max_examples=300)
@given(items=st.lists(PLAIN, max_size=8), protocol=st.sampled_from(PROTOCOLS))
def test_plain_data_comes_back_as_it_was(items: list[Any], protocol: int) -> None:
    """Whatever plain data an array holds, each protocol gives it back, type for type."""
    assert repr(read(items, protocol)) == repr(items)


@given(
    texts=st.lists(st.text(st.characters(codec=None), max_size=40), max_size=40),
    order=st.randoms(use_true_random=False),
    protocol=st.sampled_from(PROTOCOLS),
)
def test_shared_texts_come_back_in_their_places(
    texts: list[str], order: random.Random, protocol: int
) -> None:
    """One text in many places is pickled once and referred to afterwards."""
    items = [order.choice(texts) for _ in range(200)] if texts else []
    assert read(items, protocol) == items


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("count", [0, 1, 2, 31, 32, 33, 999, 1000, 1001, 1999, 2000, 2001, 5000])
def test_batches_of_a_thousand_join(count: int, protocol: int) -> None:
    """Pickle writes lists in batches of 1,000; nothing is lost at their borders."""
    items = [f"text number {number}" for number in range(count)]
    assert read(items, protocol) == items


@pytest.mark.parametrize("length", [0, 1, 254, 255, 256, 65535, 65536, 131_071, 131_072, 131_073, 300_000])
def test_texts_of_every_length_are_read(length: int) -> None:
    """Lengths around each opcode's limit and around the window's."""
    items = ["x" * length, "é" * length, b"b" * length, "after"]
    for protocol in PROTOCOLS:
        assert read(items, protocol) == items


@pytest.mark.parametrize("width", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tuples_across_the_border_of_a_block_stay_whole(width: int, protocol: int) -> None:
    """Parts of a tuple that is not yet built are not handed out when a block is full."""
    dice = random.Random(width)
    items = [tuple("y" * dice.randrange(9000) for _ in range(width)) for _ in range(300)]
    assert read(items, protocol) == items


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_references_reach_back_over_blocks(protocol: int) -> None:
    """A text that was handed out long ago is read again from its own block."""
    dice = random.Random(1)
    fresh = [f"{number} " * 200 for number in range(3000)]
    items: list[Any] = [
        text if dice.random() < 0.6 else dice.choice(fresh[: n + 1]) for n, text in enumerate(fresh)
    ]
    assert read(items, protocol) == items


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_references_to_structures_reach_back_over_blocks(protocol: int) -> None:
    """Lists, dicts and arrays are found again too, and blocks that themselves refer further back."""
    dice = random.Random(2)
    pool: list[Any] = [{"role": "user", "content": "z" * 3000, "n": [n, None]} for n in range(400)]
    pool += [["w" * 2000, pool[0]], ("t" * 500, pool[1]), np.array(["in", "side"], dtype=object)]
    items = [item if dice.random() < 0.5 else dice.choice(pool) for item in pool * 6]
    got = read(items, protocol)
    assert [plain(item) for item in got] == [
        item.tolist() if isinstance(item, np.ndarray) else plain(item) for item in items
    ]


def test_references_to_one_block_read_it_once() -> None:
    """One pass over the file tells where everything stands; each text is read again once, in a short read."""
    fresh = [f"{number} " * 500 for number in range(1000)]
    items = fresh + [fresh[3]] * 500 + fresh[:20]
    data = pickled(objects(items), 4)
    source = Counting(data)
    got = [
        text
        for block in ItemStream(source, data.index(b"\x80\x04"), (len(items),)).blocks()
        for text in block
    ]
    assert got == items
    assert source.bytes_read < 2 * len(data) + 30 * 4096


def test_what_takes_little_memory_is_read_again_once() -> None:
    """Even if it takes many bytes of the file: a dictionary that is filled again and again under one key."""
    marker = {"a": "b", "c": "d"}
    items: list[Any] = [marker, *(f"{number} " * 300 for number in range(2000)), *[marker] * 20]
    pickle_of_items = pickle.dumps(objects(items), 2)
    end = pickle_of_items.index(b"u", pickle_of_items.index(b"}q"))
    filling = (b"N" + hostile.text("z" * 100)) * 25_000
    data = hostile.npy(pickle_of_items[:end] + filling + pickle_of_items[end:], shape=f"({len(items)},)")
    source = Counting(data)
    got = [item for block in read_items(source) for item in block]
    assert [plain(item) for item in got] == [
        item if type(item) is str else {**marker, None: "z" * 100} for item in items
    ]
    assert source.bytes_read < 4 * len(data)


def test_memory_holds_a_block_not_the_array() -> None:
    """Blocks come while the file is read, not at its end."""
    items = ["v" * 1000 for _ in range(4000)]
    items = [f"{number}{text}" for number, text in enumerate(items)]
    data = pickled(objects(items), 4)
    source = Counting(data)
    blocks: Iterator[list[Any]] = ItemStream(source, data.index(b"\x80\x04"), (4000,)).blocks()
    first = next(block for block in blocks if block)
    assert 0 < len(first) < 1100
    assert source.bytes_read < len(data) / 2
    assert first + [text for block in blocks for text in block] == items


SCALARS = [
    np.str_("text"),
    np.bytes_(b"raw"),
    np.int8(-3),
    np.uint64(2**63),
    np.float32(0.5),
    np.float64("inf"),
    np.float16(2),
    np.bool_(True),
    np.array([1, 2], dtype=">i4")[0],
    np.str_(""),
]


@pytest.mark.parametrize("value", SCALARS, ids=repr)
def test_scalars_of_numpy_are_their_values(value: Any) -> None:
    """A numpy scalar is the Python value that ``item()`` gives."""
    for protocol in PROTOCOLS:
        (got,) = read([value], protocol)
        assert type(got) is type(value.item())
        assert got == value.item()


ARRAYS = [
    np.array(["a", "bb"]),
    np.array(["a", "bb"], dtype=">U2"),
    np.array([b"a", b"bb"]),
    np.arange(6).reshape(2, 3),
    np.asfortranarray(np.arange(24, dtype=">i2").reshape(2, 3, 4)),
    np.array(1.5),
    np.array([], dtype="<U5"),
    np.zeros((2, 0, 3)),
    np.array([["x", None], [1, b"y"]], dtype=object),
    np.asfortranarray(np.array([["x", None, 3], [1, b"y", 4]], dtype=object)),
    np.array([True, False]),
    np.ndarray(2, dtype="U0"),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_arrays_inside_an_array_are_their_lists(array: Any) -> None:
    """A nested array gives what ``tolist`` gives, in either order of memory."""
    for protocol in PROTOCOLS:
        (got,) = read([array], protocol)
        assert plain(got) == plain(array.tolist())


@pytest.mark.parametrize(
    "value", [np.complex64(1), np.datetime64("2020-01-01"), np.timedelta64(3, "s")], ids=repr
)
def test_other_scalars_are_not_text(value: Any) -> None:
    """A dtype of no use in a generation is skipped, or refused where it is decorated."""
    with pytest.raises(SourceFault):
        read([value])


@pytest.mark.parametrize(
    "value", [{1, 2}, frozenset("a"), 1 + 2j, range(3), Ellipsis, print, object, bytearray(b"x")], ids=repr
)
def test_other_objects_are_refused_by_name(value: Any) -> None:
    """What JSON cannot say is not read, and the reason names it."""
    with pytest.raises(Unsafe, match=r"names|opcode"):
        read([value])


def test_the_fast_path_takes_texts_of_every_protocol() -> None:
    """BINUNICODE and SHORT_BINUNICODE, memoized by BINPUT, LONG_BINPUT, MEMOIZE or not at all."""
    short, long = b"\x8c\x01a", hostile.text("bb")
    puts = [b"", b"q\x03", b"r\x03\x00\x00\x00", b"\x94"]
    for put in puts:
        for text, value in ((short, "a"), (long, "bb")):
            data = hostile.npy(hostile.array(text + put + hostile.text("z" * 40), 2), shape="(2,)")
            assert flat_items(data) == [value, "z" * 40]


def test_an_item_can_be_appended_alone() -> None:
    """The last item of a batch of one is written with APPEND."""
    data = hostile.array(hostile.text("only"), 1).replace(b"q\x02(", b"q\x02").replace(b"onlye", b"onlya")
    assert flat_items(hostile.npy(data, shape="(1,)")) == ["only"]


@pytest.mark.parametrize("count", [1, 2, 1001])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_last_batch_of_one_long_item_is_one_item(count: int, protocol: int) -> None:
    """The parts of a list that stands alone in its batch are not taken for items."""
    items: list[Any] = ["s"] * (count - 1) + [[f"{number} " * 60 for number in range(2500)]]
    assert read(items, protocol) == items
    assert read([*items[:-1], {str(n): "v" * 200 for n in range(2500)}], protocol)[-1]["2499"] == "v" * 200


def test_items_appended_one_by_one_are_refused() -> None:
    """Only a last batch of one is written with APPEND: a file of nothing else could not be forgotten."""
    data = hostile.array(hostile.text("a"), 3).replace(b"](X", b"]X").replace(b"q\x02(", b"q\x02")
    data = data.replace(hostile.text("a") + b"e", (hostile.text("a") + b"a") * 3)
    with pytest.raises(Corrupt, match="in a way that numpy never does"):
        flat_items(hostile.npy(data))


def test_python_2_counts_its_memo_from_one() -> None:
    """CPickle's first number is 1, and decimal integers end in a newline."""
    whole = hostile.array(hostile.text("a") + b"I12345678901\n" + b"U\x01b", 3)
    for number in (2, 1, 0):
        whole = whole.replace(bytes((ord("q"), number)), bytes((ord("q"), number + 1)))
    assert flat_items(hostile.npy(whole)) == ["a", 12345678901, b"b"]


def test_tuples_wrapped_two_hundred_times_are_the_limit() -> None:
    """Nesting is refused while it is read, long before anyone follows it."""
    sound = b")" + b"\x85" * 150
    assert len(flat_items(hostile.inside(sound))) == 3
    with pytest.raises(Unsafe, match="nests deeper than 200"):
        flat_items(hostile.inside(b")" + b"\x85" * 300))


@pytest.mark.parametrize(
    "wrap", [lambda value: [value, 1], lambda value: (value, 1), lambda value: {"a": value, "b": 1}]
)
@pytest.mark.parametrize("count", [2, 1500])
def test_an_item_that_nests_too_deep_is_numbered_and_none_beyond_the_limit(wrap: Any, count: int) -> None:
    """Lists, tuples and dictionaries alike; the items before it can be shown."""
    deep: Any = "x"
    for _ in range(250):
        deep = wrap(deep)
    data = pickled(objects(["text"] * (count - 1) + [deep]), 4)
    with pytest.raises(TooLarge, match=f"^item {count}: an item nests deeper than 200$"):
        flat_items(data)
    assert flat_items(data, limit=count - 1) == ["text"] * (count - 1)


REFUSALS = [
    (hostile.npy(b"\x80\x05" + hostile.array(b"", 0)[2:] + b"."), Corrupt, "not a pickle that numpy writes"),
    (hostile.inside(b"Vtext\n"), Unsafe, r"the opcode b'V', which plain text never needs"),
    (hostile.inside(hostile.name("os", "system")), Unsafe, "names 'os.system', which plain text never needs"),
    (hostile.inside(b"h\xff"), Corrupt, "refers to something that it does not hold"),
    (hostile.inside(b"}]Ns"), Corrupt, "a dictionary whose key is neither text nor a number"),
    (hostile.inside(b"X\x01\x00\x00\x00\xff"), Corrupt, "a text that is not UTF-8"),
    (hostile.inside(b"X\xff\xff\xff\x7f"), Unsafe, "asks for 2,147,483,647 bytes at once"),
    (hostile.inside(b"X\xff\xff\xff\x00"), Unfinished, "ends inside its data"),
    (hostile.inside(b"\x8b\x00\x00\x01\x00"), Unsafe, "an integer of 65,536 bytes"),
    (hostile.inside(b"(" * 300), Unsafe, "nests deeper than 200"),
    (
        hostile.inside(hostile.call(hostile.name("numpy", "dtype"), hostile.text("V8"), b"\x89", b"\x88")),
        NotText,
        "'V8'",
    ),
    (hostile.inside(hostile.dtype("O8", flags=0)), Unsafe, "numpy would take for pointers"),
    (hostile.npy(hostile.array(hostile.text("a"), 1)), Corrupt, "another shape than its header says"),
    (
        hostile.npy(hostile.array(hostile.text("a") * 2, 3)),
        Corrupt,
        "holds 2 items, not as many as its header says",
    ),
    (hostile.npy(hostile.array(hostile.text("a") * 4, 3)), Corrupt, "more items than its header says"),
    (hostile.good_object_file() + b".", Corrupt, "bytes after its end"),
    (hostile.bare(b"]"), Corrupt, "not that of one array"),
    (hostile.inside(b"g1\n"), Unsafe, "the opcode b'g'"),
    (hostile.inside(b"h\x00"), Corrupt, "an array that contains itself"),
    (hostile.inside(b"Na"), Corrupt, "appends to something that is not a list"),
    (hostile.inside(b"0"), Unsafe, "the opcode b'0'"),
    (hostile.inside(b"](Ne\x94"), Corrupt, "gives an object a second number"),
    (hostile.inside(b"}\x94\x94"), Corrupt, "gives an object a second number"),
    (hostile.inside(b"N\x85\x94\x94"), Corrupt, "gives an object a second number"),
    (hostile.bare(b"N" * 80_000), Corrupt, "its pickle"),
]


@pytest.mark.parametrize(("data", "error", "reason"), REFUSALS, ids=[reason for _, _, reason in REFUSALS])
def test_a_refusal_says_what_the_pickle_holds(data: bytes, error: Any, reason: str) -> None:
    """Each reason tells a person what was found."""
    with pytest.raises(error, match=reason) as caught:
        flat_items(data)
    assert caught.value.hint


@pytest.mark.filterwarnings("ignore:Custom dtypes are saved")
@pytest.mark.skipif(not NUMPY_2, reason="StringDType came with numpy 2")
def test_string_dtype_is_read_as_texts() -> None:
    """StringDType is pickled with its texts, and None where there is none."""
    array = np.array(["a", None, "c" * 300], dtype=np.dtypes.StringDType(na_object=None))
    assert flat_items(npy(array)) == ["a", None, "c" * 300]


@pytest.mark.parametrize("name", [b"cpandas._libs.missing\nNA\n", b"\x8c\x06pandas\x8c\x02NA\x93"])
def test_what_pandas_puts_for_a_missing_text_is_none(name: bytes) -> None:
    """``pandas.NA`` is pickled by its name alone, by older and newer versions; pandas need not be there."""
    assert flat_items(hostile.inside(name)) == ["a", None, "c"]


def test_a_full_batch_is_given_in_pieces_while_values_wait() -> None:
    """An item of very many values is complete before it is handed out."""
    items: list[Any] = [list(range(100_000)), "after"]
    assert read(items) == items


@pytest.mark.faults
@pytest.mark.parametrize("way", [b"N", b")", b"K\x01", b"]Na"])
def test_millions_of_objects_in_one_item_are_refused(way: bytes) -> None:
    """Their bytes are counted, at the latest when the item is written out."""
    with pytest.raises(Unsafe, match="an item takes more than 128 MiB"):
        list(map(measured, flat_items(hostile.inside(b"](" + way * 4_200_000 + b"e"))))
