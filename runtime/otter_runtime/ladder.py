"""How far performance is lowered at a temperature: steps with hysteresis, and nothing in haste.

Pure decisions: it is told the time and the temperature, and knows neither sensors nor what a step
lowers. At step k the machine is at least `up[k - 1]` hot, or was and has not cooled to
`down[k - 1]` yet. Heat goes up as many steps as it takes, cooling goes down one at a time, since
each step given back brings heat of its own. Between any two changes there are `dwell_s`, so it
cannot oscillate faster, however the temperature does.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence


class Ladder:
    """`up` are rising temperatures, one for each step; `down` where each is left, below its `up`.

    All in degrees Celsius. `step` is 0 where nothing is lowered.
    """

    def __init__(self, up: Sequence[float], down: Sequence[float], dwell_s: float) -> None:
        self._up, self._down, self._dwell_s = list(up), list(down), dwell_s
        self.step = 0
        self._changed_s = float("-inf")

    @property
    def steps(self) -> int:
        """How many there are beside 0."""
        return len(self._up)

    def decide(self, temperature_c: float | None, throttling: bool, now_s: float) -> bool:
        """Whether the step changed, at the monotonic time `now_s`.

        `throttling` says that the hardware lowered its clocks since the last call: whatever the
        temperature, that is worth one more step, and none less. Without a temperature (None) the
        step stays, since a sensor that is lost says nothing about cooling.
        """
        wanted = self._wanted(temperature_c, throttling)
        if wanted == self.step or now_s - self._changed_s < self._dwell_s:
            return False
        self.step, self._changed_s = wanted, now_s
        return True

    def _wanted(self, temperature_c: float | None, throttling: bool) -> int:
        least = min(self.step + 1, self.steps) if throttling else 0
        if temperature_c is None:
            return max(self.step, least)
        risen = bisect_right(self._up, temperature_c)
        cooled = self.step > 0 and temperature_c < self._down[self.step - 1]
        kept = self.step - 1 if cooled else self.step
        return max(risen, kept, least)
