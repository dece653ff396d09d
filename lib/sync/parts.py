"""Where the bytes of a page go that may have several parts.

They are ``…_completions.md``, ``…_completions.2.md`` and so on.  Each further part appears as soon as it is
written, the page itself last: its time says what is fresh, so that whatever interrupts the work, it is done
again.
"""

from __future__ import annotations

import itertools
import stat
from typing import TYPE_CHECKING, Final

from lib.errors import SidecarError, Unsafe
from lib.files.atomic import remove_file
from lib.files.reader import open_file, status_of
from lib.names import part_name
from lib.outcome import Verdict
from lib.render.navigation import PART_LABEL
from lib.sync.plan import plan_by_stamp
from lib.sync.sinks import CompareSink, DraftSink

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from lib.files.reader import FileBytes
    from lib.options import Options
    from lib.sync.plan import Plan
    from lib.sync.sinks import Sink

_HEADER_BYTES: Final = 1 << 14


class PageSink:
    """Takes a page, part by part; :meth:`next_part` between them.

    ``check`` raises when the source is no longer what it was: what was read of it must not appear then.
    """

    def __init__(
        self, plan: Plan, directory: int, name: str, options: Options, check: Callable[[], FileBytes]
    ) -> None:
        self.plan = plan
        self._directory, self._name = directory, name
        self._options = options
        self._check = check
        self._number = 1
        self._page = self._sink(plan, name)
        self._part: Sink | None = None
        self._kept: list[Verdict] = []
        self._earlier_bytes = 0

    @property
    def bytes_taken(self) -> int:
        """How many bytes came, of all parts."""
        return self._earlier_bytes + sum(sink.bytes_taken for sink in (self._page, self._part) if sink)

    def write(self, data: bytes) -> None:
        """Take the next bytes of the present part."""
        if self._number == 1:
            self._page.write(data)
        elif self._part is not None:
            self._part.write(data)

    def next_part(self) -> None:
        """Finish a part, which appears unless it is the first, and begin the next."""
        self._finish_part()
        self._number += 1
        if self._options.dry_run:
            return
        name = part_name(self._name, self._number)
        seen = status_of(self._directory, name)
        plan = plan_by_stamp("md", self.plan.stamp_ns, seen, force=self._options.force)
        if plan.action == "blocked":
            raise Unsafe(f"{name}: {plan.reason}", hint="Move it away; the next sweep makes the part.")
        self._part = self._sink(plan, name)

    def seal(self, like: FileBytes) -> None:
        """Say that all was written, for a page of this source."""
        self._finish_part()
        self._page.seal(like)

    def flush(self) -> None:
        """Wait until the page is on disk."""
        self._page.flush()

    def publish(self) -> Verdict:
        """Remove the parts that the page had and has no more, then let it appear."""
        if self.plan.action == "render":
            seen = self.plan.seen
            self._remove_old_parts(self.plan.stamp_ns if seen is None else seen.st_mtime_ns)
        verdict = self._page.publish()
        return self._kept[0] if self._kept else verdict

    def close(self) -> None:
        """Leave nothing behind that was not published."""
        for sink in (self._page, self._part):
            if sink is not None:
                sink.close()

    def _sink(self, plan: Plan, name: str) -> Sink:
        if plan.action == "compare":
            return CompareSink(plan, self._directory, name, adopt=not self._options.dry_run)
        return DraftSink(plan, self._directory, name)

    def _finish_part(self) -> None:
        part, self._part = self._part, None
        if part is None:
            return
        try:
            part.seal(self._check())
            part.flush()
            verdict = part.publish()
        finally:
            part.close()
        self._earlier_bytes += part.bytes_taken
        if verdict.result == "kept":
            name = part_name(self._name, self._number)
            self._kept.append(Verdict("md", "kept", f"{name}: {verdict.reason}", verdict.hint))

    def _remove_old_parts(self, old_stamp_ns: int) -> None:
        for number in itertools.count(self._number + 1):
            name = part_name(self._name, number)
            seen = self._seen(name)
            if seen is None:
                return
            # the page's own time, and its own words: nobody else's file has both
            same_time = stat.S_ISREG(seen.st_mode) and seen.st_mtime_ns == old_stamp_ns
            if same_time and self._is_part(name, number):
                remove_file(self._directory, name, seen)

    def _seen(self, name: str) -> os.stat_result | None:
        """Look a part up; one whose name is too long for the file system is not there."""
        try:
            return status_of(self._directory, name)
        except SidecarError:
            return None

    def _is_part(self, name: str, number: int) -> bool:
        try:
            with open_file(self._directory, name) as file:
                return f"\n{PART_LABEL} {number} of ".encode() in file.read_at(0, _HEADER_BYTES)
        except SidecarError:
            return False
