"""The governor: reads the sensors in a thread of its own and says what the runtime may spend.

It knows sensors and the ladder; carrying a step out is the front's. Sensors behind a slow bus, or
one that hangs, cost a reading and never a turn of the front.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from otter_robots.messages import Governor as Message
from otter_runtime.config import GovernorConfig, Limits
from otter_runtime.errors import UserError
from otter_runtime.ladder import Ladder
from otter_runtime.sensors import Reading, Sensors

OLD_S = 10.0  # a reading older than so many intervals and this is none
LIMITS = tuple(Limits.__struct_fields__)


class Governor:
    """`limits` are those of the present step, `reading` the last one.

    Raises UserError for a ladder that does not rise, or that is never left.
    """

    def __init__(self, config: GovernorConfig) -> None:
        check(config)
        self.reading = Reading()
        self._config = config
        self._every = cumulative(config)
        up = [one.above_c for one in config.ladder]
        self._ladder = Ladder(up, [one - config.back_c for one in up], config.dwell_s)
        tegrastats = Path(config.tegrastats) if config.tegrastats else None
        self._sensors = Sensors(Path(config.root), config.zones, tegrastats)
        self._read_s = 0.0
        self._judged_s = 0.0
        self._events: int | None = None  # when the last decision was made
        self._events_at_start: int | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="governor", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Stop reading; a sensor that hangs keeps its thread, and nothing else."""
        self._stop.set()

    @property
    def limits(self) -> Limits:
        """What the present step leaves."""
        return self._every[self._ladder.step]

    @property
    def step(self) -> int:
        """The present step, 0 where nothing is lowered."""
        return self._ladder.step

    @property
    def temperature_c(self) -> float | None:
        """The hottest sensor's; None where there is none, or it is not read any more."""
        old = time.monotonic() - self._read_s > OLD_S + 2 * self._config.interval_s
        return None if old else self.reading.temperature_c

    @property
    def throttled(self) -> int:
        """How often the hardware slowed itself down since the start."""
        begun = self._events_at_start
        return 0 if begun is None else max(0, self.reading.throttled - begun)

    def turn(self) -> Message | None:
        """Decide on a new reading, if there is one; a message where the step changed."""
        reading, read_s = self.reading, self._read_s
        if read_s == self._judged_s:
            return None
        self._judged_s = read_s
        throttling = self._events is not None and reading.throttled > self._events
        if self._events_at_start is None:
            self._events_at_start = reading.throttled
        before = self.step
        changed = self._ladder.decide(self.temperature_c, throttling, time.monotonic())
        if changed or not throttling or self.step == self._ladder.steps:
            self._events = reading.throttled  # otherwise it is still to be answered
        return self._message(reading, before, throttling) if changed else None

    def _message(self, reading: Reading, before: int, throttling: bool) -> Message:
        limits = self.limits
        return Message(
            step=self.step,
            steps=self._ladder.steps,
            reason=self._reason(reading, before, throttling),
            temperature_c=reading.temperature_c,
            zone=reading.zone,
            throttled=self.throttled,
            power_mode=reading.power_mode,
            rate_hz=limits.rate_hz,
            window_frames=limits.window_frames,
            max_new_tokens=limits.max_new_tokens,
            bundle=limits.bundle,
        )

    def _reason(self, reading: Reading, before: int, throttling: bool) -> str:
        measured = reading.temperature_c
        heat = "no temperature" if measured is None else f"{reading.zone} {measured:.1f} °C"
        if self.step < before:
            edge = self._config.ladder[before - 1].above_c - self._config.back_c
            return f"{heat}, below {edge:g} °C again"
        edge = self._config.ladder[self.step - 1].above_c
        if measured is not None and measured >= edge:
            return f"{heat}, {edge:g} °C or more"
        assert throttling
        return f"the hardware throttled itself ({heat})"

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.reading = self._sensors.read()
            self._read_s = time.monotonic()
            self._stop.wait(self._config.interval_s)


def check(config: GovernorConfig) -> None:
    """Raises UserError for a ladder that does not rise."""
    edges = [one.above_c for one in config.ladder]
    if edges != sorted(set(edges)):
        raise UserError(
            f"governor.ladder has its steps at {', '.join(f'{one:g}' for one in edges)} °C; "
            "let above_c rise from step to step"
        )


def cumulative(config: GovernorConfig) -> list[Limits]:
    """Limits of each step from 0 on; a step keeps what those before it lowered."""
    every = [Limits()]
    for one in config.ladder:
        named = {name: getattr(one, name) or getattr(every[-1], name) for name in LIMITS}
        every.append(Limits(**named))
    return every
