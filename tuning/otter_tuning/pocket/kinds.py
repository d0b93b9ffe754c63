"""The things of the pocket world and the seeds of its splits; no simulator and no model."""

from __future__ import annotations

COLORS = ("red", "green", "blue", "yellow", "purple")
KINDS = (*(f"{color} {shape}" for shape in ("box", "pillar") for color in COLORS), "cone")

# MiniWorld's texture families that tile a room. Every fifth one, by name, is kept from training.
TEXTURES = (
    "airduct_grate",
    "asphalt",
    "brick_wall",
    "cardboard",
    "ceiling_tile_noborder",
    "ceiling_tiles",
    "cinder_blocks",
    "concrete",
    "concrete_tiles",
    "drywall",
    "floor_tiles_bw",
    "grass",
    "lava",
    "marble",
    "metal_grill",
    "picket_fence",
    "rock",
    "slime",
    "stucco",
    "water",
    "white",
    "wood",
    "wood_planks",
)
HELD_OUT_TEXTURES = TEXTURES[3::5]
TRAINING_TEXTURES = tuple(name for name in TEXTURES if name not in HELD_OUT_TEXTURES)

# An episode is one seed. The ranges are disjoint, and a test says so.
SEEDS = {
    "training": range(1_000_000),
    "validation": range(1_000_000, 1_100_000),
    "calibration": range(1_100_000, 1_200_000),
    "clip": range(1_200_000, 1_300_000),
    "evaluation": range(2_000_000, 1_000_000_000),
}
STRETCH = 1_000_000


def evaluation_seeds(stretch: int, episodes: int, offset: int = 0) -> range:
    """The seeds of one stretch: a million evaluation seeds each, beginning again after the last."""
    evaluation = SEEDS["evaluation"]
    start = stretch * STRETCH % (len(evaluation) - STRETCH) + offset
    return evaluation[start : start + episodes]
