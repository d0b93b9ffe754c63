"""A trial as a rosbag2 recording, under the topics and types that the ROS 2 adapter uses.

It knows which message says what; the adapter's recording knows how a bag is written. Besides what
a robot hears live it has the pictures, a log and every number as a topic of its own, for plots.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from otter_robots.adapters.ros2.bag_node import BagNode
from otter_robots.adapters.ros2.config import Config
from otter_robots.adapters.ros2.diagnostics import OK, WARN, diagnostics, header, time
from otter_robots.adapters.ros2.node import DIAGNOSTICS, IMAGE, STRING, Fields
from otter_robots.messages import Abstain, Answer, Governor, Health, Instruct, Question
from otter_runtime.trials.exports.job import Job, captured_ns, figures
from otter_runtime.trials.exports.lines import Line, line
from otter_runtime.trials.trial import Record, Sight

NUMBER, LOG = "std_msgs/msg/Float64", "rcl_interfaces/msg/Log"
LOG_TOPIC = "/rosout"
_LEVELS = {"INFO": 20, "WARN": 30, "ERROR": 40}  # of rcl_interfaces/msg/Log


def write(job: Job) -> None:
    """Write the job's trial as the folder of a bag."""
    node = BagNode(job.to)
    try:
        job.tell("rosbag2", Bag(node, job))
        node.note("otter_edge", json.dumps({**job.trial.metadata, "missing": job.missing}))
    finally:
        node.close()


class Bag:
    """One bag being written; a topic is made known with its first message."""

    def __init__(self, node: BagNode, job: Job) -> None:
        self._node, self._job, self._config = node, job, Config()
        self._known: set[str] = set()
        self._tell: dict[type[msgspec.Struct], Callable[[Any, Record], None]] = {
            Question: self._question,
            Instruct: self._question,
            Answer: self._answer,
            Abstain: self._abstain,
            Governor: self._governor,
            Health: self._health,
        }

    def show(self, sight: Sight) -> None:
        """A frame, as a camera driver publishes one, at its capture."""
        if not sight.file:
            return
        show, at_ns = sight.show, captured_ns(sight)
        fields = {
            "header": header(at_ns, show.stamp.source),
            "format": show.encoding,
            "data": np.frombuffer(sight.file, np.uint8),
        }
        self._record(self._named("camera/compressed"), IMAGE, fields, at_ns)
        self._job.written["frames"] += 1

    def tell(self, record: Record) -> None:
        """A message, where there is a ROS message for it."""
        happened = line(record)
        if happened is not None:
            self._log(happened, record.log_ns)
        tell = self._tell.get(type(record.message))
        if tell is not None:
            tell(record.message, record)

    def _question(self, message: Question | Instruct, record: Record) -> None:
        self._text("question", message.text, record)

    def _answer(self, answer: Answer, record: Record) -> None:
        verdict = self._job.verdicts.of(record)
        said = {} if verdict is None else {"verdict": msgspec.to_builtins(verdict)}
        self._text("plan", answer.text, record, counted=False)
        self._text("answer", json.dumps({**record.fields, **said}), record)
        self._number("answer/age_ms", answer.age_ms, record)
        self._number("answer/confidence", answer.confidence, record)
        for stage, spent_ms in answer.timing.items():
            self._number(f"timing/{stage}", spent_ms, record)

    def _abstain(self, _: Abstain, record: Record) -> None:
        self._text("answer", record.data.decode(), record, counted=False)

    def _governor(self, governor: Governor, record: Record) -> None:
        for name, value in figures(governor):
            self._number(f"governor/{name}", value, record)

    def _health(self, health: Health, record: Record) -> None:
        told = list(figures(health))
        level = WARN if health.blind or health.stopped else OK
        said = health.blind or ("stopped" if health.stopped else "watching")
        name = f"{self._config.node}: assistant"
        fields = diagnostics(record.log_ns, name, level, said, told)
        self._record(self._config.diagnostics, DIAGNOSTICS, fields, record.log_ns)
        for field, value in told:
            self._number(f"health/{field}", value, record)
        self._job.written["health"] += 1

    def _text(self, name: str, text: str, record: Record, counted: bool = True) -> None:
        self._record(self._named(name), STRING, {"data": text}, record.log_ns)
        self._job.written[name] += counted

    def _number(self, name: str, value: float | None, record: Record) -> None:
        if value is not None:
            self._record(self._named(name), NUMBER, {"data": float(value)}, record.log_ns)

    def _log(self, happened: Line, at_ns: int) -> None:
        fields = {
            "stamp": time(at_ns),
            "level": _LEVELS[happened.level],
            "name": f"{self._config.node}.{happened.kind}",
            "msg": happened.text,
            "file": "",
            "function": "",
            "line": 0,
        }
        self._record(LOG_TOPIC, LOG, fields, at_ns)
        self._job.written[happened.kind] += 1

    def _record(self, topic: str, kind: str, fields: Fields, at_ns: int) -> None:
        if topic not in self._known:
            self._known.add(topic)
            self._node.announce(topic, kind)
        self._node.record(topic, fields, at_ns)

    def _named(self, name: str) -> str:
        return f"{self._config.namespace}/{name}"
