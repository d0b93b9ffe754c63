"""The front process's loop: frames to the brain, requests to the brain, answers to the bus.

It brings source, brain, desk and bus together and knows no engine. It lives for as long as it is
let: a dead brain, a black camera or a full disk is a Fault on the bus, and it goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

from otter_robots.envelope import Envelope
from otter_robots.messages import Ack, Exemplar, Fault, Forget, Message, Picture, Status
from otter_robots.topics import ANSWER, FAULT, HEALTH, STATUS, Topic
from otter_runtime.brain import Brain
from otter_runtime.bus import Bus, Request
from otter_runtime.config import RunConfig
from otter_runtime.desk import Desk, Why
from otter_runtime.economy import Economy
from otter_runtime.errors import DamagedPicture, EngineError, OtterError, UserError
from otter_runtime.eye import Eye
from otter_runtime.folders import disk_free_mb
from otter_runtime.frame import Frame
from otter_runtime.governor import Governor
from otter_runtime.notify import Notifier, Progress, Watchdog
from otter_runtime.pins import Pins
from otter_runtime.pushed import Pushed
from otter_runtime.readiness import short
from otter_runtime.standing import Standing
from otter_runtime.vitals import Vitals
from otter_runtime.wire import Declined, Died, Event, Failed, Piece, Pinned, Ready, Said, Shown

TURN_MS = 50  # how long a turn waits for something to happen
BEAT_NS = 1_000_000_000
FIRST_TRIES = 3  # a brain that did not come up in so many starts will not

BRAIN_DOWN = "brain-down", "the brain is being started again; ask in a moment"
SWAP = "bundle-swap", "another model is being loaded; ask in a moment"

State = Literal["starting", "running", "ended"]
Say = Callable[[Envelope, Message], None]


def _nobody(envelope: Envelope, message: Message) -> None:
    """Says nothing."""


class Front:
    """One run, from `starting` to `ended`. `say` sees everything that is published.

    So do `witnesses`, which never fail and hear the last words too.
    """

    def __init__(
        self,
        config: RunConfig,
        bus: Bus,
        eye: Eye,
        brain: Brain,
        standing: Standing,
        governor: Governor,
        say: Say = _nobody,
        witnesses: Sequence[Say] = (),
    ) -> None:
        self.config, self.bus, self.eye, self.brain = config, bus, eye, brain
        self.standing = standing
        self.pushed = eye.source if isinstance(eye.source, Pushed) else None
        self.standing.paused = bus.stopped()
        self.vitals = Vitals()
        self.desk = Desk(config, bus, brain, standing, self.vitals, self._publish)
        self.pins = Pins(bus, brain, lambda fault: self._publish(FAULT, fault))
        self.economy = Economy(config.window, governor, eye, brain, self._publish, self._swap)
        self.ready: Ready | None = None  # None while there is no brain that could answer
        self._say, self._witnesses = say, witnesses
        self.notifier = Notifier()
        self._watchdog = Watchdog(self.notifier, Progress(config.brain.start_s))
        self._words = 0  # events that the brain sent
        bus.outbox.tell = self._tell
        self._showing = 0
        self._held: Frame | None = None
        self._scene = -1
        self._blind: str | None = None
        self._beat_at_ns = 0
        self._wait_until_ns = 0
        self._watched: set[int] = set()
        self._down: Why | None = None  # why the brain that there was is gone
        self._stillborn = 0
        self._stop = False

    def run(self) -> None:
        """Turn until the source is played out or `stop`; says how it ended, whatever ends it.

        Raises UserError where the brain can never come up, e.g. for a corrupt bundle, and
        EngineError where the first ones all died before they came up.
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
        except BrokenPipeError:
            # Whoever `say` told has left; the bus still hears the last words.
            detail, self._say = "the reader of its output left", _nobody
            raise
        finally:
            self.notifier.stopping()
            with self.bus.batch():
                self.desk.abstain_all("ended", "the runtime ends")
            self._publish(STATUS, self._status("ended", detail))

    def stop(self) -> None:
        """End after this turn; may be called from a signal handler."""
        self._stop = True

    def turn(self) -> None:
        """Requests, the brain's events, a frame, the heartbeat: none of them waits for another."""
        self._watch()
        requests = self.bus.poll(self._patience_ms())
        with self.bus.batch():
            self._serve(requests)
            for event in self.brain.events():
                self._hear(event)
            self.economy.turn()
        self._look()  # first: who has just been given a frame is not blind
        self._notice_blindness()
        self._beat()
        self._tell_manager()

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
        return bool(self._showing) or self.desk.busy

    # What is asked, and pushed.

    def _serve(self, requests: list[Request]) -> None:
        """In their order, so that a question is about the frames that came before it."""
        pictures = [request for request in requests if isinstance(request.message, Picture)]
        for request in requests:
            if isinstance(request.message, Picture):
                self.bus.reply(request, self._let_in(request, newest=request is pictures[-1]))
                self._look()
            elif isinstance(request.message, (Exemplar, Forget)):
                self.pins.take(request, self.ready is not None)
            else:
                self.desk.take(request, *self._stand(request))

    def _let_in(self, request: Request, newest: bool) -> Ack:
        assert isinstance(request.message, Picture)
        if self.pushed is None:
            return Ack(ok=False, detail="this run has a source of its own; start it with `bus`")
        if not newest:
            self.vitals.frames_dropped += 1
            return Ack(detail="a newer frame took its place")
        try:
            self.pushed.push(request.peer, request.message, request.blobs[0])
        except DamagedPicture as error:
            return Ack(ok=False, detail=str(error))
        return Ack()

    def _stand(self, request: Request) -> tuple[Why | None, int]:
        """Why a request cannot be answered now, if so, and the frame that it waits for."""
        number = getattr(request.message, "frame", None)
        if number is None:
            return self._why_not(), 0
        awaited = self.pushed.awaited(request.peer, number) if self.pushed else None
        if awaited is None:
            return ("no-such-frame", f"frame {number} was not pushed on this connection"), 0
        return self._why_not(), awaited

    # What the source brings.

    def _look(self) -> None:
        if not self.eye.opened:
            self._open()
            return
        if self.config.fast and (self._outstanding or self.ready is None):
            return
        frame = self.eye.look()
        if self.eye.newest is not None:
            self.vitals.newest_ns = self.eye.newest.mono_ns
            self._enter(self.eye.newest.scene)
        # Looked at even while there is no brain, so that the source stays drained and known.
        self._show(frame)

    def _show(self, frame: Frame | None) -> None:
        """Hand over the newest frame; it waits while there is no brain that has room for it."""
        if frame is not None and self._held is not None:
            self.vitals.frames_dropped += 1
        frame, self._held = frame or self._held, None
        if frame is None:
            return
        if self.ready is not None and self.brain.show(frame):
            self._showing += 1
        else:
            self._held = frame

    def _open(self) -> None:
        if self.ready is None:
            return
        now_ns = time.monotonic_ns()
        self._wait_until_ns = self._wait_until_ns or now_ns + round(self.config.wait_s * 1e9)
        if self.bus.subscribed(ANSWER) or now_ns >= self._wait_until_ns:
            self.eye.open(self.economy.rate_hz)

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

    def _why_not(self) -> tuple[str, str] | None:
        """Why no question can be answered now, as a code and a sentence."""
        return self._down or self.eye.blind(time.monotonic_ns())

    # What the brain says.

    def _hear(self, event: Event) -> None:
        self._words += 1
        if isinstance(event, Shown):
            self._shown(event)
        elif isinstance(event, Said):
            self.desk.said(event, self.ready.model_hash if self.ready else "")
        elif isinstance(event, Piece):
            self.desk.piece(event)
        elif isinstance(event, Declined):
            self.desk.declined(event)
        elif isinstance(event, Pinned):
            self.pins.judged(event)
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
            if not self._blind:
                self.desk.instruct(shown)
        else:
            self.vitals.frames_dropped += 1

    def _came_up(self, ready: Ready) -> None:
        if self._down == BRAIN_DOWN:
            self._publish(FAULT, Fault(code="brain", detail="a new brain runs", cleared=True))
        self.ready, self._down = ready, None
        self.notifier.ready()
        self.economy.came_up(ready)
        self.pins.again()

    def _failed(self, failed: Failed) -> None:
        if self.ready is None and self.economy.failed(failed.detail):
            return
        if failed.user and self.ready is None and not self.eye.opened:
            raise UserError(failed.detail)
        self._publish(FAULT, Fault(code="brain", detail=failed.detail))

    def _died(self, died: Died) -> None:
        if self.ready is None and not self.eye.opened:
            self._stillborn += 1
            if self._stillborn == FIRST_TRIES:
                raise EngineError(
                    f"no brain came up in {FIRST_TRIES} tries ({died.detail}); check the bundle "
                    "with `otter-edge verify`, and that it fits into memory"
                )
        self._publish(FAULT, Fault(code="brain", detail=died.detail))
        self._give_up(BRAIN_DOWN, "the brain ended while it worked on this; ask again")

    def _swap(self, bundle: str | None) -> None:
        self._give_up(SWAP, "another model takes over; ask again in a moment")
        self.brain.load(bundle)

    def _give_up(self, down: Why, detail: str) -> None:
        """There is no brain until it came up: what it was asked is lost."""
        self.ready, self._down = None, down
        self._showing = 0
        self.pins.give_up()
        self.desk.abstain_all(down[0], detail)

    # What goes out.

    def _beat(self) -> None:
        now_ns = time.monotonic_ns()
        if now_ns < self._beat_at_ns:
            return
        # On a grid: turns take time, and the rate is a promise.
        self._beat_at_ns = now_ns + BEAT_NS - (now_ns - self._beat_at_ns) % BEAT_NS
        free_mb = disk_free_mb(self.bus.folder)
        self.bus.say_trouble("disk", self._shortage(free_mb))
        health = self.vitals.health(
            brain_alive=self.ready is not None,
            brain_restarts=self.brain.restarts,
            dropped=self.eye.source.dropped,
            damaged=self.eye.source.damaged,
            hostile=self.bus.hostile,
            archive=self.bus.archive,
            journal_ok=self.bus.journal_ok,
            stopped=self.standing.paused,
            blind=self._blind or "",
            disk_free_mb=free_mb,
            denied=self.bus.audit.denied,
            governor=self.economy.governor,
            scribe=self.bus.scribe,
        )
        self._publish(HEALTH, health)

    def _shortage(self, free_mb: float | None) -> str:
        reserve_mb = self.config.health.reserve_mb
        if free_mb is None or not short(free_mb, reserve_mb):
            return ""
        return (
            f"{free_mb:.0f} MB are left in {self.bus.folder}, less than the reserve of "
            f"{reserve_mb:g} MB; make room, or lower bus.keep_mb"
        )

    def _tell_manager(self) -> None:
        """What systemd wants to know, if it is there."""
        self._watchdog.turn(
            frames=self.eye.taken,
            words=self._words,
            waiting=self.eye.waiting or self.pushed is not None,
            starting=self.ready is None,
        )
        self.notifier.status(self._sentence())

    def _sentence(self) -> str:
        why_not = self._why_not()
        if why_not:
            return why_not[1]
        if self.ready is None:
            return "the model is being loaded"
        step = self.economy.governor.step
        heat = f", performance lowered to step {step}" if step else ""
        return f"{self.ready.model} answers{heat}"

    def _status(self, state: State, detail: str = "") -> Status:
        return Status(
            state=state,
            detail=detail,
            model=self.ready.model if self.ready else "",
            model_hash=self.ready.model_hash if self.ready else "",
            source=self.eye.newest.source if self.eye.newest else "",
            instruction=self.standing.text(max(self._scene, 0)) if self.standing.texts else None,
        )

    def _publish(self, topic: Topic, message: Message) -> Envelope:
        return self.bus.publish(topic, message)

    def _tell(self, envelope: Envelope, message: Message) -> None:
        for witness in self._witnesses:
            witness(envelope, message)
        self._say(envelope, message)
