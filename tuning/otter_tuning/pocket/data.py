"""Episodes of the pocket world as arrays: rendered once, kept on disk, read by memory map.

    python -m otter_tuning.pocket.data --episodes 12000 --out build/pocket-data

It knows frames and the simulator's truth; the questions about them are drawn at training time.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from otter_tuning.pocket.kinds import HELD_OUT_TEXTURES, KINDS, SEEDS, TRAINING_TEXTURES

if TYPE_CHECKING:
    from otter_tuning.pocket.world import World

FRAMES = 16  # per episode: 4 s
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
        """Memory-map a folder that `main` wrote, joining its shards."""
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


def _write_shard(seeds: range, textures: tuple[str, ...], folder: Path) -> int:
    episodes = render(seeds, textures)
    for field in FIELDS:
        np.save(folder / f"{seeds.start:09d}-{field}.npy", getattr(episodes, field))
    return len(seeds)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--split", choices=sorted(SEEDS), default="training")
    parser.add_argument(
        "--first", type=int, default=0, help="offset of the first seed in the split"
    )
    parser.add_argument("--episodes", type=int, default=12_000)
    parser.add_argument("--held-out-textures", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    textures = HELD_OUT_TEXTURES if args.held_out_textures else TRAINING_TEXTURES
    seeds = SEEDS[args.split][args.first : args.first + args.episodes]
    shards = [seeds[i : i + 500] for i in range(0, len(seeds), 500)]
    began, done = time.monotonic(), 0
    with ProcessPoolExecutor(args.workers) as pool:
        jobs = [pool.submit(_write_shard, shard, textures, args.out) for shard in shards]
        for job in jobs:
            done += job.result()
            rate = done * FRAMES / (time.monotonic() - began)
            print(f"\r{done}/{len(seeds)} episodes, {rate:.0f} frames/s", end="", file=sys.stderr)
    print(file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
