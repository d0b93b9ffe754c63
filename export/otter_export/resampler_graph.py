"""The resampler graph: `features` (F, patches, dim) of one medium to its `media_k`, `media_v`.

The perceiver, and behind it every gated layer's K and V projection: what the decoder needs of a
medium is computed once.
"""

from __future__ import annotations

import numpy as np

from otter_export.builder import Builder, Dim
from otter_export.language import Language
from otter_export.layers import PERCEIVER_EPS, Layers, Norm, Weights
from otter_export.precision import Floats, Precision
from otter_model.config import OtterConfig

PREFIX = "perceiver"


class ResamplerGraph:
    """Writes the nodes; usable whole (`build`) or in its two parts."""

    def __init__(self, config: OtterConfig, weights: Weights) -> None:
        self.config = config
        self.weights = weights
        self.w = weights.at(PREFIX)

    def build(self, b: Builder, precision: Precision) -> None:
        """The whole graph into `b`."""
        c = self.config
        shape: list[Dim] = ["frames", c.vision.patches, c.perceiver.dim]
        latents = self.perceiver(b, precision, b.input("features", "float32", shape))
        self.media(b, precision, latents)

    def perceiver(self, b: Builder, precision: Precision, features: str) -> str:
        """Features (F, patches, dim) to latents (1, L, dim), before the last norm."""
        c = self.config.perceiver
        media = features
        if c.max_frames is not None:
            table = b.weight("perceiver.frames", self._frame_table())
            count = b.op("Shape", features, start=0, end=1)
            known = Layers(b, precision).slice(table, b.constant([0]), count, 0)
            media = b.op("Add", media, known)
        # One batch of rows, not rows alone: ONNX Runtime would join a product of known shape with
        # the residual that follows into a float Gemm, and the integers would be gone.
        media = b.op("Reshape", media, b.constant([1, -1, c.dim]))
        latents = b.weight("perceiver.latents", self.w("latents")[None])
        for i in range(c.depth):
            latents = self._block(b, precision, media, latents, i)
        return latents

    def media(self, b: Builder, precision: Precision, latents: str) -> None:
        """Latents (1, L, dim) to outputs `media_k`, `media_v` (gated layers, heads, L, head_dim).

        All gated layers' projections are one product: they share their input and its scale.
        """
        c = self.config.decoder
        gated, heads, head_dim = len(c.gated_layers), c.cross_heads, c.cross_head_dim
        language = Language(c, self.weights)
        names = [language.gated(i).matrix("attn.to_kv") for i in c.gated_layers]
        norm, matrix = self._norm(self.w, "norm"), np.concatenate(names, axis=1)
        kv = Layers(b, precision).normed_linear(latents, "media.kv", norm, matrix)
        kv = b.op("Reshape", kv, b.constant([-1, gated, 2, heads, head_dim]))
        kv = b.op("Transpose", kv, perm=[2, 1, 3, 0, 4])  # (2, gated, heads, L, head_dim)
        shape = [gated, heads, self.config.perceiver.latents, head_dim]
        k, v = b.ops("Split", 2, kv, axis=0, num_outputs=2)
        b.output(b.op("Squeeze", k, b.constant([0])), "media_k", "float32", shape)
        b.output(b.op("Squeeze", v, b.constant([0])), "media_v", "float32", shape)

    def _frame_table(self) -> Floats:
        return self.w("frame_embs")[:, None, :]  # (max_frames, 1, dim)

    def _block(self, b: Builder, precision: Precision, media: str, latents: str, i: int) -> str:
        c, name = self.config.perceiver, f"perceiver.{i}"
        w, layers = self.w.at(f"layers.{i}"), Layers(b, precision)
        with b.scope(name):
            # Both norms feed K and V, so both are divided alike, and q gets what they leave.
            to_kv = w.matrix("to_kv")
            divide = precision.migration(f"{name}.kv", to_kv)
            norm_media = self._norm(w, "norm_media").divided(divide)
            norm_latents = self._norm(w, "norm_latents").divided(divide)
            seen = layers.norm(media, f"{name}.media_norm", norm_media)
            asked = layers.norm(latents, f"{name}.latents_norm", norm_latents)
            both = b.op("Concat", seen, asked, axis=1)
            kv = layers.linear(both, f"{name}.kv", to_kv, divided=divide)
            kv = layers.heads(kv, 2 * c.heads, c.head_dim)
            matrix = w.matrix("to_q") * np.float32(c.head_dim**-0.5)
            if i == 0:
                q = b.weight(f"{name}.q", self._first_queries(w, matrix))
            else:
                q = layers.linear(asked, f"{name}.q", matrix, divided=divide)
            q = layers.heads(q, c.heads, c.head_dim)
            k, v = b.ops("Split", 2, kv, axis=0, num_outputs=2)
            mixed = b.op("MatMul", b.op("Softmax", layers.scores(q, k), axis=-1), v)
            mixed = b.op("Transpose", mixed, perm=[1, 0, 2])
            mixed = b.op("Reshape", mixed, b.constant([1, -1, c.heads * c.head_dim]))
            latents = b.op("Add", latents, layers.linear(mixed, f"{name}.out", w.matrix("to_out")))
            hidden = layers.feed_forward(latents, f"{name}.ff", w.at("feed_forward"))
            return b.op("Add", latents, hidden)

    def _first_queries(self, w: Weights, matrix: Floats) -> Floats:
        """The first block's q (1, L, inner), constant: learned latents are all it needs."""
        x = self.w("latents")[None]
        norm = self._norm(w, "norm_latents")
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + norm.eps)
        assert norm.bias is not None
        q: Floats = (x * norm.scale + norm.bias) @ matrix
        return q

    def _norm(self, w: Weights, name: str) -> Norm:
        return Norm(w(f"{name}.weight"), w(f"{name}.bias"), PERCEIVER_EPS)
