"""Tells a policy what to do next, from what the runtime says it sees.

It knows the bus and the guard, not LeRobot: its commands leave as lines, see `steering`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from otter_robots.adapters.ear import Ear
from otter_robots.adapters.entry import Events
from otter_robots.adapters.lerobot.config import Config
from otter_robots.adapters.lerobot.steering import Steering

PATIENCE_S = 0.05


class Conductor:
    """`turn` until `over`; `say` is given every line for the rollout."""

    def __init__(
        self, config: Config, ear: Ear, say: Callable[[str], None], events: Events
    ) -> None:
        self.config, self.ear, self.say, self.events = config, ear, say, events
        self.steering = Steering(config.agree)
        self._ask_at_s = 0.0

    @property
    def over(self) -> bool:
        """Whether the session was ended; another one begins with a person's start."""
        return self.steering.over

    def turn(self) -> None:
        """One look at the bus."""
        for heard in self.ear.listen(PATIENCE_S):
            step = self.ear.step(heard)
            if step is not None and step.acts:
                self._tell(self.steering.follow(step.text), step.dry_run)
        guard = self.ear.guard
        if guard is not None and guard.why is not None and not self.over:
            self.events("stopped", why=guard.why)
            self._tell(self.steering.stop(), guard.dry_run)
        self._ask()

    def _tell(self, lines: list[str], dry_run: bool) -> None:
        for line in lines:
            self.events("would say" if dry_run else "said", line=line)
            if not dry_run:
                self.say(line)

    def _ask(self) -> None:
        if self.config.goal is None or time.monotonic() < self._ask_at_s:
            return
        self._ask_at_s = time.monotonic() + self.config.every_s
        self.ear.asker.ask(self.config.goal)
