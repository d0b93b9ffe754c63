"""The layers that Otter's three networks share, as nodes: norms, gated units, attention.

Scores, softmax and norms stay float32 in every precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otter_export.builder import Builder
from otter_export.precision import Floats, Linear, Precision

# Added to the scores of what must not be seen: exp of it is exactly 0 beside any real score.
MASKED = -1e9
PERCEIVER_EPS = 1e-5


class Weights:
    """A checkpoint's tensors as float32 arrays, read when asked for; `at` narrows the names."""

    def __init__(self, tensors: Mapping[str, Any], prefix: str = "") -> None:
        self._tensors = tensors
        self._prefix = prefix

    def at(self, name: str) -> Weights:
        """The tensors whose names begin with `name` and a dot."""
        return Weights(self._tensors, f"{self._prefix}{name}.")

    def __call__(self, name: str) -> Floats:
        """Tensor `name` as it is stored."""
        return _as_float32(self._tensors[self._prefix + name])

    def matrix(self, *names: str) -> Floats:
        """Linear weights (out, in) side by side, as one (in, sum of out)."""
        parts = [self(f"{name}.weight") for name in names]
        return (parts[0] if len(parts) == 1 else np.concatenate(parts)).T

    def vector(self, *names: str) -> Floats:
        """Vectors one after another."""
        return np.concatenate([self(name) for name in names])

    def has(self, name: str) -> bool:
        return self._prefix + name in self._tensors


class Layers:
    """Nodes of common layers, for one graph in one precision."""

    def __init__(self, builder: Builder, precision: Precision) -> None:
        self.b = builder
        self.precision = precision

    def linear(
        self,
        x: str,
        name: str,
        matrix: Floats,
        bias: Floats | None = None,
        divided: Floats | None = None,
    ) -> str:
        """x times `matrix` (in, out) plus `bias`; x's channels may come `divided` by (in,)."""
        if divided is not None:
            matrix = matrix * divided[:, None]
        return self.precision.linear(self.b, x, Linear(name, matrix, bias, divided))

    def layer_norm(self, x: str, name: str, scale: Floats, bias: Floats | None, eps: float) -> str:
        """LayerNorm over the last axis; without `bias` where the model has none."""
        b = self.b
        inputs = [x, b.weight(f"{name}.weight", scale)]
        if bias is not None:
            inputs.append(b.weight(f"{name}.bias", bias))
        return b.op("LayerNormalization", *inputs, axis=-1, epsilon=eps)

    def rms_norm(self, x: str, name: str, scale: Floats, eps: float) -> str:
        """x / sqrt(mean(x²) + eps) · scale, in the pattern that ONNX Runtime fuses."""
        b = self.b
        square = b.op("Pow", x, b.constant(2, np.float32))
        mean = b.op("ReduceMean", square, b.constant([-1]), keepdims=1)
        root = b.op("Sqrt", b.op("Add", mean, b.constant(eps, np.float32)))
        return b.op("Mul", b.op("Div", x, root), b.weight(f"{name}.weight", scale))

    def normed_linear(
        self,
        x: str,
        name: str,
        norm: Norm,
        matrix: Floats,
        bias: Floats | None = None,
    ) -> str:
        """`norm`, then a linear layer; between the two the precision may move outliers."""
        divide = self.precision.migration(name, matrix)
        x = self.norm(x, f"{name}.norm", norm.divided(divide))
        return self.linear(x, name, matrix, bias, divide)

    def norm(self, x: str, name: str, norm: Norm) -> str:
        """The norm's nodes."""
        if norm.rms:
            return self.rms_norm(x, name, norm.scale, norm.eps)
        return self.layer_norm(x, name, norm.scale, norm.bias, norm.eps)

    def gelu(self, x: str) -> str:
        """Exact (erf) GELU."""
        return self.b.op("Gelu", x)

    def quick_gelu(self, x: str) -> str:
        """x · sigmoid(1.702 x), CLIP's."""
        scaled = self.b.op("Mul", x, self.b.constant(1.702, np.float32))
        return self.b.op("Mul", x, self.b.op("Sigmoid", scaled))

    def silu(self, x: str) -> str:
        """x · sigmoid(x)."""
        return self.b.op("Mul", x, self.b.op("Sigmoid", x))

    def feed_forward(self, x: str, name: str, w: Weights, gate: Floats | None = None) -> str:
        """LN → linear → GELU → linear, the block of perceiver and gated layers, without residual.

        `gate` (1,) multiplies the result: it is folded into the last weight.
        """
        norm = Norm(w("0.weight"), w("0.bias"), PERCEIVER_EPS)
        hidden = self.normed_linear(x, f"{name}.up", norm, w.matrix("1"))
        down = w.matrix("3")
        return self.linear(
            self.gelu(hidden), f"{name}.down", down if gate is None else down * np.tanh(gate)
        )

    def heads(self, x: str, count: int, head_dim: int) -> str:
        """(rows, count·head_dim) to (count, rows, head_dim)."""
        split = self.b.op("Reshape", x, self.b.constant([-1, count, head_dim]))
        return self.b.op("Transpose", split, perm=[1, 0, 2])

    def unheads(self, x: str, dim: int) -> str:
        """(count, rows, head_dim) to (rows, count·head_dim)."""
        merged = self.b.op("Transpose", x, perm=[1, 0, 2])
        return self.b.op("Reshape", merged, self.b.constant([-1, dim]))

    def scores(self, q: str, k: str) -> str:
        """q kᵀ per head; the scale is already in q's weights."""
        return self.b.op("MatMul", q, self.b.op("Transpose", k, perm=[0, 2, 1]))

    def slice(self, x: str, start: str, end: str, axis: int) -> str:
        """x[start:end] along `axis`; `start` and `end` are values of shape (1,)."""
        return self.b.op("Slice", x, start, end, self.b.constant([axis]))


class Norm:
    """A norm's parameters: LayerNorm with or without bias, or RMS."""

    def __init__(
        self, scale: Floats, bias: Floats | None = None, eps: float = 1e-5, rms: bool = False
    ) -> None:
        self.scale = scale
        self.bias = bias
        self.eps = eps
        self.rms = rms

    def divided(self, by: Floats | None) -> Norm:
        """The norm whose output channels are divided by `by`, if by anything."""
        if by is None:
            return self
        bias = None if self.bias is None else self.bias / by
        return Norm(self.scale / by, bias, self.eps, self.rms)


def _as_float32(tensor: Any) -> NDArray[np.float32]:
    # torch tensors (bfloat16 too) and numpy arrays alike, without importing torch here.
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().to("cpu").float().numpy()
    return np.asarray(tensor, np.float32)
