"""The exemplars that stand in front of every prompt: their pictures encoded once, their K/V kept.

It knows frames, windows and prompts' turns; it does not know who sent them. Like everything that
runs the engines it goes in steps: one picture, or the medium of them all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from otter_robots.messages import Picture
from otter_runtime.engine import Engine
from otter_runtime.errors import DamagedPicture, EngineError, PromptError
from otter_runtime.frame import Stamp
from otter_runtime.preprocess import Preprocessor
from otter_runtime.prompt import Turn
from otter_runtime.pushed import decode
from otter_runtime.window import Look, Medium, Window, content_hash
from otter_runtime.wire import Pin, Pinned

# Looks of a window need a stamp; of an exemplar's nobody asks.
NOWHEN = Stamp(id=0, scene=0, source="", index=0, stream_ns=0, mono_ns=0, wall_ns=0)

# Raises PromptError where a prompt with these turns in front would not fit.
Check = Callable[[list[Turn]], None]


@dataclass
class Draft:
    """An exemplar on its way: how many of its pictures are encoded, and the window they make."""

    pin: Pin
    window: Window
    encoded: int = 0


@dataclass(frozen=True)
class Standing:
    """A question with its answer, and the medium it is about."""

    turn: Turn
    medium: Medium


@dataclass
class Exemplars:
    """`turns` and `media` are of those that stand, oldest first."""

    engine: Engine
    preprocess: Preprocessor
    new_window: Callable[[], Window]
    check: Check
    _standing: dict[str, Standing] = field(default_factory=dict)
    _drafts: deque[Draft] = field(default_factory=deque)

    @property
    def turns(self) -> list[Turn]:
        """Question and answer of each."""
        return [one.turn for one in self._standing.values()]

    @property
    def media(self) -> list[Medium]:
        """What each is about."""
        return [one.medium for one in self._standing.values()]

    @property
    def waiting(self) -> bool:
        """Whether one is on its way."""
        return bool(self._drafts)

    def pin(self, pin: Pin) -> None:
        """Begin with one; it stands once `step` said so, in the place of one with the same id."""
        self._drafts.append(Draft(pin, self.new_window()))

    def unpin(self, pin_id: str) -> list[str]:
        """Forget one, or all of them where the id is empty; which were on their way."""
        for known in [pin_id] if pin_id else list(self._standing):
            self._standing.pop(known, None)
        dropped = [draft for draft in self._drafts if pin_id in ("", draft.pin.id)]
        for draft in dropped:
            self._drafts.remove(draft)
        return [draft.pin.id for draft in dropped]

    def step(self) -> tuple[str, int, Pinned | None]:
        """Encode a picture or make a medium: the stage, its units, and a judgement at the end."""
        draft = self._drafts[0]
        try:
            if draft.encoded < len(draft.pin.files):
                self._encode(draft)
                return "encode", 1, None
            medium = self._stand(draft)
        except (DamagedPicture, PromptError, EngineError) as error:
            self._drafts.popleft()
            return "encode", 1, Pinned(draft.pin.id, str(error))
        self._drafts.popleft()
        return "resample", len(medium.stamps), Pinned(draft.pin.id)

    def _encode(self, draft: Draft) -> None:
        image, file = draft.pin.images[draft.encoded], draft.pin.files[draft.encoded]
        picture = Picture(
            number=draft.encoded,
            width=image.width,
            height=image.height,
            encoding=image.encoding,
            taken_ns=0,
        )
        square = self.preprocess.square(np.asarray(decode(picture, file)))
        features = self.engine.encode(self.preprocess.normalised(square)[None])[0]
        draft.window.add(Look(NOWHEN, content_hash(square.data), features))
        draft.encoded += 1

    def _stand(self, draft: Draft) -> Medium:
        pin = draft.pin
        turns = {known: one.turn for known, one in self._standing.items()}
        self.check([*(turns | {pin.id: (pin.question, pin.answer)}).values()])
        medium = draft.window.resample(self.engine.resample)
        self._standing[pin.id] = Standing((pin.question, pin.answer), medium)
        return medium
