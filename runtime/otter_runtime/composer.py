"""Writes prompts that fit: exemplars in front, then the live picture, history and the question.

It knows how long a prompt may be and what may be left out of it (old turns, nothing else); it does
not know pictures or engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from otter_runtime.bundle import Manifest
from otter_runtime.errors import PromptTooLong
from otter_runtime.history import History
from otter_runtime.prompt import Prompt, Turn, render, turn
from otter_runtime.wire import Ask

if TYPE_CHECKING:
    from tokenizers import Tokenizer

QUESTION_ROOM = 64  # tokens that exemplars must leave to a question


class Composer:
    """Prompts of one model; `history` is what it answered before."""

    def __init__(self, manifest: Manifest, tokenizer: Tokenizer, history: History) -> None:
        self.history = history
        self._manifest, self._tokenizer = manifest, tokenizer

    def prompt(self, ask: Ask, exemplars: Sequence[Turn]) -> Prompt:
        """The prompt for an ask, with as many of its conversation's last turns as there is room.

        Raises PromptTooLong where there is no room without any of them.
        """
        turns = self.history.turns(ask.conversation)
        while turns:
            try:
                return self._fitting(ask.text, exemplars, turns)
            except PromptTooLong:
                turns = turns[1:]
        return self._fitting(ask.text, exemplars)

    def check_room(self, exemplars: Sequence[Turn]) -> None:
        """Raises PromptTooLong where these would leave too little to a question."""
        self._fitting("", exemplars, room=QUESTION_ROOM)

    def answered(self, ask: Ask, text: str) -> None:
        """Remember what was said, where the ask belongs to a conversation."""
        if ask.conversation and self.history.budget:
            said = turn(self._manifest.prompt.example, ask.text, text, self._tokenizer)
            length = len(self._tokenizer.encode(said, add_special_tokens=False).ids)
            self.history.add(ask.conversation, (ask.text, text), length)

    def _fitting(
        self, text: str, exemplars: Sequence[Turn], turns: Sequence[Turn] = (), room: int = 0
    ) -> Prompt:
        prompt = render(self._manifest, self._tokenizer, text, turns, exemplars)
        limit = self._manifest.dims.decoder.max_positions
        longest = len(prompt.ids) + self._manifest.decoding.max_new_tokens + room
        if longest > limit:
            raise PromptTooLong(longest, limit)
        return prompt
