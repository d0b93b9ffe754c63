"""How good is a well-known quantizer on the same weights? bitsandbytes' LLM.int8() and NF4.

Every linear layer of the network but the head is replaced, as transformers' `load_in_8bit` and
`load_in_4bit` do; the network then runs in PyTorch on the CPU, in float32. LLM.int8() keeps
activation channels beyond 6 in float (arXiv 2208.07339); NF4 quantizes weights alone, in blocks of
64 (arXiv 2305.14314).
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from otter_export.precision import Floats
from otter_export.sample import Sample
from otter_model.checkpoint import Checkpoint
from otter_model.otter import Otter
from otter_runtime.errors import MissingExtra

OUTLIER = 6.0
# Quantizing it is no one's default: its error goes straight into the distribution.
KEPT = ("lm_head",)


def baselines(checkpoint: Checkpoint, samples: Sequence[Sample]) -> dict[str, list[Floats]]:
    """Logits (tokens, vocab) per sample, by the quantizer's name. Raises MissingExtra."""
    try:
        bnb: Any = importlib.import_module("bitsandbytes")
    except ModuleNotFoundError as error:
        raise MissingExtra("bitsandbytes", "compare") from error
    # It says at every product that it casts to half precision.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)

    def int8(linear: nn.Linear) -> nn.Module:
        made: nn.Module = bnb.nn.Linear8bitLt(
            linear.in_features,
            linear.out_features,
            linear.bias is not None,
            has_fp16_weights=False,
            threshold=OUTLIER,
        )
        return made

    def nf4(linear: nn.Linear) -> nn.Module:
        made: nn.Module = bnb.nn.Linear4bit(
            linear.in_features,
            linear.out_features,
            linear.bias is not None,
            compute_dtype=torch.float32,
            quant_type="nf4",
        )
        return made

    return {
        name: _logits(_quantized(checkpoint.build(), make), samples)
        for name, make in (("LLM.int8", int8), ("NF4", nf4))
    }


def _quantized(otter: Otter, make: Callable[[nn.Linear], nn.Module]) -> Otter:
    """`otter` with its linear layers replaced."""
    found = [(name, part) for name, part in otter.named_modules() if isinstance(part, nn.Linear)]
    for name, linear in found:
        if not name.endswith(KEPT):
            parent, _, last = name.rpartition(".")
            made = make(linear)
            made.load_state_dict(linear.state_dict())
            # bitsandbytes quantizes when a layer is moved to its device.
            setattr(otter.get_submodule(parent), last, made.requires_grad_(False).to("cpu"))
    return otter.eval()


def _logits(otter: Otter, samples: Sequence[Sample]) -> list[Floats]:
    rows = []
    with torch.inference_mode():
        for sample in samples:
            vision = torch.from_numpy(sample.pixels)[None, None]
            media = otter.look(vision)
            ids, index = torch.tensor([sample.ids]), torch.tensor([sample.media_index])
            rows.append(otter.decode(ids, index, media)[0][0].float().numpy())
    return rows
