"""The pocket world: a furnished MiniWorld room, seen from a chest camera that turns and walks.

It renders frames and tells the simulator's truth about each; it knows no question and no model.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otter_tuning.pocket.kinds import KINDS, TRAINING_TEXTURES

os.environ.setdefault("PYGLET_HEADLESS", "1")
with contextlib.redirect_stdout(None):  # gymnasium and pyglet print on import
    from miniworld.entity import Box, Entity, MeshEnt
    from miniworld.miniworld import DEFAULT_PARAMS, MiniWorldEnv
    from miniworld.opengl import FrameBuffer, drawBox
    from pyglet import gl

# Chest height and a tilt of 15 degrees: a level camera loses near objects below the frame.
CAMERA_HEIGHT_M = 1.2
CAMERA_PITCH_DEG = -15.0
CAMERA_FOV_DEG = 72.0
RATE_HZ = 4.0
MASK_SIZE = 64  # the side of the visibility mask, in pixels


@dataclass(frozen=True)
class View:
    """One frame and its truth; K = len(KINDS), kinds that are not there have NaN geometry."""

    image: NDArray[np.uint8]  # (side, side, 3) RGB
    mask: NDArray[np.uint8]  # (64, 64) index into KINDS, 255 where no thing is seen
    bearing_deg: NDArray[np.float32]  # (K,) to the thing's centre, left positive, -180..180
    distance_m: NDArray[np.float32]  # (K,) from the camera's foot to the thing's centre


class World(MiniWorldEnv):  # type: ignore[misc]
    """A room of 5-8 m with 2-5 things; `reset(seed=...)` makes the episode, `walk` its frames."""

    def __init__(self, side: int = 128, textures: tuple[str, ...] = TRAINING_TEXTURES) -> None:
        self._textures = textures
        params = DEFAULT_PARAMS.copy()
        params.set("cam_height", CAMERA_HEIGHT_M, CAMERA_HEIGHT_M - 0.05, CAMERA_HEIGHT_M + 0.05)
        params.set("cam_pitch", CAMERA_PITCH_DEG, CAMERA_PITCH_DEG - 2, CAMERA_PITCH_DEG + 2)
        params.set("cam_fov_y", CAMERA_FOV_DEG, CAMERA_FOV_DEG - 2, CAMERA_FOV_DEG + 2)
        params.set("obj_color_bias", [0, 0, 0], [-0.12] * 3, [0.12] * 3)
        with contextlib.redirect_stdout(None):  # it prints how many samples a pixel gets
            super().__init__(
                obs_width=MASK_SIZE,
                obs_height=MASK_SIZE,
                window_width=MASK_SIZE,
                window_height=MASK_SIZE,
                params=params,
                domain_rand=True,
            )
            self._picture = FrameBuffer(side, side, 4)
            self._mask = FrameBuffer(MASK_SIZE, MASK_SIZE, 1)

    def _gen_world(self) -> None:
        rng = self.np_random
        width, depth = rng.uniform(5.0, 8.0, 2)
        wall, floor, ceiling = (str(name) for name in rng.choice(self._textures, 3))
        self.add_rect_room(0, width, 0, depth, wall_tex=wall, floor_tex=floor, ceil_tex=ceiling)
        self.things = [self._place(kind) for kind in self._choose_kinds()]
        self.place_entity(self.agent)

    def _choose_kinds(self) -> list[int]:
        """2-5 distinct kinds; half the rooms have a look-alike: same colour, other shape."""
        rng = self.np_random
        kinds = [int(k) for k in rng.permutation(len(KINDS))[: rng.integers(2, 6)]]
        if rng.random() < 0.5 and kinds[0] < 10 and (kinds[0] + 5) % 10 not in kinds:
            kinds[1] = (kinds[0] + 5) % 10
        return kinds

    def _place(self, kind: int) -> tuple[int, Entity]:
        size = float(self.np_random.uniform(0.8, 1.0))
        color, _, shape = KINDS[kind].partition(" ")
        if shape == "box":
            thing: Entity = Box(color=color, size=size * 0.85)
        elif shape == "pillar":  # higher than the eye, so it crosses the horizon at any distance
            thing = Box(color=color, size=[size * 0.45, size * 1.7, size * 0.45])
        else:
            thing = MeshEnt(mesh_name="cone", height=size)
        self.place_entity(thing)
        return kind, thing

    def look(self) -> View:
        """Render the frame and its truth at the agent's present pose."""
        bearing = np.full(len(KINDS), np.nan, np.float32)
        distance = np.full(len(KINDS), np.nan, np.float32)
        for kind, thing in self.things:
            offset = thing.pos - self.agent.pos
            ahead, right = offset @ self.agent.dir_vec, offset @ self.agent.right_vec
            bearing[kind] = math.degrees(math.atan2(-right, ahead))
            distance[kind] = math.hypot(ahead, right)
        image = self.render_obs(self._picture).copy()
        return View(image, self._render_mask(), bearing, distance)

    def _render_mask(self) -> NDArray[np.uint8]:
        """Each thing's bounding box in a flat colour, the room in white: occlusion is exact."""
        self.render_obs(self._mask)  # sets the camera; what it drew is drawn over
        self._mask.bind()
        gl.glClearColor(1, 1, 1, 1)
        gl.glClear(gl.GL_COLOR_BUFFER_BIT | gl.GL_DEPTH_BUFFER_BIT)
        gl.glDisable(gl.GL_LIGHTING)
        for kind, thing in self.things:
            self._draw_flat(kind, thing)
        image = self._mask.resolve()
        gl.glEnable(gl.GL_LIGHTING)
        return np.ascontiguousarray(image[:, :, 0])

    def _draw_flat(self, kind: int, thing: Entity) -> None:
        half = thing.size[0] / 2 if isinstance(thing, Box) else thing.radius * 0.62
        gl.glDisable(gl.GL_TEXTURE_2D)
        gl.glColor3f(kind / 255, 0, 0)
        gl.glPushMatrix()
        gl.glTranslatef(*thing.pos)
        gl.glRotatef(math.degrees(thing.dir), 0, 1, 0)
        drawBox(x_min=-half, x_max=half, y_min=0, y_max=thing.height, z_min=-half, z_max=half)
        gl.glPopMatrix()

    def walk(self, frames: int, goal: Entity | None = None) -> Iterator[View]:
        """`frames` views of a wearer who turns, walks and goes up to things, at 4 frames a second.

        With a `goal`, three in four approaches are to that thing.
        """
        moves = self._moves(goal)
        for _ in range(frames):
            yield self.look()
            turn_deg, step_m = next(moves)
            self.turn_agent(turn_deg)
            if step_m and not self.move_agent(step_m, 0.0):
                moves = self._moves(goal)  # blocked: do something else

    def _moves(self, goal: Entity | None) -> Iterator[tuple[float, float]]:
        """Endless (turn in degrees, step in metres) per frame."""
        rng = self.np_random
        while True:
            plan = rng.choice(["turn", "approach", "walk", "stand"], p=[0.45, 0.35, 0.12, 0.08])
            if plan == "turn":
                rate = rng.uniform(8, 22) * rng.choice([-1, 1])
                for _ in range(rng.integers(2, 9)):
                    yield rate + rng.normal(0, 1.5), 0.0
            elif plan == "approach":
                thing = self.things[rng.integers(len(self.things))][1]
                if goal is not None and rng.random() < 0.75:
                    thing = goal
                yield from self._approach(thing)
            else:
                pace = rng.uniform(0.1, 0.35) if plan == "walk" else 0.0
                for _ in range(rng.integers(2, 6)):
                    yield rng.normal(0, 2.0), pace

    def _approach(self, thing: Entity) -> Iterator[tuple[float, float]]:
        """Turn to a thing, then walk up to it, for at most 12 frames."""
        rng = self.np_random
        aim_deg, pace = rng.normal(0, 6.0), rng.uniform(0.2, 0.45)
        for _ in range(rng.integers(4, 13)):
            offset = thing.pos - self.agent.pos
            ahead, right = offset @ self.agent.dir_vec, offset @ self.agent.right_vec
            error = math.degrees(math.atan2(-right, ahead)) - aim_deg
            near = math.hypot(ahead, right) < 1.15
            yield (
                float(np.clip(error, -20, 20)) + rng.normal(0, 1.5),
                (pace if abs(error) < 25 and not near else 0.0),
            )
