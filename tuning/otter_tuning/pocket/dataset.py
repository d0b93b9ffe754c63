"""Write the pocket world as MIMIC-IT data: pictures, pairs, dense labels and the mixture's YAML.

    python -m otter_tuning.pocket.dataset --episodes 6000 --out build/pocket/training

Frames are rendered once and stored as PNG; a clip is eight of them, a pair is about four.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from otter_tuning.mimicit.image_store import ImageStore
from otter_tuning.mimicit.instructions import Instruction, Instructions
from otter_tuning.mimicit.mixture import Source, write_mixture
from otter_tuning.mimicit.names import DATASETS
from otter_tuning.pocket.data import FIELDS, FRAMES, Episodes, render
from otter_tuning.pocket.kinds import HELD_OUT_TEXTURES, KINDS, SEEDS, TRAINING_TEXTURES
from otter_tuning.pocket.pairs import CLIP, Windows, draw, windows
from otter_tuning.pocket.questions import CLASSES
from otter_tuning.training.labels import UNKNOWN, Labels

INSTRUCTIONS, IMAGES, LABELS, MIXTURE = (
    "OWN_instructions.json",
    "OWN.sqlite",
    "OWN_labels.npz",
    "mixture.yaml",
)
SHARD = 100  # episodes that a worker renders at once
SEED = 0  # of the questions


@dataclass(frozen=True)
class Shard:
    """Some episodes: seeds, their truth (`frames` is empty), and their pictures by id."""

    seeds: range
    truth: Episodes
    pictures: list[tuple[str, bytes]]


def shard(seeds: range, episodes: Episodes) -> Shard:
    """Rendered episodes with their frames as PNG."""
    pictures = [
        (picture_id(seed, frame), png(episodes.frames[at, frame]))
        for at, seed in enumerate(seeds)
        for frame in range(FRAMES)
    ]
    return Shard(seeds, replace(episodes, frames=np.empty((0, 0, 0, 0, 3), np.uint8)), pictures)


def write(shards: Iterable[Shard], out: Path) -> int:
    """The whole set in the folder `out`; how many pairs it has."""
    truths, seeds = [], []
    with ImageStore(out / IMAGES) as store:
        for one in shards:
            store.add(one.pictures)
            truths.append(one.truth)
            seeds += list(one.seeds)
    joined = {name: np.concatenate([getattr(one, name) for one in truths]) for name in FIELDS}
    truth, rng = Episodes(**joined), np.random.default_rng(SEED)
    seen = windows(truth, rng)
    instructions = Instructions({"version": "1", "time": "", "author": "Otter Edge"})
    asked: list[int] = []
    for number, pair in enumerate(draw(seen, rng)):
        episode = seen.episode[pair.window]
        images = [picture_id(seeds[episode], int(frame)) for frame in seen.members[pair.window]]
        name = f"OWN_INS_pocket_{number:07d}"
        instructions.add(Instruction(name, pair.question, pair.answer, tuple(images)))
        asked.append(pair.window)
    instructions.write(out / INSTRUCTIONS)
    labels(seeds, truth, list(instructions.data), seen, asked).write(out / LABELS)
    source = Source(mimicit_path=INSTRUCTIONS, images_path=IMAGES, labels_path=LABELS)
    write_mixture(out / MIXTURE, {"VIDEO_TEXT": {"OWN": source}})
    return len(instructions)


def labels(
    seeds: list[int], truth: Episodes, names: list[str], seen: Windows, asked: list[int]
) -> Labels:
    """Which kind each patch of a picture shows, and which plan leads a pair's window to each."""
    pictures = [picture_id(seed, frame) for seed in seeds for frame in range(FRAMES)]
    plans = np.where(seen.plans.clear, seen.plans.answer, UNKNOWN)[asked]
    return Labels.of(
        (*KINDS, "background"), CLASSES, pictures, truth.patches.reshape(-1, 64), names, plans
    )


def picture_id(seed: int, frame: int) -> str:
    """The id of frame `frame` of an episode: its clip, then its place in that."""
    clip, place = divmod(frame, CLIP)
    return DATASETS["OWN"].image(f"pocket-{seed:09d}-{clip}", place)


def png(frame: NDArray[np.uint8]) -> bytes:
    """A frame as it is, without loss."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _rendered(seeds: range, textures: tuple[str, ...]) -> Shard:
    return shard(seeds, render(seeds, textures))


def _shards(seeds: range, textures: tuple[str, ...], workers: int) -> Iterator[Shard]:
    """In the order of the seeds, with progress."""
    parts = [seeds[at : at + SHARD] for at in range(0, len(seeds), SHARD)]
    began, done = time.monotonic(), 0
    with ProcessPoolExecutor(workers) as pool:
        for one in pool.map(_rendered, parts, [textures] * len(parts)):
            yield one
            done += len(one.seeds)
            rate = done * FRAMES / (time.monotonic() - began)
            print(f"\r{done}/{len(seeds)} episodes, {rate:.0f} frames/s", end="", file=sys.stderr)
    print(file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the pocket world as MIMIC-IT data.")
    parser.add_argument("--split", choices=sorted(SEEDS), default="training")
    parser.add_argument("--first", type=int, default=0, help="offset of the split's first seed")
    parser.add_argument("--episodes", type=int, default=6000)
    parser.add_argument("--held-out-textures", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    textures = HELD_OUT_TEXTURES if args.held_out_textures else TRAINING_TEXTURES
    seeds = SEEDS[args.split][args.first : args.first + args.episodes]
    pairs = write(_shards(seeds, textures, args.workers), args.out)
    print(f"{args.out}: {len(seeds)} episodes, {pairs} pairs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
