"""How often somebody may: so many times a second, with a short burst saved up."""

from __future__ import annotations


class Pace:
    """A bucket that holds `burst` and fills with `rate_hz`. Times are the caller's, in seconds."""

    def __init__(self, rate_hz: float, burst: float) -> None:
        self.rate_hz, self.burst = rate_hz, burst
        self._held, self._at_s = burst, 0.0

    def wait_s(self, now_s: float) -> float:
        """Take one, and 0; or take none, and how long until there is one."""
        self._held = min(self.burst, self._held + (now_s - self._at_s) * self.rate_hz)
        self._at_s = now_s
        if self._held < 1:
            return (1 - self._held) / self.rate_hz
        self._held -= 1
        return 0.0
