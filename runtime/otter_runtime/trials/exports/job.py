"""What every export is given: a trial to read in order, where to write, and what people said of it.

It knows trials and no format. Only small things (texts, numbers) may be kept of a trial, since one
of a day is larger than a memory; pictures pass through.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec

from otter_robots.messages import Answer, Question
from otter_runtime.errors import TrialError
from otter_runtime.trials.channels import published, requested
from otter_runtime.trials.check import Report
from otter_runtime.trials.exports.verdicts import Verdicts
from otter_runtime.trials.trial import Record, Sight, Trial

Moment = Record | Sight
Progress = Callable[[str, int, int], None]
ANSWERED, ASKED = published(Answer), requested(Question)


class Listener(Protocol):
    """Who writes what happened."""

    def show(self, sight: Sight) -> None:
        """A frame."""

    def tell(self, record: Record) -> None:
        """Anything else."""


@dataclass
class Job:
    """Read `trial`, write the new file or folder `to`.

    `missing` says in sentences what the recording lacks; `written` counts what was written, by
    kind, and `unreadable` are the orders of messages that this version cannot read.
    """

    trial: Trial
    to: Path
    report: Report
    progress: Progress
    verdicts: Verdicts
    missing: list[str]
    written: Counter[str] = field(default_factory=Counter)
    unreadable: set[int] = field(default_factory=set)

    def moments(self, step: str) -> Iterator[Moment]:
        """Everything that was shown, asked, published and ordered, as it happened."""
        total = sum(self.report.topics.values())
        done = 0
        for moment in self.trial.seen():
            done += 2 if isinstance(moment, Sight) and moment.file else 1
            self.progress(step, min(done, total), total)
            if isinstance(moment, Sight) or self._readable(moment):
                yield moment
        self.progress(step, total, total)

    def tell(self, step: str, listener: Listener) -> None:
        """All moments, each to whom it is for."""
        for moment in self.moments(step):
            if isinstance(moment, Sight):
                listener.show(moment)
            else:
                listener.tell(moment)

    def _readable(self, record: Record) -> bool:
        try:
            return record.message is not None
        except TrialError:
            self.unreadable.add(record.order)
            return False


class Asked:
    """Which question an answer is to: the texts of those that were asked, by their id."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def hear(self, record: Record) -> None:
        """Remember a question."""
        if isinstance(record.message, Question):
            self._texts[record.message.id] = record.message.text

    def text(self, answer: Answer) -> str:
        """What was asked; "" where the recording does not have the question."""
        if answer.question_id is None:
            return answer.instruction or ""
        return self._texts.get(answer.question_id, "")


def captured_ns(sight: Sight) -> int:
    """When a frame was captured, on the trial's clock."""
    return sight.record.log_ns + sight.show.stamp.mono_ns - sight.record.mono_ns


def figures(message: msgspec.Struct) -> Iterator[tuple[str, float]]:
    """The numbers that a message has, by field."""
    for name, value in msgspec.structs.asdict(message).items():
        if isinstance(value, bool | int | float):
            yield name, float(value)


def lacking(report: Report) -> list[str]:
    """What a recording lacks, a sentence each; empty where it is whole."""
    said = []
    for file in report.files:
        if not file.finished:
            said.append(f"{file.name} was not finished; it is read up to its last whole message")
        for harm in file.harms:
            had = ", ".join(f"{count} of {topic}" for topic, count in harm.messages.items())
            lost = f", which had {had}" if had else ""
            where = f"{file.name} is damaged in bytes {harm.start} to {harm.end}"
            said.append(f"{where} ({harm.why}){lost}")
        if file.repaired.get("bytes", "0") != "0":
            said.append(f"{file.name} had lost {file.repaired['bytes']} bytes when it was repaired")
    if report.missing:
        said.append(f"{report.missing} messages have a number and are in no file")
    for topic, count in report.gaps.items():
        if count:
            said.append(f"{count} messages published on {topic} are not there")
    if report.unseen:
        said.append(f"{report.unseen} frames have no picture")
    return said
