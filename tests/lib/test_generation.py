"""Saving and loading: what a generation script relies on."""

from __future__ import annotations

import errno
import inspect
import json
import os
import resource
import signal
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hostile
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import (
    as_nobody,
    closing_fails,
    frugally,
    needs_root,
    objects,
    python,
    results,
    save,
    small_disk,
    sync,
    umask,
)

from lib.generation import get_generation_cache_path, load_generations_from_cache, save_generations_to_cache
from lib.options import Extras

if TYPE_CHECKING:
    from collections.abc import Callable

FULL = ["Prompt. One.", "Prompt. Two."]
COMPLETIONS = ["One.", "Two."]
ABOUT = {"model_name": "google/gemma-2-27b-it", "timestamp": "2025-11-13 02:52:15", "n": 2}
NAMES = [
    "n2_completions.json",
    "n2_completions.md",
    "n2_completions.npy",
    "n2_full_texts.json",
    "n2_full_texts.md",
    "n2_full_texts.npy",
    "n2_metadata.json",
]
ANY_TEXT = st.text(st.characters(codec=None))


@pytest.fixture
def stem(tmp_path: Path) -> Path:
    """Name a cache in a directory that is not there yet."""
    return tmp_path / "gemma" / "generations" / "base" / "animals" / "n2"


@pytest.fixture
def saved(stem: Path) -> Path:
    """Save one cache."""
    save_generations_to_cache(stem, FULL, COMPLETIONS, ABOUT)
    return stem


def beside(stem: Path, ending: str) -> Path:
    """Name one file of a cache."""
    return stem.with_name(stem.name + ending)


def test_the_path_is_the_one_that_existing_code_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text to which callers append; its directory is made, as they save other files beside."""
    path = get_generation_cache_path("gemma", "base", "animals", 1374, 100, 1.0, base_dir=str(tmp_path))
    assert path == f"{tmp_path}/gemma/generations/base/animals/n1374_t1.0_maxtok100"
    np.save(path + "_logits.npy", np.zeros(2))
    monkeypatch.chdir(tmp_path)
    assert (
        get_generation_cache_path("m", "p", "s", 1, 2, 0.7) == "experiments/m/generations/p/s/n1_t0.7_maxtok2"
    )


def test_signatures_are_those_that_existing_code_calls() -> None:
    """Names and order of the arguments are public."""
    assert list(inspect.signature(get_generation_cache_path).parameters) == [
        "model_short_name",
        "prompt_name",
        "subject_type",
        "num_samples",
        "max_new_tokens",
        "temperature",
        "base_dir",
    ]
    save_names = list(inspect.signature(save_generations_to_cache).parameters)
    assert save_names == ["cache_path", "full_texts", "completions", "metadata"]
    assert list(inspect.signature(load_generations_from_cache).parameters) == ["cache_path"]


def test_a_saved_cache_is_seven_files_and_loads_as_it_was(saved: Path) -> None:
    """Arrays, sidecars and metadata; no litter."""
    assert sorted(os.listdir(saved.parent)) == NAMES
    assert load_generations_from_cache(saved) == (FULL, COMPLETIONS, ABOUT)
    assert load_generations_from_cache(str(saved)) == (FULL, COMPLETIONS, ABOUT)


def test_a_relative_path_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a directory, and without one; as bytes too."""
    monkeypatch.chdir(tmp_path)
    for path in ("n2", "a/n2", b"b/n2"):
        save_generations_to_cache(path, FULL, COMPLETIONS, ABOUT)
        assert load_generations_from_cache(path) == (FULL, COMPLETIONS, ABOUT)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.lists(st.tuples(ANY_TEXT, ANY_TEXT), max_size=20))
def test_any_texts_come_back_exactly(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    """NUL, lone surrogates, empty texts and no texts at all."""
    full, completions = [a for a, _ in pairs], [b for _, b in pairs]
    save_generations_to_cache(tmp_path / "n", full, completions, {})
    assert load_generations_from_cache(tmp_path / "n") == (full, completions, {})
    if "\ud800" not in "".join(full + completions):
        assert json.loads((tmp_path / "n_completions.json").read_bytes()) == completions


def test_a_cache_that_was_read_is_used_although_its_files_cannot_be_closed(saved: Path) -> None:
    """It need not be generated anew; a later save is as little disturbed."""
    names = [path.name for path in saved.parent.iterdir()]
    with closing_fails(*names):
        loaded = load_generations_from_cache(saved)
        assert loaded is not None
        save_generations_to_cache(saved, *loaded)
    assert load_generations_from_cache(saved) == loaded


def test_plain_numpy_opens_the_arrays(saved: Path) -> None:
    """One dimension, objects, ``str``: what older scripts expect."""
    array = np.load(beside(saved, "_completions.npy"), allow_pickle=True)
    assert (array.dtype, array.shape, array.tolist()) == (np.dtype(object), (2,), COMPLETIONS)
    assert {type(text) for text in array} == {str}


def test_the_sidecars_are_fresh_for_the_daemon(saved: Path) -> None:
    """The daemon finds nothing to do, and would write the same bytes."""
    for kind in ("completions", "full_texts"):
        source = beside(saved, f"_{kind}.npy")
        before = {end: beside(saved, f"_{kind}.{end}").read_bytes() for end in ("json", "md")}
        assert results(sync(source)) == {"json": "fresh", "md": "fresh"}
        sync(source, force=True)
        assert before == {end: beside(saved, f"_{kind}.{end}").read_bytes() for end in ("json", "md")}
    assert "**Model:** google/gemma-2-27b-it" in beside(saved, "_completions.md").read_text()


def test_a_save_leaves_no_part_of_the_old_page_unless_it_was_edited(stem: Path) -> None:
    """They would show another run's texts beside the new page."""
    save_generations_to_cache(stem, ["One. " * 300] * 9, ["One. " * 300] * 9, ABOUT)
    sync(beside(stem, "_completions.npy"), force=True, extras=Extras(page_bytes=4000))
    beside(stem, "_completions.3.md").write_text(beside(stem, "_completions.3.md").read_text() + "edited")
    save_generations_to_cache(stem, FULL, COMPLETIONS, ABOUT)
    assert sorted(os.listdir(stem.parent)) == sorted([*NAMES, "n2_completions.3.md"])


def test_metadata_that_is_too_large_for_a_page_is_shown_by_neither_save_nor_sweep(stem: Path) -> None:
    """Both write the same page."""
    save_generations_to_cache(stem, FULL, COMPLETIONS, {"model_name": "m", "steps": [{}] * 100_000})
    page = beside(stem, "_completions.md").read_bytes()
    assert b"**Model:** unknown" in page
    sync(beside(stem, "_completions.npy"), force=True)
    assert beside(stem, "_completions.md").read_bytes() == page


def test_a_cache_is_replaced_whole(saved: Path) -> None:
    """Saving again leaves nothing of the old one."""
    save_generations_to_cache(saved, ["a"], ["b"], {"n": 1})
    assert load_generations_from_cache(saved) == (["a"], ["b"], {"n": 1})
    assert json.loads(beside(saved, "_completions.json").read_bytes()) == ["b"]
    assert sorted(os.listdir(saved.parent)) == NAMES


def test_files_obey_the_umask(stem: Path) -> None:
    """As numpy's own would, sidecars too."""
    with umask(0o027):
        save_generations_to_cache(stem, FULL, COMPLETIONS, ABOUT)
    assert {stat.S_IMODE(os.stat(stem.parent / name).st_mode) for name in NAMES} == {0o640}


LOOP: list[Any] = []
LOOP.append(LOOP)
BAD: list[tuple[Any, Any, type[Exception], str]] = [
    (
        FULL,
        ["a", object()],
        TypeError,
        r"completions\[1\] holds an object of type object, which is not plain",
    ),
    ([{1, 2}], ["a"], TypeError, r"full_texts\[0\] holds an object of type set"),
    (FULL, [[Path("x")], "a"], TypeError, r"completions\[0\] holds an object of type \w*Path"),
    (FULL, [np.array([1j])], TypeError, "an array of complex128"),
    (FULL, [np.timedelta64(90, "s")], TypeError, "an object of type timedelta64"),
    (FULL, [{frozenset(): 1}], TypeError, "frozenset"),
    ("ab", COMPLETIONS, TypeError, "full_texts is one text, not a list of items"),
    (FULL, b"ab", TypeError, "completions is one text, not a list of items"),
    (FULL, {"a": 1}, TypeError, "completions is a mapping, not a list of items"),
    (FULL, [LOOP], TypeError, "contains itself"),
]


@pytest.mark.parametrize("bad", BAD, ids=[bad[3] for bad in BAD])
def test_a_mistake_is_refused_before_anything_is_written(tmp_path: Path, bad: Any) -> None:
    """Not even a directory is made."""
    full, completions, error, words = bad
    with pytest.raises(error, match=words):
        save_generations_to_cache(tmp_path / "a" / "n2", full, completions, {})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("levels", [99, 100, 101, 1000])
@pytest.mark.parametrize(
    "wrap", [lambda v: [v], lambda v: [v, 1], lambda v: {"k": v}, lambda v: (v,), lambda v: (1, v, "x", 2)]
)
def test_what_save_accepts_load_returns_at_any_depth(stem: Path, levels: int, wrap: Any) -> None:
    """With sidecars; what is too deep for them is a TypeError before anything is written."""
    value: Any = "x"
    for _ in range(levels):
        value = wrap(value)
    if levels > 100:
        with pytest.raises(TypeError, match=r"completions\[1\] nests deeper than 100"):
            save_generations_to_cache(stem, FULL, ["a", value], {})
        assert not stem.parent.exists()
        return
    save_generations_to_cache(stem, FULL, ["a", value], {})
    assert sorted(os.listdir(stem.parent)) == NAMES
    assert load_generations_from_cache(stem) == (FULL, ["a", value], {})


@pytest.mark.filterwarnings("ignore:.*its sidecars were not made.*neither text nor a number")
def test_tuples_as_keys_come_back(stem: Path) -> None:
    """JSON has no such keys: there are no sidecars then."""
    items = [{(1, ("a", None)): {(): 2}}, "b"]
    save_generations_to_cache(stem, FULL, items, {})
    assert load_generations_from_cache(stem) == (FULL, items, {})


def save_by_numpy(stem: Path, item: Any) -> Path:
    """Save an item twice in each array, as other code does; return the completions."""
    stem.parent.mkdir(parents=True)
    for kind in ("completions", "full_texts"):
        save(beside(stem, f"_{kind}.npy"), objects([item, item]))
    beside(stem, "_metadata.json").write_text("{}")
    return beside(stem, "_completions.npy")


def test_an_item_of_another_that_is_too_deep_to_be_shown_is_loaded(stem: Path) -> None:
    """A sweep says why it makes no sidecars."""
    deep: Any = "x"
    for _ in range(150):
        deep = [deep, np.arange(2)]
    source = save_by_numpy(stem, deep)
    assert sync(source).reason == "item 1: an item nests deeper than 100"
    cache = load_generations_from_cache(stem)
    assert cache is not None
    value = cache[0][0]
    for _ in range(150):
        value, numbers = value
        assert numbers == [0, 1]
    assert value == "x"


class Interrupting:
    """A value of metadata during whose conversion a signal arrives."""

    def __str__(self) -> str:
        os.kill(os.getpid(), signal.SIGUSR1)
        return "text"


def test_what_a_handler_raises_while_metadata_is_converted_reaches_the_caller(stem: Path) -> None:
    """It is not taken for an error of the metadata, which would lose both."""

    def handle(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with pytest.raises(TimeoutError):
            save_generations_to_cache(stem, ["x"], ["x"], {"seed": Interrupting()})
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_an_item_that_holds_itself_is_refused_by_all(stem: Path) -> None:
    """By load with a warning, by a sweep with a reason."""
    source = save_by_numpy(stem, LOOP)
    with pytest.warns(RuntimeWarning, match="an item holds itself"):
        assert load_generations_from_cache(stem) is None
    assert sync(source).reason == "item 1: an item nests deeper than 100"


def test_what_is_one_object_in_a_cache_is_one_object_when_it_is_loaded(stem: Path) -> None:
    """A megabyte that is referred to ten thousand times is a megabyte, in the file and in memory."""
    great, message = "x" * 1_000_000, {"role": "user", "content": "y"}
    save_by_numpy(stem, "-")
    save(beside(stem, "_completions.npy"), objects([great] * 10_000 + [[message, message]]))
    assert beside(stem, "_completions.npy").stat().st_size < 1_100_000
    cache = frugally(5_000_000, lambda: load_generations_from_cache(stem))
    assert cache is not None
    assert all(text is cache[1][0] for text in cache[1][:10_000])
    assert cache[1][10_000][0] is cache[1][10_000][1]


def test_what_is_not_cached_is_none_without_a_warning(stem: Path) -> None:
    """Neither the directory nor the file needs to be there."""
    assert load_generations_from_cache(stem) is None
    stem.parent.mkdir(parents=True)
    assert load_generations_from_cache(stem) is None


def test_a_name_that_the_system_refuses_is_named(stem: Path) -> None:
    """As every cache that cannot be used."""
    save_generations_to_cache(stem, FULL, COMPLETIONS, ABOUT)
    long = stem.with_name("n" * 250)
    with pytest.warns(RuntimeWarning, match=r"/n{250}_completions\.npy: .*File name too long"):
        assert load_generations_from_cache(long) is None


def cut(path: Path) -> None:
    """Cut a file in half."""
    os.truncate(path, path.stat().st_size // 2)


def relink(path: Path, target: str) -> None:
    """Put a link in a file's place."""
    path.unlink()
    path.symlink_to(target)


BROKEN: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "array cut": ("_completions.npy", cut, "cut short|inside|its header promises"),
    "array empty": ("_completions.npy", lambda path: path.write_bytes(b""), "ends after 0 bytes"),
    "array of times": ("_completions.npy", lambda path: save(path, np.array(["2025"], "M8[Y]")), "not text"),
    "table": ("_completions.npy", lambda path: save(path, np.zeros(2, "i4,f8")), "structured array"),
    "object": ("_completions.npy", lambda path: save(path, [Path("x")]), "pathlib"),
    "code": (
        "_completions.npy",
        lambda path: path.write_bytes(hostile.inside(b"cos\nsystem\n")),
        "os.system",
    ),
    "link to nothing": ("_completions.npy", lambda path: relink(path, "nothing"), "No such file"),
    "link to itself": ("_completions.npy", lambda path: relink(path, path.name), "symbolic link"),
    "FIFO": ("_full_texts.npy", lambda path: (path.unlink(), os.mkfifo(path)), "a FIFO, not a file"),
    "directory": ("_completions.npy", lambda path: (path.unlink(), path.mkdir()), "a directory"),
    "other array missing": ("_full_texts.npy", lambda path: path.unlink(), "No such file"),
    "metadata missing": ("_metadata.json", lambda path: path.unlink(), "No such file"),
    "metadata cut": ("_metadata.json", cut, "not a JSON object"),
    "metadata a list": ("_metadata.json", lambda path: path.write_text("[]"), "not a JSON object"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_cache_warns_and_is_none(saved: Path, case: str) -> None:
    """The warning names file and reason and points at the caller, who generates anew."""
    ending, damage, words = BROKEN[case]
    damage(beside(saved, ending))
    with pytest.warns(RuntimeWarning, match=words) as caught:
        assert load_generations_from_cache(saved) is None
    said = str(caught[0].message)
    assert said.startswith(f"{beside(saved, ending)}: ")
    assert said.endswith("; the cache is not used")
    assert caught[0].filename == __file__


def mixed(*items: Any) -> Any:
    """Make an array of objects, whatever they are."""
    return objects(items)


OLDER: dict[str, Any] = {
    "texts": mixed("a", "b"),
    "several samples a prompt": np.array([["a", "b"], ["c", "d"]], dtype=object),
    "lists": mixed(["a"], ["b", "c"]),
    "failed requests": mixed("a", None),
    "chat messages": mixed([{"role": "user", "content": "hi"}, {"role": "assistant", "content": None}]),
    "tuples and numbers": mixed(("prompt", 1, 2.5, True), -(1 << 70)),
    "bytes": mixed(b"a\xff", {b"key": b""}),
    "U": np.array(["a", "bc"]),
    "S": np.array([b"a", b"bc"]),
    ">U in Fortran order": np.asfortranarray(np.array([["a", "b"], ["c", "d"]], dtype=">U2")),
    "numbers": np.arange(6, dtype=">i2").reshape(2, 3),
    "floats": np.array([0.5, np.inf], dtype=np.float16),
    "booleans": np.array([True, False]),
    "nothing": np.array([]),
    "no rows": np.empty((0, 3), dtype=object),
    "one value": np.array("a"),
    "one object": np.array(None, dtype=object),
}


@pytest.mark.parametrize("case", OLDER)
def test_any_cache_of_plain_data_loads_as_numpy_loads_it(stem: Path, case: str) -> None:
    """What other code saved is what ``np.load`` and ``tolist`` give, in either array."""
    stem.parent.mkdir(parents=True)
    for kind in ("completions", "full_texts"):
        save(beside(stem, f"_{kind}.npy"), OLDER[case])
    beside(stem, "_metadata.json").write_text(json.dumps({"temperature": float("inf")}))
    expected = np.load(beside(stem, "_completions.npy"), allow_pickle=True).tolist()
    assert load_generations_from_cache(stem) == (expected, expected, {"temperature": float("inf")})


def test_numpys_values_inside_items_load_as_numbers_and_lists(stem: Path) -> None:
    """A caller that saved them gets Python's, equal to them."""
    stem.parent.mkdir(parents=True)
    array = mixed([np.float32(0.5), np.int64(3), np.str_("a")], np.arange(4).reshape(2, 2), (np.array(7),))
    for kind in ("completions", "full_texts"):
        save(beside(stem, f"_{kind}.npy"), array)
    beside(stem, "_metadata.json").write_text("{}")
    loaded = load_generations_from_cache(stem)
    assert loaded is not None
    assert loaded[1] == [[0.5, 3, "a"], [[0, 1], [2, 3]], (7,)]
    assert set(map(type, loaded[1][0])) == {float, int, str}


def test_links_are_followed_as_numpy_follows_them(saved: Path) -> None:
    """Arrays that were moved to a larger disk load from there."""
    away = saved.parents[1] / "away"
    away.mkdir()
    for ending in ("_completions.npy", "_full_texts.npy", "_metadata.json"):
        path = beside(saved, ending)
        path.rename(away / path.name)
        path.symlink_to(f"../away/{path.name}")
    assert load_generations_from_cache(saved) == (FULL, COMPLETIONS, ABOUT)


def test_lists_of_different_lengths_are_saved_with_a_warning(stem: Path) -> None:
    """A run of hours is not lost to a detail."""
    with pytest.warns(RuntimeWarning, match="2 full_texts and 1 completions") as caught:
        save_generations_to_cache(stem, FULL, ["One."], {})
    assert caught[0].filename == __file__
    assert load_generations_from_cache(stem) == (FULL, ["One."], {})


def test_lists_of_equal_length_stay_items(stem: Path) -> None:
    """The array has one dimension: numpy would make two of it."""
    save_generations_to_cache(stem, [["a", "b"], ["c", "d"]], [np.arange(2), np.arange(2)], {})
    for kind in ("completions", "full_texts"):
        array = np.load(beside(stem, f"_{kind}.npy"), allow_pickle=True)
        assert (array.dtype, array.shape) == (np.dtype(object), (2,))
    assert load_generations_from_cache(stem) == ([["a", "b"], ["c", "d"]], [[0, 1], [0, 1]], {})


@pytest.mark.filterwarnings("error")
def test_warnings_that_are_errors_come_when_everything_is_saved(stem: Path) -> None:
    """``python -W error`` loses nothing."""
    with pytest.raises(RuntimeWarning):
        save_generations_to_cache(stem, FULL, ["One."], {"where": Path("/x")})
    assert sorted(os.listdir(stem.parent)) == NAMES
    assert load_generations_from_cache(stem) == (FULL, ["One."], {"where": "/x"})


def test_sidecars_do_not_matter_for_loading(saved: Path) -> None:
    """Only the arrays are the truth."""
    for name in NAMES:
        if name.endswith(("ns.json", "ts.json", ".md")):
            (saved.parent / name).unlink()
    assert load_generations_from_cache(saved) == (FULL, COMPLETIONS, ABOUT)


RENAMES = """
import os, sys
from lib.generation import save_generations_to_cache
sys.addaudithook(lambda event, about: event == "os.rename" and print(os.fsdecode(about[1])))
save_generations_to_cache(sys.argv[1], ["a"], ["b"], {})
"""


def test_the_array_is_seen_last(stem: Path) -> None:
    """Who sees the completions, at any moment of a save, can load everything."""
    order = python(RENAMES, stem).split()
    assert sorted(order) == NAMES
    assert order[0] == "n2_metadata.json"
    assert order[-1] == "n2_completions.npy"
    assert order.index("n2_full_texts.json") < order.index("n2_full_texts.npy")


def test_sidecars_that_cannot_be_made_do_not_lose_the_arrays(saved: Path) -> None:
    """Hours of generation are saved first; the warning points at the caller."""
    beside(saved, "_completions.md").unlink()
    beside(saved, "_completions.md").mkdir()
    words = r"n2_completions\.md: the texts are saved, but it was not made"
    with pytest.warns(RuntimeWarning, match=words) as caught:
        save_generations_to_cache(saved, ["a"], ["b"], {})
    assert caught[0].filename == __file__
    assert sorted(os.listdir(saved.parent)) == NAMES
    assert load_generations_from_cache(saved) == (["a"], ["b"], {})


def test_a_full_disk_keeps_the_old_cache_and_leaves_no_litter(tmp_path: Path) -> None:
    """The error says so; the old cache loads."""
    with small_disk(tmp_path / "disk", "size=256k") as disk:
        save_generations_to_cache(disk / "n2", FULL, COMPLETIONS, ABOUT)
        with pytest.raises(OSError, match="No space left on device") as caught:
            save_generations_to_cache(disk / "n2", ["x" * 300_000], ["y"], {})
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, f"{disk}/n2")
        assert sorted(os.listdir(disk)) == NAMES
        assert load_generations_from_cache(disk / "n2") == (FULL, COMPLETIONS, ABOUT)


def test_a_disk_too_small_for_the_sidecars_still_holds_the_arrays(tmp_path: Path) -> None:
    """They can be made later, from the arrays."""
    with small_disk(tmp_path / "disk", "size=320k") as disk:
        with pytest.warns(RuntimeWarning, match="texts are saved, but its sidecars were not made") as caught:
            save_generations_to_cache(disk / "n1", ["x" * 80_000], ["y" * 80_000], {})
        assert caught[0].filename == __file__
        assert load_generations_from_cache(disk / "n1") == (["x" * 80_000], ["y" * 80_000], {})
        assert not [name for name in os.listdir(disk) if name.startswith(".")]


def test_a_file_larger_than_the_system_allows_keeps_the_old_cache(saved: Path) -> None:
    """As a full disk does: writing onto the old files would fail as well, and lose them."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_generations_to_cache(saved, ["x" * 9000], ["y"], {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(os.listdir(saved.parent)) == NAMES
    assert load_generations_from_cache(saved) == (FULL, COMPLETIONS, ABOUT)


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """As the error that numpy would raise, with the reason."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError, match="the directory cannot be made") as caught:
        save_generations_to_cache(tmp_path / "file/n1", ["a"], ["a"], {})
    assert caught.value.filename == str(tmp_path / "file")


@needs_root
def test_a_directory_without_permission_is_an_error(tmp_path: Path) -> None:
    """As numpy's own error, with the path."""
    tmp_path.chmod(0o755)
    save_generations_to_cache(tmp_path / "n2", FULL, COMPLETIONS, ABOUT)
    with as_nobody(), pytest.raises(PermissionError, match="Permission denied"):
        save_generations_to_cache(tmp_path / "n2", ["a"], ["b"], {})
    assert load_generations_from_cache(tmp_path / "n2") == (FULL, COMPLETIONS, ABOUT)


@needs_root
@pytest.mark.parametrize("ending", ["_completions.npy", "_full_texts.npy"])
def test_an_array_that_may_not_be_written_in_place_keeps_the_old_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """No file can be made in the directory, and only the others may be written."""
    save_generations_to_cache(tmp_path / "n2", FULL, COMPLETIONS, ABOUT)
    for path in tmp_path.iterdir():
        path.chmod(0o644 if path.name.endswith(ending) else 0o666)
    monkeypatch.chdir(tmp_path)  # nobody may not enter the directories above
    tmp_path.chmod(0o755)
    with as_nobody(), pytest.raises(PermissionError):
        save_generations_to_cache("n2", ["a"], ["b"], {})
    assert load_generations_from_cache("n2") == (FULL, COMPLETIONS, ABOUT)


def test_a_directory_with_the_name_of_an_array_stays_and_is_an_error(tmp_path: Path) -> None:
    """As for numpy: nothing is moved away, and the error reaches the caller, with the whole path."""
    inside = tmp_path / "n_completions.npy" / "important"
    inside.parent.mkdir()
    inside.touch()
    with pytest.raises(IsADirectoryError) as caught:
        save_generations_to_cache(tmp_path / "n", ["a"], ["b"], {})
    assert caught.value.filename == str(inside.parent)
    assert inside.exists()
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_a_directory_with_the_name_of_the_metadata_stays_and_is_a_warning(tmp_path: Path) -> None:
    """The arrays are saved."""
    inside = tmp_path / "n_metadata.json" / "important"
    inside.parent.mkdir()
    inside.touch()
    with pytest.warns(RuntimeWarning, match=r"n_metadata\.json: the texts are saved, but it was not made"):
        save_generations_to_cache(tmp_path / "n", ["a"], ["b"], {})
    assert inside.exists()
    assert np.load(tmp_path / "n_completions.npy", allow_pickle=True).tolist() == ["b"]
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]
