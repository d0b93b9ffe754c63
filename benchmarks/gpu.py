"""How near a GPU comes to its limits, through onnxruntime-gpu: encode, prefill, decode.

    python benchmarks/gpu.py                                     MPT-1B and MPT-7B, fp16 and int4
    python benchmarks/gpu.py --random otter-mpt1b --precision fp16
    python benchmarks/gpu.py --bundle PATH
    python benchmarks/gpu.py --provider cpu --random tiny        tries the script out, anywhere

Each stage is one graph with everything bound on the device, replayed as a CUDA graph where that
works (the table says). Beside it stands what physics allows: the largest of bytes over the copy
rate, operations over the rate of a large product, and launches times 2 us; both rates are measured
here first. Decoding is one run of the decoder and the logits' copy to the host; putting the new
K/V into the cache is not in it. Prints a table, then one JSON line.

Never run on a GPU yet.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from device_run import (
    PROVIDERS,
    DeviceRun,
    copy_rate,
    matmul_rate,
    memory_gb,
    milliseconds,
    require_provider,
)
from graph_cost import Cost, cost
from random_bundle import CACHE, random_bundle

from otter_runtime.bundle import Bundle, Manifest
from otter_runtime.errors import OtterError

if TYPE_CHECKING:
    from otter_model.checkpoint import Checkpoint

LAUNCH_US = 2.0
NAMES = ("otter-mpt1b", "otter-mpt7b")
PRECISIONS = ("fp16", "int4")
BATCHES = (1, 16)
TINY = "tiny"


@dataclass(frozen=True)
class Rates:
    """What the device can do: GB/s copied, TFLOP/s multiplied, and what a launch costs."""

    copy_gb_s: float
    matmul_tflop_s: float

    launch_us: float

    def limit_ms(self, wanted: Cost, launches: int) -> tuple[float, str]:
        """The least time of a run, and which of the three it is."""
        times = {
            "memory": wanted.bytes / self.copy_gb_s / 1e6,
            "arithmetic": wanted.flops / self.matmul_tflop_s / 1e9,
            "launches": launches * self.launch_us / 1e3,
        }
        by = max(times, key=lambda name: times[name])
        return times[by], by


@dataclass(frozen=True)
class Stage:
    """One measured graph; `limit_ms` is the physical limit and `bound` what sets it."""

    name: str
    ms: float
    limit_ms: float
    bound: str
    launches: int
    replayed: bool
    memory_gb: float
    told: str = ""

    @property
    def share(self) -> float:
        """Of the limit, how much is reached."""
        return self.limit_ms / self.ms


def main(arguments: list[str] | None = None) -> int:
    """Measure, print; the exit code, 2 where the provider, a bundle or a model is missing."""
    options = _parser().parse_args(arguments)
    try:
        return _main(options)
    except OtterError as error:
        print(error, file=sys.stderr)
        return 2


def _main(options: argparse.Namespace) -> int:
    require_provider(options.provider)
    small = options.provider == "cpu"
    rates = Rates(
        copy_rate(options.provider, 32 if small else 512, options.seconds),
        matmul_rate(options.provider, 512 if small else 8192, options.seconds),
        0.0 if small else LAUNCH_US,
    )
    report: dict[str, Any] = {
        "provider": options.provider,
        "onnxruntime": onnxruntime.__version__,
        "gpu": _gpu(options.provider),
        "rates": asdict(rates),
        "bundles": [],
    }
    for bundle in _bundles(options):
        stages = list(measure(bundle, options, rates))
        told = {
            "bundle": bundle.manifest.name,
            "precision": bundle.manifest.graphs.decoder.precision,
            "memory_gb": max(stage.memory_gb for stage in stages),
            "stages": [{**asdict(stage), "share": round(stage.share, 3)} for stage in stages],
        }
        report["bundles"].append(told)
        if not options.json:
            print(table(told, stages), flush=True)
    print(json.dumps(report))
    return 0


def measure(bundle: Bundle, options: argparse.Namespace, rates: Rates) -> Iterator[Stage]:
    """Encode at each batch, resample, prefill and decode."""
    manifest = bundle.manifest

    def stage(graph: str, name: str, **sizes: int) -> Stage:
        return _stage(bundle, graph, sizes, options, rates, name)

    for batch in BATCHES:
        encode = stage("vision", f"encode, batch {batch}", frames=batch)
        yield replace(encode, told=f"{encode.ms / batch:.2f} ms per frame")
    frames = manifest.window.frames
    yield stage("resampler", f"resample {frames}", frames=frames)
    capacity = _capacity(manifest, options.capacity)
    tokens = min(options.prompt_tokens, capacity)
    held = {"capacity": capacity, "rows": 1, "media_tokens": manifest.dims.resampler.latents}
    yield stage("decoder", f"prefill {tokens}", tokens=tokens, **held)
    decode = stage("decoder", f"decode at {capacity}", tokens=1, **held)
    yield replace(decode, told=f"{1e3 / decode.ms:.1f} tokens/s")


def _stage(
    bundle: Bundle,
    graph: str,
    sizes: dict[str, int],
    options: argparse.Namespace,
    rates: Rates,
    name: str,
) -> Stage:
    path = bundle.path / getattr(bundle.manifest.graphs, graph).file
    feeds, provider = _feeds(sizes), options.provider
    run = DeviceRun(path, provider, sizes, feeds, profile=True)
    launches = run.launches()
    ms, replayed = milliseconds(_step(run, graph), options.seconds), False
    used = memory_gb(provider)
    if provider == "cuda":
        del run  # its weights go before they come again
        try:
            run = DeviceRun(path, provider, sizes, feeds, replay=True)
            ms, replayed = milliseconds(_step(run, graph), options.seconds), True
            used = memory_gb(provider)
        except Exception as error:  # onnxruntime's errors share no base of their own
            print(f"{name}: no CUDA graph ({str(error).splitlines()[0]})", file=sys.stderr)
    limit, bound = rates.limit_ms(cost(path, sizes), launches)
    return Stage(name, round(ms, 4), round(limit, 5), bound, launches, replayed, round(used, 2))


def _step(run: DeviceRun, graph: str) -> Callable[[], object]:
    """One run; the decoder's logits go to the host, everything else stays."""

    def step() -> None:
        run()
        if graph == "decoder":
            run.first_output()

    return step


def _feeds(sizes: dict[str, int]) -> dict[str, Any]:
    """Inputs that a decoder could have: a full past, every token seeing the first medium."""
    tokens = sizes.get("tokens", 0)
    if not tokens:
        return {}
    past = sizes["capacity"] - tokens
    return {
        "positions": past + np.arange(tokens),
        "media_index": np.ones(tokens),
        "logit_positions": np.array([tokens - 1]),
        "past_len": np.array([past]),
    }


def _capacity(manifest: Manifest, wanted: int) -> int:
    fitting = [size for size in sorted(manifest.capacities) if size >= wanted]
    return fitting[0] if fitting else max(manifest.capacities)


def table(told: dict[str, Any], stages: list[Stage]) -> str:
    """The stages for people."""
    rows = [
        f"{told['bundle']}  {told['precision']}  {told['memory_gb']} GB",
        f"{'stage':18}{'ms':>10}{'limit ms':>10}{'share':>7}  {'set by':11}{'launches':>9}  graph",
    ]
    rows += [
        f"{s.name:18}{s.ms:10.3f}{s.limit_ms:10.3f}{100 * s.share:6.0f}%  {s.bound:11}"
        f"{s.launches:9}  {'replayed' if s.replayed else 'no':9}{s.told}"
        for s in stages
    ]
    return "\n".join(rows)


def _bundles(options: argparse.Namespace) -> Iterator[Bundle]:
    for path in options.bundle:
        yield Bundle.load(path)
    if options.bundle:
        return
    for name in options.random or NAMES:
        for precision in options.precision or PRECISIONS:
            small = _tiny if name == TINY else None
            yield Bundle.load(random_bundle(name, precision, options.cache, small))


def _tiny() -> Checkpoint:
    from otter_model.checkpoint import Checkpoint
    from otter_model.random_weights import RandomTensors
    from otter_model.tiny import tiny_config

    config = tiny_config("mpt", max_frames=4).with_vocab(300)  # bytes have room
    return Checkpoint(config, RandomTensors(config))


def _gpu(provider: str) -> str:
    if provider == "cpu":
        return "none"
    words = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--provider", choices=sorted(PROVIDERS), default="cuda")
    parser.add_argument("--bundle", type=Path, action="append", default=[], help="may be repeated")
    parser.add_argument(
        "--random", action="append", metavar="NAME", help=f"a published size, or {TINY}"
    )
    parser.add_argument("--precision", action="append", help="default: fp16 and int4")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where random bundles are kept")
    parser.add_argument("--capacity", type=int, default=512, help="of the K/V cache (default 512)")
    parser.add_argument("--prompt-tokens", type=int, default=64, help="of a prefill (default 64)")
    parser.add_argument("--seconds", type=float, default=3.0, help="per stage, about (default 3)")
    parser.add_argument("--json", action="store_true", help="the JSON line alone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
