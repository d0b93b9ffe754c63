"""NVIDIA ModelOpt on the pocket Otter, in PyTorch, beside our own int8 and int4.

    python benchmarks/modelopt_baseline.py --keep DIR
    python benchmarks/modelopt_baseline.py --questions 70 --recipes INT8_SMOOTHQUANT_CFG

Needs `pip install nvidia-modelopt`, best in an environment of its own. Its recipes quantize
the network's linear layers but the head, with the same calibration samples as ours, and run as
ModelOpt simulates them, rounding to the codes and back in float32. What counts is the next token
along the right answers of the same questions: KL from fp32, and how often the likeliest token is
the same. Prints a table, then one JSON line.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quantized_accuracy import CHECKPOINT, KL_QUESTIONS, SHIPPED, Run, divergence

from otter_export.sample import Sample, read_samples
from otter_model.checkpoint import open_checkpoint
from otter_model.otter import Otter
from otter_runtime.bundle import Bundle
from otter_runtime.engine import Floats
from otter_runtime.errors import OtterError, UserError
from otter_runtime.preprocess import Preprocessor
from otter_runtime.prompt import render
from otter_tuning.pocket.cases import Case

RECIPES = ("INT8_SMOOTHQUANT_CFG", "INT8_DEFAULT_CFG", "INT4_AWQ_CFG")
OURS = ("int8", "int4")
Figures = dict[str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Quantize, ask, print; the exit code, 2 for the user's mistakes."""
    args = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.keep or Path(temporary)) / f"{args.questions}-{args.seed}"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            rows = measure(Run(folder, args.questions, args.seed, args.threads), args.recipes)
        except OtterError as error:
            print(error, file=sys.stderr)
            return 2
    print(f"{'quantizer':28}{'KL':>10}{'same token':>12}")
    for name, row in rows.items():
        print(f"{name:28}{row['next_token_kl']:10.5f}{row['next_token_equal']:12.2%}")
    print(json.dumps({"questions": args.questions, "seed": args.seed, "quantizers": rows}))
    return 0


def measure(run: Run, recipes: Sequence[str]) -> dict[str, Figures]:
    """Each quantizer's figures, of its own fp32: ours in ONNX Runtime, ModelOpt's in PyTorch."""
    modelopt = _modelopt()
    base = run.result("fp32").logits
    rows = {name: figures(base, run.result(name).logits) for name in OURS}
    asked, calibration = _samples(run), _calibration(run)
    truth = logits(open_checkpoint(CHECKPOINT).build().eval(), asked)
    for name in recipes:
        otter = open_checkpoint(CHECKPOINT).build().eval()

        def shown(model: Otter) -> None:
            logits(model, [(sample, 0) for sample in calibration])

        quantized = modelopt.quantize(otter, getattr(modelopt, name), forward_loop=shown)
        rows[f"ModelOpt {name.removesuffix('_CFG')}"] = figures(truth, logits(quantized, asked))
    return rows


def figures(base: Floats, other: Floats) -> Figures:
    """KL from `base` in nats, and the share of tokens whose likeliest is the same."""
    same = float((base.argmax(1) == other.argmax(1)).mean())
    return {"next_token_kl": divergence(base, other), "next_token_equal": same}


def logits(otter: Otter, samples: Sequence[tuple[Sample, int]]) -> Floats:
    """Logits (tokens, vocab) of every sample from its given token on."""
    rows = []
    with torch.inference_mode():
        for sample, first in samples:
            media = otter.look(torch.from_numpy(sample.pixels)[None, None])
            ids, index = torch.tensor([sample.ids]), torch.tensor([sample.media_index])
            rows.append(otter.decode(ids, index, media)[0][0, first:].float().numpy())
    return np.concatenate(rows)


def _samples(run: Run) -> list[tuple[Sample, int]]:
    """The questions that `Run` takes the KL of, each with its right answer behind the prompt."""
    cases = run.cases()
    chosen = np.random.default_rng(0).permutation(len(cases))[:KL_QUESTIONS]
    bundle = Bundle.load(SHIPPED)
    frames = run.episodes().frames
    return [_sample(bundle, cases[i], frames[cases[i].episode]) for i in sorted(chosen)]


def _sample(bundle: Bundle, case: Case, frames: Any) -> tuple[Sample, int]:
    tokenizer, manifest = bundle.tokenizer(), bundle.manifest
    preprocess = Preprocessor(manifest.preprocess)
    pixels = np.stack([preprocess(frames[frame]) for frame in case.frames])
    prompt = render(manifest, tokenizer, case.question)
    said = tokenizer.encode(case.answer, add_special_tokens=False).ids
    index = [*prompt.media_index, *([1] * len(said))]
    return Sample(pixels, [*prompt.ids, *said], index), len(prompt.ids) - 1


def _calibration(run: Run) -> list[Sample]:
    manifest = Bundle.load(SHIPPED).manifest
    return read_samples(run.calibration(), manifest.preprocess, manifest.tokens.image)


def _modelopt() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about transformers, which is not used here
            return importlib.import_module("modelopt.torch.quantization")
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed; run: pip install nvidia-modelopt"
        ) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--questions", type=int, default=700, help="about (default 700)")
    parser.add_argument("--seed", type=int, default=0, help="which stretch of evaluation seeds")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep our variants' answers")
    parser.add_argument("--threads", type=int, help="default: as the runtime chooses")
    return parser


if __name__ == "__main__":
    sys.exit(main())
