"""Ask a bundle the cases through the device's own engine, prompts and decoding, and count what is
right.

The controls ask the same questions of a crippled view: the newest frame alone, blank frames,
the frames of another episode. A model that looks must fall there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import numpy as np

from otter_robots.skill import Offer
from otter_runtime.bundle import Bundle
from otter_runtime.decoding import Decoder
from otter_runtime.deliberation import Deliberation
from otter_runtime.engine import Floats, Media
from otter_runtime.grammar import Grammar
from otter_runtime.labels import action
from otter_runtime.onnx_engine import open_engine
from otter_runtime.preprocess import Preprocessor
from otter_runtime.prompt import render
from otter_tuning.pocket.cases import Case
from otter_tuning.pocket.data import Episodes

KEPT = 256  # episodes' features and windows' media; cases come sorted, so few are enough
Progress = Callable[[int, int], None]


class Answerer:
    """A bundle that answers questions about `episodes`; each frame is encoded once."""

    def __init__(self, bundle: Bundle, episodes: Episodes, threads: int | None = None) -> None:
        self._engine = open_engine(bundle, threads=threads)
        self._manifest, self._tokenizer = bundle.manifest, bundle.tokenizer()
        self._preprocess = Preprocessor(bundle.manifest.preprocess)
        self._episodes = episodes
        self._features: dict[int, Floats] = {}
        self._media: dict[tuple[int, tuple[int, ...]], Media] = {}

    def answer(self, question: str, episode: int, frames: Sequence[int]) -> str:
        """What it says when it sees `frames` of `episode`, oldest first; -1 is a blank frame."""
        media = self._look(episode, tuple(frames))
        prompt = render(self._manifest, self._tokenizer, question)
        cache = self._engine.new_cache()
        decoder = Decoder(self._manifest.decoding, self._manifest.tokens, prompt.ids)
        token = decoder.next(self._engine.prefill(cache, prompt.ids, prompt.media_index, [media]))
        while token is not None:
            token = decoder.next(self._engine.step(cache, token, 1, [media]))
        return str(self._tokenizer.decode(decoder.ids)).strip()

    def logits(self, question: str, answer: str, episode: int, frames: Sequence[int]) -> Floats:
        """Next-token logits (tokens, vocab) along `answer`, each after what comes before it."""
        media = self._look(episode, tuple(frames))
        prompt = render(self._manifest, self._tokenizer, question)
        cache = self._engine.new_cache()
        first = self._engine.prefill(cache, prompt.ids, prompt.media_index, [media]).copy()
        said = self._tokenizer.encode(answer, add_special_tokens=False).ids
        rest = [self._engine.step(cache, token, 1, [media]).copy() for token in said]
        return np.stack([first, *rest])

    def deliberate(
        self, question: str, episode: int, frames: Sequence[int], offer: Offer
    ) -> Deliberation:
        """What it chooses among skills when it sees these frames."""
        media = self._look(episode, tuple(frames))
        prompt = render(self._manifest, self._tokenizer, question)
        engine, cache = self._engine, self._engine.new_cache()
        voice = Deliberation(offer, self._grammar, self._manifest.skills.temperature, engine.rows)
        voice.hear(engine.prefill(cache, prompt.ids, prompt.media_index, [media])[None])
        while not voice.done:
            kept, ids = voice.next()
            cache.truncate(len(prompt.ids) + kept)
            voice.hear(engine.logits(cache, ids, [1] * len(ids), [media]))
        return voice

    @cached_property
    def _grammar(self) -> Grammar:
        return Grammar(self._tokenizer, self._manifest)

    def _look(self, episode: int, frames: tuple[int, ...]) -> Media:
        key = (episode, frames)
        if key not in self._media:
            if len(self._media) >= KEPT:
                self._media.clear()
            features = self._encoded(episode)
            self._media[key] = self._engine.resample(
                np.stack([features[frame] for frame in frames])
            )
        return self._media[key]

    def _encoded(self, episode: int) -> Floats:
        if episode not in self._features:
            if len(self._features) >= KEPT:
                self._features.clear()
            frames = self._episodes.frames[episode]
            blank = np.zeros_like(frames[:1])  # index -1 is a blank frame
            pixels = [self._preprocess(frame) for frame in np.concatenate([frames, blank])]
            self._features[episode] = self._engine.encode(np.stack(pixels)).copy()
        return self._features[episode]


def accuracy(
    answerer: Answerer,
    cases: Iterable[Case],
    view: Callable[[Case], tuple[int, Sequence[int]]] | None = None,
    progress: Progress | None = None,
) -> dict[str, list[bool]]:
    """Right or wrong by label; `view` says which episode and frames are shown instead."""
    results: dict[str, list[bool]] = {}
    ordered = sorted(cases, key=lambda case: (case.episode, case.frames))
    for done, case in enumerate(ordered):
        episode, frames = (case.episode, case.frames) if view is None else view(case)
        said = answerer.answer(case.question, episode, frames)
        results.setdefault(case.label, []).append(case.right(said))
        if progress is not None:
            progress(done + 1, len(ordered))
    return results


def last_frame(case: Case) -> tuple[int, Sequence[int]]:
    """Only the newest frame: a window that has just begun."""
    return case.episode, (case.frames[-1],) * len(case.frames)


def blank(case: Case) -> tuple[int, Sequence[int]]:
    """Black frames."""
    return case.episode, (-1,) * len(case.frames)


def another(count: int) -> Callable[[Case], tuple[int, Sequence[int]]]:
    """The same frames of the next of `count` episodes."""
    return lambda case: ((case.episode + 1) % count, case.frames)


def majority(cases: Sequence[Case]) -> float:
    """The share that the commonest right action has among planning cases."""
    actions = Counter(action(case.answer) for case in cases)
    return max(actions.values(), default=0) / max(len(cases), 1)


def mean(results: dict[str, list[bool]], labels: Iterable[str] | None = None) -> float:
    """The share of right answers over `labels` (all), each answer counted once."""
    chosen = [right for label in (labels or results) for right in results.get(label, [])]
    return sum(chosen) / len(chosen) if chosen else float("nan")
