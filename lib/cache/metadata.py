"""Writing a run's metadata as a JSON object: values that JSON does not have are converted, never refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, Final

import numpy as np

LIMIT_BYTES: Final = 512 << 20
_DEPTH_LIMIT: Final = 200
_PLAIN: Final = (str, int, float, type(None))


def metadata_json(metadata: Any, limit: int = LIMIT_BYTES) -> tuple[bytes, list[str]]:
    """Return metadata as ``json.dump`` with ``indent=2`` would write it, with warnings about what was lost.

    If that is more than ``limit`` bytes, only the plain values (texts, numbers) are kept, the shortest first.
    """
    converter = _JsonConverter()
    value = converter.convert(metadata, "", 0)
    if not isinstance(value, dict):
        converter.note("", metadata)
        value = {} if value is None else {"metadata": value}
    warnings = converter.warnings
    data = _dumped(value)
    if len(data) > limit:
        warnings.append(f"it takes {len(data):,} bytes as JSON: only its plain values are kept")
        data = _dumped(_smallest(value, limit))
    return data, warnings


def _dumped(value: dict[Any, Any]) -> bytes:
    # a lone surrogate stands only inside a string, where its escape is the same character
    return json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _smallest(value: dict[Any, Any], limit: int) -> dict[Any, Any]:
    """Keep the shortest plain values, as many as fit into ``limit`` bytes, in their order."""
    sizes = {key: len(_dumped({key: item})) for key, item in value.items() if isinstance(item, _PLAIN)}
    by_size = sorted(sizes, key=sizes.__getitem__)
    totals = accumulate(sizes[key] for key in by_size)
    kept = {key for key, total in zip(by_size, totals, strict=True) if total <= limit}
    return {key: item for key, item in value.items() if key in kept}


class _JsonConverter:
    """One conversion, which notes every value that JSON does not have."""

    def __init__(self) -> None:
        self._noted: dict[str, str] = {}
        self._open: set[int] = set()

    @property
    def warnings(self) -> list[str]:
        """Return one sentence about all conversions; nothing if there were none."""
        if not self._noted:
            return []
        places = ", ".join(f"{place} ({kind})" for place, kind in list(self._noted.items())[:10])
        return [f"not all of it can be written as JSON, and these values were converted: {places}"]

    def note(self, place: str, value: Any) -> None:
        """Record that the value at a place was converted."""
        self._noted.setdefault(place or "metadata", type(value).__name__)

    def convert(self, value: Any, place: str, depth: int) -> Any:
        try:
            return self._converted(value, place, depth)
        except Exception:  # noqa: BLE001 -- the caller's own class: whatever it raises, the run is saved
            self.note(place, value)
            return _text(value)

    def _converted(self, value: Any, place: str, depth: int) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return self._integer(value, place)
        if isinstance(value, _PLAIN):
            return value
        if isinstance(value, (Mapping, list, tuple)):
            return self._container(value, place, depth)
        self.note(place, value)
        if isinstance(value, np.ndarray) and value.dtype.kind in "biufUSOT":
            return self.convert(value.tolist(), place, depth)
        # a timedelta64 is an np.integer too
        if isinstance(value, np.generic) and value.dtype.kind in "biuf":
            return float(value) if isinstance(value, np.longdouble) else value.item()
        return _text(value)

    def _container(self, value: Any, place: str, depth: int) -> Any:
        if id(value) in self._open or depth > _DEPTH_LIMIT:
            self.note(place, value)
            return "(contains itself)" if id(value) in self._open else "(nests too deep)"
        self._open.add(id(value))
        try:
            if isinstance(value, Mapping):
                return {
                    self._key(key, place): self.convert(item, f"{place}[{_short(key)}]", depth + 1)
                    for key, item in value.items()
                }
            return [self.convert(item, place, depth + 1) for item in value]
        finally:
            self._open.discard(id(value))

    def _key(self, key: Any, place: str) -> Any:
        if isinstance(key, _PLAIN):
            return key if not isinstance(key, int) else self._integer(key, place)
        self.note(f"a key of {place or 'metadata'}", key)
        return _text(key.item() if isinstance(key, np.generic) else key)

    def _integer(self, value: int, place: str) -> Any:
        try:
            int.__repr__(value)
        except ValueError:  # Python writes no integer of more than 4,300 digits
            self.note(place, value)
            return hex(value)
        return value


def _short(key: Any) -> str:
    return repr(key) if isinstance(key, str) and len(key) < 40 else type(key).__name__


def _text(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "backslashreplace")
    try:
        return str(value)
    except Exception:  # noqa: BLE001 -- the caller's own class: whatever it raises, the run is saved
        return f"({type(value).__name__})"
