"""ONNX Runtime's TensorRT provider: its options for a graph of a bundle.

It builds its engine when the session opens and keeps it beside ours. It is strongly typed as long
as no precision is asked for, so none is; and it has one profile for everything. Option names: the
onnxruntime-gpu 1.31 binary. Past K/V go to the GPU on every run, so `tensorrt-native` is faster.
"""

from __future__ import annotations

from pathlib import Path

from otter_runtime.bundle import Bundle, Graph
from otter_runtime.trt.plans import FOLDER, graphs_hash
from otter_runtime.trt.profiles import Shapes, free_profile, shapes


def provider_options(bundle: Bundle, name: str) -> dict[str, str]:
    """Options for a session of graph `name`."""
    graph: Graph = getattr(bundle.manifest.graphs, name)
    folder = cache_folder(bundle)
    ranges = shapes(graph, free_profile(bundle.manifest, name))
    return {
        "trt_engine_cache_enable": "1",
        # Beside the context model, which the provider wants as a relative path.
        "trt_engine_cache_path": "plans",
        "trt_engine_cache_prefix": name,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
        "trt_dump_ep_context_model": "1",
        "trt_ep_context_file_path": str(folder / f"{name}.context.onnx"),
        "trt_ep_context_embed_mode": "0",
        "trt_profile_min_shapes": _told(ranges, 0),
        "trt_profile_opt_shapes": _told(ranges, 1),
        "trt_profile_max_shapes": _told(ranges, 2),
    }


def cache_folder(bundle: Bundle) -> Path:
    """Where its engines are kept; it tells GPUs and TensorRT versions apart itself."""
    return bundle.path / FOLDER / f"onnxruntime-{graphs_hash(bundle)[:12]}"


def _told(ranges: Shapes, at: int) -> str:
    """`past_k.0:16x128x64,past_v.0:16x128x64`."""
    return ",".join(f"{name}:{'x'.join(map(str, dims[at]))}" for name, dims in ranges.items())
