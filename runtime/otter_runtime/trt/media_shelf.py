"""Media K/V on the GPU: copied there when they are first asked about, kept for a few questions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from otter_runtime.bundle import Manifest
from otter_runtime.engine import Media
from otter_runtime.errors import UserError
from otter_runtime.trt.gpu import Buffer, Gpu, aligned
from otter_runtime.trt.profiles import MOST_MEDIA

# Sets of media kept on the GPU: a question, a standing instruction, and the window before.
MEDIA_KEPT = 4


@dataclass(frozen=True, eq=False)
class Shown:
    """K and V of several media, side by side on the GPU."""

    media: tuple[Media, ...]  # held, so that no other takes over their identities
    buffer: Buffer
    shape: tuple[int, ...]  # (gated layers, heads, media tokens, head_dim)
    k: int  # addresses
    v: int


class MediaShelf:
    """The sets of media shown last."""

    def __init__(self, gpu: Gpu, manifest: Manifest) -> None:
        d, latents = manifest.dims.decoder, manifest.dims.resampler.latents
        self._gpu = gpu
        self._shape = (d.gated_layers, d.cross_heads, latents, d.cross_head_dim)  # of one medium
        self._half = aligned(int(np.prod(self._shape)) * MOST_MEDIA * 4)
        self._sets: OrderedDict[tuple[int, ...], Shown] = OrderedDict()

    def show(self, media: Sequence[Media]) -> Shown:
        """`media` on the GPU. UserError where there are more than an engine is built for."""
        if len(media) > MOST_MEDIA:
            raise UserError(
                f"a prompt shows {len(media)} media, the engine is built for {MOST_MEDIA}; "
                "give fewer examples"
            )
        key = tuple(id(medium) for medium in media)
        if key not in self._sets:
            self._sets[key] = self._upload(media)
        self._sets.move_to_end(key)
        return self._sets[key]

    def _upload(self, media: Sequence[Media]) -> Shown:
        # The oldest gives its memory: at the same address, its graphs go on being replayed.
        full = len(self._sets) == MEDIA_KEPT
        buffer = (
            self._sets.popitem(last=False)[1].buffer if full else self._gpu.buffer(2 * self._half)
        )
        nothing = np.zeros(self._shape, np.float32)
        given = list(media) or [Media(nothing, nothing)]
        k = np.concatenate([medium.k for medium in given], axis=2)
        v = np.concatenate([medium.v for medium in given], axis=2)
        shown = Shown(tuple(media), buffer, k.shape, buffer.address, buffer.address + self._half)
        self._gpu.upload(k, shown.k)
        self._gpu.upload(v, shown.v)
        self._gpu.wait()  # before the arrays go
        return shown
