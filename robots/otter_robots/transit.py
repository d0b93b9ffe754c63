"""How long a message waited between its publisher and here, with clocks that share no origin.

The difference of two monotonic clocks is unknown but nearly constant, so the quickest message so
far tells it, and whatever takes longer than that one has waited: in a socket's queue, say, while
the robot was busy. It knows clock readings only.
"""

from __future__ import annotations

# Two quartz clocks drift apart by less than this, so the quickest message so far may be so much
# slower by now. A queue grows faster, and is therefore seen.
DRIFT = 200e-6


class Transit:
    """One publisher's epoch at a time; a new epoch may have a new clock.

    Where both are on one machine (`same_clock`), their clocks are one and nothing has to be learnt.
    """

    def __init__(self, same_clock: bool = False) -> None:
        self._same_clock = same_clock
        self._epoch = ""
        self._quickest_s = 0.0
        self._at_s = 0.0

    def waited_s(self, epoch: str, sent_s: float, now_s: float) -> float:
        """Seconds that a message sent at the publisher's `sent_s` waited beyond the quickest one.

        Zero for the first of an epoch: it has nothing to be compared with. So who subscribes and
        begins to read much later does not see how old the first messages are, unless the clock is
        the same.
        """
        took_s = now_s - sent_s
        if self._same_clock:
            return max(0.0, took_s)
        if epoch != self._epoch:
            self._epoch, self._quickest_s = epoch, took_s
        else:
            drifted_s = self._quickest_s + max(0.0, now_s - self._at_s) * DRIFT
            self._quickest_s = min(drifted_s, took_s)
        self._at_s = now_s
        return took_s - self._quickest_s

    def forget(self) -> None:
        """Start anew, e.g. after one of the machines was suspended."""
        self._epoch = ""
