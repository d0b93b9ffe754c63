"""The pocket Otter's sizes and its weights before training, as the checkpoint that training takes.

python -m otter_tuning.pocket.network --out build/pocket/fresh
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from otter_model.checkpoint import save
from otter_model.config import DecoderConfig, OtterConfig, PerceiverConfig, Tokens, VisionConfig
from otter_model.otter import Otter
from otter_tuning.pocket.data import PATCH, SIDE
from otter_tuning.pocket.tokenizer import special_ids, train_tokenizer

DIM, HEADS, LAYERS = 192, 6, 4


def pocket_config(tokenizer: Tokenizer) -> OtterConfig:
    """Every component of Otter with frame embeddings, MPT family, 5.9 M parameters."""
    end, image, answer, pad = special_ids(tokenizer)
    head_dim = DIM // HEADS
    return OtterConfig(
        vision=VisionConfig(SIDE, PATCH, DIM, LAYERS, HEADS, 4 * DIM),
        perceiver=PerceiverConfig(DIM, 2, 32, HEADS, head_dim, 4, max_frames=4),
        decoder=DecoderConfig(
            family="mpt",
            dim=DIM,
            layers=LAYERS,
            heads=HEADS,
            mlp_dim=4 * DIM,
            vocab=-(-tokenizer.get_vocab_size() // 16) * 16,
            cross_attn_every=2,
            max_positions=2048,
            cross_heads=HEADS,
            cross_head_dim=head_dim,
        ),
        tokens=Tokens(image=image, answer=answer, endofchunk=end, pad=pad),
    )


def fresh_otter(config: OtterConfig) -> Otter:
    """Random weights that train fast: open gates, positions told apart from the start."""
    otter = Otter(config)
    for name, parameter in otter.named_parameters():
        if name.endswith("_gate"):
            nn.init.ones_(parameter)  # the reference opens them during training, from 0
        elif "wte" in name:
            nn.init.normal_(parameter, std=0.05)
        elif "frame_embs" in name:
            nn.init.normal_(parameter, std=0.7)
        elif "position_embedding" in name:
            with torch.no_grad():
                parameter[1:] = grid_waves(
                    config.vision.image_size // config.vision.patch_size, DIM
                )
    return otter


def grid_waves(side: int, dim: int) -> Tensor:
    """(side², dim) sines and cosines of row and column, half the width each, amplitude 0.5."""
    steps = torch.arange(side, dtype=torch.float32)
    rates = torch.pi / side * 2.0 ** torch.linspace(0, 2, dim // 4)
    phase = steps[:, None] * rates  # (side, dim / 4)
    wave = 0.5 * torch.cat([phase.sin(), phase.cos()], 1)  # (side, dim / 2)
    rows, columns = wave[:, None].expand(-1, side, -1), wave[None].expand(side, -1, -1)
    return torch.cat([rows, columns], -1).flatten(0, 1)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the pocket Otter with random weights.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    torch.manual_seed(args.seed)
    tokenizer = train_tokenizer()
    save(fresh_otter(pocket_config(tokenizer)), args.out)
    tokenizer.save(str(args.out / "tokenizer.json"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
