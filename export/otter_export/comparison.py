"""A bundle beside its fp32 twin on real inputs: how far each graph is off, and the whole.

Each graph is fed with the fp32 output of the one before, so that its own error shows; `whole` is
the chain as the device runs it. Every token of every sample counts, not only the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otter_export.graph_run import GraphRun
from otter_export.layer_error import LayerError, layer_errors
from otter_export.precision import Floats
from otter_export.progress import Progress, silent
from otter_export.sample import Sample
from otter_runtime.bundle import GRAPHS, Bundle
from otter_runtime.engine import Media
from otter_runtime.golden import cosine, kl, log_softmax
from otter_runtime.onnx_engine import OnnxEngine

WORST = 99  # the percentile of tokens that is told beside the mean


@dataclass(frozen=True)
class GraphError:
    """One graph's outputs beside fp32's: cosine, largest error, relative error ‖Δ‖ / ‖fp32‖."""

    graph: str
    precision: str
    cosine: float
    max_error: float
    relative_error: float


@dataclass(frozen=True)
class WholeError:
    """Next-token distributions beside fp32's, over all tokens of all samples.

    KL divergence in nats, mean and 99th percentile; the share of tokens whose likeliest next token
    is the same (`greedy_agreement`).
    """

    name: str
    tokens: int
    cosine: float
    next_token_kl: float
    worst_kl: float
    greedy_agreement: float


@dataclass(frozen=True)
class Comparison:
    """Everything that was compared, on so many samples."""

    samples: int
    graphs: list[GraphError]
    whole: WholeError
    layers: list[LayerError]
    logits: list[Floats]  # fp32's, per sample (tokens, vocab)


def compare(
    truth: Bundle,
    other: Bundle,
    samples: Sequence[Sample],
    threads: int | None = None,
    progress: Progress = silent,
) -> Comparison:
    """`other` beside the fp32 bundle `truth` of the same network."""
    ours, theirs = OnnxEngine(truth, threads, "cpu"), OnnxEngine(other, threads, "cpu")
    features = [ours.encode(sample.pixels).copy() for sample in samples]
    media = [ours.resample(f) for f in features]
    logits = [_logits(ours, sample, m) for sample, m in zip(samples, media, strict=True)]
    seen = [theirs.encode(sample.pixels).copy() for sample in samples]
    shown = [theirs.resample(f) for f in features]
    told = [_logits(theirs, sample, m) for sample, m in zip(samples, media, strict=True)]
    chain = [
        _logits(theirs, sample, theirs.resample(f)) for sample, f in zip(samples, seen, strict=True)
    ]
    precisions = {name: getattr(other.manifest.graphs, name).precision for name in GRAPHS}
    pairs = {
        "vision": (features, seen),
        "resampler": ([_joined(m) for m in media], [_joined(m) for m in shown]),
        "decoder": (logits, told),
    }
    feeds = _feeds(truth, samples, features, media)
    layers: list[LayerError] = []
    for at, name in enumerate(GRAPHS):
        progress("layers", at, len(GRAPHS))
        layers += layer_errors(GraphRun(truth, name), GraphRun(other, name), feeds[name])
    progress("layers", len(GRAPHS), len(GRAPHS))
    return Comparison(
        samples=len(samples),
        graphs=[graph_error(name, precisions[name], *pairs[name]) for name in GRAPHS],
        whole=whole_error("bundle", logits, chain),
        layers=layers,
        logits=logits,
    )


def graph_error(
    graph: str, precision: str, truth: Sequence[Floats], other: Sequence[Floats]
) -> GraphError:
    """The error of one graph's outputs, all samples together."""
    a, b = _flat(truth), _flat(other)
    relative = float(np.linalg.norm(a - b) / np.linalg.norm(a))
    return GraphError(graph, precision, cosine(a, b), float(np.abs(a - b).max()), relative)


def whole_error(name: str, truth: Sequence[Floats], other: Sequence[Floats]) -> WholeError:
    """The error of `other`'s logits (tokens, vocab) per sample, all tokens together."""
    a, b = np.concatenate(truth), np.concatenate(other)
    p, q = log_softmax(a), log_softmax(b)
    each = (np.exp(p) * (p - q)).sum(axis=-1)
    return WholeError(
        name=name,
        tokens=len(a),
        cosine=cosine(a, b),
        next_token_kl=kl(a, b),
        worst_kl=float(np.percentile(each, WORST)),
        greedy_agreement=float((a.argmax(axis=-1) == b.argmax(axis=-1)).mean()),
    )


def _logits(engine: OnnxEngine, sample: Sample, media: Media) -> Floats:
    return engine.logits(engine.new_cache(), sample.ids, sample.media_index, [media]).copy()


def _feeds(
    truth: Bundle, samples: Sequence[Sample], features: Sequence[Floats], media: Sequence[Media]
) -> dict[str, list[dict[str, NDArray[np.generic]]]]:
    """Per graph, what the fp32 chain feeds it with; the decoder without a past."""
    d = truth.manifest.dims.decoder
    empty = np.zeros((d.heads, 1, d.head_dim), np.float32)
    past = {f"past_{part}.{i}": empty for part in "kv" for i in range(d.layers)}
    return {
        "vision": [{"pixels": sample.pixels} for sample in samples],
        "resampler": [{"features": f} for f in features],
        "decoder": [
            {
                **past,
                "input_ids": np.array(sample.ids),
                "positions": np.arange(len(sample.ids)),
                "media_index": np.array(sample.media_index),
                "logit_positions": np.arange(len(sample.ids)),
                "past_len": np.zeros(1, np.int64),
                "media_k": m.k,
                "media_v": m.v,
            }
            for sample, m in zip(samples, media, strict=True)
        ],
    }


def _joined(media: Media) -> Floats:
    return np.stack([media.k, media.v])


def _flat(arrays: Sequence[Floats]) -> Floats:
    return np.concatenate([array.ravel() for array in arrays])
