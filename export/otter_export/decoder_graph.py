"""The decoder graph: tokens, media K/V and past K/V to logits and the new tokens' K/V.

Past buffers have a fixed capacity of which `past_len` tokens count; the graph reads them where
they are and returns only what is new. Scores against past and new keys are computed apart and
only they are joined, so nothing large is copied.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from otter_export.builder import Builder, Dim
from otter_export.language import Language
from otter_export.layers import MASKED, PERCEIVER_EPS, Layers, Norm, Weights
from otter_export.precision import Floats, Precision
from otter_model.config import DecoderConfig

EMBEDDING = "decoder.embedding"
TABLE = f"{EMBEDDING}.weight"


@dataclass
class Step:
    """What every layer of one run shares: masks, positions, media; values by name."""

    capacity: str  # (1,)
    bias: str  # (heads, n, capacity + n) for ALiBi, (n, capacity + n) for RoPE
    media_bias: str  # (n, media tokens)
    sees: str  # (n, 1): 0 where a token sees no medium
    media_k: list[str]  # per gated layer (cross heads, media tokens, head_dim)
    media_v: list[str]
    rotation: tuple[str, str] | None  # cos, sin (n, head_dim)


class DecoderGraph:
    """Writes the nodes; usable whole (`build`) or layer by layer."""

    def __init__(self, config: DecoderConfig, latents: int, weights: Weights) -> None:
        self.config = config
        self.latents = latents
        self.language = Language(config, weights)

    def build(self, b: Builder, precision: Precision, head: Precision | None = None) -> None:
        """The whole graph into `b`; `head` is the output projection's precision, if another."""
        c = self.config
        ids = b.input("input_ids", "int64", ["tokens"])
        step = self.begin(b)
        rows = b.input("logit_positions", "int64", ["rows"])
        past = [self.past(b, i) for i in range(c.layers)]
        x = self.embed(b, precision, ids)
        fresh = []
        for i in range(c.layers):
            x, k, v = self.layer(b, precision, step, x, i, *past[i])
            fresh.append((k, v))
        logits = self.head(b, head or precision, x, rows)
        b.output(logits, "logits", "float32", ["rows", c.vocab])
        for i, (k, v) in enumerate(fresh):
            shape: list[Dim] = [c.heads, "tokens", c.head_dim]
            b.output(k, f"new_k.{i}", "float32", shape)
            b.output(v, f"new_v.{i}", "float32", shape)

    def past(self, b: Builder, i: int) -> tuple[str, str]:
        """Declare layer `i`'s past K and V inputs."""
        shape: list[Dim] = [self.config.heads, "capacity", self.config.head_dim]
        return (
            b.input(f"past_k.{i}", "float32", shape),
            b.input(f"past_v.{i}", "float32", shape),
        )

    def begin(self, b: Builder, first_layer: int = 0) -> Step:
        """Declare the inputs that layers share, and what they compute from them once.

        The capacity is read off `past_k.{first_layer}`, which the caller declares.
        """
        c = self.config
        positions = b.input("positions", "int64", ["tokens"])
        media_index = b.input("media_index", "int64", ["tokens"])
        gated = len(c.gated_layers)
        media: list[Dim] = [gated, c.cross_heads, "media_tokens", c.cross_head_dim]
        k = b.input("media_k", "float32", media)
        v = b.input("media_v", "float32", media)
        past_len = b.input("past_len", "int64", [1])
        capacity = b.op("Shape", f"past_k.{first_layer}", start=1, end=2)
        bias = self._bias(b, positions, past_len, capacity)
        media_bias, sees = self._media_bias(b, media_index, k)
        rotation = self._rotation(b, positions) if c.family == "llama" else None
        return Step(
            capacity,
            bias,
            media_bias,
            sees,
            self._layers_of(b, k, gated),
            self._layers_of(b, v, gated),
            rotation,
        )

    def embed(self, b: Builder, precision: Precision, ids: str) -> str:
        """Token ids (n) to (n, dim)."""
        return precision.table(b, EMBEDDING, self.language.embedding(), ids)

    def head(self, b: Builder, precision: Precision, x: str, rows: str) -> str:
        """Final norm and output projection of `rows` only: (rows, vocab)."""
        x = b.op("Gather", x, rows, axis=0)
        layers, norm = Layers(b, precision), self.language.final_norm()
        if self.config.tied_head and precision.name == "fp32" and b.has(TABLE, "float32"):
            # The table as it lies there: in fp32 it is a tenth of a small model.
            x = layers.norm(x, "decoder.head.norm", norm)
            return b.op("MatMul", x, b.op("Transpose", TABLE, perm=[1, 0]))
        return layers.normed_linear(x, "decoder.head", norm, self.language.head())

    def layer(
        self, b: Builder, precision: Precision, step: Step, x: str, i: int, past_k: str, past_v: str
    ) -> tuple[str, str, str]:
        """Layer `i`, with the gated cross-attention before it where it has one: x, new K, new V."""
        layers, name = Layers(b, precision), f"decoder.{i}"
        with b.scope(name):
            if i in self.config.gated_layers:
                x = self._gated(layers, step, x, i)
            out, k, v = self._attention(layers, step, x, i, past_k, past_v)
            x = b.op("Add", x, out)
            return b.op("Add", x, self._mlp(layers, x, i)), k, v

    def _gated(self, layers: Layers, step: Step, x: str, i: int) -> str:
        b, c, name = layers.b, self.config, f"decoder.{i}.gated"
        w, at = self.language.gated(i), c.gated_layers.index(i)
        norm = Norm(w("attn.norm.weight"), w("attn.norm.bias"), PERCEIVER_EPS)
        matrix = w.matrix("attn.to_q") * np.float32(c.cross_head_dim**-0.5)
        q = layers.normed_linear(x, f"{name}.q", norm, matrix)
        q = layers.heads(q, c.cross_heads, c.cross_head_dim)
        scores = b.op("Add", layers.scores(q, step.media_k[at]), step.media_bias)
        mixed = b.op("MatMul", b.op("Softmax", scores, axis=-1), step.media_v[at])
        # A token that sees no medium gets exactly 0, not a mean over media (reference: zeroed).
        mixed = b.op("Mul", mixed, step.sees)
        mixed = layers.unheads(mixed, c.cross_heads * c.cross_head_dim)
        out = w.matrix("attn.to_out") * np.tanh(w("attn_gate"))
        x = b.op("Add", x, layers.linear(mixed, f"{name}.out", out))
        hidden = layers.feed_forward(x, f"{name}.ff", w.at("feed_forward"), w("ff_gate"))
        return b.op("Add", x, hidden)

    def _attention(
        self, layers: Layers, step: Step, x: str, i: int, past_k: str, past_v: str
    ) -> tuple[str, str, str]:
        b, c, name = layers.b, self.config, f"decoder.{i}"
        norm = self.language.attention_norm(i)
        qkv = layers.normed_linear(x, f"{name}.qkv", norm, self.language.qkv(i))
        q, k, v = self._qkv(layers, step, qkv, i)
        scores = b.op("Concat", layers.scores(q, past_k), layers.scores(q, k), axis=-1)
        seen = b.op("Softmax", b.op("Add", scores, step.bias), axis=-1)
        end = b.constant([np.iinfo(np.int64).max])
        old = layers.slice(seen, b.constant([0]), step.capacity, 2)
        new = layers.slice(seen, step.capacity, end, 2)
        mixed = b.op("Add", b.op("MatMul", old, past_v), b.op("MatMul", new, v))
        mixed = layers.unheads(mixed, c.dim)
        return layers.linear(mixed, f"{name}.out", self.language.attention_out(i)), k, v

    def _qkv(self, layers: Layers, step: Step, qkv: str, i: int) -> tuple[str, str, str]:
        """(n, 3·dim) to q, k, v (heads, n, head_dim), normed or rotated where the family does."""
        b, c = layers.b, self.config
        if c.qk_norm:
            q, k, v = b.ops("Split", 3, qkv, axis=1, num_outputs=3)
            q_norm, k_norm = self.language.qk_norms(i)
            q = layers.norm(q, f"decoder.{i}.q_norm", q_norm)
            k = layers.norm(k, f"decoder.{i}.k_norm", k_norm)
            q, k, v = (layers.heads(part, c.heads, c.head_dim) for part in (q, k, v))
            return q, k, v
        parts = layers.heads(qkv, 3 * c.heads, c.head_dim)
        if step.rotation is None:
            q, k, v = b.ops("Split", 3, parts, axis=0, num_outputs=3)
            return q, k, v
        qk, v = b.ops("Split", 2, parts, b.constant([2 * c.heads, c.heads]), axis=0)
        q, k = b.ops("Split", 2, self._rotated(b, qk, step.rotation), axis=0, num_outputs=2)
        return q, k, v

    def _mlp(self, layers: Layers, x: str, i: int) -> str:
        name, language = f"decoder.{i}", self.language
        hidden = layers.normed_linear(x, f"{name}.up", language.mlp_norm(i), language.mlp_up(i))
        if self.config.family == "llama":
            gate, up = layers.b.ops("Split", 2, hidden, axis=1, num_outputs=2)
            hidden = layers.b.op("Mul", layers.silu(gate), up)
        else:
            hidden = layers.gelu(hidden)
        return layers.linear(hidden, f"{name}.down", language.mlp_down(i))

    def _bias(self, b: Builder, positions: str, past_len: str, capacity: str) -> str:
        """What is added to the scores: ALiBi's -slope·(q - k), and MASKED where k is not seen.

        A past slot's position is its index. A key's turn is -1 where it holds a token, its index
        among the new tokens, or one past any of them where the slot is empty.
        """
        zero, one = b.constant(0), b.constant(1)
        slots = b.op("Range", zero, b.op("Squeeze", capacity), one)
        count = b.op("Shape", positions, start=0, end=1)
        turns = b.op("Range", zero, b.op("Squeeze", count), one)
        held = b.op("Less", slots, past_len)
        slot_turns = b.op("Where", held, b.constant(-1), b.constant(np.iinfo(np.int32).max))
        key_turns = b.op("Concat", slot_turns, turns, axis=0)
        query_turns = b.op("Unsqueeze", turns, b.constant([1]))
        seen = b.op("LessOrEqual", key_turns, query_turns)  # (n, capacity + n)
        masked = b.constant(MASKED, np.float32)
        if self.config.family == "llama":
            return b.op("Where", seen, b.constant(0, np.float32), masked)
        keys = b.op("Concat", slots, positions, axis=0)
        queries = b.op("Unsqueeze", positions, b.constant([1]))
        distance = b.op("Cast", b.op("Sub", keys, queries), to=1)
        slopes = alibi_slopes(self.config.heads, self.config.alibi_bias_max)[:, None, None]
        sloped = b.op("Mul", distance, b.weight("decoder.slopes", slopes))
        return b.op("Where", seen, sloped, masked)

    def _media_bias(self, b: Builder, media_index: str, media_k: str) -> tuple[str, str]:
        """(n, media tokens): 0 for the latents of the medium a token sees; and (n, 1) sees any."""
        length = b.op("Squeeze", b.op("Shape", media_k, start=2, end=3))
        latent = b.op("Range", b.constant(0), length, b.constant(1))
        medium = b.op("Add", b.op("Div", latent, b.constant(self.latents)), b.constant(1))
        index = b.op("Unsqueeze", media_index, b.constant([1]))
        mine = b.op("Equal", index, medium)
        bias = b.op("Where", mine, b.constant(0, np.float32), b.constant(MASKED, np.float32))
        return bias, b.op("Cast", b.op("Greater", index, b.constant(0)), to=1)

    def _layers_of(self, b: Builder, media: str, gated: int) -> list[str]:
        if gated == 1:
            return [b.op("Squeeze", media, b.constant([0]))]
        parts = b.ops("Split", gated, media, axis=0, num_outputs=gated)
        return [b.op("Squeeze", part, b.constant([0])) for part in parts]

    def _rotation(self, b: Builder, positions: str) -> tuple[str, str]:
        cos, sin = rotary_tables(self.config)
        return (
            b.op("Gather", b.weight("decoder.cos", cos), positions, axis=0),
            b.op("Gather", b.weight("decoder.sin", sin), positions, axis=0),
        )

    def _rotated(self, b: Builder, x: str, rotation: tuple[str, str]) -> str:
        """x·cos + swap(x)·sin, the first half's minus sign being in the sin table."""
        low, high = b.ops("Split", 2, x, axis=2, num_outputs=2)
        swapped = b.op("Concat", high, low, axis=2)
        return b.op("Add", b.op("Mul", x, rotation[0]), b.op("Mul", swapped, rotation[1]))


def alibi_slopes(heads: int, bias_max: float) -> Floats:
    """MPT's slopes (heads,): 2^(-max·h/H), interleaved where heads is no power of two."""
    full = 2 ** math.ceil(math.log2(heads))
    slopes = 2.0 ** (-bias_max * np.arange(1, full + 1) / full)
    if full != heads:
        slopes = np.concatenate([slopes[1::2], slopes[::2]])[:heads]
    result: Floats = slopes.astype(np.float32)
    return result


def rotary_tables(config: DecoderConfig) -> tuple[Floats, Floats]:
    """cos and signed sin (max_positions, head_dim) of LLaMA's half-rotation."""
    half = config.head_dim // 2
    # As the reference: inverse frequencies and angles in float32.
    power = np.arange(0, config.head_dim, 2).astype(np.float32) / np.float32(config.head_dim)
    inverse = (1 / np.float32(config.rope_theta) ** power).astype(np.float32)
    angles = np.arange(config.max_positions, dtype=np.float32)[:, None] * inverse
    cos, sin = np.cos(angles), np.sin(angles)
    assert cos.shape[1] == half
    return np.concatenate([cos, cos], axis=1), np.concatenate([-sin, sin], axis=1)
