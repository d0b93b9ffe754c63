"""What is right about each frame of a recorded clip, and whether an answer says it.

It knows `labels.json` and the answers' source fields; it does not know who answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from otter_robots.messages import Answer
from otter_runtime.errors import UserError

LABELS = "labels.json"


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """The right action and answer at one frame; not `clear` where another is defensible."""

    action: str
    answer: str
    clear: bool = True


class Clip(msgspec.Struct, frozen=True, kw_only=True):
    """One video file, its standing instruction, and the truth of each of its frames."""

    file: str
    rate_hz: float
    instruction: str
    frames: list[Truth]


@dataclass(frozen=True)
class Verdict:
    """An answer held against the truth of the newest frame it names."""

    action: str
    truth: Truth

    @property
    def correct(self) -> bool:
        """Whether it names the right action."""
        return self.action == self.truth.action


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """The clips of a folder, in the order in which they are played."""

    clips: list[Clip]

    @classmethod
    def load(cls, folder: Path) -> Labels:
        """Read `labels.json` in `folder`; UserError where it is missing or not of this form."""
        path = folder / LABELS
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}); give a folder of clips with labels"
            ) from error
        except msgspec.MsgspecError as error:
            raise UserError(f"{path} does not describe clips ({error}); record it again") from error

    @property
    def seconds(self) -> float:
        """How long all clips take in real time."""
        return sum(len(clip.frames) / clip.rate_hz for clip in self.clips)

    def judge(self, answer: Answer) -> Verdict:
        """The verdict on an answer; UserError where it names a frame that no clip has."""
        frames = {clip.file: clip.frames for clip in self.clips}.get(answer.source, [])
        if answer.source_index is None or answer.source_index >= len(frames):
            raise UserError(
                f"an answer names frame {answer.source_index} of {answer.source!r}, which "
                f"{LABELS} does not have; play the clips it describes"
            )
        return Verdict(action(answer.text), frames[answer.source_index])


def action(text: str) -> str:
    """What a plan says to do: all before its first colon, in lower case."""
    return text.partition(":")[0].strip().lower()
