"""Episodes of the pocket world as arrays: rendered, or read by memory map.

It knows frames and the simulator's truth, and no question about them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from otter_tuning.pocket.kinds import KINDS, TRAINING_TEXTURES

if TYPE_CHECKING:
    from otter_tuning.pocket.world import World

FRAMES = 16  # per episode: 4 s
WINDOW = 4  # of them are shown at a time
SIDE = 64  # the model's image size
PATCH = 8
BACKGROUND = len(KINDS)
FIELDS = ("frames", "patches", "pixels", "bearing", "distance")


@dataclass(frozen=True)
class Episodes:
    """E episodes of T frames; kinds that are not in the room have NaN geometry."""

    frames: NDArray[np.uint8]  # (E, T, 64, 64, 3) RGB
    patches: NDArray[np.uint8]  # (E, T, 64) kind seen in each 8 x 8 patch, BACKGROUND for none
    pixels: NDArray[np.uint16]  # (E, T, K)
    bearing: NDArray[np.float32]  # (E, T, K) degrees, left positive
    distance: NDArray[np.float32]  # (E, T, K) metres

    @staticmethod
    def open(folder: Path) -> Episodes:
        """Memory-map a folder with a .npy a field, or shards of such, which are joined."""
        arrays: dict[str, Any] = {}
        for field in FIELDS:
            shards: list[Any] = [
                np.load(path, mmap_mode="r") for path in sorted(folder.glob(f"*-{field}.npy"))
            ]
            arrays[field] = shards[0] if len(shards) == 1 else np.concatenate(shards)
        return Episodes(**arrays)


def shrink(image: NDArray[np.uint8], jpeg_quality: int | None = None) -> NDArray[np.uint8]:
    """A rendered frame as the preprocessing sees it: Pillow bicubic to 64 x 64."""
    if jpeg_quality is not None:
        _, coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
        decoded: Any = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        image = decoded[..., ::-1]
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def patch_kinds(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(64, 64) mask -> (64,) the kind that fills most of a patch, if at least a fifth."""
    blocks = mask.reshape(8, PATCH, 8, PATCH).transpose(0, 2, 1, 3).reshape(64, -1)
    counts = (blocks[:, :, None] == np.arange(len(KINDS))).sum(1)
    best = counts.argmax(1)
    enough = counts[np.arange(64), best] >= PATCH * PATCH // 5
    return np.where(enough, best, BACKGROUND).astype(np.uint8)


@cache
def _world(textures: tuple[str, ...]) -> World:
    """One world a process: opening it loads every texture."""
    from otter_tuning.pocket.world import World

    return World(textures=textures)


def render(
    seeds: range,
    textures: tuple[str, ...] = TRAINING_TEXTURES,
    frames: int = FRAMES,
    jpeg: bool = True,
) -> Episodes:
    """Render one episode per seed; with `jpeg`, half of the frames pass through JPEG at 70-95."""
    world = _world(textures)
    kinds, episodes = len(KINDS), len(seeds)
    out = Episodes(
        frames=np.empty((episodes, frames, SIDE, SIDE, 3), np.uint8),
        patches=np.empty((episodes, frames, 64), np.uint8),
        pixels=np.zeros((episodes, frames, kinds), np.uint16),
        bearing=np.empty((episodes, frames, kinds), np.float32),
        distance=np.empty((episodes, frames, kinds), np.float32),
    )
    for e, seed in enumerate(seeds):
        world.reset(seed=seed)
        rng = np.random.default_rng(seed)
        for t, view in enumerate(world.walk(frames)):
            quality = int(rng.integers(70, 96)) if jpeg and rng.random() < 0.5 else None
            out.frames[e, t] = shrink(view.image, quality)
            out.patches[e, t] = patch_kinds(view.mask)
            for kind, _ in world.things:
                out.pixels[e, t, kind] = (view.mask == kind).sum()
            out.bearing[e, t], out.distance[e, t] = view.bearing_deg, view.distance_m
    return out
