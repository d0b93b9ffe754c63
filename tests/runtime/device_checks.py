"""What an engine built on a device must do; used there, and here with stand-ins."""

from __future__ import annotations

import numpy as np

from otter_runtime.bundle import Bundle
from otter_runtime.engine import Engine, Floats
from otter_runtime.golden import Golden, check, cosine, load_golden, require
from otter_runtime.onnx_engine import NATIVE, open_engine

STEPS = 24
# Another library rounds otherwise, and in int8 a rounding can move by one step.
LEAST_COSINE = 0.995


def native(bundle: Bundle) -> Engine:
    """The engine that was built for `bundle` here."""
    return open_engine(bundle, provider=NATIVE)


def golden_answers(bundle: Bundle) -> None:
    """The engine is as near to fp32 as the manifest says."""
    manifest = bundle.manifest
    figures = check(native(bundle), load_golden(bundle), manifest.decoding, manifest.tokens)
    require(figures, manifest.verification)


def steps_as_onnx_runtime(bundle: Bundle) -> None:
    """Prefill and forced decoding give the logits that ONNX Runtime gives, token by token."""
    golden = load_golden(bundle)
    wanted = forced(open_engine(bundle), golden)
    for got, truth in zip(forced(native(bundle), golden), wanted, strict=True):
        assert cosine(got, truth) > LEAST_COSINE


def replay_as_enqueue(bundle: Bundle) -> None:
    """A program's first run enqueues, every later one replays a graph: with equal results."""
    engine, golden = native(bundle), load_golden(bundle)
    first = forced(engine, golden)
    for _ in range(3):
        for got, wanted in zip(forced(engine, golden), first, strict=True):
            np.testing.assert_array_equal(got, wanted)
    assert engine.describe()["cuda_graphs"] >= 2


def forced(engine: Engine, golden: Golden) -> list[Floats]:
    """Logits after the first golden prompt, and after each of some tokens put behind it."""
    medium = engine.resample(golden.features[golden.medium[0]])
    ids, index = golden.prompts[0], golden.media_index[0]
    cache = engine.new_cache()
    rows = [engine.prefill(cache, ids, index, [medium]).copy()]
    for token in (golden.answers[0] * STEPS)[:STEPS]:
        rows.append(engine.step(cache, token, index[-1], [medium]).copy())
    return rows
