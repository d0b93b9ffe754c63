"""Makes a bundle's golden.npz: fp32 outputs per graph, and eight greedy answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from otter_export.reference import Truth
from otter_export.sample import Sample
from otter_runtime.engine import Engine, Media
from otter_runtime.golden import Golden, greedy

ANSWERS = 8
ANSWER_TOKENS = 16
# Pictures and media K/V are most of the file; two of each tell as much as eight.
MEDIA = 2


def golden_prompts(samples: Sequence[Sample], answer: int | None, image: int) -> list[Sample]:
    """Eight prompts from `samples`, asked of the first two media in turn."""
    chosen = [samples[i % len(samples)].prompt(answer) for i in range(ANSWERS)]
    media = [sample.pixels for sample in chosen[:MEDIA]]
    return [
        Sample(media[i % len(media)], sample.ids, sample.media_index)
        for i, sample in enumerate(chosen)
    ]


def golden_set(prompts: Sequence[Sample], truths: Sequence[Truth], reference: str) -> Golden:
    """Golden inputs and fp32 outputs; answers are still to be given (`answered`)."""
    media = min(MEDIA, len(prompts))
    return Golden(
        pixels=np.stack([prompt.pixels for prompt in prompts[:media]]),
        features=np.stack([truth.features for truth in truths[:media]]),
        media_k=np.stack([truth.media_k for truth in truths[:media]]),
        media_v=np.stack([truth.media_v for truth in truths[:media]]),
        prompts=[prompt.ids for prompt in prompts],
        media_index=[prompt.media_index for prompt in prompts],
        medium=[i % media for i in range(len(prompts))],
        logits=np.stack([truth.logits for truth in truths]),
        answers=[],
        reference=reference,
    )


def golden_samples(golden: Golden) -> list[Sample]:
    """The golden prompts with their answers: real inputs that every bundle has with it."""
    return [
        Sample(
            golden.pixels[golden.medium[row]],
            [*prompt, *answer],
            [*index, *[index[-1]] * len(answer)],
        )
        for row, (prompt, index, answer) in enumerate(
            zip(golden.prompts, golden.media_index, golden.answers, strict=True)
        )
    ]


def answered(golden: Golden, engine: Engine) -> list[list[int]]:
    """Greedy answers of `engine` to the golden prompts."""
    media = [engine.resample(engine.encode(pixels)) for pixels in golden.pixels]
    return [_answer(engine, golden, row, media) for row in range(len(golden.prompts))]


def _answer(engine: Engine, golden: Golden, row: int, media: list[Media]) -> list[int]:
    ids, index = golden.prompts[row], golden.media_index[row]
    return greedy(engine, ids, index, media[golden.medium[row]], ANSWER_TOKENS)
