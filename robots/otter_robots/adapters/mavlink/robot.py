"""The companion of one vehicle: hears the bus and the link, speaks, uploads, asks.

It knows what is said when, not how it is sent. Nothing here blocks for longer than `PATIENCE_S`,
so that the heartbeat goes out whatever the runtime does.
"""

from __future__ import annotations

import time
from typing import Any

from pymavlink.dialects.v20 import common

from otter_robots.adapters.ear import Ear, Heard
from otter_robots.adapters.entry import Events
from otter_robots.adapters.mavlink.config import Config
from otter_robots.adapters.mavlink.statustext import Severity, Speaker
from otter_robots.adapters.mavlink.uploads import Uploads
from otter_robots.adapters.mavlink.vehicle import Vehicle
from otter_robots.guard import Guard, Refused, Step
from otter_robots.messages import Abstain, Answer, Fault

PATIENCE_S = 0.02


class Companion:
    """`turn` until told otherwise; without a guard (no skills declared) it only speaks."""

    def __init__(
        self,
        config: Config,
        ear: Ear,
        vehicle: Vehicle,
        uploads: Uploads,
        events: Events,
    ) -> None:
        self.config, self.ear, self.vehicle = config, ear, vehicle
        self.uploads, self.events = uploads, events
        self.guard = ear.guard
        self.speaker = Speaker(config.speech)
        self._why: str | None = None  # the guard is stopped
        self._alive: bool | None = None  # the runtime; None until it was heard
        self._up = self._armed = False
        self._lost_at_s: float | None = None
        self._beat_at_s = self._ask_at_s = time.monotonic()
        self._counted = (0, 0)

    def turn(self) -> None:
        """One look at everything."""
        heard = self.ear.listen(PATIENCE_S)
        now_s = time.monotonic()
        for one in heard:
            self._hear(one, now_s)
        for message in self.vehicle.receive(now_s):
            self._hear_vehicle(message, now_s)
        self._watch(now_s)
        self._ask(now_s)
        self.uploads.turn()
        self._beat(now_s)
        self._speak(now_s)

    # From the bus.

    def _hear(self, heard: Heard, now_s: float) -> None:
        message = heard.message
        if isinstance(message, Answer):
            self.speaker.say("plan", Severity.INFO, message.text, now_s, now_s + heard.left_s)
            step = self.ear.step(heard)
            if step is not None and self.guard is not None:
                self._perform(self.guard, step)
        elif isinstance(message, Abstain):
            said = f"no answer: {message.detail or message.reason}"
            self.speaker.say("abstain", Severity.NOTICE, said, now_s)
        elif isinstance(message, Fault):
            severity = Severity.NOTICE if message.cleared else Severity.WARNING
            said = f"{'over: ' if message.cleared else ''}{message.detail}"
            self.speaker.say(f"fault {message.code}", severity, said, now_s)

    def _perform(self, guard: Guard, step: Step) -> None:
        self.events("would do" if step.dry_run else "does", skill=step.skill)
        try:
            guard.perform(step)
        except Refused as why:
            # A stop may come at any moment, also between the guard's two looks.
            self.events("refused", skill=step.skill, why=str(why))

    # From the vehicle.

    def _hear_vehicle(self, message: Any, now_s: float) -> None:
        if message.get_type() in ("COMMAND_LONG", "COMMAND_INT"):
            if self.vehicle.to_us(message):
                self._commanded(message)
        elif self.vehicle.from_autopilot(message):
            self.uploads.hear(message)

    def _commanded(self, message: Any) -> None:
        names = {
            getattr(common, f"MAV_CMD_USER_{number}"): f"USER_{number}" for number in range(1, 6)
        }
        name = names.get(message.command, str(message.command))
        result = self._obey(name)
        self.events("command", command=name, result=common.enums["MAV_RESULT"][result].name)
        target = (message.get_srcSystem(), message.get_srcComponent())
        ack = common.MAVLink_command_ack_message(
            message.command, result, target_system=target[0], target_component=target[1]
        )
        self.vehicle.send(ack)

    def _obey(self, name: str) -> int:
        question = self.config.asking.commands.get(name)  # type: ignore[call-overload]
        if question is not None:
            asked = self.ear.asker.ask(question)
            return int(
                common.MAV_RESULT_ACCEPTED if asked else common.MAV_RESULT_TEMPORARILY_REJECTED
            )
        if self.guard is None or name not in (self.config.stop_command, self.config.resume_command):
            return int(common.MAV_RESULT_UNSUPPORTED)
        if name == self.config.stop_command:
            self.guard.stop("stopped from the ground")
        else:
            self.guard.resume()
        return int(common.MAV_RESULT_ACCEPTED)

    # In turn.

    def _watch(self, now_s: float) -> None:
        self._watch_link(now_s)
        self._watch_runtime()
        self._watch_guard()

    def _watch_guard(self) -> None:
        """Where the guard is stopped nothing is uploaded any more, and the pilot hears of it."""
        why = None if self.guard is None else self.guard.why
        if why == self._why:
            return
        self._why = why
        self.events("guard", stopped=why)
        if why is None:
            self._tell("guard", "uploads are allowed again", Severity.NOTICE)
        else:
            self.uploads.cancel(f"stopped: {why}")
            self._tell("guard", f"no uploads: {why}", Severity.WARNING)

    def _watch_runtime(self) -> None:
        alive = self.ear.bus.alive()
        if alive != bool(self._alive):
            self.events("runtime", alive=alive)
            if self._alive is not None:
                severity = Severity.NOTICE if alive else Severity.WARNING
                self._tell("runtime", f"the assistant is {'back' if alive else 'silent'}", severity)
            self._alive = alive

    def _watch_link(self, now_s: float) -> None:
        if self.vehicle.armed != self._armed:
            self._armed = self.vehicle.armed
            self.events("armed", armed=self._armed)
        up = self.vehicle.up(now_s)
        if up == self._up:
            return
        self._up = up
        if not up:
            self._lost_at_s = now_s
            self.uploads.cancel("the link was lost")
            self.events("link", up=False)
            return
        self.events("link", up=True)
        self.uploads.forget()
        if self._lost_at_s is not None:
            self._tell(
                "link", f"link was lost for {now_s - self._lost_at_s:.0f} s", Severity.WARNING
            )

    def _ask(self, now_s: float) -> None:
        every_s = self.config.asking.every_s
        if every_s is not None and now_s >= self._ask_at_s and self._up:
            self._ask_at_s = now_s + every_s
            self.ear.asker.ask(self.config.asking.question)

    def _beat(self, now_s: float) -> None:
        if now_s < self._beat_at_s:
            return
        self._beat_at_s = now_s + self.config.link.heartbeat_s
        self.vehicle.send(
            common.MAVLink_heartbeat_message(
                common.MAV_TYPE_ONBOARD_CONTROLLER,
                common.MAV_AUTOPILOT_INVALID,
                0,
                0,
                self._state(),
                3,
            )
        )
        counted = (self.vehicle.garbage, self.vehicle.refused)
        if counted != self._counted:
            self._counted = counted
            self.events("refused packets", garbage=counted[0], signature=counted[1])

    def _state(self) -> int:
        if self._alive is None:
            return int(common.MAV_STATE_BOOT)
        if self.guard is not None and self.guard.stopped:
            return int(common.MAV_STATE_STANDBY)
        return int(common.MAV_STATE_ACTIVE if self._alive else common.MAV_STATE_CRITICAL)

    def _tell(self, about: str, text: str, severity: Severity) -> None:
        self.speaker.say(about, severity, text, time.monotonic())

    def _speak(self, now_s: float) -> None:
        if not self._up:
            return
        chunks = self.speaker.due(now_s)
        for chunk in chunks:
            self.vehicle.send(
                common.MAVLink_statustext_message(chunk.severity, chunk.text, chunk.id, chunk.seq)
            )
        if chunks:
            text = b"".join(chunk.text for chunk in chunks).decode()
            self.events("said", severity=chunks[0].severity, text=text)
