"""Where a run is listened to: a brain that also tells the recorder what it was told, and said.

It knows what matters of a run; it does not know files. What was published is recorded by the
outbox, which waits for the disk, and what was asked by the bus.
"""

from __future__ import annotations

from functools import partial

import msgspec

from otter_runtime.brain import Brain
from otter_runtime.frame import Frame
from otter_runtime.trials import picture
from otter_runtime.trials.channels import Load, kinds, ordered, told
from otter_runtime.trials.recorder import Recorder
from otter_runtime.wire import Ask, Drop, Event, Limit, Pin, Unpin


class TappedBrain:
    """Another brain, listened to. With `jpeg` it is shown what the recording can hold in JPEG."""

    def __init__(self, brain: Brain, recorder: Recorder, jpeg: bool = False) -> None:
        self._brain, self._recorder, self._jpeg = brain, recorder, jpeg
        self._seen: Frame | None = None  # the last one through JPEG, for when it is shown again
        self._recorded = kinds()

    @property
    def restarts(self) -> int:
        """How many processes there were before this one."""
        return self._brain.restarts

    def show(self, frame: Frame) -> bool:
        """Hand over a frame; it is recorded where the brain took it."""
        frame = self._through_jpeg(frame)
        taken = self._brain.show(frame)
        if taken:
            self._recorder.frame(frame)
        return taken

    def ask(self, ask: Ask) -> None:
        """Hand over an ask."""
        self._order(ask)
        self._brain.ask(ask)

    def drop(self, ask_id: str) -> None:
        """Forget an ask."""
        self._order(Drop(ask_id))
        self._brain.drop(ask_id)

    def pin(self, order: Pin | Unpin) -> None:
        """Pin or unpin an exemplar."""
        self._order(order)
        self._brain.pin(order)

    def limit(self, limit: Limit) -> None:
        """Spend no more than this."""
        self._order(limit)
        self._brain.limit(limit)

    def load(self, bundle: str | None) -> None:
        """Answer with another bundle, or its own."""
        self._order(Load(bundle))
        self._brain.load(bundle)

    def events(self) -> list[Event]:
        """What the brain said."""
        events = self._brain.events()
        for event in events:
            topic = told(type(event))
            if topic in self._recorded:
                self._recorder.message(topic, partial(msgspec.json.encode, event))
        return events

    @property
    def busy(self) -> bool:
        """Whether `events` should be called again at once."""
        return self._brain.busy

    def descriptors(self) -> list[int]:
        """What becomes readable when there are events."""
        return self._brain.descriptors()

    def close(self) -> None:
        """End it."""
        self._brain.close()

    def _order(self, order: msgspec.Struct) -> None:
        self._recorder.message(ordered(type(order)), partial(msgspec.json.encode, order))

    def _through_jpeg(self, frame: Frame) -> Frame:
        if not self._jpeg or frame.file:
            return frame
        if self._seen is None or self._seen.stamp != frame.stamp:
            self._seen = picture.through_jpeg(frame)
        return self._seen
