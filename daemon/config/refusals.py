"""Why a command is not carried out: a sentence with the way out, and the exit status that goes with it."""

from __future__ import annotations

ALL_IS_WELL, SOMETHING_FAILED, WRONG_USAGE = 0, 1, 2


class RefusedError(Exception):
    """A command cannot be carried out; prints as a sentence for a person."""

    status = SOMETHING_FAILED
