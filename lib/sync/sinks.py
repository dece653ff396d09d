"""The two places where a sidecar's bytes can go: onto disk, or against a file that somebody else wrote."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

from lib.errors import Changed
from lib.files.atomic import Draft, set_stamp
from lib.files.reader import open_file, status_of
from lib.outcome import Verdict

if TYPE_CHECKING:
    from lib.files.reader import FileBytes
    from lib.sync.plan import Plan


class Sink(Protocol):
    """Where the bytes of one sidecar go: write, seal, flush, publish; close whatever happened."""

    plan: Plan

    @property
    def bytes_taken(self) -> int:
        """How many bytes came."""

    def write(self, data: bytes) -> None:
        """Take the next bytes."""

    def seal(self, like: FileBytes) -> None:
        """Say that all was written, for a sidecar of this source."""

    def flush(self) -> None:
        """Make durable what was written."""

    def publish(self) -> Verdict:
        """Finish, and say what became of the sidecar."""

    def close(self) -> None:
        """Let go."""


class DraftSink:
    """Writes a sidecar that is to be rendered."""

    def __init__(self, plan: Plan, directory: int, name: str) -> None:
        self.plan = plan
        self._directory, self._name = directory, name
        self.bytes_taken = 0
        self._draft = Draft(directory)

    def write(self, data: bytes) -> None:
        """Append the next bytes to the draft."""
        self._draft.write(data)
        self.bytes_taken += len(data)

    def seal(self, like: FileBytes) -> None:
        """Give the draft its permissions and its stamp."""
        self._draft.seal(like, self.plan.stamp_ns)

    def flush(self) -> None:
        """Wait until the draft is on disk."""
        self._draft.flush()

    def publish(self) -> Verdict:
        """Rename the draft into place, unless another sweep has made the same sidecar meanwhile."""
        try:
            self._draft.publish(self._name, self.plan.seen)
        except Changed:
            now = status_of(self._directory, self._name)
            if now is None or now.st_mtime_ns != self.plan.stamp_ns:
                raise
            return Verdict(self.plan.fmt, "fresh", "made meanwhile by another sweep")
        return Verdict(self.plan.fmt, "rendered", self.plan.reason)

    def close(self) -> None:
        """Remove the draft unless it was published."""
        self._draft.discard()


class CompareSink:
    """Compares what we would write with a sidecar that somebody wrote after us."""

    def __init__(self, plan: Plan, directory: int, name: str, *, adopt: bool) -> None:
        self.plan = plan
        self._adopt = adopt
        self._directory, self._name = directory, name
        self._stack = ExitStack()
        self._file = self._stack.enter_context(open_file(directory, name))
        self.bytes_taken = 0
        self._same = True
        self._offset = 0

    def write(self, data: bytes) -> None:
        """Compare the next bytes, until some differ."""
        if self._same:
            self._same = self._file.read_at(self._offset, len(data)) == data
            self._offset += len(data)

    def seal(self, like: FileBytes) -> None:
        """Nothing was written."""

    def flush(self) -> None:
        """Nothing was written."""

    def publish(self) -> Verdict:
        """Adopt a file of the same bytes by setting its time; keep any other."""
        if self._same and self._file.size == self._offset:
            if self._adopt:
                set_stamp(self._directory, self._name, self._file.status, self.plan.stamp_ns)
            return Verdict(self.plan.fmt, "adopted", "the same as what would be written")
        hint = "Use --force to write it again from its source, or delete it."
        return Verdict(self.plan.fmt, "kept", "edited after it was written", hint)

    def close(self) -> None:
        """Close the file."""
        self._stack.close()
