"""What surrounds the items in the pickle of an object array.

The shape of every file that ``numpy.save`` writes is

    an empty array to be filled,  MARK 1 shape dtype order  LIST,  TUPLE BUILD STOP

and the items stand in LIST, which is filled in batches of up to 1,000.
"""

from __future__ import annotations

from typing import Any, Final

from lib.errors import Corrupt
from lib.npy.buffer import Bytes, Cursor
from lib.npy.pickle_globals import DType, check_shape
from lib.npy.pickle_interpreter import Interpreter
from lib.npy.pickle_memo import CYCLE, Memo
from lib.npy.pickle_opcodes import APPEND, APPENDS, BUILD, FRAME, LIST, PAGE_LIMITS, PUTS, STOP, Limits

ITEM_MARKS: Final = 2
"""The marks that are open where items stand: that of the array's state, and that of a batch."""
_START_LIMIT: Final = 64 << 10
_STATE_VALUES: Final = 5
_ENDS_OF_BATCHES: Final = frozenset({APPEND, APPENDS})


class Envelope:
    """Reads what surrounds the items, and knows where the interpreter is among them.

    The pickle of an array of ``shape`` begins at ``start``; it is read up to the empty list of items.

    :raises Corrupt: this is not the pickle of one array of this shape.
    """

    def __init__(
        self, source: Bytes, start: int, shape: tuple[int, ...], limits: Limits = PAGE_LIMITS
    ) -> None:
        self.interpreter = Interpreter(Cursor(source, start), Memo(), limits)
        self.items = self._read_start(shape)
        """The items of the batches that were read and not yet taken."""

    def _read_start(self, shape: tuple[int, ...]) -> list[Any]:
        interpreter, cursor = self.interpreter, self.interpreter.cursor
        start = cursor.position
        if cursor.take(1) != b"\x80" or not 2 <= cursor.byte() <= 4:
            raise Corrupt("its data is not a pickle that numpy writes")
        while (opcode := cursor.byte()) != LIST or not self._is_before_items(shape):
            if opcode == STOP or cursor.position > start + _START_LIMIT:
                raise Corrupt("its pickle is not that of one array")
            interpreter.step(opcode)
        interpreter.step(LIST)
        items: list[Any] = interpreter.stack[-1]
        window, at = cursor.window()
        if window[at : at + 1] and window[at] in PUTS:  # Python 2 numbers only what is referred to
            interpreter.step(cursor.byte())
        whole = (interpreter.marks[0][0], items)
        interpreter.memo.near = [
            CYCLE if any(value is part for part in whole) else value for value in interpreter.memo.near
        ]
        interpreter.release()
        return items

    def read(self) -> int | None:
        """Read on until the stack is that of the items, or of the array; return the last opcode.

        After the last item, read the end as well and return None.

        :raises SourceFault: the pickle is not one of plain data (Corrupt, Unsafe or NotText say how).
        :raises Unfinished: it ends too early.
        """
        opcode = self.interpreter.run(ITEM_MARKS)
        if not self.interpreter.marks:
            self._read_end()
            return None
        is_end_of_batch = opcode in _ENDS_OF_BATCHES and self.interpreter.stack[-1] is self.items
        if is_end_of_batch and len(self.interpreter.unfilled) > 1:  # the array itself is one
            raise Corrupt("its pickle holds a part of an array where an item should be")
        return opcode

    @property
    def is_in_batch(self) -> bool:
        """Whether the stack is that of a batch of items."""
        marks = self.interpreter.marks
        return len(marks) == ITEM_MARKS and marks[-1][-1] is self.items

    def _read_end(self) -> None:
        cursor, stack = self.interpreter.cursor, self.interpreter.stack
        if len(stack) != 2 or len(stack[1]) != _STATE_VALUES or stack[1][-1] is not self.items:
            raise Corrupt("its pickle is not that of one array")
        opcode = cursor.byte()
        while opcode in PUTS or opcode == FRAME:
            self.interpreter.step(opcode)
            opcode = cursor.byte()
        if opcode != BUILD or cursor.byte() != STOP:
            raise Corrupt("its pickle is not that of one array")
        if cursor.position != cursor.end:
            raise Corrupt("it has bytes after its end")

    def _is_before_items(self, shape: tuple[int, ...]) -> bool:
        """Tell whether the next list is that of the items, from what stands before it."""
        match self.interpreter.marks, self.interpreter.stack:
            case [[list()]], [1, tuple() as found, DType(letter="O" | "T"), (bool() | 0 | 1)]:
                check_shape(found)
                if found != shape:
                    raise Corrupt("its pickle holds an array of another shape than its header says")
                return True
        return False
