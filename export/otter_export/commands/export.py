"""`otter-edge export`: a checkpoint, or random weights of a published size, to a bundle."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otter_runtime.progress_bar import Bar

if TYPE_CHECKING:
    from otter_export.plan import Plan
    from otter_export.precision import Choice
    from otter_export.sample import Sample
    from otter_export.settings import Settings
    from otter_export.source import Source
    from otter_model.checkpoint import Checkpoint
    from otter_runtime.bundle import Bundle

ABOUT = "write a bundle (graphs, golden answers, hashes) from a checkpoint"
RANDOM_SAMPLES = 2
INPUTS = (
    ("base", "FOLDER", "the whole Otter that the trained part belongs to"),
    ("clip", "PATH", "CLIP ViT-L/14: folder or file, Hugging Face's names or open_clip's"),
    ("language", "FOLDER", "the language model that the OpenFlamingo began from"),
    ("lora", "FOLDER", "a LoRA adapter of peft, to be merged into the weights"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "checkpoint",
        nargs="?",
        type=Path,
        help="an Otter's folder; or a file with the trained part of one (final_weights.pt, "
        "checkpoint_N.pt; takes --base); or an OpenFlamingo's checkpoint.pt (takes --clip and "
        "--language)",
    )
    what.add_argument("--random", metavar="NAME", help="random weights, e.g. of otter-mpt1b")
    under = parser.add_argument_group("what the checkpoint builds on")
    for name, metavar, told in INPUTS:
        under.add_argument(f"--{name}", type=Path, metavar=metavar, help=told)
    parser.add_argument(
        "--tokenizer",
        type=Path,
        metavar="FILE",
        help="tokenizer.json, where neither checkpoint nor --language has it; special tokens "
        "that it lacks are added",
    )
    parser.add_argument("-o", "--out", type=Path, help="the bundle's folder")
    parser.add_argument(
        "--plan", action="store_true", help="tell sizes, memory and predicted speeds, and stop"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a bundle that is there")
    parser.add_argument(
        "--precision",
        metavar="CHOICE",
        default="",
        help="fp32, fp16, int8, int8-dynamic or int4 (the decoder's alone); or part by part: "
        "vision=fp16,decoder=int8; parts are vision, resampler, decoder and head",
    )
    parser.add_argument(
        "--target",
        choices=("cpu", "jetson"),
        default="cpu",
        help="the device whose usual precisions those are that --precision does not name: int8 "
        "everywhere on a cpu, vision and resampler fp16 on a jetson (default cpu)",
    )
    data = parser.add_argument_group("what it is calibrated and verified on")
    data.add_argument(
        "--calibration",
        type=Path,
        metavar="PATH",
        help="a folder of clips with prompts beside them (prompts.json, .yaml or .txt), an "
        "instructions JSON of MIMIC-IT, or an .npz of samples",
    )
    data.add_argument(
        "--prompt",
        action="append",
        default=[],
        metavar="TEXT",
        help="what is asked of the clips, instead of their prompts file; may be repeated",
    )
    data.add_argument(
        "--images",
        type=Path,
        metavar="PATH",
        help="MIMIC-IT's pictures, JSON or Parquet (default: beside the instructions)",
    )
    data.add_argument(
        "--samples", type=int, default=64, help="taken of clips or MIMIC-IT (default 64)"
    )
    parser.add_argument("--name", help="the bundle's name (default: the folder's)")
    parser.add_argument("--frames", type=int, default=4, help="frames per window (default 4)")
    parser.add_argument("--rate-hz", type=float, default=1.0, help="frames per second (default 1)")
    parser.add_argument("--squash", action="store_true", help="squash frames instead of cropping")
    parser.add_argument("--max-new-tokens", type=int, default=512)
    parser.add_argument("--no-repeat-ngram", type=int, default=3, help="0 turns it off (default 3)")
    parser.add_argument("--threads", type=int, default=0, help="while exporting (default: all)")
    parser.add_argument("--json", action="store_true", help="one JSON object at the end")


def run(args: argparse.Namespace) -> int:
    """Tell the plan; export; then tell where the bundle is and how near it comes to fp32."""
    from otter_export.plan import Plan
    from otter_export.precision import TARGETS, Choice
    from otter_model.errors import ModelError
    from otter_runtime.errors import UserError

    choice = Choice.parse(args.precision, TARGETS[args.target])
    if args.out is None and not args.plan:
        raise UserError("a bundle needs a folder; give -o FOLDER, or --plan to see what it takes")
    try:
        with tempfile.TemporaryDirectory(prefix="otter-export-") as folder:
            checkpoint = _checkpoint(args, Path(folder))
            plan = Plan(checkpoint.config, choice)
            if args.plan:
                print(json.dumps(plan.told()) if args.json else plan.text())
                return 0
            if not args.json:
                print(plan.text(), file=sys.stderr, flush=True)
            bundle = _export(args, checkpoint, choice)
    except ModelError as error:
        raise UserError(str(error)) from error
    told = _told(bundle, plan)
    print(json.dumps(told) if args.json else _text(told))
    return 0


def _export(args: argparse.Namespace, checkpoint: Checkpoint, choice: Choice) -> Bundle:
    from otter_export.bundle_writer import Export

    settings = _settings(args, checkpoint)
    samples, calibration = _samples(args, checkpoint, settings, choice)
    source = {"random": args.random} if args.random else _source(args).describe()
    with Bar(quiet=args.json) as bar:
        return Export(
            checkpoint, choice, samples, settings, source, calibration, bar, args.threads
        ).write(args.out, args.overwrite)


def _checkpoint(args: argparse.Namespace, folder: Path) -> Checkpoint:
    """The checkpoint; `folder` may take its tokenizer, where that is made or completed here."""
    from otter_export.byte_tokenizer import byte_tokenizer
    from otter_export.tokenizer_file import TOKENIZER, completed
    from otter_model.checkpoint import random_checkpoint
    from otter_runtime.errors import UserError

    if args.random:
        if others := _others(args):
            raise UserError(f"--random takes no --{min(others)}; leave one of them out")
        random = random_checkpoint(args.random)
        spelled = byte_tokenizer(random.config.tokens, random.config.decoder.vocab)
        spelled.save(str(folder / TOKENIZER))
        return replace(random, tokenizer=folder / TOKENIZER)
    opened = _source(args).open()
    if (tokenizer := args.tokenizer or opened.tokenizer) is not None:
        opened = replace(opened, tokenizer=completed(tokenizer, opened.config.tokens, folder))
    return opened


def _source(args: argparse.Namespace) -> Source:
    from otter_export.source import Source

    return Source(args.checkpoint, _others(args))


def _others(args: argparse.Namespace) -> dict[str, Path]:
    return {name: getattr(args, name) for name, *_ in INPUTS if getattr(args, name) is not None}


def _settings(args: argparse.Namespace, checkpoint: Checkpoint) -> Settings:
    from otter_export.settings import FLAMINGO_PROMPT, Settings, bad_words
    from otter_runtime.bundle import Decoding, PromptFormat, WindowDefaults

    words = [] if checkpoint.tokenizer is None else bad_words(checkpoint.tokenizer)
    return Settings(
        name=args.name or args.out.name,
        prompt=FLAMINGO_PROMPT if checkpoint.config.tokens.answer is None else PromptFormat(),
        decoding=Decoding(
            max_new_tokens=args.max_new_tokens,
            no_repeat_ngram=args.no_repeat_ngram,
            bad_words=words,
        ),
        mode="squash" if args.squash else "crop",
        window=WindowDefaults(frames=args.frames, rate_hz=args.rate_hz),
    )


def _samples(
    args: argparse.Namespace, checkpoint: Checkpoint, settings: Settings, choice: Choice
) -> tuple[list[Sample], dict[str, Any]]:
    """The samples and what the manifest says of them."""
    from otter_export.calibration import Calibration
    from otter_export.sample import random_samples
    from otter_runtime.errors import UserError

    if args.calibration is not None:
        data = Calibration(args.calibration, args.prompt, args.images, args.samples)
        return data.read(checkpoint, settings), data.describe()
    if choice.wants() and not args.random:
        raise UserError(
            f"{choice} needs samples of real input to find its scales; give --calibration PATH, "
            "or take --precision int8-dynamic"
        )
    samples = random_samples(checkpoint.config, RANDOM_SAMPLES, args.frames)
    return samples, {"kind": "noise"}


def _told(bundle: Bundle, plan: Plan) -> dict[str, Any]:
    manifest = bundle.manifest
    graphs = {name: getattr(manifest.graphs, name) for name in plan.sizes}
    return {
        "bundle": str(bundle.path),
        "precision": str(plan.choice),
        "model_hash": bundle.model_hash,
        "bytes": sum((bundle.path / name).stat().st_size for name in manifest.files),
        "graph_bytes": {
            name: (bundle.path / graph.data).stat().st_size for name, graph in graphs.items()
        },
        "islands": {name: graph.islands for name, graph in graphs.items() if graph.islands},
        "plan": plan.told(),
        "verification": manifest.verification,
        "step_cost_ms": manifest.step_cost,
    }


def _text(told: dict[str, Any]) -> str:
    figures = told["verification"]
    return "\n".join(
        [
            f"{told['bundle']}  {told['bytes'] / 1e6:.1f} MB  {told['precision']}  "
            f"{told['model_hash'][:12]}",
            *(_islands(name, islands) for name, islands in told["islands"].items()),
            f"cosine to fp32: features {figures['features_cosine']:.5f}, "
            f"media {figures['media_cosine']:.5f}, logits {figures['logits_cosine']:.5f}; "
            f"{figures['answers_equal']} of {figures['answers']} greedy answers equal",
        ]
    )


def _islands(name: str, islands: dict[str, Any]) -> str:
    kept = ", ".join(f"{count} {kind}" for kind, count in islands["nodes"].items())
    out = "".join(f"; {node} saw {peak:.3g}" for node, peak in islands["out_of_range"].items())
    return f"{name}: fp16, in float32 are {kept}; out of range {len(islands['out_of_range'])}{out}"
