"""Record the demo's clip: the first episodes of the clip seeds as video files, with the truth per
frame.

    python -m otter_tuning.pocket.clip --out runtime/otter_runtime/pocket/clip

The instruction of an episode is about the first thing that was put into its room; nothing is
chosen.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from otter_runtime.labels import action
from otter_tuning.pocket import questions as q
from otter_tuning.pocket.data import WINDOW
from otter_tuning.pocket.kinds import KINDS, SEEDS
from otter_tuning.pocket.world import RATE_HZ, View, World

EPISODES = 4
FRAMES = 42  # per episode: 10.5 s at 4 Hz
SIDE = 256


def record(world: World, seed: int, path: Path) -> dict[str, Any]:
    """Write one episode to `path` (motion JPEG) and return its entry in labels.json."""
    world.reset(seed=seed)
    kind, goal = world.things[0]
    views = list(world.walk(FRAMES, goal))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE_HZ, (SIDE, SIDE))
    for view in views:
        writer.write(np.ascontiguousarray(view.image[..., ::-1]))
    writer.release()
    return {
        "file": path.name,
        "seed": seed,
        "rate_hz": RATE_HZ,
        "instruction": q.PLAN_QUESTIONS[0].format(kind=KINDS[kind]),
        "frames": truth(views, kind),
    }


def truth(views: list[View], kind: int) -> list[dict[str, Any]]:
    """For each frame the right plan towards `kind`, given the window that ends there."""
    pixels = np.array([[(view.mask == k).sum() for k in range(len(KINDS))] for view in views])
    rows = []
    for newest, view in enumerate(views):
        window = pixels[max(0, newest - WINDOW + 1) : newest + 1]
        right = q.plan(window, view.bearing_deg, view.distance_m)
        answer = q.PLAN_ANSWERS[right.answer[kind]].format(kind=KINDS[kind])
        rows.append({"action": action(answer), "answer": answer, "clear": bool(right.clear[kind])})
    return rows


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Record the demo's clip and its truth.")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    world = World(side=SIDE)
    clips = [
        record(world, seed, args.out / f"episode-{index}.avi")
        for index, seed in enumerate(SEEDS["clip"][:EPISODES])
    ]
    (args.out / "labels.json").write_text(json.dumps({"clips": clips}, indent=1) + "\n")
    for clip in clips:
        actions = [row["action"] for row in clip["frames"]]
        print(
            clip["file"], clip["instruction"], {a: actions.count(a) for a in sorted(set(actions))}
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
