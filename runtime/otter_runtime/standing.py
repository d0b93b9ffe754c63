"""The standing instruction: what is asked again and again while nobody asks anything else.

It knows when the next one is due: by the source's own time, by what changed in the picture, or by
both. It does not know how it is answered.
"""

from __future__ import annotations

from collections.abc import Sequence

from otter_robots.messages import When
from otter_robots.skill import Offer
from otter_runtime.config import StandingConfig
from otter_runtime.errors import UserError
from otter_runtime.frame import Stamp
from otter_runtime.sketch import BLANK, Sketch, change
from otter_runtime.window import SLACK_NS


class Standing:
    """One text for every source, or one for each; none at all where `texts` is empty.

    While `paused` nothing is due. `config` says what makes it due; an order may say otherwise.
    """

    def __init__(
        self,
        texts: Sequence[str],
        interval_s: float,
        sources: int,
        config: StandingConfig | None = None,
    ) -> None:
        if len(texts) not in (0, 1, sources):
            raise UserError(
                f"there are {len(texts)} instructions for {sources} sources; "
                "give one for all of them or one for each"
            )
        self.texts = list(texts)
        self.interval_ns = round(interval_s * 1e9)
        self.paused = False
        self.skills: Offer | None = None
        self._last: Stamp | None = None
        self._seen = BLANK
        self._config = config or StandingConfig()
        self._when = self._config.when

    def replace(
        self,
        text: str,
        interval_s: float,
        skills: Offer | None = None,
        when: When | None = None,
    ) -> None:
        """Another instruction from now on; it is due with the next frame."""
        self.skills, self._when = skills, when or self._config.when
        self.texts, self.interval_ns, self._last = [text], round(interval_s * 1e9), None

    def text(self, scene: int) -> str:
        """What is asked in this scene; a camera that reopened keeps the last text."""
        return self.texts[min(scene, len(self.texts) - 1)]

    def due(self, stamp: Stamp, seen: Sketch = BLANK) -> bool:
        """Whether it should be asked, the window's newest frame being `stamp`, showing `seen`."""
        if self.paused or not self.texts:
            return False
        last = self._last
        if last is None or last.scene != stamp.scene:
            return True
        if self._when != "change" and stamp.stream_ns - last.stream_ns >= self._period_ns:
            return True
        return self._when != "interval" and change(self._seen, seen) >= self._config.change

    def asked(self, stamp: Stamp, seen: Sketch = BLANK) -> None:
        """It was asked about a window that ends with `stamp`, showing `seen`."""
        self._last, self._seen = stamp, seen

    @property
    def _period_ns(self) -> int:
        return self.interval_ns - SLACK_NS
