"""Injected outliers: nothing changes in fp32, plain int8 fails, ours and int4 hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import otter_runtime
from otter_export.bundle_writer import Export
from otter_export.outliers import injected, sites
from otter_export.precision import LARGEST, RECIPES, Choice, Int8, Recipe
from otter_export.sample import Sample
from otter_export.settings import Settings
from otter_model.checkpoint import Checkpoint, open_checkpoint
from otter_model.config import Family
from otter_model.tiny import FAMILIES, tiny_checkpoint
from otter_runtime.bundle import Bundle
from otter_runtime.golden import load_golden

ROOT = Path(__file__).parents[2]
FINAL: dict[Family, set[str]] = {"mpt": {"norm_f"}, "mpt1b": {"ln_f"}, "llama": set()}
POCKET = Path(otter_runtime.__file__).parent / "pocket" / "bundle-int8"


@pytest.mark.parametrize("family", FAMILIES)
def test_fp32_outputs_stay_as_they_were(family: Family) -> None:
    plain = tiny_checkpoint(family, max_frames=4)
    outlying = injected(plain, share=0.1)
    ids = torch.tensor([[61, 3, 4, 5, 62, 7, 8]])
    vision_x = torch.randn(1, 1, 3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    before, after = (
        checkpoint.build().requires_grad_(False)(vision_x, ids, torch.ones_like(ids))
        for checkpoint in (plain, outlying)
    )
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_norm_with_a_reader_of_its_own_has_outliers(family: Family) -> None:
    plain = tiny_checkpoint(family, max_frames=4)
    outlying = injected(plain)
    norms = {norm for site in sites(plain.tensors) for norm in site.norms}
    for name in norms:
        ratio = outlying.tensors[f"{name}.weight"] / plain.tensors[f"{name}.weight"]
        assert int((ratio > 1.001).sum()) == 1  # 1 % of so few channels, rounded up
        assert 29.9 < float(ratio.max()) < 100.1
    vectors = {
        name.removesuffix(".weight")
        for name, tensor in plain.tensors.items()
        if name.endswith(".weight") and tensor.ndim == 1
    }
    # Left: norms of q and k, CLIP's first and last (no linear layer reads them), a tied head's.
    endings = {name.rsplit(".", 1)[1] for name in vectors - norms}
    assert endings - {"q_ln", "k_ln"} == {"pre_layrnorm", "post_layernorm", *FINAL[family]}


def test_the_seed_decides() -> None:
    plain = tiny_checkpoint("mpt")
    name = "lang_encoder.transformer.blocks.0.decoder_layer.norm_1.weight"
    one, again, other = (injected(plain, seed=seed).tensors[name] for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.fixture(scope="module")
def pocket() -> tuple[Checkpoint, list[Sample]]:
    """The pocket model, and the real windows and prompts of its golden answers."""
    golden = load_golden(Bundle.load(POCKET))
    pixels = [golden.pixels[medium] for medium in golden.medium]
    rows = [
        (prompt + answer, index + index[-1:] * len(answer))
        for prompt, answer, index in zip(
            golden.prompts, golden.answers, golden.media_index, strict=True
        )
    ]
    samples = [Sample(p, *row) for p, row in zip(pixels, rows, strict=True)]
    return open_checkpoint(ROOT / "tuning" / "pocket" / "checkpoint"), samples


def test_plain_int8_fails_where_int8_and_int4_hold(
    pocket: tuple[Checkpoint, list[Sample]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Recipe(lambda seen: Int8(seen["largest"], strength=0), (LARGEST,))
    monkeypatch.setitem(RECIPES, "plain", plain)
    checkpoint, samples = pocket
    settings = Settings(name="pocket", capacities=(128,))
    export = Export(injected(checkpoint), "int8", samples, settings, threads=1)
    figures = {}
    for name in ("int8", "int4", "plain"):
        made = replace(export, precision=Choice.all(name)).write(tmp_path / name)
        assert made.manifest.verification is not None
        figures[name] = made.manifest.verification
    for name in ("int8", "int4"):
        assert figures[name]["features_cosine"] > 0.999
        assert figures[name]["media_cosine"] > 0.999
        assert figures[name]["next_token_kl"] < 0.01
        assert figures[name]["answers_equal"] >= 7
    assert figures["plain"]["features_cosine"] < 0.99
    assert figures["plain"]["media_cosine"] < 0.97
    assert figures["plain"]["answers_equal"] < 7
    assert np.isfinite(figures["plain"]["next_token_kl"])
