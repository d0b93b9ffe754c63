"""Footage and annotations of a scene, as you would bring them of your own: a machine's front panel.

    python make_scene.py clips/ --clips 96

A lamp is red or green, a lever up or down; on a red lamp with the lever up the lever has to go down
first, on a red lamp with the lever down the button has to be pressed. Each clip is four seconds
from a hand-held camera; a line of annotations.jsonl says what is seen in each second.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE, FPS, SECONDS = 96, 10, 4
LAMPS = {"red": (40, 40, 220), "green": (60, 190, 60)}


def frame(lamp: str, lever: str, shift: NDArray[np.float64], light: float) -> NDArray[np.uint8]:
    """One picture (96, 96, 3) BGR of the panel, moved by `shift` and lit by `light`."""
    x, y = (int(v) for v in shift)
    picture = np.full((SIDE, SIDE, 3), (90, 80, 70), np.uint8)
    cv2.rectangle(picture, (14 + x, 14 + y), (82 + x, 84 + y), (170, 170, 165), -1)
    cv2.circle(picture, (34 + x, 34 + y), 12, LAMPS[lamp], -1)
    top, bottom = (18, 42) if lever == "up" else (56, 80)
    cv2.rectangle(picture, (62 + x, 18 + y), (68 + x, 80 + y), (60, 60, 60), -1)
    cv2.rectangle(picture, (52 + x, top + y), (78 + x, bottom + y), (30, 150, 230), -1)
    cv2.circle(picture, (34 + x, 66 + y), 9, (30, 30, 30), -1)
    lit: NDArray[np.uint8] = np.clip(picture * light, 0, 255).astype(np.uint8)
    return lit


def write_clip(path: Path, lamp: str, lever: str, chance: np.random.Generator) -> None:
    """Four seconds of a panel that does not change, by a hand that does."""
    fourcc = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), fourcc, FPS, (SIDE, SIDE))
    shift, light = chance.uniform(-6, 6, 2), chance.uniform(0.6, 1.1)
    for _ in range(FPS * SECONDS):
        shift = np.clip(shift + chance.normal(0, 0.6, 2), -8, 8)
        writer.write(frame(lamp, lever, shift, light))
    writer.release()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="the folder for clips and annotations.jsonl")
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    chance, lines = np.random.default_rng(args.seed), []
    for number in range(args.clips):
        lamp, lever = ("red", "green")[number % 2], ("up", "down")[number // 2 % 2]
        name = f"panel{number:03d}"
        write_clip(args.out / f"{name}.mp4", lamp, lever, chance)
        seen = f"the {lamp} lamp is lit, the lever is {lever}"
        captions = [{"at": second, "text": seen} for second in range(SECONDS)]
        lines.append({"id": name, "captions": captions, "frames_of": f"OWN_IMG_{name}_"})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (args.out / "annotations.jsonl").write_text(text)
    print(f"{args.clips} clips and annotations.jsonl in {args.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
