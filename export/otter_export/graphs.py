"""The three graphs of a network, each in the precision of its parts, written with their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from otter_export.builder import Builder
from otter_export.decoder_graph import DecoderGraph
from otter_export.layers import Weights
from otter_export.network_size import OF_GRAPH, graph_bytes
from otter_export.precision import Precision
from otter_export.progress import Progress, silent
from otter_export.resampler_graph import ResamplerGraph
from otter_export.vision_graph import VisionGraph
from otter_export.weight_file import WeightFile
from otter_model.config import OtterConfig

MB = 1_000_000
GraphBuild = Callable[[Builder, Mapping[str, Precision]], None]


def graph_builders(config: OtterConfig, weights: Weights) -> dict[str, GraphBuild]:
    """What writes each of the three graphs, given the precision of each part."""
    vision = VisionGraph(config.vision, weights)
    resampler = ResamplerGraph(config, weights)
    decoder = DecoderGraph(config.decoder, config.perceiver.latents, weights)
    return {
        "vision": lambda b, parts: vision.build(b, parts["vision"]),
        "resampler": lambda b, parts: resampler.build(b, parts["resampler"]),
        "decoder": lambda b, parts: decoder.build(b, parts["decoder"], parts["head"]),
    }


def write_graphs(
    folder: Path,
    config: OtterConfig,
    weights: Weights,
    parts: Mapping[str, Precision],
    progress: Progress = silent,
) -> None:
    """The three graphs and their weights into `folder`, in the precision of each part."""
    sizes = graph_bytes(config, {part: precision.name for part, precision in parts.items()})
    for name, build in graph_builders(config, weights).items():

        def told(written: int, name: str = name) -> None:
            progress(f"{parts[name].name} {name}, MB", written // MB, sizes[name] // MB)

        told(0)
        opset = max(parts[part].opset for part in OF_GRAPH[name])
        with WeightFile(folder / f"{name}.bin", told) as file:
            b = parts[name].builder(name, file, opset)
            build(b, parts)
        b.save(folder / f"{name}.onnx")
