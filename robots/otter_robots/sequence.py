"""What one topic's sequence numbers say was missed.

Knows epochs and numbers, no sockets. An epoch that was replaced never comes back: a message of it
is stale. Which epoch is the newer one is told by arrival, not by its counter, because the counter
starts anew when somebody deletes the journal, and a robot must not go deaf over that.
"""

from __future__ import annotations


class Sequence:
    """`lost`, `duplicates`, `stale` and `restarts` of one topic since its first message."""

    def __init__(self) -> None:
        self.lost = 0
        self.duplicates = 0
        self.stale = 0
        self.restarts = 0
        self._epoch: str | None = None
        self._seq = 0
        self._retired: set[str] = set()

    def take(self, epoch: str, seq: int) -> bool:
        """Count this number; False when the message is a duplicate or stale and is to be dropped.

        What came before the first message ever heard is not a loss; what a new epoch published
        before its first message heard is.
        """
        if epoch in self._retired:
            self.stale += 1
            return False
        if epoch != self._epoch:
            self._begin(epoch, seq)
        if seq <= self._seq:
            self.duplicates += 1
            return False
        self.lost += seq - self._seq - 1
        self._seq = seq
        return True

    def _begin(self, epoch: str, seq: int) -> None:
        if self._epoch is None:
            self._seq = seq - 1
        else:
            self._retired.add(self._epoch)
            self.restarts += 1
            self._seq = 0
        self._epoch = epoch
