"""The outcome of a source and of each of its sidecars: plain values that travel between processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from lib.errors import NotText, Passing, SidecarError
from lib.names import Format, Kind, source_kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lib.options import Options

Result = Literal["rendered", "adopted", "fresh", "kept", "skipped", "failed"]

_GRAVITY: Final[tuple[Result, ...]] = ("failed", "skipped", "kept", "rendered", "adopted")
_BARS: Final = "▁▂▃▄▅▆▇"


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts over the items rendered, and the lengths of those that are text, in characters.

    ``distinct`` and the lengths are None above two million items, where they are not counted; the lengths
    also where no item is text.  ``by_length`` says how many texts have 0, 1, 2–3, 4–7, … characters, up to
    the longest: such counts of several sources can be added.
    """

    records: int
    blank: int
    distinct: int | None
    median_length: float | None
    longest_length: int | None
    shortest_length: int | None = None
    by_length: tuple[int, ...] = ()


def bars(counts: Sequence[int]) -> str:
    """Draw counts, of lengths say, as a line of block characters; the lowest block is for 0.

    >>> bars([1, 40, 25, 0, 3])
    '▂▇▅▁▂'
    """
    steps, most = len(_BARS) - 1, max(counts, default=0)
    return "".join(_BARS[1 + (count * steps - 1) // most if count else 0] for count in counts)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for one sidecar.

    ``is_new``: there was none before.  ``unstamped``: it was compared and is right, but does not keep its
    stamp, so that only another comparison can tell.
    """

    fmt: Format
    result: Result
    reason: str
    hint: str = ""
    is_new: bool = False
    unstamped: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result for one source: its sidecars' verdicts, and figures of what was read.

    ``error`` is the class of the failure; ``bytes`` counts what was written; ``seconds`` is its share of the
    time that its batch took.
    """

    name: str
    kind: Kind
    verdicts: tuple[Verdict, ...]
    figures: Figures | None = None
    bytes: int = 0
    seconds: float = 0.0
    error: type[SidecarError] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def result(self) -> Result:
        """The result for the source as a whole: the gravest of its sidecars' results."""
        results = {verdict.result for verdict in self.verdicts}
        return next((result for result in _GRAVITY if result in results), "fresh")

    @property
    def reason(self) -> str:
        """Why the result is what it is."""
        grave = [verdict for verdict in self.verdicts if verdict.result == self.result]
        endings = " and ".join(f".{verdict.fmt}" for verdict in grave)
        # the path that goes with it is the source's
        return f"its {endings}: {grave[0].reason}" if self.result == "kept" else grave[0].reason

    @property
    def hint(self) -> str:
        """What a person can do about it."""
        return next(verdict.hint for verdict in self.verdicts if verdict.result == self.result)

    @property
    def passing(self) -> bool:
        """Tell whether time can mend the failure."""
        return self.error is not None and issubclass(self.error, Passing)

    @property
    def is_new(self) -> bool:
        """Tell whether the source had no sidecars before."""
        return all(verdict.is_new for verdict in self.verdicts)

    @property
    def unstamped(self) -> bool:
        """Tell whether a sidecar was compared, and will have to be again."""
        return any(verdict.unstamped for verdict in self.verdicts)


def failure(name: str, options: Options, error: SidecarError) -> Outcome:
    """Return the outcome of a source whose sidecars all failed, or were skipped, for one reason."""
    result: Result = "skipped" if isinstance(error, NotText) else "failed"
    verdicts = tuple(Verdict(fmt, result, error.reason, error.hint) for fmt in options.formats)
    return Outcome(name, source_kind(name), verdicts, error=type(error))
