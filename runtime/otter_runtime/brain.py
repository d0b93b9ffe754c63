"""The brain: the engines and the step loop, as an object here or as a process of its own.

It knows a bundle and a channel; it does not know cameras, the bus or the journal. The front talks
to either kind in the same way. Run as a module it is the child: it serves its channel until the
other end closes, so it never outlives the front.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
from pathlib import Path
from typing import Protocol

import msgspec

from otter_runtime.bundle import Bundle, Manifest
from otter_runtime.clock import Clock, RealClock
from otter_runtime.config import RunConfig, WindowConfig
from otter_runtime.errors import MissingExtra, OtterError, UserError
from otter_runtime.frame import Frame
from otter_runtime.garbage import settle
from otter_runtime.loop import StepLoop
from otter_runtime.policy import policy
from otter_runtime.pulse import BEAT_S, Pulse
from otter_runtime.slots import Slots
from otter_runtime.wire import (
    Alive,
    Ask,
    Channel,
    Drop,
    Event,
    Failed,
    Handed,
    Limit,
    Order,
    Pin,
    Ready,
    Show,
    Unpin,
)

DRAFT_TOKENS = 7  # eight at once cost 1.5 times as much as one, and a plan's draft brings 2.5
POLL_S = 0.02  # how soon a deadline is noticed while nothing else happens
OOM_SCORE = 500  # where memory runs out, the kernel takes the brain and not the bus


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a brain is made from; None means what the bundle or the engine says."""

    bundle: str
    threads: int | None = None
    provider: str = "cpu"
    window: WindowConfig = WindowConfig()
    history_tokens: int = 0
    draft_tokens: int | None = None
    longest_s: float = 10.0  # no step takes longer

    @classmethod
    def of(cls, config: RunConfig, bundle: str) -> Settings:
        """Those of a run."""
        return cls(
            bundle=bundle,
            threads=config.brain.threads,
            provider=config.brain.provider,
            window=config.window,
            history_tokens=config.brain.history_tokens,
            draft_tokens=config.brain.draft_tokens,
        )


class Brain(Protocol):
    """What the front needs of a brain, wherever it runs."""

    @property
    def restarts(self) -> int:
        """How many processes there were before this one."""

    def show(self, frame: Frame) -> bool:
        """Hand over a frame; False where it had to be dropped."""

    def ask(self, ask: Ask) -> None:
        """Hand over a question or the standing instruction."""

    def drop(self, ask_id: str) -> None:
        """Forget an ask."""

    def pin(self, order: Pin | Unpin) -> None:
        """Put an exemplar in front of every prompt, or take it away."""

    def limit(self, limit: Limit) -> None:
        """Spend no more than this."""

    def load(self, bundle: str | None) -> None:
        """Answer with another bundle, or its own; what was asked is lost, and Ready follows."""

    def events(self) -> list[Event]:
        """What happened since the last call; never waits."""

    @property
    def busy(self) -> bool:
        """Whether `events` should be called again at once: the work is done in there."""

    def descriptors(self) -> list[int]:
        """What becomes readable when there are events."""

    def close(self) -> None:
        """End it."""


class LocalBrain:
    """The same brain without a process, for tests and replay."""

    restarts = 0

    def __init__(self, loop: StepLoop, ready: Ready) -> None:
        self.loop = loop
        self._events: list[Event] = [ready]

    def show(self, frame: Frame) -> bool:
        """Hand over a frame; it is never dropped here."""
        self.loop.show(frame)
        return True

    def ask(self, ask: Ask) -> None:
        """Hand over an ask."""
        self.loop.ask(ask)

    def drop(self, ask_id: str) -> None:
        """Forget an ask."""
        self.loop.drop(ask_id)

    def pin(self, order: Pin | Unpin) -> None:
        """Pin or unpin an exemplar."""
        self.loop.pin(order)

    def limit(self, limit: Limit) -> None:
        """Spend no more than this."""
        self.loop.limit(limit)

    def load(self, bundle: str | None) -> None:
        """Nothing: it has the one loop that it was given."""

    def events(self) -> list[Event]:
        """Do one step; what came of it."""
        events, self._events = self._events, []
        return events + self.loop.step()

    @property
    def busy(self) -> bool:
        """Whether a step would do something."""
        return bool(self._events) or not self.loop.idle

    def descriptors(self) -> list[int]:
        """None: nothing happens behind one's back."""
        return []

    def close(self) -> None:
        """Nothing stays open."""


def build(settings: Settings, clock: Clock | None = None) -> tuple[StepLoop, Ready]:
    """Load the bundle, open its engines and make the loop.

    Raises BundleError for a bundle that is not what it says, MissingExtra without onnxruntime.
    """
    try:
        from otter_runtime.onnx_engine import open_engine
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "onnxruntime", "cpu") from error
    bundle = Bundle.load(Path(settings.bundle))
    manifest = bundle.manifest
    engine = open_engine(bundle, settings.threads, settings.provider)
    frames = settings.window.frames or manifest.window.frames
    _check_window(frames, manifest.dims.resampler.max_frames)
    loop = StepLoop(
        engine,
        manifest,
        bundle.tokenizer(),
        clock or RealClock(),
        frames,
        policy(settings.window),
        settings.history_tokens,
        draft_tokens(settings, manifest),
    )
    _ = loop.grammar  # now, not inside the first question about skills
    ready = Ready(
        model=manifest.name,
        model_hash=bundle.model_hash,
        frames=frames,
        rate_hz=manifest.window.rate_hz,
        engine=engine.describe(),
    )
    return loop, ready


def draft_tokens(settings: Settings, manifest: Manifest) -> int:
    """Tokens tried at once: none where two cost what two alone do, as int4's on a processor."""
    if settings.draft_tokens is not None:
        return settings.draft_tokens
    alone = settings.provider == "cpu" and manifest.graphs.decoder.precision == "int4"
    return 0 if alone else DRAFT_TOKENS


def _check_window(frames: int, limit: int | None) -> None:
    if limit is not None and frames > limit:
        raise UserError(
            f"a window of {frames} frames is more than the {limit} that this model tells apart; "
            "set window.frames lower"
        )


def serve(loop: StepLoop, channel: Channel, slots: Slots, pulse: Pulse) -> None:
    """Take orders and make steps until the other end closes."""
    loop.announce = pulse.begin
    while not channel.closed:
        turn(loop, channel, slots, pulse)


def turn(loop: StepLoop, channel: Channel, slots: Slots, pulse: Pulse) -> None:
    """Take what was ordered, make one step, tell what came of it."""
    for order in channel.receive(_patience(loop, pulse)):
        _take(loop, order, slots)
    for event in loop.step():
        channel.send(event)


def _patience(loop: StepLoop, pulse: Pulse) -> float:
    """Seconds to wait for an order: none while there is something to do."""
    if not loop.idle:
        return 0.0
    pulse.rest()
    return POLL_S if loop.waiting else BEAT_S


def _take(loop: StepLoop, order: Order, slots: Slots) -> None:
    if isinstance(order, Show):
        pixels = slots.view(order.slot, order.height, order.width)
        loop.show(Frame(order.stamp, pixels), order.slot)
    else:
        carry_out(loop, order)


def carry_out(loop: StepLoop, order: Handed) -> None:
    """Tell the loop what it was ordered."""
    if isinstance(order, Ask):
        loop.ask(order)
    elif isinstance(order, Drop):
        loop.drop(order.id)
    elif isinstance(order, Limit):
        loop.limit(order)
    else:
        loop.pin(order)


def main() -> int:
    """The child: `python -m otter_runtime.brain CHANNEL_FD SLOTS_FD SETTINGS_JSON`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the front ends us, after its last words
    _offer_to_the_oom_killer()
    channel = Channel(socket.socket(fileno=int(sys.argv[1])), Order)
    slots = Slots(int(sys.argv[2]))
    settings = msgspec.json.decode(sys.argv[3], type=Settings)
    try:
        loop, ready = build(settings)
    except OtterError as error:
        channel.send(Failed(str(error), isinstance(error, UserError)))
        return error.exit_code
    try:
        settle()
        channel.send(ready)
        pulse = Pulse(lambda s: channel.send(Alive(s)), loop.cost_ms, settings.longest_s)
        serve(loop, channel, slots, pulse)
    except (BrokenPipeError, ConnectionResetError):
        return 0  # the front is gone
    except MemoryError:
        channel.send(Failed("the brain ran out of memory", user=False))
        return 1
    return 0


def _offer_to_the_oom_killer() -> None:
    with contextlib.suppress(OSError):  # not Linux, or not allowed
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))


if __name__ == "__main__":
    sys.exit(main())
