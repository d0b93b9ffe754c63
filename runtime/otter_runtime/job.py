"""One ask under way: its prompt, its cache, how far it is, and what it took.

It knows its own state; the step loop decides when it moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from otter_runtime.prefix import Shelf, Token
from otter_runtime.prompt import Prompt
from otter_runtime.voice import Voice
from otter_runtime.window import Medium
from otter_runtime.wire import Ask


class Work:
    """What is made for an ask once its prompt is known: a cache with the prefix it could reuse."""

    def __init__(self, prompt: Prompt, media: Sequence[Medium], shelf: Shelf, voice: Voice) -> None:
        """`media` are those of the prompt in order, the live one last."""
        self.prompt = prompt
        self.medium = media[-1]
        self.media = [medium.media for medium in media]
        self._digests = [b"", *(medium.digest for medium in media)]
        self.voice = voice
        self.tokens: list[Token] = [
            (token, self._digests[seen])
            for token, seen in zip(prompt.ids, prompt.media_index, strict=True)
        ]
        self.held = shelf.take(self.tokens)
        self.told = ""  # text that went out in pieces
        self.pieces = 0

    @property
    def left(self) -> list[Token]:
        """Tokens of the prompt that are not in the cache yet."""
        return self.tokens[len(self.held.tokens) :]

    def digest(self, seen: int) -> bytes:
        """Content hash of the medium that a token sees; empty where it sees none."""
        return self._digests[seen]


@dataclass(eq=False)
class Job:
    """An ask and how far it is; its medium stays the one it began with."""

    ask: Ask
    arrived_ns: int
    medium: Medium | None = None
    work: Work | None = None
    timing: dict[str, float] = field(default_factory=dict)

    @property
    def started(self) -> bool:
        """Whether it has its medium, so that the window no longer matters to it."""
        return self.medium is not None

    @property
    def opened(self) -> bool:
        """Whether its answer has begun."""
        return self.work is not None and self.work.voice.begun

    @property
    def finished(self) -> bool:
        """Whether its answer is complete."""
        return self.work is not None and self.work.voice.done

    def took(self, stage: str, nanoseconds: int) -> None:
        """Add to a stage's time, kept in milliseconds."""
        key = f"{stage}_ms"
        self.timing[key] = self.timing.get(key, 0.0) + nanoseconds / 1e6
