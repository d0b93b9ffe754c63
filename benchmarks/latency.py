"""How long each stage takes on this machine, and how near decoding comes to its memory.

    python benchmarks/latency.py                              the bundled pocket model
    python benchmarks/latency.py --bundle PATH --json
    python benchmarks/latency.py --random otter-mpt1b         full size, random int8 weights
    python benchmarks/latency.py --random otter-mpt1b --beside fp32     ratios, in one run
    python benchmarks/latency.py --random otter-mpt1b --beside fp32 --prepare      the bundles alone

Prints a table, then one JSON line. Decoding one token reads every weight of the decoder but the
embedding table, the K/V of the tokens held and the media's; that many bytes per second, over the
bandwidth measured in the same run, is the share. The loop's own time is what the brain's turn takes
beside the engine and preprocessing, in wall time and in processor time: per decode step, per frame.
A question in an answer comes from another process, at any moment of a long answer's decoding, about
a new frame; the time to its first token is set beside what it may take: the rest of the step in
flight, the engine's resampling and prefill, and one decode step of the loop. Beside the step in
flight it waits for as much as it takes longer than such a question that is asked alone.
Beside another precision, what the project asks of an int8 decoder is held to what was measured;
`cpu` says which of its instructions the processor has.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from bandwidth import read_bandwidth
from loop_timer import LoopTimer
from processor import cpu
from random_bundle import CACHE, random_bundle
from stages import publish_to_receive

from otter_runtime.bundle import Bundle
from otter_runtime.engine import Cache
from otter_runtime.errors import OtterError, UserError
from otter_runtime.onnx_engine import open_engine
from otter_runtime.preprocess import Preprocessor

FRAME = (720, 1280, 3)
PROMPT_TOKENS = 32
DECODED = 48
RATIOS = ("encode", "resample", "prefill", "decode")
TABLE = "decoder.embedding.weight"
Spans = list[float]  # seconds


def main(arguments: list[str] | None = None) -> int:
    """Measure, print; the exit code, 2 where there is no such bundle or model."""
    options = _parser().parse_args(arguments)
    try:
        return _main(options)
    except OtterError as error:
        print(error, file=sys.stderr)
        return 2


def _main(options: argparse.Namespace) -> int:
    if options.prepare:
        return _prepare(options)
    if options.beside is not None:
        return _compare(options)
    export = _export(options) if options.random else {}
    bundle = Bundle.load(options.bundle or _pocket())
    bandwidth, reduction = read_bandwidth(options.threads or 2, int(options.read_gb * 1e9))
    report = {
        "bundle": bundle.manifest.name,
        "model_hash": bundle.model_hash,
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "read_gb_s": round(bandwidth, 2),
        "read_with": reduction,
        "weights_gb": round(weights_bytes(bundle) / 1e9, 3),
        **export,
        **measure(
            bundle,
            options.threads,
            options.frames,
            options.seconds,
            bandwidth,
            options.prompt_tokens,
            options.provider,
        ),
    }
    if not options.json:
        print(table(report))
    print(json.dumps(report))
    return 0


def _prepare(options: argparse.Namespace) -> int:
    """The bundles of random weights that a run with the same options measures."""
    _require_random(options, "--prepare")
    for precision in filter(None, (options.precision, options.beside)):
        options.precision = precision
        print(json.dumps({"bundle": str(_folder(options)), **_export(options)}))
    return 0


def _compare(options: argparse.Namespace) -> int:
    """Two precisions, one after the other, each alone in a process; how many times faster."""
    _require_random(options, "--beside")
    reports = [_alone(options, name) for name in (options.precision, options.beside)]
    ours, theirs = (report["stages_ms"] for report in reports)
    ratios = {
        stage: round(theirs[stage]["median_ms"] / ours[stage]["median_ms"], 2) for stage in RATIOS
    }
    first, second = reports
    held = asked(first, ratios)
    if not options.json:
        for report in reports:
            print(table(report))
        told = ", ".join(f"{stage} {ratio}" for stage, ratio in ratios.items())
        print(f"{options.precision} over {options.beside}, times as fast: {told}")
        print(
            f"on {first['cpu']['name']} ({', '.join(first['cpu']['int8']) or 'no int8 products'})"
        )
        for name, claim in held.items():
            print(f"{name:28}{claim['got']:9} asked {claim['asked']:8} {claim['held']}")
    print(
        json.dumps(
            {
                options.precision: first,
                options.beside: second,
                "times_as_fast": ratios,
                "asked": held,
            }
        )
    )
    return 0


def asked(report: dict[str, Any], ratios: dict[str, float]) -> dict[str, dict[str, Any]]:
    """What int8 is asked to reach, on a CPU with AMX, beside what `report` and `ratios` say."""
    least = {
        "decode_share_of_bandwidth": (report["decode_share_of_bandwidth"], 0.8),
        "prefill_times_as_fast": (ratios["prefill"], 4.0),
        "encode_times_as_fast": (ratios["encode"], 3.0),
    }
    loaded, most = report["resident_loaded_gb"], round(1.25 * report["weights_gb"] + 0.5, 3)
    held = {
        name: {"got": got, "asked": want, "held": got >= want}
        for name, (got, want) in least.items()
    }
    return held | {"resident_loaded_gb": {"got": loaded, "asked": most, "held": loaded <= most}}


def _alone(options: argparse.Namespace, precision: str) -> dict[str, Any]:
    """The report of one precision, from a process of its own."""
    words = [sys.executable, __file__, "--random", options.random, "--precision", precision]
    words += ["--cache", str(options.cache), "--seconds", str(options.seconds), "--json"]
    words += ["--read-gb", str(options.read_gb), "--prompt-tokens", str(options.prompt_tokens)]
    for name in ("threads", "frames"):
        if (value := getattr(options, name)) is not None:
            words += [f"--{name}", str(value)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise UserError(f"{options.random} in {precision} could not be measured; above it says why")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def measure(
    bundle: Bundle,
    threads: int | None,
    frames: int | None,
    budget_s: float,
    bandwidth: float,
    prompt_tokens: int = PROMPT_TOKENS,
    provider: str = "cpu",
) -> dict[str, Any]:
    """Every stage of `bundle`, each within about `budget_s`."""
    engine = open_engine(bundle, threads, provider)
    loaded = resident_bytes()
    manifest = bundle.manifest
    count = frames or manifest.window.frames
    random = np.random.default_rng(0)
    frame = random.integers(0, 255, FRAME, np.uint8)
    to_pixels = Preprocessor(manifest.preprocess)
    pixels = to_pixels(frame)[None]
    features = np.repeat(engine.encode(pixels), count, axis=0)
    medium = engine.resample(features)
    cache = engine.new_cache()
    ids = random.integers(5, manifest.dims.decoder.vocab // 2, prompt_tokens).tolist()

    def prefill() -> None:
        cache.truncate(0)
        engine.prefill(cache, ids, [1] * len(ids), [medium])

    def decode() -> None:
        if cache.length >= prompt_tokens + DECODED:
            cache.truncate(prompt_tokens)
        engine.step(cache, 7, 1, [medium])

    spans: dict[str, Spans] = {
        "preprocess": timed(lambda: to_pixels(frame), budget_s / 4),
        "encode": timed(lambda: engine.encode(pixels), budget_s),
        "resample": timed(lambda: engine.resample(features), budget_s),
        "prefill": timed(prefill, budget_s),
        "decode": timed(decode, budget_s),
    }
    with closing(LoopTimer(bundle, engine)) as loop:
        spans |= loop.decode_steps(frame, budget_s)
        spans |= loop.frames(frame, budget_s)
        spans |= loop.questions(frame, budget_s)
    spans["publish_to_receive"] = publish_to_receive()
    stages = {name: summary(values) for name, values in spans.items()}
    moved = decode_bytes(bundle, cache, medium.k.nbytes + medium.v.nbytes)
    reached = moved / (stages["decode"]["median_ms"] / 1e3) / 1e9
    return {
        "engine": engine.describe(),
        "window_frames": count,
        "prefill_tokens": prompt_tokens,
        "stages_ms": stages,
        "questions_in_time": share_in_time(spans),
        "question_waits_ms": round(waits_ms(spans), 3),
        "decode_bytes": moved,
        "decode_gb_s": round(reached, 2),
        "decode_share_of_bandwidth": round(reached / bandwidth, 3),
        "resident_loaded_gb": round(loaded / 1e9, 3),
        "resident_gb": round(resident_bytes() / 1e9, 3),
    }


def timed(step: Callable[[], object], budget_s: float) -> Spans:
    """Seconds of each run after one to warm up: 5 to 300 runs, as many as the budget allows."""
    step()
    spans: Spans = []
    end = time.perf_counter() + budget_s
    while len(spans) < 5 or (len(spans) < 300 and time.perf_counter() < end):
        begun = time.perf_counter()
        step()
        spans.append(time.perf_counter() - begun)
    return spans


def share_in_time(spans: dict[str, Spans]) -> float:
    """Share of the questions whose first token came within what it may take."""
    pairs = zip(spans["question_in_answer"], spans["question_may_take"], strict=True)
    return round(float(np.mean([took <= may for took, may in pairs])), 3)


def waits_ms(spans: dict[str, Spans]) -> float:
    """How much longer a question takes in an answer than alone, but for the step in flight.

    Milliseconds, of the medians; at most one decode step is asked.
    """
    longer = np.median(np.subtract(spans["question_in_answer"], spans["step_in_flight"]))
    return 1e3 * float(longer - np.median(spans["question_alone"]))


def summary(spans: Iterable[float]) -> dict[str, float]:
    """Median and 99th percentile in milliseconds, and how many were measured."""
    values = np.array(list(spans)) * 1e3
    median, p99 = np.percentile(values, [50, 99])
    return {"median_ms": round(median, 4), "p99_ms": round(p99, 4), "runs": len(values)}


def decode_bytes(bundle: Bundle, cache: Cache, media_bytes: int) -> int:
    """Bytes that one decode step must read: weights, the K/V of the tokens held, media K/V."""
    graph = bundle.manifest.graphs.decoder
    model = onnx.load(str(bundle.path / graph.file), load_external_data=False)
    sizes = {
        tensor.name: next(
            (int(entry.value) for entry in tensor.external_data if entry.key == "length"),
            len(tensor.raw_data),
        )
        for tensor in model.graph.initializer
    }
    shared = graph.precision == "fp32" and "decoder.head.weight" not in sizes
    weights = sum(size for name, size in sizes.items() if name != TABLE or shared)
    d = bundle.manifest.dims.decoder
    kv = d.layers * 2 * d.heads * d.head_dim * 4 * cache.length
    return int(weights + kv + media_bytes)


def weights_bytes(bundle: Bundle) -> int:
    """Bytes of the three graphs' weights on disk."""
    graphs = bundle.manifest.graphs
    files = [graph.data for graph in (graphs.vision, graphs.resampler, graphs.decoder)]
    return sum((bundle.path / file).stat().st_size for file in files if file)


def resident_bytes() -> int:
    """Resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * int(resource.getpagesize())


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    rows = [f"{'stage':22}{'median ms':>12}{'p99 ms':>12}{'runs':>7}"]
    for name, stage in report["stages_ms"].items():
        rows.append(f"{name:22}{stage['median_ms']:12.3f}{stage['p99_ms']:12.3f}{stage['runs']:7}")
    in_time, longer_ms = report["questions_in_time"], report["question_waits_ms"]
    rows.append(
        f"{100 * in_time:.0f} % of the questions were in time; from the end of the step in flight "
        f"one takes {longer_ms:+} ms, beside one asked alone"
    )
    rows.append(
        f"decode reads {report['decode_bytes'] / 1e6:.1f} MB at {report['decode_gb_s']} GB/s, "
        f"{100 * report['decode_share_of_bandwidth']:.0f} % of {report['read_gb_s']} GB/s; "
        f"resident {report['resident_gb']} GB"
    )
    return "\n".join([f"{report['bundle']}  {report['engine']}", *rows])


def _require_random(options: argparse.Namespace, option: str) -> None:
    if options.random is None:
        raise UserError(f"{option} is for random weights in some precision; give --random NAME")


def _folder(options: argparse.Namespace) -> Path:
    folder: Path = options.cache / f"{options.random}-{options.precision}"
    return folder


def _export(options: argparse.Namespace) -> dict[str, Any]:
    """Export random weights into the cache folder unless they are there; what it took."""
    options.bundle = _folder(options)
    there = options.bundle.exists()
    begun = time.monotonic()
    random_bundle(options.random, options.precision, options.cache)
    if there:
        return {}
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return {
        "export_s": round(time.monotonic() - begun, 1),
        "export_peak_gb": round(peak / 1e9, 2),
    }


def _pocket() -> Path:
    import otter_runtime

    return Path(otter_runtime.__file__).parent / "pocket" / "bundle-int8"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--bundle", type=Path, help="default: the bundled pocket model")
    what.add_argument("--random", metavar="NAME", help="random weights, e.g. of otter-mpt1b")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where random bundles are kept")
    parser.add_argument("--precision", default="int8", help="of random weights (default int8)")
    parser.add_argument(
        "--beside", metavar="PRECISION", help="measure this too, and how many times slower it is"
    )
    parser.add_argument(
        "--prepare", action="store_true", help="make the random bundles and measure nothing"
    )
    parser.add_argument(
        "--prompt-tokens", type=int, default=PROMPT_TOKENS, help="to prefill (default 32)"
    )
    parser.add_argument("--provider", default="cpu", help="as brain.provider (default: cpu)")
    parser.add_argument("--threads", type=int, help="default: as the runtime chooses")
    parser.add_argument("--frames", type=int, help="frames per window (default: the bundle's)")
    parser.add_argument("--seconds", type=float, default=5.0, help="per stage, about (default 5)")
    parser.add_argument(
        "--read-gb", type=float, default=6, help="read to measure the bandwidth (default 6)"
    )
    parser.add_argument("--json", action="store_true", help="the JSON line alone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
