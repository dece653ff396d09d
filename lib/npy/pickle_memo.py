"""A pickle's memo: the last objects by number, and references to those that were forgotten."""

from __future__ import annotations

from typing import Any, Final, NoReturn, Protocol

from lib.encoded_text import EncodedText, decoded
from lib.errors import Corrupt

CYCLE: Final = object()
"""Stands in the memo for the whole array: an item that refers to it contains itself."""


class Past(Protocol):
    """Finds objects that the memo has forgotten."""

    def recall(self, number: int) -> Any:
        """Return an object if it is at hand, else a :class:`Reference` to it."""

    def load(self, number: int, *, keep_encoded: bool) -> Any:
        """Return an object, read again; a text may stay encoded."""


class Reference:
    """Stands for an object that is to be read again when it is needed."""

    __slots__ = ("_number", "_past")

    def __init__(self, past: Past, number: int) -> None:
        self._past = past
        self._number = number

    def load(self, *, keep_encoded: bool = False) -> Any:
        """Return the object; what it refers to in turn may be references, and a text may stay encoded."""
        return self._past.load(self._number, keep_encoded=keep_encoded)


def loaded(value: Any) -> Any:
    """Return a value itself, read again if it is a reference."""
    return value.load() if type(value) is Reference else value


def parts_loaded(values: Any) -> Any:
    """Return arguments or a state with the references in it read again and the texts decoded."""
    if type(values) is not tuple:
        return values
    parts = map(loaded, values)
    return tuple(decoded(part) if type(part) is EncodedText else part for part in parts)


class Memo:
    """Objects by number: ``near`` holds those from ``base`` on, ``past`` finds those before.

    Pickle numbers objects in the order in which it writes them; no other numbers are accepted.
    """

    def __init__(self, base: int = 0, past: Past | None = None) -> None:
        self.base = base
        self.past = past
        self.near: list[Any] = []

    @property
    def next_number(self) -> int:
        """The number that the next object gets."""
        return self.base + len(self.near)

    def add(self, number: int | None, value: Any) -> None:
        """Remember an object under the next number.

        :raises Corrupt: ``number``, if given, is another one.
        """
        if number == 1 and not self.near and not self.base:
            self.base = 1  # Python 2's cPickle counts from 1
        if number is not None and number != self.base + len(self.near):
            _refuse()
        self.near.append(value)

    def has_last(self, value: Any) -> bool:
        """Tell whether the last object is this one."""
        return bool(self.near) and self.near[-1] is value

    def replace(self, number: int, value: Any, other: Any) -> None:
        """Put another object in the place of ``value``, if that is the one with this number."""
        place = number - self.base
        if 0 <= place < len(self.near) and self.near[place] is value:
            self.near[place] = other

    def forget(self, number: int) -> None:
        """Forget the objects before a number that is not yet forgotten."""
        del self.near[: number - self.base]
        self.base = number

    def get(self, number: int) -> Any:
        """Return the object with a number, or a :class:`Reference` to it.

        :raises Corrupt: there is none, or it is the whole array.
        """
        place = number - self.base
        if place >= len(self.near):
            _refuse()
        if place >= 0:
            value = self.near[place]
        else:
            value = self.past.recall(number) if self.past is not None else _refuse()
        if value is CYCLE:
            raise Corrupt("its pickle holds an array that contains itself")
        return value


def _refuse() -> NoReturn:
    raise Corrupt("its pickle refers to something that it does not hold")
