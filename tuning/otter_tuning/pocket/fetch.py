"""The pocket world as a task for a robot: a gymnasium environment in which it fetches a thing.

An action is what the wearer does in a quarter of a second. The simulator's own pickup decides
success; a wrong thing that is picked up is put back. It knows no model and no answers.
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from miniworld.entity import Entity
from numpy.typing import NDArray

from otter_tuning.pocket.kinds import KINDS
from otter_tuning.pocket.world import View, World

# 4 steps a second: within the pace of the wearer in the training episodes, and a turn is less than
# the 24 degrees that count as ahead.
FORWARD_M = 0.3
TURN_DEG = 20.0
MAX_STEPS = 120  # 30 s
# So much room round the target that the robot, 0.8 m across, gets to it from every side; pickup
# takes the first thing within reach, and fails where a wall is.
CLEAR_M = 0.9

# A memory episode: the target is straight ahead, then the wearer is turned away from it, at the
# pace of the training episodes, until it is out of sight.
MEMORY_M = (2.0, 3.0)
BROAD_M = 0.6  # half of the way that has to be free: the robot's radius, and for steps aside
TURN_AWAY_DEG = (22.0, 22.0, 21.0)
# Enough to turn back, go there and reach for it (16); not to look round the other way first (26).
MEMORY_STEPS = 22


class Room(World):
    """A room of the pocket world whose first thing is the target: free-standing, and portable."""

    def __init__(self, side: int) -> None:
        super().__init__(side)
        self.params.set("forward_step", FORWARD_M, FORWARD_M - 0.05, FORWARD_M + 0.05)
        self.params.set("turn_step", TURN_DEG, TURN_DEG - 3, TURN_DEG + 3)

    @property
    def target(self) -> tuple[int, Entity]:
        """Kind and thing."""
        return self.things[0]

    def face_target(self) -> bool:
        """Stand 2-3 m from the target, looking at it, nothing in between; False without a place."""
        target = self.target[1]
        for angle in self.np_random.uniform(-math.pi, math.pi, 20):
            towards = np.array([math.cos(angle), 0, -math.sin(angle)])
            away_m = self.np_random.uniform(*MEMORY_M)
            way = [target.pos - towards * metres for metres in np.arange(away_m, 1.0, -0.1)]
            if not any(self.intersect(self.agent, place, BROAD_M) for place in way):
                self.agent.pos, self.agent.dir = way[0], angle
                return True
        return False

    def act(self, action: int) -> Entity | None:
        """A step; the wrong thing, if that was picked up, which stays where it was."""
        before = [(thing, thing.pos.copy(), thing.dir) for _, thing in self.things]
        self.step(action)
        held = self.agent.carrying
        if held is None or held is self.target[1]:
            return None
        self.agent.carrying = None
        for thing, place, direction in before:
            thing.pos, thing.dir = place, direction
        return held

    def _place(self, kind: int) -> tuple[int, Entity]:
        while True:
            placed, thing = super()._place(kind)
            thing.static = False  # MiniWorld's cone cannot be picked up otherwise
            if self._is_clear(thing):
                return placed, thing
            self.entities.remove(thing)

    def _is_clear(self, thing: Entity) -> bool:
        target = self.entities[0]
        if thing is target:
            (x, _, z), room = thing.pos, self.rooms[0]
            gap = min(x, z, room.max_x - x, room.max_z - z) - thing.radius
            return bool(gap > CLEAR_M / 2)
        gap = math.dist(thing.pos, target.pos) - thing.radius - target.radius
        return bool(gap > CLEAR_M)


class Fetch(gymnasium.Env[NDArray[np.uint8], int]):
    """Go to `info["target"]` and pick it up: reward 1, and the episode is over.

    Observations are (side, side, 3) RGB; actions those of MiniWorld (0 left, 1 right, 2 forward,
    4 pick up). With `memory` the target is shown first and then out of sight, with few steps left.
    `info["pixels"]` of 4,096 show the target: for whoever keeps score, not for robots.
    """

    def __init__(self, side: int = 128, memory: bool = False) -> None:
        self.room = Room(side)
        self.memory, self.wrong_pickups = memory, 0
        self.max_steps = MEMORY_STEPS if memory else MAX_STEPS
        self.action_space = self.room.action_space
        self.observation_space = spaces.Box(0, 255, (side, side, 3), np.uint8)
        self._turning: list[float] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Another room; the picture and what is to be fetched."""
        self.room.reset(seed=seed)
        while self.memory and not self.room.face_target():
            self.room.reset()
        self.wrong_pickups = 0
        side = self.room.np_random.choice([-1, 1])
        self._turning = [side * angle for angle in TURN_AWAY_DEG] if self.memory else []
        return self._seen()

    def step(self, action: int) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """A quarter of a second; while the wearer is turned away, nothing comes of `action`."""
        if self._turning:
            self.room.turn_agent(self._turning.pop(0))
            action = self.room.actions.toggle
        self.wrong_pickups += self.room.act(action) is not None
        done = self.room.agent.carrying is not None
        over = self.room.step_count >= self.max_steps
        picture, info = self._seen()
        return picture, float(done), done, over and not done, info

    def close(self) -> None:
        """Let the simulator go."""
        self.room.close()

    def _seen(self) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        view: View = self.room.look()
        kind = self.room.target[0]
        info = {
            "target": KINDS[kind],
            "pixels": int((view.mask == kind).sum()),
            "wrong_pickups": self.wrong_pickups,
        }
        return view.image, info
