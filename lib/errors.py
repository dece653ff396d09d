"""Everything that can go wrong with one file, as errors that say what can fix it.

Each leaf carries a path, a reason and a hint.  Its branch says whether the file has to change
(:class:`SourceFault`) or whether waiting is enough (:class:`Passing`).  The pure readers raise without a
path; their callers add it.
"""

from __future__ import annotations


class SidecarError(Exception):
    """One source or sidecar could not be handled.

    ``reason`` is a clause without a full stop ("its pickle names os.system"), ``hint`` a sentence that says
    what to do.
    """

    hint_default = ""

    def __init__(self, reason: str, *, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint or self.hint_default
        self.path = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


class SourceFault(SidecarError):  # noqa: N818 -- a branch: its name says who can fix it
    """The file itself is at fault: trying again is useless until it changes."""


class NotText(SourceFault):
    """The array is sound but does not hold text (token ids, counters): it is skipped and has not failed."""

    hint_default = "Other data may use this name; nothing needs to be done."


class Corrupt(SourceFault):
    """The file is not what numpy writes."""

    hint_default = "Save it again, or move it out of the tree; the .npy itself is never changed."


class Unsafe(SourceFault):
    """The file asks for something that reading text never needs: code, pointers or gigabytes."""

    hint_default = (
        "Do not open it with allow_pickle=True unless you trust who wrote it; if you do, save its items "
        "again as texts, numbers, lists and dictionaries."
    )


class TooLarge(Unsafe):
    """An item is larger than what a page shows, or nests deeper."""

    hint_default = "A page shows no item of this size; with --limit, only the items shown count."

    def of_item(self, number: int) -> TooLarge:
        """Return the error with the item's number, which those who read or convert it do not know."""
        return TooLarge(f"item {number}: {self.reason}", hint=self.hint)


class Passing(SidecarError):  # noqa: N818 -- a branch: its name says who can fix it
    """Time can mend it: it is worth trying again later."""


class Unfinished(Passing):
    """The file holds fewer bytes than its header says: it is still being written, or truncated."""

    hint_default = "If its writer is gone, the file is truncated: generate it again."


class Changed(Passing):
    """The source changed while it was read; nothing was published."""

    hint_default = "Try again when it is no longer being written."


class Vanished(Passing):
    """The source, or its directory, is no longer there."""

    hint_default = "Nothing needs to be done."


class Storage(Passing):
    """The operating system refused to read or write: disk full, permission, read-only, I/O error."""


class Interrupted(Passing):
    """The work was stopped because the program is ending."""

    hint_default = "The same command does the rest; a service does it in its next sweep."


class ProgramFault(Passing):
    """A part of the program could not be loaded: its package was replaced, say, or memory is short."""

    hint_default = "If the package was updated, restart the service."
