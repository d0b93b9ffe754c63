"""What an Otter looks like: the sizes, read from the config.json of a published checkpoint.

Published configs leave out what the reference fixes in code (perceiver and cross-attention sizes,
token ids); those are the defaults here, and an `otter_edge` block in config.json overrides them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from otter_model.errors import ConfigError

Family = Literal["mpt", "mpt1b", "llama"]
Json = Mapping[str, Any]


@dataclass(frozen=True)
class VisionConfig:
    """CLIP ViT; the defaults are OpenAI ViT-L/14 at 224 pixels."""

    image_size: int = 224
    patch_size: int = 14
    dim: int = 1024
    layers: int = 24
    heads: int = 16
    mlp_dim: int = 4096
    layer_norm_eps: float = 1e-5

    @property
    def patches(self) -> int:
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class PerceiverConfig:
    """The resampler: F·patches features of one medium in, `latents` vectors out.

    `max_frames` is the number of frame embeddings, None where the checkpoint has none (a video is
    then a set of frames).
    """

    dim: int = 1024
    depth: int = 6
    latents: int = 64
    heads: int = 8
    head_dim: int = 64
    ff_mult: int = 4
    max_frames: int | None = None


@dataclass(frozen=True)
class DecoderConfig:
    """The language model, and the gated block in front of every `cross_attn_every`-th layer."""

    family: Family
    dim: int
    layers: int
    heads: int
    mlp_dim: int
    vocab: int
    cross_attn_every: int
    max_positions: int = 2048
    norm_eps: float = 1e-5
    qk_norm: bool = False
    alibi_bias_max: float = 8.0
    rope_theta: float = 10000.0
    cross_heads: int = 8
    cross_head_dim: int = 64
    cross_ff_mult: int = 4

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads

    @property
    def tied_head(self) -> bool:
        return self.family != "llama"

    @property
    def gated_layers(self) -> tuple[int, ...]:
        """Indices of the decoder layers that have a gated cross-attention in front."""
        every = self.cross_attn_every
        return tuple(i for i in range(self.layers) if (i + 1) % every == 0)


@dataclass(frozen=True)
class Tokens:
    """Ids of the special tokens; OpenFlamingo has no `answer`, only LLaMA has a `bos`."""

    image: int
    answer: int | None
    endofchunk: int
    pad: int
    bos: int | None = None


NEOX_TOKENS = Tokens(image=50278, answer=50279, endofchunk=50277, pad=50280)
LLAMA_TOKENS = Tokens(image=32001, answer=32002, endofchunk=32000, pad=32003, bos=1)
# OpenFlamingo adds no <answer>: what Otter calls <answer> is its pad.
FLAMINGO_NEOX_TOKENS = Tokens(image=50278, answer=None, endofchunk=50277, pad=50279)
FLAMINGO_LLAMA_TOKENS = Tokens(image=32001, answer=None, endofchunk=32000, pad=32002, bos=1)


@dataclass(frozen=True)
class OtterConfig:
    """A whole Otter.

    `use_cache` is the reference's default for this checkpoint: where it is set, the tokens that the
    reference generates do not see the picture (our `blind` mode).
    """

    vision: VisionConfig
    perceiver: PerceiverConfig
    decoder: DecoderConfig
    tokens: Tokens
    use_cache: bool = False

    @staticmethod
    def from_dict(config: Json) -> OtterConfig:
        """Reads a config.json of the Hugging Face Otter layout.

        Raises ConfigError for anything that is not one of the three decoder families.
        """
        text: Json = config.get("text_config") or {}
        edge: Json = config.get("otter_edge") or {}
        vision = _vision(config.get("vision_config") or {})
        llama = _family(text) == "llama"
        return OtterConfig(
            vision=vision,
            perceiver=_perceiver(
                edge.get("perceiver") or {}, vision.dim, config.get("max_num_frames")
            ),
            decoder=_decoder(
                text, edge.get("xattn") or {}, config.get("cross_attn_every_n_layers")
            ),
            tokens=_tokens(edge.get("tokens"), llama),
            use_cache=bool(text.get("use_cache", llama)),
        )

    def to_dict(self) -> dict[str, Any]:
        """A config.json that `from_dict` reads back to the same value."""
        perceiver, decoder, tokens = self.perceiver, self.decoder, self.tokens
        return {
            "architectures": ["OtterForConditionalGeneration"],
            "model_type": "otter",
            "cross_attn_every_n_layers": decoder.cross_attn_every,
            "max_num_frames": perceiver.max_frames,
            "vision_config": _vision_dict(self.vision),
            "text_config": {**_text_dict(decoder), "use_cache": self.use_cache},
            "otter_edge": {
                "perceiver": {
                    "depth": perceiver.depth,
                    "dim_head": perceiver.head_dim,
                    "heads": perceiver.heads,
                    "num_latents": perceiver.latents,
                    "ff_mult": perceiver.ff_mult,
                },
                "xattn": {
                    "dim_head": decoder.cross_head_dim,
                    "heads": decoder.cross_heads,
                    "ff_mult": decoder.cross_ff_mult,
                },
                "tokens": {
                    "eoc": tokens.endofchunk,
                    "image": tokens.image,
                    "answer": tokens.answer,
                    "pad": tokens.pad,
                    "bos": tokens.bos,
                },
            },
        }

    def with_vocab(self, vocab: int) -> OtterConfig:
        """The same network with another number of embedding rows."""
        return replace(self, decoder=replace(self.decoder, vocab=vocab))


_MPT_LIKE: dict[Family, dict[str, int]] = {
    "mpt": {"dim": 4096, "layers": 32, "heads": 32, "vocab": 50432, "cross_attn_every": 4},
    "mpt1b": {"dim": 2048, "layers": 24, "heads": 16, "vocab": 50432, "cross_attn_every": 1},
}


# Language models that Otter or OpenFlamingo exist with, but this package has not.
_UNSUPPORTED = {
    "gptneox": "GPT-NeoX (OpenFlamingo-4B)",
    "gpt_neox": "GPT-NeoX (OpenFlamingo-4B)",
    "falcon": "Falcon",
    "rwforcausallm": "Falcon",
    "refinedweb": "Falcon",
}


def _refuse_unsupported(*names: Any) -> None:
    for fragment, called in _UNSUPPORTED.items():
        if any(fragment in str(name).lower() for name in names):
            raise ConfigError(
                f"the language model should be MPTForCausalLM, MosaicGPT or a LLaMA, but is "
                f"{called}, which is not supported; choose another checkpoint"
            )


def _family(text: Json) -> Family:
    architecture = (text.get("architectures") or [""])[0]
    _refuse_unsupported(architecture, text.get("model_type"))
    if architecture in ("MPTForCausalLM", "MptForCausalLM"):
        return "mpt"
    if architecture == "MosaicGPT":
        return "mpt1b"
    name = str(text.get("_name_or_path", ""))
    if architecture == "LlamaForCausalLM" or "llama" in name or text.get("model_type") == "llama":
        return "llama"
    raise ConfigError(
        "text_config of config.json must name MPTForCausalLM, MosaicGPT or a LLaMA, "
        f"but has architectures={text.get('architectures')!r} and _name_or_path={name!r}; "
        "give the config.json of an Otter or OpenFlamingo checkpoint"
    )


def _require(where: str, config: Json, **supported: Any) -> None:
    """Refuses a field that would change the arithmetic; one left out has the supported value."""
    for name, wanted in supported.items():
        got = config.get(name)
        if got is not None and got != wanted:
            raise ConfigError(
                f"{where}.{name} must be {wanted!r} but is {got!r}; "
                "no published Otter differs here, so this checkpoint is not supported"
            )


def _vision(vision: Json) -> VisionConfig:
    _require("vision_config", vision, hidden_act="quick_gelu", num_channels=3)
    # A config that leaves these out means ViT-L/14, not the (smaller) class defaults of
    # transformers.
    return VisionConfig(
        image_size=vision.get("image_size", 224),
        patch_size=vision.get("patch_size", 14),
        dim=vision.get("hidden_size", 1024),
        layers=vision.get("num_hidden_layers", 24),
        heads=vision.get("num_attention_heads", 16),
        mlp_dim=vision.get("intermediate_size", 4096),
        layer_norm_eps=vision.get("layer_norm_eps", 1e-5),
    )


def _vision_dict(vision: VisionConfig) -> dict[str, Any]:
    return {
        "model_type": "clip_vision_model",
        "hidden_act": "quick_gelu",
        "image_size": vision.image_size,
        "patch_size": vision.patch_size,
        "hidden_size": vision.dim,
        "num_hidden_layers": vision.layers,
        "num_attention_heads": vision.heads,
        "intermediate_size": vision.mlp_dim,
        "layer_norm_eps": vision.layer_norm_eps,
    }


def _perceiver(block: Json, dim: int, max_frames: int | None) -> PerceiverConfig:
    return PerceiverConfig(
        dim=dim,
        depth=block.get("depth", 6),
        latents=block.get("num_latents", 64),
        heads=block.get("heads", 8),
        head_dim=block.get("dim_head", 64),
        ff_mult=block.get("ff_mult", 4),
        max_frames=max_frames,
    )


def _decoder(text: Json, cross: Json, every: int | None) -> DecoderConfig:
    family = _family(text)
    decoder = _llama(text, every) if family == "llama" else _mpt(family, text, every)
    return replace(
        decoder,
        cross_heads=cross.get("heads", 8),
        cross_head_dim=cross.get("dim_head", 64),
        cross_ff_mult=cross.get("ff_mult", 4),
    )


def _mpt(family: Family, text: Json, every: int | None) -> DecoderConfig:
    published = _MPT_LIKE[family]
    # MPT-7B keeps the attention's fields in attn_config, MosaicGPT beside the others, some renamed.
    attention: Json = (text.get("attn_config") or {}) if family == "mpt" else text
    where = "text_config.attn_config" if family == "mpt" else "text_config"
    _require("text_config", text, no_bias=True, logit_scale=None)
    _require(where, attention, alibi=True, prefix_lm=False, softmax_scale=None)
    _require(where, attention, attn_type="multihead_attention")
    _require(where, attention, clip_qkv=None, attn_clip_qkv=None)
    dim = text.get("d_model", published["dim"])
    qk_norm = attention.get("qk_ln", False) if family == "mpt" else text.get("attn_qk_ln", True)
    ratio = text.get("expansion_ratio" if family == "mpt" else "mlp_ratio", 4)
    return DecoderConfig(
        family=family,
        dim=dim,
        layers=text.get("n_layers", published["layers"]),
        heads=text.get("n_heads", published["heads"]),
        mlp_dim=ratio * dim,
        vocab=text.get("vocab_size", published["vocab"]),
        cross_attn_every=every or published["cross_attn_every"],
        max_positions=text.get("max_seq_len", 2048),
        norm_eps=1e-5,
        qk_norm=qk_norm,
        alibi_bias_max=float(attention.get("alibi_bias_max", 8)),
    )


def _llama(text: Json, every: int | None) -> DecoderConfig:
    heads = text.get("num_attention_heads", 32)
    _require("text_config", text, hidden_act="silu", rope_scaling=None, attention_bias=False)
    _require("text_config", text, num_key_value_heads=heads)
    return DecoderConfig(
        family="llama",
        dim=text.get("hidden_size", 4096),
        layers=text.get("num_hidden_layers", 32),
        heads=heads,
        mlp_dim=text.get("intermediate_size", 11008),
        vocab=text.get("vocab_size", 32004),
        cross_attn_every=every or 4,
        max_positions=text.get("max_position_embeddings", 2048),
        norm_eps=text.get("rms_norm_eps", 1e-6),
        rope_theta=float(text.get("rope_theta", 10000.0)),
    )


def _text_dict(decoder: DecoderConfig) -> dict[str, Any]:
    if decoder.family == "llama":
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": decoder.dim,
            "num_hidden_layers": decoder.layers,
            "num_attention_heads": decoder.heads,
            "intermediate_size": decoder.mlp_dim,
            "vocab_size": decoder.vocab,
            "max_position_embeddings": decoder.max_positions,
            "rms_norm_eps": decoder.norm_eps,
            "rope_theta": decoder.rope_theta,
        }
    text: dict[str, Any] = {
        "d_model": decoder.dim,
        "hidden_size": decoder.dim,  # the reference reads both names
        "n_layers": decoder.layers,
        "n_heads": decoder.heads,
        "vocab_size": decoder.vocab,
        "max_seq_len": decoder.max_positions,
        "no_bias": True,
    }
    ratio, bias_max = decoder.mlp_dim // decoder.dim, decoder.alibi_bias_max
    if decoder.family == "mpt":
        attention = {"alibi": True, "alibi_bias_max": bias_max, "qk_ln": decoder.qk_norm}
        names = {"architectures": ["MPTForCausalLM"], "model_type": "mpt"}
        return {**names, **text, "expansion_ratio": ratio, "attn_config": attention}
    attention = {"alibi": True, "alibi_bias_max": bias_max, "attn_qk_ln": decoder.qk_norm}
    names = {"architectures": ["MosaicGPT"], "model_type": "mosaic_gpt"}
    return {**names, **text, "mlp_ratio": ratio, **attention}


def _tokens(block: Json | None, llama: bool) -> Tokens:
    if block is None:
        return LLAMA_TOKENS if llama else NEOX_TOKENS
    if missing := {"image", "eoc", "pad"} - set(block):
        raise ConfigError(
            f"otter_edge.tokens of config.json must give the ids of image, eoc and pad, but lacks "
            f"{', '.join(sorted(missing))}; add them"
        )
    return Tokens(
        image=block["image"],
        answer=block.get("answer"),
        endofchunk=block["eoc"],
        pad=block["pad"],
        bos=block.get("bos"),
    )
