"""Metadata: written as ``json.dump`` writes it, and what that cannot say is converted."""

from __future__ import annotations

import datetime as dt
import json
import math
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from lib.cache.metadata import metadata_json


def converted(metadata: Any, **options: Any) -> tuple[Any, str]:
    """Return what the JSON holds, and the warnings as one text."""
    data, warnings = metadata_json(metadata, **options)
    return json.loads(data), " ".join(warnings)


def test_what_json_can_say_is_written_as_json_dump_writes_it() -> None:
    """Byte for byte, NaN included, without a warning."""
    metadata = {
        "a": 1,
        "b": [1.5, None, True, "é\n"],
        "c": {"d": (1, 2)},
        3: float("nan"),
        "e": np.float64(0.1),
    }
    data, warnings = metadata_json(metadata)
    assert data == json.dumps(metadata, indent=2, ensure_ascii=False).encode()
    assert warnings == []


class Unspeakable:
    """An object without a text."""

    def __str__(self) -> str:
        raise RuntimeError


class UnreadableMapping(dict[str, Any]):
    """A configuration with a value that is missing."""

    def items(self) -> Any:
        """Fail, as some do until the value is set."""
        raise KeyError


class UnreadableList(list[Any]):
    """A list of what is no longer there."""

    def __iter__(self) -> Any:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.longdouble(0.5), 0.5),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.array([1, Path("/x")], dtype=object), [1, "/x"]),
        (Path("/models/gemma"), "/models/gemma"),
        (dt.datetime(2025, 11, 13, 2, 52, 15), "2025-11-13 02:52:15"),  # noqa: DTZ001 -- callers do
        (np.datetime64("2025-11-13"), "2025-11-13"),
        (np.timedelta64(90, "s"), "90 seconds"),
        (np.array([np.timedelta64(90, "s")], dtype=object), ["90 seconds"]),
        (b"caf\xc3\xa9\xff", "café\\xff"),
        (1j, "1j"),
        ({(1, 2): "x", np.int64(3): "y"}, {"(1, 2)": "x", "3": "y"}),
        (Unspeakable(), "(Unspeakable)"),
        (UnreadableMapping(a=1), "{'a': 1}"),
        (UnreadableList([1]), "[1]"),
    ],
)
def test_what_json_cannot_say_is_converted_and_named(value: Any, expected: Any) -> None:
    """Numbers and lists where there are any, else its text."""
    result, warning = converted({"a": 1, "odd": [value]})
    assert result == {"a": 1, "odd": [expected]}
    assert "['odd']" in warning


def test_a_value_that_contains_itself_is_cut() -> None:
    """So is one that nests without end."""
    loop: dict[str, Any] = {"x": 1}
    loop["self"] = loop
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    result, warning = converted({"loop": loop, "deep": deep})
    assert result["loop"] == {"x": 1, "self": "(contains itself)"}
    assert "nests too deep" in json.dumps(result["deep"])
    assert "loop" in warning


@pytest.mark.parametrize("metadata", [None, "a text", [1, 2]])
def test_what_is_not_a_mapping_is_saved_all_the_same(metadata: Any) -> None:
    """As an object, so that it loads."""
    result, warning = converted(metadata)
    assert result == ({} if metadata is None else {"metadata": metadata})
    assert warning


def test_a_mapping_that_cannot_be_read_is_saved_as_its_text() -> None:
    """As an object, so that it loads."""
    result, warning = converted(UnreadableMapping(a=1))
    assert result == {"metadata": "{'a': 1}"}
    assert "metadata (UnreadableMapping)" in warning


def test_any_mapping_will_do() -> None:
    """Read-only ones too."""
    assert converted(MappingProxyType({"a": MappingProxyType({"b": 1})})) == ({"a": {"b": 1}}, "")


def test_of_too_much_only_plain_values_are_kept() -> None:
    """The model's name survives a table of millions, and a text that alone is too long goes too."""
    metadata = {
        "model_name": "org/model",
        "table": list(range(1000)),
        "log": "x" * 2000,
        "n": 3,
        "t": math.inf,
    }
    result, warning = converted(metadata, limit=1000)
    assert result == {"model_name": "org/model", "n": 3, "t": math.inf}
    assert "only its plain values are kept" in warning


def test_integers_of_any_length_are_kept() -> None:
    """Where Python writes none of so many digits, as their text in hexadecimal."""
    data, _ = metadata_json({"a": 10**5000})
    assert hex(10**5000) in data.decode() or b"1" + b"0" * 5000 in data


def test_lone_surrogates_come_back() -> None:
    """They stand in the file as escapes."""
    assert converted({"a": "\ud800"}) == ({"a": "\ud800"}, "")
