"""One episode as a row of what the robot saw and what it was told, for a README.

It acts out the skills of an episode again, which gives the same frames, and knows no bus.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from PIL import Image, ImageDraw, ImageFont

from otter_robots.adapters.gymnasium.body import Body, Sight
from otter_runtime.errors import UserError

COLUMNS, SHOWN = 6, 12
SIDE, CAPTION, MARGIN = 192, 62, 10
INK, GREEN, PAPER = "#1f2933", "#1a7f37", "#ffffff"
Cell = tuple[Sight, str]


class Acted(Protocol):
    """An episode as the benchmark has it."""

    seed: int
    answers: list[dict[str, Any]]

    @property
    def success(self) -> bool:
        """Whether it is worth showing."""


def save(path: Path, body: Body, episodes: Sequence[Acted]) -> None:
    """Draw the successful episode with the most different answers; UserError where it cannot be."""
    shown = max(filter(lambda one: one.success, episodes), key=_variety, default=None)
    if shown is None:
        raise UserError("no episode succeeded, so there is nothing to show; run more of them")
    cells = _thinned(_acted_again(body, shown))
    body.close()
    rows = -(-len(cells) // COLUMNS)
    size = (COLUMNS * (SIDE + MARGIN) + MARGIN, rows * (SIDE + CAPTION + MARGIN) + MARGIN)
    sheet = Image.new("RGB", size, PAPER)
    for index, cell in enumerate(cells):
        column, row = index % COLUMNS, index // COLUMNS
        _draw(
            sheet, MARGIN + column * (SIDE + MARGIN), MARGIN + row * (SIDE + CAPTION + MARGIN), cell
        )
    try:
        sheet.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be saved ({error}); give a writable .png") from error


def _variety(episode: Acted) -> tuple[int, int]:
    """Different answers first, then few of them."""
    return len({answer["answer"] for answer in episode.answers}), -len(episode.answers)


def _acted_again(body: Body, episode: Acted) -> list[Cell]:
    """Each frame that was asked about and its answer; last what came of it."""
    cells = []
    body.begin(episode.seed)
    for answer in episode.answers:
        cells.append((body.sight, str(answer["answer"])))
        for _ in body.carry_out(answer["skill"]):
            pass
    return [*cells, (body.sight, "Picked up.")]


def _thinned(cells: list[Cell]) -> list[Cell]:
    """At most SHOWN of them: every change of answer, and the last; then what fits, in order."""
    changes = [i for i, (_, text) in enumerate(cells) if not i or cells[i - 1][1] != text]
    others = [i for i in range(len(cells)) if i not in changes]
    room = max(0, SHOWN - len(changes))
    filled = others[:: max(1, -(-len(others) // room))] if room else []
    return [cells[i] for i in sorted({*changes, *filled})][-SHOWN:]


def _draw(sheet: Image.Image, left: int, top: int, cell: Cell) -> None:
    sight, text = cell
    picture = Image.fromarray(sight.pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    sheet.paste(picture, (left, top))
    pen = ImageDraw.Draw(sheet)
    y = top + SIDE + 4
    pen.text((left, y), f"{sight.number / 4:.2f} s", INK, ImageFont.load_default(11))
    colour = GREEN if sight.reward > 0 else INK
    for line in textwrap.wrap(text, 27)[:2]:
        y += 16
        pen.text((left, y), line, colour, ImageFont.load_default(13))
