"""Which shapes an engine is built for: the free dimensions of a graph's inputs, by name.

The decoder has, for each cache capacity, one profile for a token and one for a chunk of a prompt,
both of fixed size but for the number of media; a shorter chunk is padded.
"""

from __future__ import annotations

from otter_runtime.bundle import Graph, Manifest
from otter_runtime.onnx_engine import CHUNK

# Pictures in one prompt: examples and the live one.
MOST_MEDIA = 8
# Where the model tells any number of frames apart.
MOST_FRAMES = 32

Range = tuple[int, int, int]  # smallest, usual, largest
Profile = dict[str, Range]  # of each free dimension
Shapes = dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]  # of each input

DECODED = (1, CHUNK)  # tokens of a run


def profiles(manifest: Manifest, graph: str) -> list[Profile]:
    """The profiles of one of the three graphs, in their order in the engine."""
    if graph == "vision":
        return [{"frames": (1, 1, 1)}]
    if graph == "resampler":
        most = manifest.dims.resampler.max_frames or max(MOST_FRAMES, manifest.window.frames)
        return [{"frames": (1, min(manifest.window.frames, most), most)}]
    return [
        _decoder(manifest, (capacity,) * 3, (tokens,) * 3, (1, 1, 1))
        for capacity in sorted(manifest.capacities)
        for tokens in DECODED
    ]


def profile_index(manifest: Manifest, capacity: int, tokens: int) -> int:
    """Which of the decoder's profiles runs `tokens` (1 or a chunk) against `capacity`."""
    return sorted(manifest.capacities).index(capacity) * len(DECODED) + DECODED.index(tokens)


def free_profile(manifest: Manifest, graph: str) -> Profile:
    """One profile for everything: a runtime that does not switch between profiles."""
    if graph != "decoder":
        return profiles(manifest, graph)[0]
    capacities = sorted(manifest.capacities)
    middle = capacities[len(capacities) // 2]
    chunk = (1, 1, CHUNK)
    return _decoder(manifest, (capacities[0], middle, capacities[-1]), chunk, chunk)


def shapes(graph: Graph, profile: Profile) -> Shapes:
    """Smallest, usual and largest shape of each input of `graph` that has a free dimension."""
    return {
        spec.name: (
            tuple(_size(d, profile, 0) for d in spec.shape),
            tuple(_size(d, profile, 1) for d in spec.shape),
            tuple(_size(d, profile, 2) for d in spec.shape),
        )
        for spec in graph.inputs
        if any(isinstance(d, str) for d in spec.shape)
    }


def _decoder(manifest: Manifest, capacity: Range, tokens: Range, rows: Range) -> Profile:
    latents = manifest.dims.resampler.latents
    media = (latents, latents, MOST_MEDIA * latents)
    return {"capacity": capacity, "tokens": tokens, "rows": rows, "media_tokens": media}


def _size(dimension: int | str, profile: Profile, at: int) -> int:
    return profile[dimension][at] if isinstance(dimension, str) else dimension
