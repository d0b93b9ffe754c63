"""LoRA as peft saves it: merged it gives the reference's logits; what is not plain is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from otter_model.checkpoint import open_checkpoint
from otter_model.errors import CheckpointError

RANK, ALPHA = 4, 6
# What Otter's own training wraps with peft, per family (reference: modeling_otter.py).
TARGETS = {
    "mpt-left-padded-batch2": "Wqkv",
    "mpt1b-single-image": "Wqkv",
    "llama-single-image": "[qv]_proj",
}
# adapter_config.json as peft 0.17 writes it, defaults included.
CONFIG: dict[str, Any] = {
    "alpha_pattern": {},
    "auto_mapping": None,
    "base_model_name_or_path": "luodian/OTTER-MPT7B-Init",
    "bias": "none",
    "corda_config": None,
    "eva_config": None,
    "exclude_modules": None,
    "fan_in_fan_out": False,
    "inference_mode": True,
    "init_lora_weights": True,
    "layer_replication": None,
    "layers_pattern": None,
    "layers_to_transform": None,
    "loftq_config": {},
    "lora_alpha": ALPHA,
    "lora_bias": False,
    "lora_dropout": 0.05,
    "megatron_config": None,
    "megatron_core": "megatron.core",
    "modules_to_save": None,
    "peft_type": "LORA",
    "qalora_group_size": 16,
    "r": RANK,
    "rank_pattern": {},
    "revision": None,
    "target_modules": ["q_proj", "v_proj"],
    "target_parameters": None,
    "task_type": "CAUSAL_LM",
    "trainable_token_indices": None,
    "use_dora": False,
    "use_qalora": False,
    "use_rslora": False,
}


def whole(name: str) -> str:
    """peft around the whole Otter."""
    return f"base_model.model.{name}"


def inner(name: str) -> str:
    """peft around its language model, as Otter's training does."""
    return f"base_model.model.{name.removeprefix('lang_encoder.')}"


def alone(name: str) -> str:
    """peft around the language model before it became Otter's."""
    return inner(name).replace(".decoder_layer.", ".")


Write = Callable[..., tuple[Path, Path]]


@pytest.fixture
def adapted(tmp_path: Path) -> Write:
    """Writes a base and an adapter whose sum is the golden case."""

    def write(
        case: Any,
        targets: str,
        named: Callable[[str], str] = inner,
        save: str = "safetensors",
        **options: Any,
    ) -> tuple[Path, Path]:
        base, adapter = dict(case.state), dict[str, Tensor]()
        noise = torch.Generator().manual_seed(1)
        scale = ALPHA / (RANK**0.5 if options.get("use_rslora") else RANK)
        for name, weight in case.state.items():
            if re.search(rf"^lang_encoder\..*decoder_layer\..*\.{targets}\.weight$", name):
                a = torch.randn(RANK, weight.shape[1], generator=noise)
                b = torch.randn(weight.shape[0], RANK, generator=noise) * 0.1
                base[name] = weight.float() - scale * (b @ a)
                module = named(name.removesuffix(".weight"))
                adapter |= {f"{module}.lora_A.weight": a, f"{module}.lora_B.weight": b}
        folder = tmp_path / "adapter"
        folder.mkdir()
        (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **options}))
        write_adapter(adapter, folder, save)
        torch.save(base, tmp_path / "pytorch_model.bin")
        return case.write_config(tmp_path), folder

    return write


def write_adapter(adapter: dict[str, Tensor], folder: Path, save: str = "safetensors") -> None:
    if save == "safetensors":
        save_file(adapter, folder / "adapter_model.safetensors")
    else:
        torch.save(adapter, folder / "adapter_model.bin")


@pytest.fixture
def llama(golden: Callable[[str], Any]) -> Any:
    return golden("llama-single-image")


@pytest.mark.parametrize(("name", "named"), list(zip(TARGETS, (whole, inner, alone), strict=True)))
def test_an_adapter_is_merged(
    name: str, named: Callable[[str], str], golden: Callable[[str], Any], adapted: Write
) -> None:
    case = golden(name)
    base, adapter = adapted(case, TARGETS[name], named)
    if named is inner:
        assert case.difference(open_checkpoint(base)) > 0.1
    assert case.difference(open_checkpoint(base, lora=adapter)) < 2e-5


def test_a_bin_adapter_with_stabilised_rank(llama: Any, adapted: Write) -> None:
    base, adapter = adapted(llama, "[qv]_proj", save="bin", use_rslora=True)
    assert llama.difference(open_checkpoint(base, lora=adapter)) < 2e-5


def test_an_adapter_of_every_linear_layer(llama: Any, adapted: Write) -> None:
    base, adapter = adapted(llama, r"\w+_proj")
    assert llama.difference(open_checkpoint(base, lora=adapter)) < 2e-5


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("use_dora", True),
        ("peft_type", "LOHA"),
        ("bias", "all"),
        ("fan_in_fan_out", True),
        ("rank_pattern", {"q_proj": 8}),
        ("alpha_pattern", {"q_proj": 8}),
        ("modules_to_save", ["embed_tokens"]),
        ("init_lora_weights", "pissa"),
        ("layers_to_transform", [1]),
        ("alora_invocation_tokens", [5]),
        ("something_new", 1),
    ],
)
def test_an_option_that_computes_something_else_is_named(
    option: str, value: Any, llama: Any, adapted: Write
) -> None:
    base, adapter = adapted(llama, "q_proj", **{option: value})
    with pytest.raises(CheckpointError, match=f"{option} of .*which is not supported"):
        open_checkpoint(base, lora=adapter)


LAYER = "base_model.model.model.layers.2.decoder_layer.self_attn.q_proj"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({f"{LAYER}.lora_A.weight": None}, "lacks one of A and B of 'model.layers.2"),
        (
            {f"{LAYER}.lora_A.weight": None, f"{LAYER}.lora_B.weight": None},
            r"lacks the adapter of 'lang_encoder.model.layers.2.*q_proj",
        ),
        ({f"{LAYER}.lora_A.weight": torch.ones(3, 64)}, "should have rank 4"),
        ({f"{LAYER}.lora_B.weight": torch.ones(63, 4)}, r"should have shape \(63, 64\)"),
        ({f"{LAYER}.lora_magnitude_vector": torch.ones(64)}, "lora_magnitude_vector"),
        ({"base_model.model.lm_head.lora_embedding_A": torch.ones(4, 64)}, "not LoRA of a linear"),
        (
            {
                "base_model.model.visitor.lora_A.weight": torch.ones(4, 64),
                "base_model.model.visitor.lora_B.weight": torch.ones(64, 4),
            },
            "adapts 'visitor', which the checkpoint does not have",
        ),
    ],
)
def test_what_an_adapter_lacks_or_has_besides_is_named(
    change: dict[str, Tensor | None], sentence: str, llama: Any, adapted: Write
) -> None:
    base, folder = adapted(llama, "q_proj", save="bin")
    adapter = torch.load(folder / "adapter_model.bin", weights_only=True) | change
    write_adapter({name: x for name, x in adapter.items() if x is not None}, folder, "bin")
    with pytest.raises(CheckpointError, match=sentence):
        open_checkpoint(base, lora=folder)


@pytest.mark.parametrize(("option", "value"), [("r", 0), ("r", "4"), ("lora_alpha", None)])
def test_numbers_that_are_none_are_named(
    option: str, value: Any, llama: Any, adapted: Write
) -> None:
    base, adapter = adapted(llama, "q_proj", **{option: value})
    with pytest.raises(CheckpointError, match=f"{option} of .* should be a positive number"):
        open_checkpoint(base, lora=adapter)
