"""What a call of an engine has to keep to, whatever runs the graphs."""

from __future__ import annotations

from collections.abc import Sequence

from otter_runtime.bundle import Graph, Manifest
from otter_runtime.engine import Floats
from otter_runtime.errors import EngineError, PromptTooLong, TooManyImages, UserError


def check_shape(graph: Graph, array: Floats) -> None:
    """EngineError where `array` is not what the graph's only input takes."""
    name, spec = graph.inputs[0].name, graph.inputs[0].shape
    if array.ndim != len(spec) or any(
        isinstance(want, int) and got != want for got, want in zip(array.shape, spec, strict=True)
    ):
        raise EngineError(f"{name} should have shape {spec}, got {list(array.shape)}")


def check_frames(manifest: Manifest, frames: int) -> None:
    """UserError where a window has more frames than the model tells apart."""
    limit = manifest.dims.resampler.max_frames
    if limit is not None and frames > limit:
        raise UserError(
            f"a window of {frames} frames, but the model tells {limit} apart; "
            f"set the window to at most {limit} frames"
        )


def check_call(
    manifest: Manifest, held: int, ids: Sequence[int], media_index: Sequence[int], media: int
) -> None:
    """Whether `ids` may follow the `held` tokens of a cache, with `media` media given.

    Raises EngineError for ids that are none, TooManyImages, and PromptTooLong.
    """
    if not ids or len(ids) != len(media_index):
        raise EngineError(
            f"{len(ids)} token ids with {len(media_index)} media indices; "
            "give as many of the one as of the other, and at least one"
        )
    vocab = manifest.dims.decoder.vocab
    if min(ids) < 0 or max(ids) >= vocab:
        raise EngineError(
            f"token ids are 0 to {vocab - 1}, got {min(ids)} to {max(ids)}; "
            "the tokenizer belongs to another model"
        )
    if max(media_index) > media:
        raise TooManyImages(max(media_index), media)
    end, limit = held + len(ids), manifest.dims.decoder.max_positions
    if end > limit:
        raise PromptTooLong(end, limit)
