"""What was said before in a conversation, within a budget of tokens.

It knows turns and how long they are; it does not know prompts or pictures. A turn stays whole or
goes: half a question would be answered as another one.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from otter_runtime.prompt import Turn

CONVERSATIONS = 32  # the one that was silent for longest makes way for another


class History:
    """The last turns of each conversation, at most `budget` tokens of each."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.evicted = 0  # turns
        self._told: OrderedDict[str, deque[tuple[Turn, int]]] = OrderedDict()

    def turns(self, conversation: str) -> list[Turn]:
        """Of this conversation, oldest first; none of the one without a name."""
        return [turn for turn, _ in self._told.get(conversation, ())]

    def add(self, conversation: str, turn: Turn, tokens: int) -> None:
        """A question was answered; `tokens` are those of the turn in a prompt."""
        if not conversation or not self.budget:
            return
        told = self._told.setdefault(conversation, deque())
        self._told.move_to_end(conversation)
        told.append((turn, tokens))
        while sum(length for _, length in told) > self.budget:
            told.popleft()
            self.evicted += 1
        while len(self._told) > CONVERSATIONS:
            _, gone = self._told.popitem(last=False)
            self.evicted += len(gone)
