"""What a trial has, and what it lacks: per file, per topic, and against its own count.

It knows salvage and the trial's order numbers; it does not mend anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from otter_runtime.errors import TrialError
from otter_runtime.trials.channels import CAMERA
from otter_runtime.trials.salvage import Damage, Salvage
from otter_runtime.trials.trial import SHOW, Trial


class Harm(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of a file that cannot be read; `messages` by topic, where an index tells."""

    start: int
    end: int
    why: str
    messages: dict[str, int] = {}


class FileReport(msgspec.Struct, frozen=True, kw_only=True):
    """One file. `finished` says that it has index and footer, and that these are right.

    `recording` is what the recorder counted by its end, `repaired` what a repair found missing.
    """

    name: str
    bytes: int
    messages: int
    finished: bool
    harms: list[Harm] = []
    sha256: str = ""
    recording: dict[str, str] = {}
    repaired: dict[str, str] = {}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole trial.

    `missing` messages have a number and are in no file. `gaps` counts holes in what was published,
    by topic, and `unseen` the shown frames without a picture.
    """

    name: str
    files: list[FileReport]
    topics: dict[str, int]
    seconds: float
    missing: int
    gaps: dict[str, int]
    unseen: int

    @property
    def whole(self) -> bool:
        """Whether everything that was recorded is there, in finished files."""
        intact = all(file.finished and not file.harms for file in self.files)
        return intact and not self.missing and not any(self.gaps.values())


def check(path: Path) -> Report:
    """Read every byte of a trial. Raises TrialError where there is none, or no file is of one."""
    trial = Trial(path)
    files = [_file(file) for file in trial.files]
    topics: Counter[str] = Counter()
    seqs: dict[tuple[str, str], set[int]] = {}
    orders: set[int] = set()
    times: list[int] = []
    for record in trial.records():
        topics[record.topic] += 1
        orders.add(record.order)
        times = [min(record.log_ns, *times[:1]), max(record.log_ns, *times[1:])] if times else [
            record.log_ns, record.log_ns,
        ]  # fmt: skip
        if record.topic.count("/") == 1 and record.topic != CAMERA:
            said = record.fields
            seqs.setdefault((said["topic"], said["epoch"]), set()).add(said["seq"])
    return Report(
        name=trial.name,
        files=files,
        topics=dict(sorted(topics.items())),
        seconds=(times[1] - times[0]) / 1e9 if times else 0.0,
        missing=max(orders, default=0) - len(orders),
        gaps=_gaps(seqs),
        unseen=topics[SHOW] - topics[CAMERA],
    )


def _file(path: Path) -> FileReport:
    size = path.stat().st_size
    try:
        file = Salvage(path)
    except TrialError:
        foreign = Harm(start=0, end=size, why="this is no MCAP file")
        return FileReport(name=path.name, bytes=size, messages=0, finished=False, harms=[foreign])
    messages = sum(len(chunk.messages) for chunk in file.chunks())
    names = {number: channel.topic for number, channel in file.channels.items()}
    return FileReport(
        name=path.name,
        bytes=size,
        messages=messages,
        finished=file.indexed,
        harms=[_harm(damage, names) for damage in file.damages],
        sha256=file.sha256,
        recording=file.metadata.get("recording", {}),
        repaired=file.metadata.get("repaired", {}),
    )


def _harm(damage: Damage, names: dict[int, str]) -> Harm:
    told = {names.get(number, str(number)): count for number, count in damage.messages.items()}
    return Harm(start=damage.start, end=damage.end, why=damage.why, messages=told)


def _gaps(seqs: dict[tuple[str, str], set[int]]) -> dict[str, int]:
    """Holes in the seqs of each topic, from the first that is there to the last."""
    gaps: Counter[str] = Counter()
    for (topic, _), seen in seqs.items():
        gaps[topic] += max(seen) - min(seen) + 1 - len(seen)
    return dict(gaps)


def lines(report: Report) -> Iterable[str]:
    """The report for people."""
    yield f"{report.name}: {report.seconds:.1f} s, {sum(report.topics.values())} messages"
    for file in report.files:
        state = "whole" if file.finished and not file.harms else "not finished"
        state = "damaged" if file.harms else state
        yield f"  {file.name:<16} {file.bytes / 1e6:9.3f} MB {file.messages:7} messages  {state}"
        for harm in file.harms:
            had = ", ".join(f"{count} of {topic}" for topic, count in harm.messages.items())
            lost = f" ({had})" if had else ""
            yield f"    bytes {harm.start} to {harm.end}: {harm.why}{lost}"
    for topic, count in report.topics.items():
        yield f"  {topic:<20} {count:7}"
    if report.missing or report.unseen:
        yield f"  missing: {report.missing} messages; frames without a picture: {report.unseen}"
    for topic, count in report.gaps.items():
        if count:
            yield f"  {count} published on {topic} are not here"
