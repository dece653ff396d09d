"""From a cache's files to the values in them: what numpy's ``tolist`` gives, without running code."""

from __future__ import annotations

from typing import Any, Final

from lib.errors import Corrupt, Unsafe
from lib.npy.array_reader import read_whole
from lib.npy.header import read_header
from lib.sync.inputs import parse_metadata

MEGABYTE: Final = 1 << 20
_METADATA_LIMIT: Final = 512 * MEGABYTE


def read_values(source: Any) -> Any:
    """Read an array as ``np.load(…, allow_pickle=True).tolist()`` would.

    numpy's scalars and arrays inside items come as numbers and lists.

    :raises SidecarError: it is broken, or holds what is not plain data.
    """
    return read_whole(source, read_header(source, numbers=True))


def read_metadata(source: Any, limit: int = _METADATA_LIMIT) -> dict[str, Any]:
    """Read a metadata file.

    :raises Corrupt: it is not a JSON object.
    :raises Unsafe: it is larger than 512 MiB.
    """
    if source.size > limit:
        raise Unsafe(f"it has more than {limit // MEGABYTE} MiB", hint="Move what is large out of it.")
    metadata = parse_metadata(source.read_at(0, source.size))
    if metadata is None:
        raise Corrupt("it is not a JSON object")
    return metadata
