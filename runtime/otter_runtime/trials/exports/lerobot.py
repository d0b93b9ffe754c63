"""A trial as a LeRobotDataset v3, for training: a row for each frame, with what was said of it.

It knows what a row is of, not how the dataset lies on the disk. A dataset has an even rate, a trial
not quite: an episode ends where the source changes or frames are missing, and within one each row's
`timestamp` is its number by the rate, while `captured_s` is when the frame was really captured.
"""

from __future__ import annotations

import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from PIL import Image

from otter_robots.messages import (
    Abstain,
    Answer,
    Fault,
    Governor,
    Health,
    Instruct,
    Question,
    Status,
)
from otter_runtime.errors import UserError
from otter_runtime.trials import picture
from otter_runtime.trials.exports.job import Asked, Job, captured_ns, figures
from otter_runtime.trials.exports.lerobot_files import FILE_MB, Dataset, scalar
from otter_runtime.trials.exports.lerobot_stats import Levels, Stats, of_numbers
from otter_runtime.trials.trial import Record, Sight

CAMERA, TELEMETRY = "observation.images.camera", "telemetry"
# A gap of so many intervals is a hole, and not a late frame.
HOLE = 3.0
# LeRobot's own rule for how many pictures of so many make the statistics.
LEAST_SAMPLES, MOST_SAMPLES, SAMPLES_POWER = 100, 10_000, 0.75


def write(job: Job) -> None:
    """Write the job's trial as the folder of a dataset. Raises UserError where it has no frame."""
    told = Told(job)
    if told.size is None:
        raise UserError(f"{job.trial.name} has no picture, so there is nothing to train on")
    rows = Rows(job, told)
    job.tell("rows", rows)
    rows.close()


class Told:
    """A first reading: what was said of each frame, how large frames are and how often they come.

    `answers` and `subtask` are by the newest frame that an answer saw, `events` by the newest there
    was when it happened.
    """

    def __init__(self, job: Job) -> None:
        self.answers: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self.subtask: dict[int, str] = {}
        self.events: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self.size: tuple[int, int] | None = None  # height, width
        self.telemetry: list[str] = []
        self.frames = 0
        self.began_ns = 0
        self._job, self._asked = job, Asked()
        self._steps_ms: Counter[int] = Counter()
        self._last: Sight | None = None
        job.tell("what was said", self)

    @property
    def fps(self) -> float:
        """The usual rate of the frames, whole where it nearly is."""
        steps_ms = sorted(self._steps_ms.elements())
        rate_hz = 1000 / steps_ms[len(steps_ms) // 2] if steps_ms else 1.0
        whole = round(rate_hz)
        return whole if whole and abs(rate_hz / whole - 1) < 0.05 else round(rate_hz, 3)

    def show(self, sight: Sight) -> None:
        """Count the time since the last frame with a picture."""
        if not sight.file:
            return
        if self._last is None:
            self.size = sight.show.height, sight.show.width
            self.began_ns = captured_ns(sight)
        elif self._last.show.stamp.scene == sight.show.stamp.scene:
            step_ns = sight.show.stamp.stream_ns - self._last.show.stamp.stream_ns
            self._steps_ms[max(1, round(step_ns / 1e6))] += 1
        self.frames += 1
        self._last = sight

    def tell(self, record: Record) -> None:
        """Remember what there is to have columns for."""
        message = record.message
        self._asked.hear(record)
        if isinstance(message, Answer) and message.frame_ids:
            self._answer(message, record)
        elif isinstance(message, Abstain | Fault | Governor) and self._last is not None:
            self.events[self._last.show.stamp.id].append(record.fields)
        elif isinstance(message, Health) and not self.telemetry:
            self.telemetry = [name for name in _numeric() if name != "uptime_s"]

    def _answer(self, answer: Answer, record: Record) -> None:
        verdict, newest = self._job.verdicts.of(record), answer.frame_ids[-1]
        asked = {"question": self._asked.text(answer)}
        said = {} if verdict is None else {"verdict": msgspec.to_builtins(verdict)}
        self.answers[newest].append({**asked, **record.fields, **said})
        if answer.instruction is not None:
            self.subtask[newest] = (verdict and verdict.corrected) or answer.text


@dataclass
class Episode:
    """The rows being gathered: numbers for the statistics, and the levels of pictures."""

    scene: int
    ends_ns: int = 0  # the last row's stream_ns
    size: int = 0
    tasks: dict[str, None] = field(default_factory=dict)
    numbers: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    levels: Levels = field(default_factory=Levels)

    @property
    def length(self) -> int:
        """How many rows."""
        return len(self.numbers["timestamp"])

    def stats(self) -> dict[str, Stats]:
        """Of every feature that is no text."""
        found = {name: of_numbers(values) for name, values in self.numbers.items()}
        return found | {CAMERA: self.levels.stats()}


class Rows:
    """The second reading: a row a frame, with the heartbeat and the instruction of that moment."""

    def __init__(self, job: Job, told: Told) -> None:
        self._job, self._told, self._fps = job, told, told.fps
        self._data = Dataset(job.to, _features(told), told.fps)
        self._every = _every(told.frames)
        self._episode: Episode | None = None
        self._numbers = dict.fromkeys(told.telemetry, 0.0)
        self._tasks: dict[str, int] = {}
        self._subtasks: dict[str, int] = {"": 0}
        self._task, self._subtask = "", ""

    def tell(self, record: Record) -> None:
        """Remember what holds from now on."""
        message = record.message
        if isinstance(message, Health | Governor):
            given = dict(figures(message))
            given["governor_step"] = given.get("step", given.get("governor_step", 0.0))
            known = {name: value for name, value in given.items() if name in self._numbers}
            self._numbers |= known
        elif isinstance(message, Instruct) or (isinstance(message, Question) and not self._task):
            self._task = message.text
        elif isinstance(message, Status) and message.instruction:
            self._task = message.instruction

    def show(self, sight: Sight) -> None:
        """Write the row of a frame; one without a picture has none."""
        if not sight.file:
            return
        stamp = sight.show.stamp
        if self._ends(sight):
            self._end()
        if self._episode is None:
            self._episode, self._subtask = Episode(stamp.scene), ""
        file = self._file(sight)
        self._subtask = self._told.subtask.get(stamp.id, self._subtask)
        self._episode.ends_ns = stamp.stream_ns
        self._episode.size += len(file)
        if self._data.rows % self._every == 0 or not self._episode.levels.pictures:
            self._episode.levels.add(picture.decode(file))
        self._write(sight, file, self._episode)

    def close(self) -> None:
        """End the dataset."""
        self._end()
        self._data.close(list(self._tasks), list(self._subtasks))
        about = {"metadata": self._job.trial.metadata, "missing": self._job.missing}
        (self._job.to / "meta" / "otter_edge.json").write_text(json.dumps(about, indent=4))
        self._job.written["frames"] = self._data.rows
        self._job.written["episodes"] = self._data.episodes
        self._job.written["answers"] = sum(map(len, self._told.answers.values()))

    def _write(self, sight: Sight, file: bytes, episode: Episode) -> None:
        number, stamp = episode.length, sight.show.stamp
        task = self._task or "look around"
        numbers: dict[str, Any] = {
            "timestamp": number / self._fps,
            "frame_index": number,
            "episode_index": self._data.episodes,
            "task_index": self._tasks.setdefault(task, len(self._tasks)),
            "subtask_index": self._subtasks.setdefault(self._subtask, len(self._subtasks)),
            "captured_s": (captured_ns(sight) - self._told.began_ns) / 1e9,
            "frame_id": stamp.id,
        }
        if self._numbers:
            numbers[TELEMETRY] = list(self._numbers.values())
        episode.tasks[task] = None
        for name, value in {**numbers, "index": self._data.rows}.items():
            episode.numbers[name].append(value)
        texts = {
            "answers": json.dumps(self._told.answers.get(stamp.id, [])),
            "events": json.dumps(self._told.events.get(stamp.id, [])),
        }
        seen = {CAMERA: {"bytes": file, "path": None}}
        self._data.add({**seen, **numbers, **texts}, len(file))

    def _ends(self, sight: Sight) -> bool:
        episode, stamp = self._episode, sight.show.stamp
        if episode is None:
            return False
        hole = abs(stamp.stream_ns - episode.ends_ns) > HOLE * 1e9 / self._fps
        return hole or stamp.scene != episode.scene or episode.size > FILE_MB << 20

    def _end(self) -> None:
        if self._episode is not None:
            tasks = list(self._episode.tasks)
            self._data.end_episode(self._episode.length, tasks, self._episode.stats())
        self._episode = None

    def _file(self, sight: Sight) -> bytes:
        """The frame's file; one of another size than the first is scaled, since all are alike."""
        if (sight.show.height, sight.show.width) == self._told.size or self._told.size is None:
            return sight.file
        height, width = self._told.size
        buffer = io.BytesIO()
        Image.fromarray(picture.decode(sight.file)).resize((width, height)).save(buffer, "PNG")
        self._job.written["scaled"] += 1
        return buffer.getvalue()


def _features(told: Told) -> dict[str, dict[str, Any]]:
    height, width = told.size or (0, 0)
    shown = {"dtype": "image", "shape": [height, width, 3], "names": ["height", "width", "channel"]}
    features = {
        CAMERA: shown,
        "captured_s": scalar("float64"),
        "frame_id": scalar("int64"),
        "subtask_index": scalar("int64"),
        "answers": scalar("string"),
        "events": scalar("string"),
    }
    if told.telemetry:
        names = told.telemetry
        features[TELEMETRY] = {"dtype": "float32", "shape": [len(names)], "names": names}
    return features


def _numeric() -> Iterator[str]:
    """The numbers that a heartbeat may have, those included that this device has not."""
    for info in msgspec.structs.fields(Health):
        if not isinstance(info.default, str):
            yield info.name


def _every(frames: int) -> int:
    """Every how-manieth picture makes the statistics."""
    samples: int = min(MOST_SAMPLES, max(LEAST_SAMPLES, round(float(frames) ** SAMPLES_POWER)))
    return max(1, frames // samples)
