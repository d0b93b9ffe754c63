"""The eyes: CLIP's vision transformer, pixels in, one feature vector per patch out.

Otter takes the last layer's patch tokens as they are: no class token, no final layer norm (the
checkpoint has one, `post_layernorm`, that nothing uses). Facts: otter `modeling_otter.py`
`_encode_vision_x`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from otter_model.attention import attend, split_heads
from otter_model.config import VisionConfig


class VisionEncoder(nn.Module):
    """Holds the reference's extra level of names (`vision_encoder.vision_model.…`)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.vision_model = VisionModel(config)

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels (n,3,H,W) normalised as CLIP wants -> features (n,patches,dim)."""
        features: Tensor = self.vision_model(pixels)
        return features


class VisionModel(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.embeddings = PatchEmbeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.dim, eps=config.layer_norm_eps)
        self.encoder = VisionLayers(config)
        self.post_layernorm = nn.LayerNorm(config.dim, eps=config.layer_norm_eps)  # unused

    def forward(self, pixels: Tensor) -> Tensor:
        x: Tensor = self.pre_layrnorm(self.embeddings(pixels))
        for layer in self.encoder.layers:
            x = layer(x)
        return x[:, 1:]


class PatchEmbeddings(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        patch = config.patch_size
        self.class_embedding = nn.Parameter(torch.randn(config.dim) * config.dim**-0.5)
        self.patch_embedding = nn.Conv2d(3, config.dim, patch, stride=patch, bias=False)
        self.position_embedding = nn.Embedding(config.patches + 1, config.dim)

    def forward(self, pixels: Tensor) -> Tensor:
        """(n,3,H,W) -> (n,1+patches,dim), the class token first."""
        patches = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(pixels), 1, -1)
        x: Tensor = torch.cat([first, patches], dim=1) + self.position_embedding.weight
        return x


class VisionLayers(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(VisionLayer(config) for _ in range(config.layers))


class VisionLayer(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.dim, eps=config.layer_norm_eps)
        self.self_attn = VisionAttention(config)
        self.layer_norm2 = nn.LayerNorm(config.dim, eps=config.layer_norm_eps)
        self.mlp = VisionMlp(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        out: Tensor = x + self.mlp(self.layer_norm2(x))
        return out


class VisionAttention(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.scale = (config.dim // config.heads) ** -0.5
        self.q_proj = nn.Linear(config.dim, config.dim)
        self.k_proj = nn.Linear(config.dim, config.dim)
        self.v_proj = nn.Linear(config.dim, config.dim)
        self.out_proj = nn.Linear(config.dim, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        q = split_heads(self.q_proj(x) * self.scale, self.heads)
        k, v = split_heads(self.k_proj(x), self.heads), split_heads(self.v_proj(x), self.heads)
        out: Tensor = self.out_proj(attend(q, k, v))
        return out


class VisionMlp(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.dim, config.mlp_dim)
        self.fc2 = nn.Linear(config.mlp_dim, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.fc1(x)
        out: Tensor = self.fc2(quick_gelu(hidden, self.training))
        return out


def quick_gelu(x: Tensor, training: bool) -> Tensor:
    """x·sigmoid(1.702x); in training by way of SiLU, half the steps, other roundings."""
    if training:  # a sixth less time per step of the pocket model; logits move by 1e-5
        return functional.silu(1.702 * x) * (1 / 1.702)
    return x * torch.sigmoid(1.702 * x)
