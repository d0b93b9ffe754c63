"""The front process's loop: frames to the brain, requests to the brain, answers to the bus.

It holds source, bus and standing instruction together and knows no engine. It lives for as long as
it is let: a dead brain, a black camera or a full disk is a Fault on the bus, and it goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from otter_robots.envelope import Envelope
from otter_robots.messages import (
    Abstain,
    AnswerDelta,
    Cancel,
    Fault,
    Instruct,
    Message,
    Question,
    Status,
)
from otter_robots.topics import ANSWER, DELTA, FAULT, HEALTH, STATUS, Topic
from otter_runtime.answers import answer
from otter_runtime.brain import Brain
from otter_runtime.bus import Bus, Request
from otter_runtime.config import RunConfig
from otter_runtime.errors import OtterError, UserError
from otter_runtime.eye import Eye
from otter_runtime.frame import Stamp
from otter_runtime.standing import Standing
from otter_runtime.vitals import Vitals
from otter_runtime.wire import Ask, Declined, Died, Event, Failed, Piece, Ready, Said, Shown

TURN_MS = 50  # how long a turn waits for something to happen
BEAT_NS = 1_000_000_000

State = Literal["starting", "running", "ended"]
Say = Callable[[Envelope, Message], None]


@dataclass(frozen=True)
class Pending:
    """An ask that the brain has; `request` is None for the standing instruction."""

    text: str
    request: Request | None = None
    question_id: str | None = None
    deadline_ns: int | None = None

    @property
    def instruction(self) -> str | None:
        """The text, where nobody asked it."""
        return self.text if self.request is None else None


class Front:
    """One run, from `starting` to `ended`. `say` sees everything that is published."""

    def __init__(
        self,
        config: RunConfig,
        bus: Bus,
        eye: Eye,
        brain: Brain,
        standing: Standing,
        say: Say = lambda envelope, message: None,
    ) -> None:
        self.config, self.bus, self.eye, self.brain = config, bus, eye, brain
        self.standing = standing
        self.vitals = Vitals()
        self.ready: Ready | None = None  # None while there is no brain that could answer
        self._say = say
        self._pending: dict[str, Pending] = {}
        self._showing = 0
        self._asked = 0
        self._scene = -1
        self._blind: str | None = None
        self._beat_at_ns = 0
        self._wait_until_ns = 0
        self._watched: set[int] = set()
        self._down = False  # there was a brain, and it died
        self._stop = False

    def run(self) -> None:
        """Turn until the source is played out or `stop`; says how it ended, whatever ends it.

        Raises UserError where the brain can never come up, e.g. for a corrupt bundle.
        """
        detail = "failed"
        self._publish(STATUS, self._status("starting"))
        try:
            while not self._over():
                self.turn()
            detail = "interrupted" if self._stop else "the source is played out"
        except OtterError as error:
            detail = str(error)
            raise
        finally:
            self._abstain_all("ended", "the runtime ends")
            self._publish(STATUS, self._status("ended", detail))

    def stop(self) -> None:
        """End after this turn; may be called from a signal handler."""
        self._stop = True

    def turn(self) -> None:
        """Requests, the brain's events, a frame, the heartbeat: none of them waits for another."""
        self._watch()
        for request in self.bus.poll(self._patience_ms()):
            self._take(request)
        for event in self.brain.events():
            self._hear(event)
        self._notice_blindness()
        self._look()
        self._beat()

    def _watch(self) -> None:
        """Wake up for whatever the source and the brain can be read from just now."""
        now = {*self.eye.descriptors(), *self.brain.descriptors()}
        for descriptor in self._watched - now:
            self.bus.unwatch(descriptor)
        for descriptor in now - self._watched:
            self.bus.watch(descriptor)
        self._watched = now

    def _patience_ms(self) -> int:
        return 0 if self.brain.busy else TURN_MS

    def _over(self) -> bool:
        return self._stop or (self.eye.ended and not self._outstanding)

    @property
    def _outstanding(self) -> bool:
        return bool(self._showing or self._pending)

    # What the source brings.

    def _look(self) -> None:
        if self.ready is None or (self.config.fast and self._outstanding):
            return
        if not self.eye.opened:
            self._open()
            return
        frame = self.eye.look()
        if self.eye.newest is not None:
            self.vitals.newest_ns = self.eye.newest.mono_ns
            self._enter(self.eye.newest.scene)
        if frame is None:
            return
        if self.brain.show(frame):
            self._showing += 1
        else:
            self.vitals.frames_dropped += 1

    def _open(self) -> None:
        assert self.ready is not None
        now_ns = time.monotonic_ns()
        self._wait_until_ns = self._wait_until_ns or now_ns + round(self.config.wait_s * 1e9)
        if self.bus.subscribed(ANSWER) or now_ns >= self._wait_until_ns:
            self.eye.open(self.config.window.rate_hz or self.ready.rate_hz)

    def _enter(self, scene: int) -> None:
        if scene != self._scene:
            self._scene = scene
            self._publish(STATUS, self._status("running"))

    def _notice_blindness(self) -> None:
        blind = self.eye.blind(time.monotonic_ns())
        code = blind[0] if blind else None
        if code == self._blind:
            return
        if self._blind:
            self._publish(FAULT, Fault(code=self._blind, detail="it is over", cleared=True))
        if blind:
            self._publish(FAULT, Fault(code=blind[0], detail=blind[1]))
        self._blind = code

    # What is asked.

    def _take(self, request: Request) -> None:
        message = request.message
        if isinstance(message, Question):
            self._question(request, message)
        elif isinstance(message, Instruct):
            self.standing.replace(message.text, message.interval_s)
        elif isinstance(message, Cancel):
            for ask_id, pending in self._pending.items():
                if pending.question_id == message.question_id:
                    self.brain.drop(ask_id)

    def _question(self, request: Request, question: Question) -> None:
        now_ns = time.monotonic_ns()
        deadline_ms = question.deadline_ms or self.config.deadline_ms
        deadline_ns = now_ns + round(deadline_ms * 1e6)
        pending = Pending(question.text, request, question.id, deadline_ns)
        why = self._why_not(now_ns)
        if why:
            self._abstain(pending, *why)
        else:
            self._ask(pending, priority=question.priority)

    def _why_not(self, now_ns: int) -> tuple[str, str] | None:
        if self._down:
            return "brain-down", "the brain is being started again; ask in a moment"
        return self.eye.blind(now_ns)

    def _ask(self, pending: Pending, priority: int = 0) -> None:
        self._asked += 1
        ask_id = str(self._asked)
        self._pending[ask_id] = pending
        self.brain.ask(
            Ask(
                id=ask_id,
                text=pending.text,
                standing=pending.request is None,
                priority=priority,
                deadline_ns=pending.deadline_ns,
            )
        )

    def _instruct(self, stamp: Stamp) -> None:
        """Ask the standing instruction where it is due, unless the last is not answered yet."""
        asking = any(pending.request is None for pending in self._pending.values())
        if self.standing.due(stamp) and not asking and not self._blind:
            self.standing.asked(stamp)
            self._ask(Pending(self.standing.text(stamp.scene)))

    # What the brain says.

    def _hear(self, event: Event) -> None:
        if isinstance(event, Shown):
            self._shown(event)
        elif isinstance(event, Said):
            self._said(event)
        elif isinstance(event, Piece):
            self._piece(event)
        elif isinstance(event, Declined):
            self._declined(event)
        elif isinstance(event, Ready):
            self._came_up(event)
        elif isinstance(event, Failed):
            self._failed(event)
        elif isinstance(event, Died):
            self._died(event)

    def _shown(self, shown: Shown) -> None:
        self._showing -= 1
        if shown.kept:
            self.vitals.frames += 1
            self._instruct(shown.stamp)
        else:
            self.vitals.frames_dropped += 1

    def _said(self, said: Said) -> None:
        pending = self._pending.pop(said.id, None)
        if pending is None or self.ready is None:
            return
        message = answer(
            said,
            now_ns=time.monotonic_ns(),
            ttl_ms=self.config.ttl_ms,
            model_hash=self.ready.model_hash,
            question_id=pending.question_id,
            instruction=pending.instruction,
            deadline_ns=pending.deadline_ns,
        )
        self.vitals.answers += 1
        self.vitals.late += message.late
        self._reply(pending, self._publish(ANSWER, message))

    def _piece(self, piece: Piece) -> None:
        pending = self._pending.get(piece.id)
        if pending is not None:
            self._publish(
                DELTA,
                AnswerDelta(
                    text=piece.text,
                    index=piece.index,
                    question_id=pending.question_id,
                    instruction=pending.instruction,
                ),
            )

    def _declined(self, declined: Declined) -> None:
        pending = self._pending.pop(declined.id, None)
        if pending is not None:
            self._abstain(pending, declined.reason, declined.detail)

    def _came_up(self, ready: Ready) -> None:
        if self._down:
            self._publish(FAULT, Fault(code="brain", detail="a new brain runs", cleared=True))
        self.ready, self._down = ready, False

    def _failed(self, failed: Failed) -> None:
        if failed.user and self.ready is None and not self.eye.opened:
            raise UserError(failed.detail)
        self._publish(FAULT, Fault(code="brain", detail=failed.detail))

    def _died(self, died: Died) -> None:
        self.ready, self._down = None, True
        self._showing = 0
        self._publish(FAULT, Fault(code="brain", detail=died.detail))
        self._abstain_all("brain-down", "the brain ended while it worked on this; ask again")

    # What goes out.

    def _abstain_all(self, reason: str, detail: str) -> None:
        pending, self._pending = self._pending, {}
        for one in pending.values():
            self._abstain(one, reason, detail)

    def _abstain(self, pending: Pending, reason: str, detail: str) -> None:
        self.vitals.abstained += 1
        message = Abstain(
            reason=reason,
            detail=detail,
            question_id=pending.question_id,
            instruction=pending.instruction,
        )
        self._reply(pending, self._publish(ANSWER, message))

    def _reply(self, pending: Pending, envelope: Envelope) -> None:
        if pending.request is not None:
            self.bus.reply(pending.request, envelope)

    def _beat(self) -> None:
        now_ns = time.monotonic_ns()
        if now_ns < self._beat_at_ns:
            return
        self._beat_at_ns = now_ns + BEAT_NS
        health = self.vitals.health(
            brain_alive=self.ready is not None,
            brain_restarts=self.brain.restarts,
            hostile=self.bus.hostile,
            journal_ok=self.bus.journal_ok,
        )
        self._publish(HEALTH, health)

    def _status(self, state: State, detail: str = "") -> Status:
        scenes = self.eye.drain.scenes
        return Status(
            state=state,
            detail=detail,
            model=self.ready.model if self.ready else "",
            model_hash=self.ready.model_hash if self.ready else "",
            source=scenes[self._scene].source if self._scene >= 0 else "",
            instruction=self.standing.text(max(self._scene, 0)) if self.standing.texts else None,
        )

    def _publish(self, topic: Topic, message: Message) -> Envelope:
        envelope = self.bus.publish(topic, message)
        self._say(envelope, message)
        return envelope
