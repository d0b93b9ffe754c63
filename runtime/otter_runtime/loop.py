"""The step loop: the one place that runs the engines, a small step at a time.

A step is: encode a frame, resample the window, prefill up to 64 tokens (of a prompt, or of a
sentence that a robot's skills allow), or decode one token. Which
one is decided anew before each, so a question overtakes the standing instruction at the next step
and a frame never waits behind a whole answer. It knows engines, window and prompts; it does not
know processes, cameras or the bus, and learns the time from the clock it is given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import msgspec

from otter_runtime.bundle import Manifest
from otter_runtime.clock import Clock
from otter_runtime.composer import Composer
from otter_runtime.cost import StepCost, putting
from otter_runtime.decoding import Decoder
from otter_runtime.deliberation import Deliberation
from otter_runtime.draft import Drafts
from otter_runtime.engine import Engine, Floats
from otter_runtime.errors import EngineError, PromptError
from otter_runtime.exemplars import Exemplars
from otter_runtime.frame import Frame
from otter_runtime.grammar import Grammar
from otter_runtime.history import History
from otter_runtime.job import Job, Work
from otter_runtime.policy import Policy
from otter_runtime.prefix import Shelf
from otter_runtime.preprocess import Preprocessor
from otter_runtime.prompt import Prompt
from otter_runtime.schedule import Schedule
from otter_runtime.sketch import packed, sketched
from otter_runtime.voice import Speech, Voice
from otter_runtime.window import Look, Medium, Window, content_hash
from otter_runtime.wire import Ask, Declined, Event, Limit, Piece, Pin, Pinned, Said, Shown, Unpin

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CHUNK = 64  # tokens per step: what a question may have to wait for
MAX_ASKS = 64


@dataclass
class Counters:
    """What the loop did since it started; all but `declined` and `dropped` are units of work."""

    encoded: int = 0
    resampled: int = 0
    prefilled: int = 0
    reused: int = 0
    decoded: int = 0
    answered: int = 0
    declined: int = 0
    dropped: int = 0
    preempted: int = 0


def _unannounced(step: str, units: int) -> None:
    """Nobody wants to know."""


class StepLoop:
    """Frames and asks go in, events come out of `step`. One caller at a time.

    `announce` is called with each step's name and units before the engine runs it.
    """

    def __init__(
        self,
        engine: Engine,
        manifest: Manifest,
        tokenizer: Tokenizer,
        clock: Clock,
        window_frames: int | None = None,
        policy: Policy | None = None,
        history_tokens: int = 0,
        draft_tokens: int = 0,
    ) -> None:
        told_apart = manifest.window.frames if manifest.dims.resampler.max_frames else 1
        new_window = partial(Window, window_frames or manifest.window.frames, told_apart)
        self.window = new_window(policy)
        self.counters = Counters()
        self.announce: Callable[[str, int], None] = _unannounced
        self.cost_ms: dict[str, float] = manifest.step_cost
        self._frames, self._decoding = self.window.size, manifest.decoding
        self._engine, self._manifest, self._tokenizer = engine, manifest, tokenizer
        self._clock = clock
        self._preprocess = Preprocessor(manifest.preprocess)
        self._shelf = Shelf(engine.new_cache)
        self._drafts = Drafts(min(draft_tokens, engine.rows - 1))
        self._composer = Composer(manifest, tokenizer, History(history_tokens))
        check_room = self._composer.check_room
        self._exemplars = Exemplars(engine, self._preprocess, new_window, check_room)
        self._schedule = Schedule(StepCost(manifest.step_cost), CHUNK)
        self._running: Job | None = None
        self._waiting: deque[tuple[Frame, int]] = deque()
        self._events: list[Event] = []

    def show(self, frame: Frame, slot: int = 0) -> None:
        """A new frame. One that still waits is replaced: the newest counts."""
        while self._waiting:
            old, old_slot = self._waiting.popleft()
            self.counters.dropped += 1
            self._events.append(Shown(old.stamp, old_slot, False, len(self.window)))
        self._waiting.append((frame, slot))

    def ask(self, ask: Ask) -> None:
        """A question or the standing instruction; more than MAX_ASKS at once are declined."""
        if len(self._schedule.jobs) >= MAX_ASKS:
            self._events.append(
                Declined(ask.id, "busy", f"{MAX_ASKS} questions are waiting already; ask later")
            )
            return
        self._schedule.add(Job(ask, self._clock.now_ns()))

    def drop(self, ask_id: str) -> None:
        """Forget an ask; nothing happens where it is answered already."""
        for job in [job for job in self._schedule.jobs if job.ask.id == ask_id]:
            self._decline(job, "cancelled", "it was cancelled")

    def pin(self, order: Pin | Unpin) -> None:
        """Put an exemplar in front of every prompt, or take it away; `Pinned` follows a Pin."""
        if isinstance(order, Pin):
            self._exemplars.pin(order)
        else:
            forgotten = self._exemplars.unpin(order.id)
            self._events += [Pinned(pin_id, "it was forgotten") for pin_id in forgotten]

    def limit(self, limit: Limit) -> None:
        """Another window and length of answers, for what is asked from now on; never more."""
        own = self._manifest.decoding
        most = min(limit.max_new_tokens or own.max_new_tokens, own.max_new_tokens)
        self._decoding = msgspec.structs.replace(own, max_new_tokens=most)
        self.window.resize(min(limit.frames or self._frames, self._frames))

    @property
    def idle(self) -> bool:
        """Whether `step` would do nothing until something new comes."""
        if self._waiting or self._events or self._exemplars.waiting or self._startable():
            return False
        return self._late(self._clock.now_ns(), None, encodes=False) is None

    @property
    def waiting(self) -> bool:
        """Whether an ask is under way or waits for frames: its deadline may pass meanwhile."""
        return bool(self._schedule.jobs)

    def step(self) -> list[Event]:
        """Do the one step that matters most now; what there is to tell since the last call."""
        now_ns = self._clock.now_ns()
        job = self._startable()
        pins = self._exemplars.waiting and (job is None or job.ask.standing)
        passes = bool(self._waiting) and not (job and self._schedule.goes_ahead(job, now_ns))
        running = None if pins or passes else job
        if running is not None and not self._prepared(running):
            return self._told()
        late = self._late(now_ns, running, pins or passes)
        if late is not None:
            self._end_late(late)
        elif pins:
            self._pin()
        elif passes:
            self._encode(*self._waiting.popleft())
        elif job is not None:
            self._advance(job)
        return self._told()

    def _told(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _startable(self) -> Job | None:
        ready = (job for job in self._schedule.jobs if job.started or self._has_frames(job.ask))
        return next(ready, None)

    def _late(self, now_ns: int, running: Job | None, encodes: bool) -> Job | None:
        if not self._schedule.hurried:
            return None
        wait_ns = self._next_ns(running, encodes)
        return self._schedule.late(now_ns, running, wait_ns, self._unmade)

    def _next_ns(self, running: Job | None, encodes: bool) -> int:
        if running is not None:
            return self._schedule.next_ns(running, self._unmade)
        return self._schedule.cost.ns("encode", 1) if encodes else 0

    @property
    def _unmade(self) -> int:
        """Frames whose medium is still to be made."""
        return 0 if self.window.medium else len(self.window)

    def _has_frames(self, ask: Ask) -> bool:
        newest = self.window.newest
        return newest is not None and len(self.window) >= ask.frames and newest.id >= ask.frame_id

    def _encode(self, frame: Frame, slot: int) -> None:
        self.announce("encode", 1)
        begun_ns = self._clock.now_ns()
        square = self._preprocess.square(frame.pixels)
        # While the picture is in the processor's cache: an engine leaves nothing of it there.
        seen, digest = sketched(frame.pixels), content_hash(square.data)
        features = self._engine.encode(self._preprocess.normalised(square)[None])[0]
        self.window.add(Look(frame.stamp, digest, features, seen))
        self._schedule.shown()
        self.counters.encoded += 1
        took_ms = round(self._spent("encode", 1, begun_ns) / 1e6, 3)
        shown = Shown(frame.stamp, slot, True, len(self.window), packed(seen), took_ms)
        self._events.append(shown)

    def _advance(self, job: Job) -> None:
        self._note_preemption(job)
        begun_ns = self._clock.now_ns()
        try:
            stage, units = self._do(job)
        except PromptError as error:
            self._decline(job, "prompt", str(error))
            return
        except EngineError as error:
            # Of this ask alone: what the engine cannot do for one prompt, it may for the next.
            self._decline(job, "engine", str(error))
            return
        job.took(stage, self._spent(stage, units, begun_ns))
        if job.opened and "first_token_ms" not in job.timing:
            job.took("first_token", self._clock.now_ns() - job.arrived_ns)
            if self._waiting:
                self._schedule.opened(job)
        if job.finished:
            self._finish(job, partial=False)

    def _spent(self, stage: str, units: int, begun_ns: int) -> int:
        """A step was done: tell the clock and the cost model; nanoseconds it took."""
        self._clock.spend(stage, units)
        took_ns = self._clock.now_ns() - begun_ns
        self._schedule.cost.took(stage, units, took_ns)
        return took_ns

    def _do(self, job: Job) -> tuple[str, int]:
        """The next step of `job`: its name and units."""
        if job.medium is None:
            self.announce("resample", len(self.window))
            job.medium = self.window.resample(self._engine.resample)
            self.counters.resampled += 1
            return "resample", len(job.medium.stamps)
        assert job.work is not None
        if job.work.left:
            return "prefill", self._prefill(job, job.work)
        return self._decode(job, job.work)

    def _prepared(self, job: Job) -> bool:
        """Write its prompt where its picture is there, so that its cost is known; False if none."""
        job.medium = job.medium or self.window.medium
        if job.medium is not None and job.work is None:
            try:
                self._open(job, job.medium)
            except PromptError as error:
                self._decline(job, "prompt", str(error))
                return False
        return True

    def _open(self, job: Job, medium: Medium) -> None:
        media = [*self._exemplars.media, medium]
        prompt = self._composer.prompt(job.ask, self._exemplars.turns)
        prompt.require(len(media))
        job.work = Work(prompt, media, self._shelf, self._voice(job.ask, prompt))
        self.counters.reused += len(job.work.held.tokens)

    def _pin(self) -> None:
        self.announce("pin", 1)
        stage, units, pinned = self._exemplars.step()
        self._clock.spend(stage, units)  # decoding a file counts: no measure of a frame
        self._events += [pinned] if pinned else []

    def _voice(self, ask: Ask, prompt: Prompt) -> Voice:
        if ask.skills is None:
            decoder = Decoder(self._decoding, self._manifest.tokens, prompt.ids)
            return Speech(decoder, self._tokenizer, self._drafts)
        temperature = self._manifest.skills.temperature
        most = min(CHUNK, self._engine.rows)
        return Deliberation(ask.skills, self.grammar, temperature, most)

    @cached_property
    def grammar(self) -> Grammar:
        """What skills are compiled by; half a second's work for a large vocabulary."""
        return Grammar(self._tokenizer, self._manifest)

    def _prefill(self, job: Job, work: Work) -> int:
        chunk = work.left[:CHUNK]
        begin = len(work.held.tokens)
        seen = work.prompt.media_index[begin : begin + len(chunk)]
        ids = [token for token, _ in chunk]
        self.announce("prefill", len(chunk))
        logits = self._engine.prefill(work.held.cache, ids, seen, work.media)
        work.held.tokens.extend(chunk)
        self.counters.prefilled += len(chunk)
        if not work.left:
            self._hear(job, work, logits[None])
        return len(chunk)

    def _decode(self, job: Job, work: Work) -> tuple[str, int]:
        kept, ids = work.voice.next()
        work.held.keep(len(work.tokens) + kept)
        stage = putting(len(ids))
        self.announce(*stage)
        rows = self._put(work, ids)
        self.counters.decoded += len(ids)
        self._hear(job, work, rows)
        return stage

    def _put(self, work: Work, ids: list[int]) -> Floats:
        """Put tokens behind the others; the logits after each of them."""
        cache, seen, media = work.held.cache, work.prompt.media_index[-1], work.media
        if len(ids) == 1:
            rows = self._engine.step(cache, ids[0], seen, media)[None]
        else:
            rows = self._engine.logits(cache, ids, [seen] * len(ids), media)
        work.held.tokens.extend((token, work.digest(seen)) for token in ids)
        return rows

    def _hear(self, job: Job, work: Work, rows: Floats) -> None:
        work.voice.hear(rows)
        text = work.voice.text
        # Half a character is not text yet.
        if len(text) > len(work.told) and not text.endswith("\ufffd"):
            self._events.append(Piece(job.ask.id, work.pieces, text[len(work.told) :]))
            work.told, work.pieces = text, work.pieces + 1

    def _end_late(self, job: Job) -> None:
        if job.ask.skills is not None:
            # Half of the skills weighed is no choice.
            self._decline(job, "deadline", "its deadline comes before every skill is weighed")
        elif job.opened:
            self._finish(job, partial=True)
        else:
            self._decline(job, "deadline", "its deadline comes before there is a first word")

    def _finish(self, job: Job, partial: bool) -> None:
        assert job.work is not None
        work = job.work
        job.took("total", self._clock.now_ns() - job.arrived_ns)
        self._forget(job)
        self.counters.answered += 1
        if not partial:
            self._composer.answered(job.ask, work.voice.text.strip())
        self._events.append(
            Said(
                id=job.ask.id,
                text=work.voice.text.rstrip(),
                confidence=work.voice.confidence,
                choices=work.voice.choices,
                stamps=work.medium.stamps,
                timing=job.timing,
                partial=partial,
            )
        )

    def _decline(self, job: Job, reason: str, detail: str) -> None:
        self._forget(job)
        self.counters.declined += 1
        self._events.append(Declined(job.ask.id, reason, detail))

    def _forget(self, job: Job) -> None:
        self._schedule.remove(job)
        if job.work is not None:
            self._shelf.give_back(job.work.held)
        if self._running is job:
            self._running = None

    def _note_preemption(self, job: Job) -> None:
        if self._running not in (None, job):
            self.counters.preempted += 1
        self._running = job
