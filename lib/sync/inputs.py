"""The set's metadata, as far as a page shows it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from lib.errors import SidecarError, Storage
from lib.files.reader import open_file

if TYPE_CHECKING:
    import os

_LIMIT: Final = 16 << 20


def parse_metadata(data: bytes) -> dict[str, Any] | None:
    """Parse a metadata file's bytes; None when they are not a JSON object."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_metadata(directory: int, name: str) -> tuple[dict[str, Any] | None, os.stat_result | None, str]:
    """Read a set's metadata for its page.

    Returns the object (None when there is none to show), what was seen of the file, and a warning or "".

    :raises Storage: the disk or the system is at fault, for now: a page made without would pass for fresh.
    """
    try:
        with open_file(directory, name) as file:
            value = parse_metadata(file.read_at(0, _LIMIT)) if file.size <= _LIMIT else None
            warning = "" if value is not None else f"{name} is not a JSON object; the page says unknown"
            return value, file.status, warning
    except SidecarError as error:
        if isinstance(error, Storage) and not isinstance(error.__cause__, PermissionError):
            raise
        return None, None, f"{name}: {error.reason}; the page says unknown"
