"""Our runtime beside the reference implementation: one question about 16 frames, on this machine.

    python benchmarks/against_reference.py --reference-src Otter --reference-python venv/bin/python
    python benchmarks/against_reference.py ... --model tiny         tries it out, in a minute or two

You bring the reference: a checkout of Luodian/Otter at 1e7eb9a, and the Python of an environment
that has torch, transformers 4.35.1 and einops. Both sides get the same random weights, window
(16 frames), prompt (30 tokens), length of answer (24 tokens, greedy, no 3-gram twice) and number of
threads, one after the other, each alone in a process. The reference answers in fp32 and in every
one of --dtypes that is not plainly slower, always recomputing each token, because its cached
decoding does not see the picture; the one with the soonest answer is its fastest. Its best run
counts, of ours the median. Its pictures arrive preprocessed, ours as 720p.

Ours is given *warm* (the window's frames were encoded as they came and one more has moved it; what
is left is resampling, prefill, decoding) and *cold* (nothing is encoded). Random weights at full
size: this proves speed, never quality. Prints a table, then one JSON line; ends with 1 where the
greedy ids in fp32 differ.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from bandwidth import read_bandwidth
from our_answer import FRAMES, NO_REPEAT_NGRAM
from outcome import Report, tell
from random_bundle import CACHE
from same_weights import TINY, SameWeights

from otter_runtime.errors import UserError

HERE = Path(__file__).parent
TOKENS = 24
# A dtype whose first token takes so much longer than the fastest's cannot have the soonest answer.
PLAINLY = 1.5
FLAGS = ("avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print; 1 where the ids in fp32 differ, 2 where the reference does not run."""
    options = _parser().parse_args(arguments)
    return tell(
        lambda: measure(options),
        table,
        lambda report: bool(report["ids_equal_fp32"]),
        json_alone=options.json,
    )


def measure(options: argparse.Namespace) -> Report:
    """Both sides, one process at a time, and the ratios of the two."""
    source = otter_ai(options.reference_src)
    weights = SameWeights(options.model, options.cache)
    bundles = {name: weights.bundle(name) for name in options.precisions}
    with tempfile.TemporaryDirectory(prefix="otter-edge-case-") as folder:
        case = Path(folder) / "case.npz"
        ours = {
            name: our_answer(options, bundle, Path(folder) / "case.npz")
            for name, bundle in bundles.items()
        }
        words = ["--source", str(source), "--weights", str(weights.checkpoint())]
        theirs = their_answers(options, [*words, "--case", str(case)])
    bandwidth, _ = read_bandwidth(options.threads, int(options.read_gb * 1e9))
    fastest = min(
        (name for name, one in theirs.items() if one["answer_s"]),
        key=lambda name: min(theirs[name]["answer_s"]),
    )
    first, *_ = options.precisions
    return {
        "model": options.model,
        "ours": first,
        "fastest_reference": fastest,
        **ratios(ours[first], theirs[fastest]),
        **{f"{name}_fp32": value for name, value in ratios(ours[first], theirs["fp32"]).items()},
        "frames_per_s": ours[first]["frames_per_s"],
        "ids_equal_fp32": ours["fp32"]["ids"] == theirs["fp32"]["ids"],
        "peak_gb": ours[first]["peak_gb"],
        "reference_peak_gb": theirs[fastest]["peak_gb"],
        "window_frames": FRAMES,
        "new_tokens": TOKENS,
        "read_gb_s": round(bandwidth, 2),
        **machine(options.threads),
        "precisions": ours,
        "reference": theirs,
    }


def ratios(ours: Report, theirs: Report) -> dict[str, float]:
    """How many times sooner ours has its first token and its whole answer, warm and cold."""
    first, answer = min(theirs["first_token_s"]), min(theirs["answer_s"])
    times = {
        "first_token_ratio": first / median(ours["first_token_s"]),
        "answer_ratio": answer / median(ours["answer_s"]),
        "cold_first_token_ratio": first / median(ours["cold_first_token_s"]),
        "cold_answer_ratio": answer / median(ours["cold_answer_s"]),
    }
    return {name: round(value, 2) for name, value in times.items()}


def our_answer(options: argparse.Namespace, bundle: Path, case: Path) -> Report:
    """What our_answer.py measured on `bundle`; it writes the window and the prompt to `case`."""
    words = ["--bundle", str(bundle), "--write-case", str(case), "--runs", str(options.runs)]
    return child([sys.executable, str(HERE / "our_answer.py")], words, options, dict(os.environ))


def their_answers(options: argparse.Namespace, words: list[str]) -> dict[str, Report]:
    """What their_answer.py measured, fp32 first; others give up where they are plainly slower."""
    # Neither our packages nor the network are the reference's.
    away = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if name not in away}
    kept |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    command = [str(options.reference_python), str(HERE / "their_answer.py")]
    words = [*words, "--runs", str(options.reference_runs)]
    words += ["--no-repeat-ngram", str(NO_REPEAT_NGRAM)]
    theirs = {"fp32": child(command, [*words, "--dtype", "fp32"], options, kept)}
    for dtype in options.dtypes:
        limit = PLAINLY * min(min(one["first_token_s"]) for one in theirs.values())
        give_up = ["--dtype", dtype, "--give-up-s", str(limit)]
        theirs[dtype] = child(command, [*words, *give_up], options, kept)
    return theirs


def child(
    command: list[str], words: list[str], options: argparse.Namespace, kept: Mapping[str, str]
) -> Report:
    """The last line of a child's output; UserError where it failed, its own words above."""
    words = [*words, "--tokens", str(TOKENS), "--threads", str(options.threads)]
    threads = {name: str(options.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    print(f"{Path(command[1]).stem} {' '.join(words)}", file=sys.stderr, flush=True)
    try:
        done = subprocess.run(
            [*command, *words], stdout=subprocess.PIPE, text=True, env={**kept, **threads}
        )
    except OSError as error:
        raise UserError(f"{command[0]} does not start ({error}); give a Python") from None
    if done.returncode:
        raise UserError(f"{Path(command[1]).name} ended with {done.returncode}; above it says why")
    report: Report = json.loads(done.stdout.splitlines()[-1])
    return report


def otter_ai(folder: Path) -> Path:
    """The folder in `folder` or its `src` that holds `otter_ai`; UserError where none does."""
    for place in (folder, folder / "src"):
        if (place / "otter_ai" / "models" / "otter").is_dir():
            return place.resolve()
    raise UserError(f"{folder} should be a checkout of Luodian/Otter, but has no otter_ai in it")


def machine(threads: int) -> Report:
    """Which processor, and what of it matters to small dtypes."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    told = {name.strip(): value.strip() for name, value in told.items()}
    flags = told.get("flags", "").split()
    return {
        "cpu": told.get("model name", platform.processor()),
        "flags": [flag for flag in FLAGS if flag in flags],
        "amx": "amx_bf16" in flags,
        "cores": os.cpu_count(),
        "threads": threads,
    }


def table(report: Report) -> str:
    """The report for people."""
    rows = [
        f"{report['model']}: {report['window_frames']} frames, {report['new_tokens']} new tokens; "
        f"{report['cpu']}, {report['threads']} threads, flags {' '.join(report['flags']) or '-'}",
        f"{'seconds':18}{'first token':>12}{'answer':>9}{'cold first':>12}{'cold answer':>13}"
        f"{'frames/s':>10}{'peak GB':>9}",
    ]
    rows += [_their_row(name, one) for name, one in report["reference"].items()]
    rows += [_our_row(name, one) for name, one in report["precisions"].items()]
    rows += [_stages(name, one, report["read_gb_s"]) for name, one in report["precisions"].items()]
    fastest = report["fastest_reference"]
    for name, ending in ((fastest, ""), ("fp32", "_fp32")):
        first, answer = (report[f"{what}_ratio{ending}"] for what in ("first_token", "answer"))
        cold = report[f"cold_answer_ratio{ending}"]
        rows.append(
            f"{report['ours']} over the reference in {name}: first token {first} times as soon, "
            f"answer {answer}, cold answer {cold}"
        )
    same = "equal" if report["ids_equal_fp32"] else "DIFFERENT"
    return "\n".join([*rows, f"greedy ids in fp32: {same}"])


def _their_row(name: str, one: Report) -> str:
    first = min(one["first_token_s"])
    if one["gave_up"]:
        return f"{'reference ' + name:18}{first:12.2f}   (plainly slower)"
    answer, rate = min(one["answer_s"]), FRAMES / one["vision_s"]
    return (
        f"{'reference ' + name:18}{first:12.2f}{answer:9.2f}{first:12.2f}{answer:13.2f}"
        f"{rate:10.2f}{one['peak_gb']:9.2f}"
    )


def _our_row(name: str, one: Report) -> str:
    spans = ("first_token_s", "answer_s", "cold_first_token_s", "cold_answer_s")
    first, answer, cold_first, cold = (median(one[span]) for span in spans)
    return (
        f"{'ours ' + name:18}{first:12.3f}{answer:9.2f}{cold_first:12.2f}{cold:13.2f}"
        f"{one['frames_per_s']:10.2f}{one['peak_gb']:9.2f}"
    )


def _stages(name: str, one: Report, read_gb_s: float) -> str:
    stages = one["stages_ms"]
    token, limit = stages["decode_ms"] / (TOKENS - 1), one["decode_bytes"] / read_gb_s / 1e6
    return (
        f"{'ours ' + name:18}resample {stages['resample_ms']:.0f} ms, prefill "
        f"{stages['prefill_ms']:.0f} ms, a token {token:.1f} ms, of which reading "
        f"{one['decode_bytes'] / 1e9:.2f} GB at {read_gb_s} GB/s is {limit:.1f} ms"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--reference-src", type=Path, required=True, metavar="DIR")
    parser.add_argument("--reference-python", type=Path, required=True, metavar="PYTHON")
    parser.add_argument(
        "--model", default="otter-mpt1b", help=f"a published size or {TINY} (default otter-mpt1b)"
    )
    parser.add_argument(
        "--precisions",
        type=lambda text: text.split(","),
        default=["int8", "fp32"],
        metavar="NAMES",
        help="ours, the ratios' first, fp32 among them (default int8,fp32)",
    )
    parser.add_argument(
        "--dtypes",
        type=lambda text: text.split(","),
        default=["bf16"],
        metavar="NAMES",
        help="the reference's besides fp32: bf16, fp16 (default bf16)",
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--runs", type=int, default=5, help="of ours, after one (default 5)")
    parser.add_argument("--reference-runs", type=int, default=2, help="after one (default 2)")
    parser.add_argument("--read-gb", type=float, default=6, help="to measure the bandwidth")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where random weights are kept")
    parser.add_argument("--json", action="store_true", help="the JSON line alone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
