"""What people said of a trial's answers: right as it is, or what should have been said.

A file of corrections has one JSON object a line. `otter-edge trial answers` prints such lines, and
a person adds `"right": true` or `"corrected": "..."`; a line with neither says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from otter_runtime.errors import UserError
from otter_runtime.trials.trial import Record


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One line: `epoch` and `seq` name the answer; `epoch` may be left out where there is one."""

    seq: int
    epoch: str = ""
    right: bool = False
    corrected: str = ""

    @property
    def chosen(self) -> bool:
        """Whether this line says what the right answer is."""
        return self.right or bool(self.corrected.strip())


class Verdicts:
    """The lines by the answers that they are about. `given` False: there is no file, all count."""

    def __init__(self, lines: Iterable[Verdict] | None = None) -> None:
        self.given = lines is not None
        self._by: dict[tuple[object, object], Verdict] = {
            (one.epoch, one.seq): one for one in lines or () if one.chosen
        }

    def __len__(self) -> int:
        return len(self._by)

    def of(self, record: Record) -> Verdict | None:
        """What was said of the answer in this record."""
        seq = record.fields.get("seq")
        return self._by.get((record.fields.get("epoch"), seq)) or self._by.get(("", seq))

    @classmethod
    def read(cls, path: Path) -> Verdicts:
        """Raises UserError where the file cannot be read, naming the line."""
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}); give a file of corrections"
            ) from error
        return cls([_line(path, at, line) for at, line in enumerate(lines, 1) if line.strip()])


def _line(path: Path, at: int, line: bytes) -> Verdict:
    try:
        return msgspec.json.decode(line, type=Verdict)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UserError(
            f'line {at} of {path} is no correction ({error}); it should be like {{"seq": 7, '
            '"right": true} or {"seq": 7, "corrected": "Turn left."}'
        ) from error
