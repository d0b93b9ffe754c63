"""Whether a recording is all that there was, and what is known of what is not there.

It knows what a check found; it does not read files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from otter_runtime.report.reading import Reading
from otter_runtime.trials.check import FileReport, Report
from otter_runtime.trials.segment import PART

State = Literal["whole", "interrupted", "damaged"]
TORN = "the file ends within a record"  # what a kill or a power cut leaves at the very end


def state(found: Report, ended: str) -> State:
    """`interrupted` lacks its end and nothing else, `damaged` something before it."""
    before = found.files[:-1]
    harmed = any(harm.why != TORN for file in found.files for harm in file.harms)
    torn = any(file.harms for file in before)
    # It had its name once it was whole.
    torn = torn or any(not file.finished and not file.name.endswith(PART) for file in found.files)
    # Frames that were being encoded at the kill have a number, and are in no file; the last words
    # do not wait for them.
    finished = ended and all(file.finished for file in found.files)
    lost = any(found.gaps.values()) or (finished and found.missing)
    if harmed or torn or lost:
        return "damaged"
    return "whole" if finished else "interrupted"


def notes(found: Report, reading: Reading, ended: str) -> Iterator[str]:
    """Sentences about everything that is missing, or was mended."""
    if not ended:
        yield "The run did not say that it ended: it was killed, lost power, or still goes on."
    for file in found.files:
        yield from _of_file(file)
    if found.missing:
        yield f"{_many(found.missing, 'message')} have a number and are in no file."
    for topic, count in found.gaps.items():
        if count:
            yield f"{_many(count, 'message')} published on {topic} are not here."
    if found.unseen:
        yield f"{_many(found.unseen, 'frame')} that the model saw have no picture here."
    if reading.unread:
        yield f"{_many(reading.unread, 'message')} are not what their schema says."


def _of_file(file: FileReport) -> Iterator[str]:
    for harm in file.harms:
        had = ", ".join(f"{count} of {topic}" for topic, count in harm.messages.items())
        inside = f"; in it were {had}" if had else ""
        yield f"{file.name}, bytes {harm.start} to {harm.end}: {harm.why}{inside}."
    if not file.finished and not file.harms:
        part = file.name.endswith(PART)
        why = "was not finished; up to its end it is whole" if part else "lost its index"
        yield f"{file.name} {why}."
    if file.repaired:
        lost, places = file.repaired.get("bytes", "?"), file.repaired.get("damages", "?")
        yield f"{file.name} was repaired: {lost} bytes in {places} places could not be read."
    frames, messages = (file.recording.get(name, "0") for name in ("dropped_frames", "lost"))
    if (frames, messages) != ("0", "0"):
        yield (
            f"By the end of {file.name} the recorder had left out {frames} frames and lost "
            f"{messages} messages: its disk was too slow, or full."
        )


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
