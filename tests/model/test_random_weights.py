"""Random checkpoints: the same every time, the right sizes, and numbers worth comparing."""

from __future__ import annotations

import math

import pytest
import torch

from otter_model.checkpoint import Checkpoint, random_checkpoint
from otter_model.config import DecoderConfig, OtterConfig, PerceiverConfig, VisionConfig
from otter_model.errors import ConfigError
from otter_model.random_weights import RandomTensors
from otter_model.tiny import tiny_config

# Millions of parameters, counted on the reference's own modules; LLaMA's has the frame embeddings.
MILLIONS = {"otter-mpt1b": 2558.6, "otter-mpt7b": 8131.3, "otter-llama7b-video": 8220.6}


@pytest.mark.parametrize("name", MILLIONS)
def test_published_sizes(name: str) -> None:
    tensors = random_checkpoint(name).tensors
    assert isinstance(tensors, RandomTensors)
    total = sum(math.prod(tensors.shape(tensor)) for tensor in tensors)
    assert total / 1e6 == pytest.approx(MILLIONS[name], abs=0.06)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="otter-mpt7b"):
        random_checkpoint("otter-mpt3b")


def test_a_tensor_depends_on_seed_and_name_alone() -> None:
    config = tiny_config("mpt")
    name, other = "perceiver.latents", "perceiver.layers.0.to_q.weight"
    one, two = RandomTensors(config, seed=1), RandomTensors(config, seed=1)
    _ = two[other]
    assert torch.equal(one[name], two[name])
    assert not torch.equal(one[name], RandomTensors(config, seed=2)[name])
    gates = [one[key] for key in one if key.endswith("_gate")]
    assert len(gates) == 4
    assert all(float(gate) > 0.1 for gate in gates)


def test_logits_are_of_unit_size_and_pictures_matter() -> None:
    tiny = tiny_config("mpt")
    decoder = DecoderConfig("mpt", 256, 8, 4, 1024, 2000, 4)
    vision = VisionConfig(image_size=56, dim=128, layers=3, heads=4, mlp_dim=256)
    config = OtterConfig(vision, PerceiverConfig(128, depth=3), decoder, tiny.tokens)
    otter = Checkpoint(config, RandomTensors(config)).build().requires_grad_(False)
    picture = torch.randn(1, 1, 1, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    prompt = torch.tensor([[config.tokens.image, *range(100, 116)]])
    logits = otter(picture, prompt)
    assert 0.8 < float(logits.std()) < 1.25
    assert float((logits - otter(torch.zeros_like(picture), prompt)).std()) > 0.1
