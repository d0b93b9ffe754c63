"""How long the reference takes for one answer: the child of against_reference.py.

It runs in the environment that the user made for the reference, with no package of this project:
PyTorch, numpy and what the reference itself needs. It knows the reference's names; the weights are
a safetensors file under those names, the window and the prompt an .npz. Nothing of the reference is
changed. What its constructor would fetch from the network (a tokenizer, for two token ids) and what
it imports without using it for an answer (accelerate, peft) is put in its place where it is not
installed. The last line printed is JSON.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Imported by the reference for multi-GPU and LoRA alone.
UNUSED = {
    "accelerate.hooks": ("AlignDevicesHook", "add_hook_to_module"),
    "peft": ("LoraConfig", "TaskType", "get_peft_model"),
}
# CLIP's pooled output: computed, and not used.
UNSTORED = "vision_encoder.vision_model.post_layernorm."


class Tokens:
    """In the place of a tokenizer: the reference's constructor asks one for these ids only."""

    pad_token = "<PAD>"

    def __init__(self, ids: dict[str, int]) -> None:
        self.ids = ids

    def from_pretrained(self, name: str) -> Tokens:
        """Whatever its name, nothing is fetched."""
        return self

    def add_special_tokens(self, tokens: object) -> None:
        """They are known."""

    def encode(self, text: str) -> list[int]:
        """The id of a special token."""
        return [self.ids[text]]


def main() -> None:
    """Build, load, answer; one JSON line."""
    options = _parser().parse_args()
    # This folder's own modules are not the reference's to find.
    sys.path[0] = str(options.source)
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    begun = time.perf_counter()
    dtype = DTYPES[options.dtype]
    model = reference(options.weights / "config.json", dtype)
    load(model, options.weights / "model.safetensors")
    loaded_s = time.perf_counter() - begun
    with np.load(options.case) as case:
        vision_x = torch.from_numpy(case["vision_x"]).to(dtype)
        ids = torch.from_numpy(case["ids"])[None]
    report = {
        "dtype": options.dtype,
        "load_s": round(loaded_s, 1),
        **answer(model, vision_x, ids, options),
        "peak_gb": round(peak_bytes() / 1e9, 3),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": importlib.import_module("transformers").__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
    print(json.dumps(report))


def answer(
    model: Any, vision_x: torch.Tensor, ids: torch.Tensor, options: argparse.Namespace
) -> dict[str, Any]:
    """Seconds to the first token and to the last, by run; greedy, everything recomputed."""

    def generate(tokens: int) -> list[int]:
        generated = model.generate(
            vision_x,
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=tokens,
            num_beams=1,
            do_sample=False,
            no_repeat_ngram_size=options.no_repeat_ngram,
            use_cache=False,  # its cached decoding does not see the picture
            pad_token_id=0,
        )
        found: list[int] = generated[0, ids.shape[1] :].tolist()
        return found

    first, _ = timed(lambda: generate(1))
    if options.give_up_s is not None and first > options.give_up_s:
        return {"gave_up": True, "first_token_s": [round(first, 3)], "answer_s": [], "ids": []}
    runs = range(options.runs)
    firsts = [timed(lambda: generate(1))[0] for _ in runs]
    answers = [timed(lambda: generate(options.tokens)) for _ in runs]
    vision = timed(lambda: model._encode_vision_x(vision_x=vision_x))[0]
    return {
        "gave_up": False,
        "vision_s": round(vision, 3),
        "first_token_s": [round(span, 3) for span in firsts],
        "answer_s": [round(span, 3) for span, _ in answers],
        "ids": answers[-1][1],
    }


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what came of it."""
    begun = time.perf_counter()
    made = work()
    return time.perf_counter() - begun, made


def reference(config: Path, dtype: torch.dtype) -> Any:
    """The reference's network on the CPU, its weights not yet filled in."""
    importlib.import_module(
        "transformers"
    )  # it must look for these packages before they seem there
    for name, wanted in UNUSED.items():
        _stand_in(name, wanted)
    modeling = importlib.import_module("otter_ai.models.otter.modeling_otter")
    configuration = importlib.import_module("otter_ai.models.otter.configuration_otter")
    raw = json.loads(config.read_text())
    told = raw.pop("otter_edge")["tokens"]
    # A stop that is in no vocabulary, so that every answer has its full length.
    ids = {"<|endofchunk|>": raw["text_config"]["vocab_size"], "<image>": told["image"]}
    modeling.AutoTokenizer = Tokens(ids)  # type: ignore[attr-defined]
    # Made without memory and without random numbers first: both would be thrown away. `torch` is
    # the attention that its published configurations name.
    raw["text_config"].update(attn_impl="torch", init_device="meta")
    torch.set_default_dtype(dtype)
    with torch.device("meta"):
        model = modeling.OtterForConditionalGeneration(configuration.OtterConfig(**raw))
    torch.set_default_dtype(torch.float32)
    model.to_empty(device="cpu").eval()
    for name, buffer in model.named_buffers():
        if not name.endswith("position_ids"):
            raise SystemExit(f"the reference has a buffer {name} that is not known here")
        buffer.copy_(torch.arange(buffer.shape[-1])[None])
    return model


def load(model: Any, path: Path) -> None:
    """Copy each tensor of a safetensors file of float32 into the parameter of its name."""
    parameters = dict(model.named_parameters())
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        header.pop("__metadata__", None)
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            parameter = parameters.pop(name)
            values = np.fromfile(file, np.float32, parameter.numel())
            parameter.data.copy_(torch.from_numpy(values).view(entry["shape"]))
    if missing := [name for name in parameters if not name.startswith(UNSTORED)]:
        raise SystemExit(f"{path} lacks {missing[0]} and {len(missing) - 1} more")
    for parameter in parameters.values():
        parameter.data.zero_()


def peak_bytes() -> int:
    """The most memory that this process ever held."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _stand_in(name: str, wanted: tuple[str, ...]) -> None:
    """A module with these names and nothing behind them, where there is no such package."""
    package = name.split(".")[0]
    if importlib.util.find_spec(package) is not None:
        return
    module = types.ModuleType(name)
    module.__dict__.update(dict.fromkeys(wanted))
    sys.modules.setdefault(package, types.ModuleType(package))
    sys.modules[name] = module


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--source", type=Path, required=True, help="the folder of otter_ai")
    parser.add_argument("--weights", type=Path, required=True, help="config and safetensors")
    parser.add_argument("--case", type=Path, required=True, help="window and prompt, .npz")
    parser.add_argument("--dtype", choices=list(DTYPES), required=True)
    parser.add_argument("--tokens", type=int, required=True, help="of the answer")
    parser.add_argument("--no-repeat-ngram", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--give-up-s", type=float, help="if the first token takes longer")
    return parser


if __name__ == "__main__":
    main()
