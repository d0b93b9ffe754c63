"""A sheet of frames with the answers given about them, for a README.

It knows pictures and judged answers; it shows the first of each wording, right or wrong.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from otter_robots.messages import Answer
from otter_runtime.errors import UserError
from otter_runtime.frame import Pixels
from otter_runtime.labels import Verdict
from otter_runtime.sources import VideoFile

COLUMNS, ROWS = 4, 3
SIDE, CAPTION, MARGIN = 256, 92, 12
INK, GREEN, RED, PAPER = "#1f2933", "#1a7f37", "#cf222e", "#ffffff"


def save(path: Path, folder: Path, judged: Sequence[tuple[Answer, Verdict]]) -> None:
    """Draw the first answer of each wording onto one PNG; UserError where it cannot be."""
    first: dict[str, tuple[Answer, Verdict]] = {}
    for answer, verdict in judged:
        first.setdefault(answer.text, (answer, verdict))
    shown = list(first.values())[: COLUMNS * ROWS]
    pitch_x, pitch_y = SIDE + MARGIN, SIDE + CAPTION + MARGIN
    size = (COLUMNS * pitch_x + MARGIN, ROWS * pitch_y + MARGIN)
    sheet = Image.new("RGB", size, PAPER)
    for cell, (answer, verdict) in enumerate(shown):
        at = (MARGIN + cell % COLUMNS * pitch_x, MARGIN + cell // COLUMNS * pitch_y)
        _draw(sheet, at, answer, verdict, _picture(folder, answer))
    try:
        sheet.save(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"the picture cannot be saved as {path} ({error}); give a writable .png"
        ) from error


def _draw(
    sheet: Image.Image, at: tuple[int, int], answer: Answer, verdict: Verdict, pixels: Pixels
) -> None:
    left, top = at
    picture = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    sheet.paste(picture, at)
    pen = ImageDraw.Draw(sheet)
    small, normal = ImageFont.load_default(13), ImageFont.load_default(15)
    lines = textwrap.wrap(answer.instruction or "", 38)[:2]
    y = top + SIDE + 6
    for line in lines:
        pen.text((left, y), line, INK, small)
        y += 16
    colour = GREEN if verdict.correct else RED
    for line in textwrap.wrap(answer.text, 32)[:2]:
        pen.text((left, y), line, colour, normal)
        y += 19
    pen.text((left, y), f"frame {answer.frame_ids[-1]}, {answer.age_ms:.0f} ms old", INK, small)


def _picture(folder: Path, answer: Answer) -> Pixels:
    reader = VideoFile(folder / answer.source)
    try:
        pictures = enumerate(reader.pictures())
        return next(
            pixels
            for index, pixels in pictures
            if index == answer.source_index and pixels is not None
        )
    finally:
        reader.close()
