"""Which instruction a policy has, as lines for `lerobot-rollout --interactive=true`.

It knows LeRobot's commands (/start, /subtask, /stop) and neither the bus nor a policy.
"""

from __future__ import annotations


class Steering:
    """`task` is what the policy follows now, None before the first; `over` that it was ended."""

    def __init__(self, agree: int = 1) -> None:
        self.task: str | None = None
        self.over = False
        self._agree = agree
        self._heard: tuple[str, int] = ("", 0)

    def follow(self, task: str) -> list[str]:
        """The lines for a task that the guard let through; none where nothing changes."""
        text, times = self._heard
        self._heard = (task, times + 1 if task == text else 1)
        if self.over or task == self.task or self._heard[1] < self._agree:
            return []
        # The task first: the policy must not begin with the one it was launched with.
        first = ["/start"] if self.task is None else []
        self.task = task
        return [f"/subtask {task}", *first]

    def stop(self) -> list[str]:
        """The line that ends the session, once."""
        if self.over:
            return []
        self.over = True
        return ["/stop"]
