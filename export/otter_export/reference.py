"""The network in fp32, block by block, over samples: the truth, and what its layers see.

Only one block's weights are in memory at a time; hidden states are kept between blocks. So a
model of any size is calibrated, and its fp32 outputs known, on a machine that could not hold it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from otter_export.builder import OPSET, Builder, Dim
from otter_export.decoder_graph import DecoderGraph
from otter_export.layers import Weights
from otter_export.precision import Floats, Observed, Statistic
from otter_export.progress import Progress
from otter_export.resampler_graph import ResamplerGraph
from otter_export.sample import Sample
from otter_export.vision_graph import VisionGraph
from otter_export.weight_file import WeightFile
from otter_model.config import OtterConfig

SEEN = "seen:"
QUIET = 3
Feed = dict[str, NDArray[Any]]
Build = Callable[[Builder, Observed], None]


@dataclass
class Truth:
    """fp32 outputs of one sample: features (F, P, D), media K/V, last logits (vocab,)."""

    features: Floats
    media_k: Floats
    media_v: Floats
    logits: Floats


@dataclass
class Reference:
    """Runs samples through the blocks; `seen` grows to each statistic's value per layer."""

    config: OtterConfig
    weights: Weights
    progress: Progress
    threads: int = 0
    statistics: Mapping[str, Sequence[Statistic]] = field(default_factory=dict)  # by part
    seen: dict[str, dict[str, NDArray[Any]]] = field(default_factory=dict)
    _done: int = 0

    def run(self, samples: Sequence[Sample]) -> list[Truth]:
        """fp32 outputs of every sample."""
        features = self._vision([sample.pixels for sample in samples])
        media = self._resampler(features)
        logits = self._decoder(samples, media)
        return [
            Truth(f, m["media_k"], m["media_v"], row)
            for f, m, row in zip(features, media, logits, strict=True)
        ]

    def _vision(self, pixels: list[Floats]) -> list[Floats]:
        c = self.config.vision
        graph = VisionGraph(c, self.weights)
        picture: list[Dim] = ["n", 3, c.image_size, c.image_size]
        tokens: list[Dim] = ["n", c.patches + 1, c.dim]

        def embed(b: Builder, _: Observed) -> None:
            x = graph.embed(b, b.input("pixels", "float32", picture))
            b.output(x, "x", "float32", tokens)

        feeds: list[Feed] = [{"pixels": p} for p in pixels]
        x = [out["x"] for out in self._stage("vision", embed, feeds)]
        for i in range(c.layers):

            def block(b: Builder, observed: Observed, i: int = i) -> None:
                y = graph.block(b, observed, b.input("x", "float32", tokens), i)
                b.output(y, "y", "float32", tokens)

            x = [out["y"] for out in self._stage("vision", block, [{"x": h} for h in x])]
        return [h[:, 1:] for h in x]

    def _resampler(self, features: list[Floats]) -> list[Feed]:
        graph = ResamplerGraph(self.config, self.weights)
        return self._stage("resampler", graph.build, [{"features": f} for f in features])

    def _decoder(self, samples: Sequence[Sample], media: list[Feed]) -> list[Floats]:
        c = self.config.decoder
        graph = DecoderGraph(c, self.config.perceiver.latents, self.weights)
        table = graph.language.embedding()
        x = [table[np.array(sample.ids)] for sample in samples]
        del table
        shared = [_shared(sample, m) for sample, m in zip(samples, media, strict=True)]
        empty = np.zeros((c.heads, 1, c.head_dim), np.float32)
        for i in range(c.layers):

            def layer(b: Builder, observed: Observed, i: int = i) -> None:
                h = b.input("x", "float32", ["tokens", c.dim])
                past = graph.past(b, i)
                y, _, _ = graph.layer(b, observed, graph.begin(b, i), h, i, *past)
                b.output(y, "y", "float32", ["tokens", c.dim])

            past = {f"past_k.{i}": empty, f"past_v.{i}": empty}
            feeds = [{"x": h, **past, **feed} for h, feed in zip(x, shared, strict=True)]
            x = [out["y"] for out in self._stage("decoder", layer, feeds)]

        def head(b: Builder, observed: Observed) -> None:
            h = b.input("x", "float32", ["tokens", c.dim])
            rows = b.input("rows", "int64", ["rows"])
            b.output(graph.head(b, observed, h, rows), "logits", "float32", ["rows", c.vocab])

        feeds = [{"x": h, "rows": np.arange(len(h))} for h in x]
        return [out["logits"] for out in self._stage("head", head, feeds, _last_logits)]

    def _stage(
        self, part: str, build: Build, feeds: list[Feed], kept: Callable[[Feed], Feed] = dict
    ) -> list[Feed]:
        """Build one block of `part`, run it on every feed, keep what its layers saw."""
        total = self.config.vision.layers + self.config.decoder.layers + 3
        self.progress(f"fp32 {part}", self._done, total)
        self._done += 1
        with tempfile.TemporaryDirectory(prefix="otter-block-") as folder:
            path = Path(folder) / "block.onnx"
            with WeightFile(path.with_suffix(".bin")) as file:
                observed = Observed(self.statistics.get(part, ()))
                b = observed.builder(part, file, OPSET)
                build(b, observed)
                for (statistic, layer), value in observed.outputs.items():
                    b.output(value, _output(statistic, layer), "float32", statistic.shape)
            b.save(path)
            session = _session(path, self.threads)
            return [kept(self._run(session, observed, feed)) for feed in feeds]

    def _run(self, session: Any, observed: Observed, feed: Feed) -> Feed:
        names = [output.name for output in session.get_outputs()]
        wanted = {value.name for value in session.get_inputs()}
        given = {name: array for name, array in feed.items() if name in wanted}
        results = dict(zip(names, session.run(names, given), strict=True))
        for statistic, layer in observed.outputs:
            known = self.seen.setdefault(statistic.name, {})
            value = results.pop(_output(statistic, layer))
            known[layer] = statistic.merged(known[layer], value) if layer in known else value
        return results


def _output(statistic: Statistic, layer: str) -> str:
    return f"{SEEN}{statistic.name}:{layer}"


def _last_logits(outputs: Feed) -> Feed:
    # All rows have to run, so that they are seen, but a hundred prompts' logits are gigabytes.
    return {"logits": outputs["logits"][-1].copy()}


def _shared(sample: Sample, media: Feed) -> Feed:
    return {
        "positions": np.arange(len(sample.ids)),
        "media_index": np.array(sample.media_index, np.int64),
        "media_k": media["media_k"],
        "media_v": media["media_v"],
        "past_len": np.zeros(1, np.int64),
    }


def _session(path: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
