"""The bridge between the bus and a ROS 2 network.

It knows which message goes where, not how a network works. What a robot may act on is published on
`act`, after the guard has let it through, and nothing else is meant to be acted on.
"""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec

from otter_robots.adapters.ear import Ear, Heard
from otter_robots.adapters.entry import Events
from otter_robots.adapters.picture_size import picture_size
from otter_robots.adapters.pusher import Pusher, Shot
from otter_robots.adapters.ros2.config import Config
from otter_robots.adapters.ros2.diagnostics import ERROR, OK, STALE, WARN, diagnostics
from otter_robots.adapters.ros2.node import BOOL, DIAGNOSTICS, IMAGE, STRING, Node
from otter_robots.envelope import as_dict
from otter_robots.guard import Step
from otter_robots.messages import Abstain, Answer, Fault, Health, Picture

PATIENCE_S = 0.02
DIAGNOSTICS_S = 1.0


class Bridge:
    """`turn` until told otherwise."""

    def __init__(
        self, config: Config, ear: Ear, node: Node, pusher: Pusher | None, events: Events
    ) -> None:
        self.config, self.ear, self.node, self.events = config, ear, node, events
        self.pusher = pusher
        self.faults: dict[str, str] = {}
        self.health: Health | None = None
        self._diagnose_at_s = self._look_at_s = 0.0
        self._shots = 0
        for name in ("plan", "answer", "act"):
            node.announce(f"{config.namespace}/{name}", STRING)
        node.announce(config.diagnostics, DIAGNOSTICS)
        node.subscribe(f"{config.namespace}/question", STRING, self._asked)
        node.subscribe(f"{config.namespace}/stop", BOOL, self._stop)
        if config.camera is not None:
            node.subscribe(config.camera, IMAGE, self._seen)

    def turn(self) -> None:
        """One look at both sides."""
        for heard in self.ear.listen(PATIENCE_S):
            self._hear(heard)
        self.node.turn()
        if time.monotonic() >= self._diagnose_at_s:
            self._diagnose_at_s = time.monotonic() + DIAGNOSTICS_S
            self._diagnose()

    # From the bus.

    def _hear(self, heard: Heard) -> None:
        message = heard.message
        if isinstance(message, (Answer, Abstain)):
            self._said(heard)
        elif isinstance(message, Fault):
            self.faults.pop(message.code, None)
            if not message.cleared:
                self.faults[message.code] = message.detail
            self._diagnose_at_s = 0.0
        elif isinstance(message, Health):
            self.health = message

    def _said(self, heard: Heard) -> None:
        message = heard.message
        fields = msgspec.to_builtins(message)
        if heard.envelope is not None:
            fields = as_dict(heard.envelope, message)
        self._publish("answer", json.dumps(fields))
        if not isinstance(message, Answer):
            return
        self._publish("plan", message.text)
        step = self.ear.step(heard)
        if step is not None and step.acts:
            self._act(step)

    def _act(self, step: Step) -> None:
        if step.dry_run:
            self.events("would act", skill=step.skill, arguments=step.arguments)
            return
        self._publish("act", json.dumps({"skill": step.skill, "arguments": step.arguments}))

    def _publish(self, name: str, data: str) -> None:
        self.node.publish(f"{self.config.namespace}/{name}", {"data": data})
        self.events("published", topic=f"{self.config.namespace}/{name}", data=data)

    # From the network.

    def _asked(self, message: Any) -> None:
        asked = self.ear.asker.ask(message.data)
        self.events("asked" if asked else "busy", question=message.data)

    def _stop(self, message: Any) -> None:
        if self.ear.guard is None:
            return
        if message.data:
            self.ear.guard.stop(f"{self.config.namespace}/stop")
        else:
            self.ear.guard.resume()
        self.events("stopped" if message.data else "resumed")

    def _seen(self, message: Any) -> None:
        now_s = time.monotonic()
        if self.pusher is None or now_s < self._look_at_s:
            return
        self._look_at_s = now_s + 1 / self.config.camera_hz
        data = bytes(message.data)
        size = picture_size(data)
        if size is None:
            self.faults["camera"] = f"{self.config.camera} has a format that is no JPEG or PNG"
            return
        self.faults.pop("camera", None)
        self._shots += 1
        picture = Picture(
            number=self._shots,
            width=size.width,
            height=size.height,
            encoding=size.encoding,
            taken_ns=time.monotonic_ns(),
            source=str(self.config.camera)[:64],
        )
        self.pusher.push(Shot(picture, data))

    # In turn.

    def _diagnose(self) -> None:
        level, said = self._state()
        name = f"{self.config.node}: assistant"
        told = diagnostics(time.time_ns(), name, level, said, self._figures())
        self.node.publish(self.config.diagnostics, told)

    def _state(self) -> tuple[int, str]:
        if not self.ear.bus.alive():
            return STALE, "the runtime is silent"
        guard = self.ear.guard
        if guard is not None and guard.stopped:
            return ERROR, f"stopped: {guard.why}"
        if self.faults:
            return WARN, "; ".join(self.faults.values())
        return OK, "watching"

    def _figures(self) -> list[tuple[str, object]]:
        figures: list[tuple[str, object]] = []
        if self.health is not None:
            values = msgspec.to_builtins(self.health)
            figures += [(key, value) for key, value in values.items() if key != "type"]
        if self.pusher is not None:
            figures += [
                ("frames_pushed", self.pusher.pushed),
                ("frames_refused", self.pusher.refused),
                ("frames_refused_why", self.pusher.error),
            ]
        return figures
