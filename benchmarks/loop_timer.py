"""What the step loop takes beside the engine: per decode step, per frame; and a question's way.

The brain's own turn (`otter_runtime.brain.turn`) runs here over a real socket pair, so that all of
it counts: messages, signs of life, choosing a token, making text of it. Engine calls and
preprocessing are timed and taken off. Spans are of wall time and, where their name ends in `cpu`,
of this thread's processor time: on a busy machine only that says what the loop costs.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from operator import add
from statistics import median
from typing import Any

import msgspec
import numpy as np
from asker import Asker
from numpy.typing import NDArray

from otter_runtime.brain import turn
from otter_runtime.bundle import Bundle, Decoding
from otter_runtime.clock import RealClock
from otter_runtime.engine import Engine
from otter_runtime.frame import Stamp
from otter_runtime.garbage import settle
from otter_runtime.loop import StepLoop
from otter_runtime.pulse import Pulse
from otter_runtime.slots import Slots
from otter_runtime.wire import Alive, Ask, Channel, Event, Order, Said, Show

QUESTION = "Go to the red box. What should I do next?"
PLAN = "Tell me everything that you can see."
ANSWER_TOKENS = 48
LONGEST_S = 10.0
STEPS = {"resample", "prefill"}
Span = tuple[float, float]  # seconds of the wall, of this thread's processor time


class Timed:
    """Passes every call on to `thing` and notes in `spent` how long those of each name took."""

    def __init__(self, thing: Any, spent: dict[str, Span]) -> None:
        self._thing, self._spent = thing, spent

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._thing, name)
        if callable(value):
            # Kept, so that of the timing little counts as the loop's own.
            value = self.__dict__[name] = self._timed(name, value)
        return value

    def _timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            began = now()
            result = call(*arguments)
            ended = now()
            wall, cpu = self._spent.get(name, (0.0, 0.0))
            self._spent[name] = wall + ended[0] - began[0], cpu + ended[1] - began[1]
            return result

        return timed


class LoopTimer:
    """A brain in this process, asked and shown things by `front`."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        # Random weights may stop at once, or never: an answer here always has its full length.
        manifest = bundle.manifest
        decoding = Decoding(
            max_new_tokens=ANSWER_TOKENS,
            no_repeat_ngram=3,
            bad_words=manifest.decoding.bad_words,
            stop_ids=[manifest.dims.decoder.vocab],
        )
        self._spent: dict[str, Span] = {}
        self.loop = StepLoop(
            Timed(engine, self._spent),
            msgspec.structs.replace(manifest, decoding=decoding),
            bundle.tokenizer(),
            RealClock(),
            window_frames=1,
        )
        loop: Any = self.loop
        loop._preprocess = Timed(loop._preprocess, self._spent)
        self._end, theirs = socket.socketpair()
        self.front, self._channel = Channel(self._end, Event), Channel(theirs, Order)
        self._slots = Slots()
        say = self._channel.send
        self._pulse = Pulse(lambda s: say(Alive(s)), self.loop.cost_ms, LONGEST_S)
        self.loop.announce = self._pulse.begin
        self._shown = 0
        self._dice = random.Random(0)
        settle()

    def decode_steps(self, frame: NDArray[np.uint8], budget_s: float) -> dict[str, list[float]]:
        """Seconds of each decode step of some answers: the engine's, and the loop's own."""
        self._show(frame)
        engine: list[float] = []
        own: list[Span] = []
        for number in _within(budget_s):
            self.front.send(Ask(id=str(number), text=QUESTION))
            self._turn()
            while not self.loop.idle:
                decoded = self.loop.counters.decoded
                span = self._turn()
                self.front.receive()
                if self.loop.counters.decoded > decoded:
                    own.append(span)
                    engine.append(self._spent["step"][0])
        wall, cpu = zip(*own, strict=True)
        named = {"loop_decode_own": list(wall), "loop_decode_own_cpu": list(cpu)}
        return {"loop_decode_engine": engine, **named}

    def frames(self, frame: NDArray[np.uint8], budget_s: float) -> dict[str, list[float]]:
        """Seconds that each of some frames takes beside preprocessing and the engine."""
        spans = [self._show(np.roll(frame, number, 0)) for number in _within(budget_s)]
        wall, cpu = zip(*spans, strict=True)
        return {"loop_frame_own": list(wall), "loop_frame_own_cpu": list(cpu)}

    def questions(self, frame: NDArray[np.uint8], budget_s: float) -> dict[str, list[float]]:
        """Questions about a new frame that come at any moment of a long answer's decoding.

        Seconds from each being sent to its first token being told, and what it may take: the rest
        of the step in flight, the engine's resampling and prefill, and one decode step of the loop,
        in which all that is the loop's own has to fit. `question_alone` is what such a question
        takes where nothing else is done. No two questions are the same.
        """
        spans: list[tuple[float, float, float]] = []
        alone: list[float] = []
        steps = self.decode_steps(frame, 0.0)
        step_s = median(map(add, steps["loop_decode_engine"], steps["loop_decode_own"]))
        end = time.monotonic() + budget_s
        numbers = count(1)
        with closing(Asker(self._end)) as asker:
            while len(spans) < 5 or time.monotonic() < end:
                number = next(numbers)
                self.front.send(Ask(id="plan", text=PLAN, standing=True))
                self._turns(4)
                self._show(np.roll(frame, number, 0))
                self._turns(3)
                question = Ask(id="question", text=f"{number}. {QUESTION}")
                asker.ask(question, self._dice.uniform(0, 2 * step_s))
                spans += self._way(asker)
                while not self.loop.idle:
                    self._turns(1)
                self._show(np.roll(frame, -number, 0))
                asker.ask(Ask(id="question", text=f"{number} times. {QUESTION}"), 0.0)
                alone += [took for took, _, _ in self._way(asker)]
        took, rest, engine = zip(*spans, strict=True)
        return {
            "question_in_answer": list(took),
            "question_may_take": [step_s + sum(parts) for parts in zip(rest, engine, strict=True)],
            "question_alone": alone,
            "step_in_flight": list(rest),
        }

    def close(self) -> None:
        """Close both ends, and let the frames' memory go."""
        self.front.close()
        self._channel.close()
        self._slots.close()

    def _way(self, asker: Asker) -> list[tuple[float, float, float]]:
        """The question's way to its first token; the rest of the step in flight; engine calls.

        Nothing where the answer ended before the question came, as on a machine that is too busy.
        """
        turns = []
        said: list[str] = []
        while "question" not in said:
            answered = self.loop.counters.answered
            while self.loop.counters.answered == answered:
                self._spent.clear()
                turn(self.loop, self._channel, self._slots, self._pulse)
                turns.append((time.monotonic(), dict(self._spent)))
            said += [one.id for one in self.front.receive() if isinstance(one, Said)]
        asked_s = asker.asked_s()
        if said[0] != "question":
            return []
        # What it begins with is the new frame's medium, what it opens with the prompt's last chunk.
        begun = next(at for at, (_, spent) in enumerate(turns) if "resample" in spent)
        opened = max(at for at, (_, spent) in enumerate(turns) if "prefill" in spent)
        engine_s = sum(
            spent[name][0]
            for _, spent in turns[begun : opened + 1]
            for name in STEPS & spent.keys()
        )
        rest_s = max(turns[begun - 1][0] - asked_s, 0.0) if begun else 0.0
        return [(turns[opened][0] - asked_s, rest_s, engine_s)]

    def _show(self, frame: NDArray[np.uint8]) -> Span:
        """Show a frame; what it took but for preprocessing and the engine."""
        self._shown += 1
        slot = self._slots.put(frame)
        assert slot is not None
        height, width, _ = frame.shape
        self.front.send(Show(_stamp(self._shown), slot, height, width))
        encoded = self.loop.counters.encoded
        while self.loop.counters.encoded == encoded:
            span = self._turn()
        self._slots.release(slot)
        self.front.receive()
        return span

    def _turn(self) -> Span:
        """One turn of the brain; what of it was the loop's own."""
        self._spent.clear()
        began = now()
        turn(self.loop, self._channel, self._slots, self._pulse)
        ended = now()
        wall, cpu = (sum(spent[which] for spent in self._spent.values()) for which in (0, 1))
        return ended[0] - began[0] - wall, ended[1] - began[1] - cpu

    def _turns(self, many: int) -> None:
        for _ in range(many):
            self._turn()
            self.front.receive()


def now() -> Span:
    """The wall's and this thread's clock, in seconds."""
    return time.perf_counter(), time.thread_time()


def _within(budget_s: float) -> Iterator[int]:
    """Numbers from 1, at least five, until the budget is spent."""
    end = time.perf_counter() + budget_s
    for number in count(1):
        yield number
        if number >= 5 and time.perf_counter() > end:
            return


def _stamp(number: int) -> Stamp:
    return Stamp(
        id=number, scene=0, source="noise", index=number, stream_ns=0, mono_ns=0, wall_ns=0
    )
