"""Text that only shows itself on a terminal, whatever a name or an error holds."""

from __future__ import annotations


def escaped(text: str) -> str:
    r"""Show what a terminal would act upon, or could not show, as its escape; backslashes stay.

    >>> print(escaped("a\x1b[2J\n\udcff é"))
    a\x1b[2J\n\udcff é
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
