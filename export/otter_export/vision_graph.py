"""The vision graph: `pixels` (n, 3, H, W) to `features` (n, patches, dim).

CLIP's vision transformer without CLS and without post_layernorm.
"""

from __future__ import annotations

import numpy as np

from otter_export.builder import Builder
from otter_export.layers import Layers, Norm, Weights
from otter_export.precision import Fp32, Precision
from otter_model.config import VisionConfig

PREFIX = "vision_encoder.vision_model"


class VisionGraph:
    """Writes the nodes; usable whole (`build`) or block by block."""

    def __init__(self, config: VisionConfig, weights: Weights) -> None:
        self.config = config
        self.w = weights.at(PREFIX)

    def build(self, b: Builder, precision: Precision) -> None:
        """The whole graph into `b`."""
        c = self.config
        pixels = b.input("pixels", "float32", ["frames", 3, c.image_size, c.image_size])
        x = self.embed(b, pixels)
        for i in range(c.layers):
            x = self.block(b, precision, x, i)
        features = self.patches(b, x)
        b.output(features, "features", "float32", ["frames", c.patches, c.dim])

    def embed(self, b: Builder, pixels: str) -> str:
        """Pixels to tokens (n, 1 + patches, dim): patch embedding, CLS, positions, first norm.

        The patch embedding is a product of unfolded patches and stays fp32 in every precision:
        it sees raw pixels, and is a two-hundredth of the graph's work.
        """
        c, w, layers = self.config, self.w.at("embeddings"), Layers(b, Fp32())
        side, p = c.image_size // c.patch_size, c.patch_size
        if side * p != c.image_size:  # pixels that fill no patch are not seen
            ends = b.constant([side * p, side * p])
            pixels = b.op("Slice", pixels, b.constant([0, 0]), ends, b.constant([2, 3]))
        cut = b.op("Reshape", pixels, b.constant([-1, 3, side, p, side, p]))
        cut = b.op("Transpose", cut, perm=[0, 2, 4, 1, 3, 5])
        cut = b.op("Reshape", cut, b.constant([-1, c.patches, 3 * p * p]))
        kernel = w("patch_embedding.weight").reshape(c.dim, -1).T
        x = layers.linear(cut, "vision.patches", kernel)
        batch = b.op("Shape", pixels, start=0, end=1)
        shape = b.op("Concat", batch, b.constant([1, c.dim]), axis=0)
        cls = b.weight("vision.cls", w("class_embedding").reshape(1, 1, c.dim))
        x = b.op("Concat", b.op("Expand", cls, shape), x, axis=1)
        x = b.op("Add", x, b.weight("vision.positions", w("position_embedding.weight")[None]))
        return layers.norm(x, "vision.norm", self._norm("pre_layrnorm"))

    def block(self, b: Builder, precision: Precision, x: str, i: int) -> str:
        """One transformer block on (n, tokens, dim)."""
        name = f"vision.{i}"
        w, layers = self.w.at(f"encoder.layers.{i}"), Layers(b, precision)
        with b.scope(name):
            x = b.op("Add", x, self._attention(layers, x, name, w, i))
            norm = self._norm(f"encoder.layers.{i}.layer_norm2")
            hidden = layers.normed_linear(
                x, f"{name}.fc1", norm, w.matrix("mlp.fc1"), w("mlp.fc1.bias")
            )
            hidden = layers.quick_gelu(hidden)
            out = layers.linear(hidden, f"{name}.fc2", w.matrix("mlp.fc2"), w("mlp.fc2.bias"))
            return b.op("Add", x, out)

    def patches(self, b: Builder, x: str) -> str:
        """All tokens but CLS."""
        return Layers(b, Fp32()).slice(x, b.constant([1]), b.constant([np.iinfo(np.int64).max]), 1)

    def _attention(self, layers: Layers, x: str, name: str, w: Weights, i: int) -> str:
        b, c = layers.b, self.config
        head_dim = c.dim // c.heads
        # q's weight and bias carry the scale: (q + bias) is scaled before q kᵀ.
        scale = np.repeat(np.array([head_dim**-0.5, 1, 1], np.float32), c.dim)
        parts = [f"self_attn.{part}_proj" for part in "qkv"]
        matrix, bias = w.matrix(*parts), w.vector(*(f"{part}.bias" for part in parts))
        norm = self._norm(f"encoder.layers.{i}.layer_norm1")
        qkv = layers.normed_linear(x, f"{name}.qkv", norm, matrix * scale, bias * scale)
        qkv = b.op("Reshape", qkv, b.constant([0, 0, 3, c.heads, head_dim]))
        qkv = b.op("Transpose", qkv, perm=[2, 0, 3, 1, 4])  # (3, n, heads, tokens, head_dim)
        q, k, v = b.ops("Split", 3, qkv, axis=0, num_outputs=3)
        q, k, v = (b.op("Squeeze", part, b.constant([0])) for part in (q, k, v))
        seen = b.op("Softmax", b.op("MatMul", q, b.op("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)
        mixed = b.op("Transpose", b.op("MatMul", seen, v), perm=[0, 2, 1, 3])
        mixed = b.op("Reshape", mixed, b.constant([0, 0, c.dim]))
        out = "self_attn.out_proj"
        return layers.linear(mixed, f"{name}.out", w.matrix(out), w(f"{out}.bias"))

    def _norm(self, name: str) -> Norm:
        eps = self.config.layer_norm_eps
        return Norm(self.w(f"{name}.weight"), self.w(f"{name}.bias"), eps)
