"""A tiny Otter, a tokenizer of bytes, and a MIMIC-IT set of every group, on disk."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from otter_model.checkpoint import Checkpoint, save
from otter_model.config import OtterConfig, Tokens
from otter_model.random_weights import RandomTensors
from otter_model.tiny import tiny_config
from otter_tuning.mimicit.image_store import ImageStore
from otter_tuning.mimicit.instructions import Instruction, Instructions

SPECIALS = ("<|endofchunk|>", "<image>", "<answer>", "<PAD>")


def byte_tokenizer() -> Tokenizer:
    """A token for each byte, then the special ones: 256 to 259."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(
        models.BPE(vocab={letter: at for at, letter in enumerate(alphabet)}, merges=[])
    )
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIALS])
    return made


TOKENS = Tokens(endofchunk=256, image=257, answer=258, pad=259)


def network(family: str = "mpt") -> OtterConfig:
    config = tiny_config(family, max_frames=4).with_vocab(272)  # type: ignore[arg-type]
    decoder = replace(config.decoder, max_positions=256)
    return replace(config, decoder=decoder, tokens=TOKENS)


@pytest.fixture(params=["mpt"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    config = network(request.param)
    save(Checkpoint(config, RandomTensors(config)).build(), tmp_path / "checkpoint")
    byte_tokenizer().save(str(tmp_path / "checkpoint" / "tokenizer.json"))
    return tmp_path / "checkpoint"


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.full((20, 20, 3), shade, np.uint8)
    pixels[::2] //= 2
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def mixture(tmp_path: Path) -> Path:
    """Four groups: stills in context, conversations, videos of other lengths, text."""
    folder = tmp_path / "data"
    with ImageStore(folder / "images.sqlite") as store:
        store.add((f"LA_00_IMG_{n:012d}", picture(20 + 9 * n)) for n in range(8))
        store.add(
            (f"DC_IMG_v_{v}_{n:04d}", picture(10 * v + n)) for v in range(4) for n in range(6)
        )
    stills, turns, videos, words = (Instructions() for _ in range(4))
    for n in range(8):
        image = (f"LA_00_IMG_{n:012d}",)
        others = (f"LACR_T2T_00_INS_{(n + 1) % 8:012d}",)
        stills.add(
            Instruction(f"LACR_T2T_00_INS_{n:012d}", f"which {n}?", f"it is {n}", image, others)
        )
    for n in range(4):
        image = (f"LA_00_IMG_{n:012d}",)
        first = f"LACONV_00_INS_{n:012d}_0"
        turns.add(Instruction(first, "what?", "a thing", image))
        turns.add(
            Instruction(f"LACONV_00_INS_{n:012d}_1", "and then?", f"{n} more", image, (first,))
        )
        frames = tuple(f"DC_IMG_v_{n}_{frame:04d}" for frame in range(2 + n))
        videos.add(Instruction(f"DC_INS_{n:05d}", "what next?", f"go {n}", frames))
        words.add(Instruction(f"TX_INS_{n:05d}", f"say {n}", f"{n} it is"))
    lines = []
    for group, name, made in (
        ("IMAGE_TEXT_IN_CONTEXT", "LACR", stills),
        ("IMAGE_TEXT", "LACONV", turns),
        ("VIDEO_TEXT", "DC", videos),
        ("TEXT_ONLY", "TX", words),
    ):
        made.write(folder / f"{name}_instructions.json")
        images = "" if name == "TX" else ", images_path: images.sqlite"
        lines.append(f"{group}: {{{name}: {{mimicit_path: {name}_instructions.json{images}}}}}")
    (folder / "mixture.yaml").write_text("\n".join(lines))
    return folder / "mixture.yaml"
