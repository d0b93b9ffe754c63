"""How large a network is, from its config alone: its matrices, and what they cost to store and run.

One matrix is one linear layer of the graphs. What lies between them (norms, positions) is counted
as the rest; attention's own products are counted as work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from otter_export.precision import RECIPES
from otter_model.config import OtterConfig

# The parts of the network that each graph holds.
OF_GRAPH = {"vision": ("vision",), "resampler": ("resampler",), "decoder": ("decoder", "head")}
FLOAT, HALF = 4, 2
Names = Mapping[str, str]  # a precision's name per part


@dataclass(frozen=True)
class Matrix:
    """A linear layer (rows = in, columns = out) of a part of the network, `count` times."""

    part: str
    rows: int
    columns: int
    count: int = 1
    bias: bool = False

    @property
    def parameters(self) -> int:
        return self.count * self.rows * self.columns

    def bytes(self, precision: str) -> int:
        """On disk, with scales; biases are float32, or half in fp16."""
        bias = self.columns * (HALF if precision == "fp16" else FLOAT) if self.bias else 0
        return self.count * (RECIPES[precision].bytes(self.rows, self.columns) + bias)


def matrices(config: OtterConfig) -> list[Matrix]:
    """Every linear layer whose precision can be chosen."""
    return [*_vision(config), *_resampler(config), *_decoder(config)]


def graph_bytes(config: OtterConfig, names: Names) -> dict[str, int]:
    """Bytes on disk of each graph's weights."""
    rest = _rest(config, names)
    by_part = {part: rest.get(part, 0) for part in names}
    for matrix in matrices(config):
        by_part[matrix.part] += matrix.bytes(names[matrix.part])
    return {graph: sum(by_part[part] for part in parts) for graph, parts in OF_GRAPH.items()}


def table_bytes(config: OtterConfig, names: Names) -> int:
    """Bytes of the token embeddings: on disk, but hardly read."""
    width = FLOAT if names["decoder"] == "fp32" else HALF
    return config.decoder.vocab * config.decoder.dim * width


def encode_flops(config: OtterConfig) -> int:
    """Of one frame."""
    v = config.vision
    tokens = v.patches + 1
    linear = 2 * tokens * sum(m.parameters for m in _vision(config))
    patches = 2 * v.patches * 3 * v.patch_size**2 * v.dim
    return linear + patches + 4 * v.layers * tokens**2 * v.dim


def prefill_flops(config: OtterConfig, tokens: int) -> int:
    """Of a prompt of `tokens`, of which the last reaches the head."""
    d = config.decoder
    body = sum(m.parameters for m in _decoder(config) if m.part == "decoder")
    attention = 4 * d.layers * tokens**2 * d.dim
    return 2 * tokens * body + attention + 2 * d.dim * d.vocab


def cache_bytes(config: OtterConfig, tokens: int) -> int:
    """Self-attention K/V of `tokens`, and the K/V of one medium, in float32."""
    d, p = config.decoder, config.perceiver
    media = len(d.gated_layers) * d.cross_heads * d.cross_head_dim * p.latents
    return FLOAT * 2 * (d.layers * d.dim * tokens + media)


def _vision(config: OtterConfig) -> Iterator[Matrix]:
    v = config.vision
    yield Matrix("vision", v.dim, 3 * v.dim, v.layers, bias=True)
    yield Matrix("vision", v.dim, v.dim, v.layers, bias=True)
    yield Matrix("vision", v.dim, v.mlp_dim, v.layers, bias=True)
    yield Matrix("vision", v.mlp_dim, v.dim, v.layers, bias=True)


def _resampler(config: OtterConfig) -> Iterator[Matrix]:
    p, d = config.perceiver, config.decoder
    inner, cross = p.heads * p.head_dim, d.cross_heads * d.cross_head_dim
    yield Matrix("resampler", p.dim, 2 * inner, p.depth)
    yield Matrix("resampler", p.dim, inner, p.depth - 1)  # the first queries are constant
    yield Matrix("resampler", inner, p.dim, p.depth)
    yield Matrix("resampler", p.dim, p.ff_mult * p.dim, p.depth)
    yield Matrix("resampler", p.ff_mult * p.dim, p.dim, p.depth)
    yield Matrix("resampler", p.dim, 2 * cross * len(d.gated_layers))


def _decoder(config: OtterConfig) -> Iterator[Matrix]:
    d = config.decoder
    cross, gated = d.cross_heads * d.cross_head_dim, len(d.gated_layers)
    yield Matrix("decoder", d.dim, cross, gated)
    yield Matrix("decoder", cross, d.dim, gated)
    yield Matrix("decoder", d.dim, d.cross_ff_mult * d.dim, gated)
    yield Matrix("decoder", d.cross_ff_mult * d.dim, d.dim, gated)
    yield Matrix("decoder", d.dim, 3 * d.dim, d.layers)
    yield Matrix("decoder", d.dim, d.dim, d.layers)
    yield Matrix("decoder", d.dim, (2 if d.family == "llama" else 1) * d.mlp_dim, d.layers)
    yield Matrix("decoder", d.mlp_dim, d.dim, d.layers)
    yield Matrix("head", d.dim, d.vocab)


def _rest(config: OtterConfig, names: Names) -> dict[str, int]:
    """Bytes of what no precision is chosen for: tables, positions, norms."""
    v, p, d = config.vision, config.perceiver, config.decoder
    patches = 3 * v.patch_size**2 * v.dim
    vision = patches + (v.patches + 2) * v.dim + (2 * v.layers + 1) * 2 * v.dim
    first = p.latents * (p.dim + p.heads * p.head_dim)
    resampler = first + p.dim * (p.max_frames or 0) + (3 * p.depth + 1) * 2 * p.dim
    norms = (2 * d.layers + 1 + 4 * len(d.gated_layers) + 2 * d.layers * d.qk_norm) * d.dim
    rotary = 2 * d.max_positions * d.head_dim if d.family == "llama" else 0
    tied = names["decoder"] == names["head"] == "fp32" and d.tied_head
    shared = FLOAT * d.dim * d.vocab if tied else 0
    table = table_bytes(config, names)
    return {
        "vision": FLOAT * vision,
        "resampler": FLOAT * resampler,
        "decoder": FLOAT * (norms + rotary) + table - shared,
    }
