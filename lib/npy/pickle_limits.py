"""What may stand in one item of a pickle, in bytes of memory."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Final

from lib.encoded_text import GREAT_BYTES
from lib.npy.header import TEXT_BYTES_LIMIT
from lib.npy.pickle_globals import ARRAY_ELEMENTS_LIMIT

VALUE_BYTES: Final = 32
"""What each value in an item counts, at least."""
_KEYS: Final = (str, bytes, int, float, type(None))
_TUPLE_DEPTH: Final = 200


@dataclass(frozen=True, slots=True)
class Limits:
    """The defaults are those of a page."""

    text_bytes: int = TEXT_BYTES_LIMIT
    nesting: int = 200
    integer_bytes: int = 1800
    """Just more than the 4,300 digits that ``json.dump`` writes."""
    item_bytes: int = 168 << 20
    """Of the item as it is read, and of a few before it."""
    decoded_bytes: int = GREAT_BYTES
    """Beyond these, what is not ASCII stays encoded: a ``str`` may take four times its bytes."""
    array_elements: int = ARRAY_ELEMENTS_LIMIT
    tuple_values: int = 0
    """As many values may stand in a tuple that is the key of a dictionary; JSON has no such keys."""

    def allow_key(self, key: Any) -> bool:
        """Tell whether a dictionary may have a key: a text, number or None, or a tuple of these.

        A tuple is followed without recursion, as hashing a deep one would crash.
        """
        waiting, count = [(key, 0)], 0
        while waiting:
            value, depth = waiting.pop()
            if isinstance(value, _KEYS):
                continue
            count += 1 + len(value) if type(value) is tuple else sys.maxsize
            if count > self.tuple_values or depth > _TUPLE_DEPTH:
                return False
            waiting += [(part, depth + 1) for part in value]
        return True


UNLIMITED: Final = Limits(
    text_bytes=sys.maxsize,
    nesting=100_000,
    integer_bytes=sys.maxsize,
    item_bytes=sys.maxsize,
    decoded_bytes=sys.maxsize,
    array_elements=sys.maxsize,
    tuple_values=1 << 20,
)
"""What the library's load allows: whatever memory holds."""
