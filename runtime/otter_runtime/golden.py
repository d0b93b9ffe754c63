"""The answers a bundle must give: holds any engine to the fp32 outputs in its golden.npz.

A device checks whatever it built, or loaded, before it trusts it. Figures are per graph, each fed
with the fp32 output of the one before, so that they say where an error enters; and whole, as
greedy answers.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from otter_runtime.bundle import GOLDEN, Bundle, Decoding, Tokens
from otter_runtime.engine import Engine, Floats, Media
from otter_runtime.errors import BundleError

PADDING = -1
# Another processor, or another library, may round otherwise; more than this is another model.
SLACK_COSINE = 0.01
SLACK_ANSWERS = 2


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """How near an engine is to fp32: cosines and largest errors per graph, answers equal."""

    features_cosine: float
    features_max_error: float
    media_cosine: float
    media_max_error: float
    logits_cosine: float
    logits_max_error: float
    next_token_kl: float
    answers_equal: int
    answers: int


@dataclass(frozen=True)
class Golden:
    """Inputs, fp32 outputs and greedy answers; `reference` says whose the answers are."""

    pixels: Floats  # (media, F, 3, H, W)
    features: Floats  # (media, F, patches, dim)
    media_k: Floats  # (media, gated layers, heads, latents, head_dim)
    media_v: Floats
    prompts: list[list[int]]
    media_index: list[list[int]]
    medium: list[int]  # per prompt
    logits: Floats  # (prompts, vocab), of each prompt's last token
    answers: list[list[int]]
    reference: str = "fp32"


def load_golden(bundle: Bundle) -> Golden:
    """The bundle's golden answers; BundleError where they cannot be read."""
    path = bundle.path / GOLDEN
    try:
        with np.load(path, allow_pickle=False) as file:
            return _unpacked(dict(file))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path} cannot be read ({error}); export the bundle again") from error


def pack(golden: Golden) -> dict[str, NDArray[Any]]:
    """The arrays of golden.npz; ragged rows are padded with -1."""
    return {
        "pixels": golden.pixels,
        "features": golden.features,
        "media_k": golden.media_k,
        "media_v": golden.media_v,
        "prompts": _padded(golden.prompts),
        "media_index": _padded(golden.media_index),
        "medium": np.array(golden.medium, np.int64),
        "logits": golden.logits,
        "answers": _padded(golden.answers),
        "reference": np.array(golden.reference),
    }


def check(engine: Engine, golden: Golden, decoding: Decoding, tokens: Tokens) -> Figures:
    """Run `engine` on the golden inputs and say how near it comes."""
    features = np.stack([engine.encode(pixels) for pixels in golden.pixels])
    media = [engine.resample(f) for f in golden.features]
    k = np.stack([medium.k for medium in media])
    given = [Media(k, v) for k, v in zip(golden.media_k, golden.media_v, strict=True)]
    logits = np.stack([_last(engine, golden, row, given) for row in range(len(golden.prompts))])
    seen = [engine.resample(f) for f in features]
    answers = [
        greedy(engine, golden.prompts[i], golden.media_index[i], seen[golden.medium[i]], length)
        for i, length in enumerate(map(len, golden.answers))
    ]
    return Figures(
        features_cosine=cosine(features, golden.features),
        features_max_error=float(np.abs(features - golden.features).max()),
        media_cosine=cosine(k, golden.media_k),
        media_max_error=float(np.abs(k - golden.media_k).max()),
        logits_cosine=cosine(logits, golden.logits),
        logits_max_error=float(np.abs(logits - golden.logits).max()),
        next_token_kl=kl(golden.logits, logits),
        answers_equal=sum(a == b for a, b in zip(answers, golden.answers, strict=True)),
        answers=len(answers),
    )


def require(figures: Figures, stated: Mapping[str, Any]) -> None:
    """Raise BundleError where `figures` are worse than the manifest states, beyond rounding."""
    for name in ("features_cosine", "media_cosine", "logits_cosine"):
        got, wanted = getattr(figures, name), stated.get(name, 1.0) - SLACK_COSINE
        if not got >= wanted:  # a NaN fails too
            raise BundleError(
                f"{name} is {got:.4f} on this engine, the bundle states {wanted + SLACK_COSINE:.4f}"
                "; build the engine again or use another provider"
            )
    least = stated.get("answers_equal", figures.answers) - SLACK_ANSWERS
    if figures.answers_equal < least:
        raise BundleError(
            f"{figures.answers_equal} of {figures.answers} golden answers are equal on this engine,"
            f" the bundle wants {least}; build the engine again or use another provider"
        )


def greedy(
    engine: Engine, ids: list[int], media_index: list[int], medium: Media, length: int
) -> list[int]:
    """The `length` most likely next tokens, each seeing what the prompt's last token sees."""
    cache = engine.new_cache()
    logits = engine.prefill(cache, ids, media_index, [medium])
    answer: list[int] = []
    while len(answer) < length:
        answer.append(int(logits.argmax()))
        if len(answer) < length:
            logits = engine.step(cache, answer[-1], media_index[-1], [medium])
    return answer


def cosine(a: Floats, b: Floats) -> float:
    """Cosine of the angle between two arrays of one shape."""
    x, y = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def kl(truth: Floats, other: Floats) -> float:
    """Mean Kullback-Leibler divergence of next-token distributions, in nats; rows of logits."""
    p, q = log_softmax(truth), log_softmax(other)
    return float((np.exp(p) * (p - q)).sum(axis=-1).mean())


def log_softmax(logits: Floats) -> NDArray[np.float64]:
    """Log-probabilities of rows of logits, in double precision."""
    x = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
    return result


def _last(engine: Engine, golden: Golden, row: int, media: list[Media]) -> Floats:
    medium = media[golden.medium[row]]
    cache = engine.new_cache()
    return engine.prefill(cache, golden.prompts[row], golden.media_index[row], [medium]).copy()


def _unpacked(arrays: Mapping[str, NDArray[Any]]) -> Golden:
    return Golden(
        pixels=arrays["pixels"],
        features=arrays["features"],
        media_k=arrays["media_k"],
        media_v=arrays["media_v"],
        prompts=_ragged(arrays["prompts"]),
        media_index=_ragged(arrays["media_index"]),
        medium=arrays["medium"].tolist(),
        logits=arrays["logits"],
        answers=_ragged(arrays["answers"]),
        reference=str(arrays["reference"]),
    )


def _padded(rows: list[list[int]]) -> NDArray[np.int64]:
    padded = np.full((len(rows), max(map(len, rows), default=0)), PADDING, np.int64)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded


def _ragged(padded: NDArray[np.int64]) -> list[list[int]]:
    return [row[row != PADDING].tolist() for row in padded]
