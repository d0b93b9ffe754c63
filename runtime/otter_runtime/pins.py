"""The front's exemplars: each from its arrival until it is forgotten.

It knows the bus's requests and the brain's orders, not what a prompt is. The brain judges; a brain
that was started anew knows nothing, so it is told again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from otter_robots.messages import MOST_EXEMPLARS, Ack, Exemplar, Fault, Forget
from otter_runtime.brain import Brain
from otter_runtime.bus import Bus, Request
from otter_runtime.wire import Pin, Pinned, Unpin


class Pins:
    """Which exemplars stand, and which the brain has not judged yet; `fault` says what failed."""

    def __init__(self, bus: Bus, brain: Brain, fault: Callable[[Fault], object]) -> None:
        self._bus, self._brain, self._fault = bus, brain, fault
        self._standing: dict[str, Pin] = {}
        self._judged: dict[str, tuple[Request, Pin]] = {}

    def stand(self, pins: Iterable[Pin]) -> None:
        """These stand from the start; a Fault follows for each that the brain refuses."""
        self._standing |= {pin.id: pin for pin in pins}

    def take(self, request: Request, ready: bool) -> None:
        """An Exemplar or a Forget; `ready` says whether there is a brain."""
        message = request.message
        if isinstance(message, Forget):
            self._forget(message.id)
            self._bus.reply(request, Ack())
        elif isinstance(message, Exemplar):
            why_not = self._why_not(message.id, ready)
            if why_not:
                self._bus.reply(request, Ack(ok=False, detail=why_not))
            else:
                self._judge(request, message)

    def judged(self, pinned: Pinned) -> None:
        """The brain took an exemplar, or refuses it."""
        judged = self._judged.pop(pinned.id, None)
        if judged is not None:
            request, pin = judged
            if not pinned.refusal:
                self._standing[pinned.id] = pin
            self._bus.reply(request, Ack(ok=not pinned.refusal, detail=pinned.refusal))
        elif pinned.refusal and pinned.id in self._standing:
            del self._standing[pinned.id]
            detail = f"exemplar {pinned.id} stands no longer: {pinned.refusal}"
            self._fault(Fault(code="exemplar", detail=detail))

    def again(self) -> None:
        """A new brain: it is told what stands."""
        for pin in self._standing.values():
            self._brain.pin(pin)

    def give_up(self) -> None:
        """The brain died; nobody judges what it was judging."""
        judged, self._judged = self._judged, {}
        for request, _ in judged.values():
            self._bus.reply(request, Ack(ok=False, detail="the brain ended over it; send it again"))

    def _why_not(self, pin_id: str, ready: bool) -> str:
        if not ready:
            return "there is no brain yet; send it again in a moment"
        if pin_id in self._judged:
            return f"exemplar {pin_id} is being looked at already; wait for its acknowledgement"
        if len({*self._standing, *self._judged, pin_id}) > MOST_EXEMPLARS:
            return f"{MOST_EXEMPLARS} exemplars stand already; forget one of them first"
        return ""

    def _judge(self, request: Request, exemplar: Exemplar) -> None:
        pin = Pin(
            id=exemplar.id,
            question=exemplar.instruction,
            answer=exemplar.answer,
            images=exemplar.images,
            files=request.blobs,
        )
        self._judged[exemplar.id] = request, pin
        self._brain.pin(pin)

    def _forget(self, pin_id: str) -> None:
        for known in [pin_id] if pin_id else list(self._standing):
            self._standing.pop(known, None)
        self._brain.pin(Unpin(pin_id))
