"""Beam search as Hugging Face transformers 4.35 does it; the reference's demos use three beams.

A finished answer's score is its log-probability divided by its whole length, prompt and pads
included (length_penalty 1); the search ends when the best open beam could not beat the worst
finished one by that measure (early_stopping False). Open beams count as finished when
`max_new_tokens` is reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from otter_model.cross_attention import Media
from otter_model.generate import Controls, Reading, advance, read, unpadded
from otter_model.otter import Otter

# A prompt fills all beams with the same row; only the first may win the first step.
_NOT_YET = -1e9


@dataclass
class Finished:
    """The best answers that ended so far, at most `size`."""

    size: int
    answers: list[tuple[float, list[int]]] = field(default_factory=list)

    def add(self, history: list[int], log_probability: float) -> None:
        """Takes an answer, prompt included, stop token not."""
        score = log_probability / len(history)
        if len(self.answers) == self.size and score <= self.worst:
            return
        self.answers.append((score, history))
        if len(self.answers) > self.size:
            # Of equal scores the one that came first goes, as in the reference.
            self.answers.remove(min(self.answers, key=lambda answer: answer[0]))

    @property
    def worst(self) -> float:
        return min(score for score, _ in self.answers)

    @property
    def best(self) -> list[int]:
        # Of equal scores the one that came last wins: the reference sorts and pops.
        return sorted(self.answers, key=lambda answer: answer[0])[-1][1]

    def beats(self, log_probability: float, length: int) -> bool:
        """True if full and nothing open, of `length` tokens, could get in."""
        return len(self.answers) == self.size and self.worst >= log_probability / length


@dataclass
class Beams:
    """The open answers: ids with the prompt, and summed log-probabilities (beams,) float32."""

    histories: list[list[int]]
    scores: Tensor


def beam_search(
    otter: Otter,
    media: Media,
    ids: Sequence[int],
    controls: Controls,
    beams: int = 3,
    mask: Sequence[int] | None = None,
) -> list[int]:
    """The new ids of the best answer, `<|endofchunk|>` included if it ended by itself.

    ids with mask as in `greedy`; the n-gram rule and the scores' lengths count pads, as in the
    reference.
    """
    first = read(otter, media, unpadded(ids, mask))
    reading = first.rows(torch.zeros(beams, dtype=torch.int64, device=first.images.device))
    scores = torch.full((beams,), _NOT_YET)
    scores[0] = 0.0
    state, finished = Beams([list(ids)] * beams, scores), Finished(beams)
    limit = len(ids) + controls.max_new_tokens
    while True:
        candidates = _candidates(reading, state, controls)
        parents = _select(candidates, state, finished, otter.config.tokens.endofchunk)
        length = len(state.histories[0])
        # The reference compares with the length that includes the token just chosen.
        if finished.beats(float(candidates.scores[0]), length):
            break
        if length == limit:
            for history, score in zip(state.histories, state.scores.tolist(), strict=True):
                finished.add(history, score)
            break
        tokens = torch.tensor([history[-1] for history in state.histories])
        reading = advance(otter, reading.rows(parents), tokens, controls.mode)
    best = finished.best
    return best[len(ids) :] + ([otter.config.tokens.endofchunk] if len(best) < limit else [])


@dataclass(frozen=True)
class Candidates:
    """The 2·beams best continuations, best first."""

    scores: Tensor
    parents: list[int]
    tokens: list[int]


def _candidates(reading: Reading, state: Beams, controls: Controls) -> Candidates:
    beams = len(state.histories)
    scores = reading.logits.float().log_softmax(dim=-1)
    for row, history in zip(scores, state.histories, strict=True):
        row[controls.banned(history)] = -torch.inf
    scores = scores + state.scores.to(scores.device).unsqueeze(1)
    vocab = scores.shape[1]
    top, flat = scores.flatten().topk(2 * beams)
    return Candidates(top.cpu(), (flat // vocab).tolist(), (flat % vocab).tolist())


def _select(candidates: Candidates, state: Beams, finished: Finished, stop: int) -> Tensor:
    """Moves ended candidates to `finished`, the best others into `state`; returns their parents."""
    beams = len(state.histories)
    kept: list[int] = []
    for rank, (parent, token) in enumerate(zip(candidates.parents, candidates.tokens, strict=True)):
        if token != stop:
            kept.append(rank)
        elif rank < beams:  # an end that is not among the best may come again later
            finished.add(state.histories[parent], float(candidates.scores[rank]))
        if len(kept) == beams:
            break
    parents = [candidates.parents[rank] for rank in kept]
    state.histories = [
        [*state.histories[candidates.parents[rank]], candidates.tokens[rank]] for rank in kept
    ]
    state.scores = candidates.scores[kept]
    return torch.tensor(parents)
