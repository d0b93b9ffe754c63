"""Where each decoder family keeps its weights, as one set of names for the graph to ask.

MPT-7B style (`mpt`), MosaicGPT-1B style (`mpt1b`) and LLaMA.
"""

from __future__ import annotations

import numpy as np

from otter_export.layers import Norm, Weights
from otter_export.precision import Floats
from otter_model.config import DecoderConfig

ROOT = "lang_encoder"
# family: blocks, embedding, final norm, norm before attention, norm before the MLP
PLACES = {
    "mpt": ("transformer.blocks", "transformer.wte", "transformer.norm_f", "norm_1", "norm_2"),
    "mpt1b": ("transformer.blocks", "transformer.wte", "transformer.ln_f", "ln_1", "ln_2"),
    "llama": (
        "model.layers",
        "model.embed_tokens",
        "model.norm",
        "input_layernorm",
        "post_attention_layernorm",
    ),
}


class Language:
    """One decoder's weights, with attention scales and gates ready to be folded in."""

    def __init__(self, config: DecoderConfig, weights: Weights) -> None:
        self.config = config
        self.w = weights.at(ROOT)
        self._blocks, self._table, self._final, self._first, self._second = PLACES[config.family]

    def gated(self, i: int) -> Weights:
        """The gated cross-attention in front of layer `i`."""
        return self.w.at(f"{self._blocks}.{i}.gated_cross_attn_layer")

    def block(self, i: int) -> Weights:
        """The language model's own layer `i`."""
        return self.w.at(f"{self._blocks}.{i}.decoder_layer")

    def attention_norm(self, i: int) -> Norm:
        return self._norm(self.block(i), self._first)

    def mlp_norm(self, i: int) -> Norm:
        return self._norm(self.block(i), self._second)

    def final_norm(self) -> Norm:
        return self._norm(self.w, self._final)

    def embedding(self) -> Floats:
        """Token embeddings (vocab, dim)."""
        return self.w(f"{self._table}.weight")

    def head(self) -> Floats:
        """Output projection (dim, vocab); the embedding's where the two are tied."""
        return self.embedding().T if self.config.tied_head else self.w.matrix("lm_head")

    def qkv(self, i: int) -> Floats:
        """q, k, v projection (dim, 3·dim); 1/√head_dim is in q, unless a norm follows q."""
        w, c = self.block(i), self.config
        if c.family == "llama":
            matrix = w.matrix("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
        else:
            matrix = w.matrix("attn.Wqkv")
        if c.qk_norm:
            return matrix
        return matrix * np.repeat(np.array([c.head_dim**-0.5, 1, 1], np.float32), c.dim)

    def qk_norms(self, i: int) -> tuple[Norm, Norm]:
        """MosaicGPT's norms of q and k over all heads; 1/√head_dim is in q's."""
        w, c = self.block(i).at("attn"), self.config
        scale = np.float32(c.head_dim**-0.5)
        return (
            Norm(w("q_ln.weight") * scale, None, c.norm_eps),
            Norm(w("k_ln.weight"), None, c.norm_eps),
        )

    def attention_out(self, i: int) -> Floats:
        name = "self_attn.o_proj" if self.config.family == "llama" else "attn.out_proj"
        return self.block(i).matrix(name)

    def mlp_up(self, i: int) -> Floats:
        """(dim, mlp_dim), or gate and up side by side (dim, 2·mlp_dim) for LLaMA."""
        names = {
            "mpt": ["ffn.up_proj"],
            "mpt1b": ["mlp.mlp_up"],
            "llama": ["mlp.gate_proj", "mlp.up_proj"],
        }
        return self.block(i).matrix(*names[self.config.family])

    def mlp_down(self, i: int) -> Floats:
        names = {"mpt": "ffn.down_proj", "mpt1b": "mlp.mlp_down", "llama": "mlp.down_proj"}
        return self.block(i).matrix(names[self.config.family])

    def _norm(self, w: Weights, name: str) -> Norm:
        rms = self.config.family == "llama"
        return Norm(w(f"{name}.weight"), None, self.config.norm_eps, rms)
