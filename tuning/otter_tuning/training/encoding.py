"""Turns of questions and answers as token ids, and which of them are learned.

A turn that has pictures of its own begins with `<image>`; one that speaks of the same pictures as
the turn before does not. So a conversation or a video has one `<image>`, and in-context examples
have one each (reference: `pipeline/mimicit_utils`). Learned are the tokens after each `<answer>` up
to and with `<|endofchunk|>`, and the end of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from otter_model.config import Tokens
from otter_runtime.errors import UserError
from otter_runtime.prompt import IMAGE, media_index, turn

IGNORED = -100  # torch's ignore_index


@dataclass(frozen=True)
class Turn:
    """A question, its answer, and the frames it brings; none: those of the turn before, or none."""

    question: str
    answer: str
    frames: tuple[str, ...] = ()


@dataclass(frozen=True)
class Encoded:
    """Ids; for each the label (IGNORED or the id itself) and the medium it sees; frames by medium.

    `labels[t]` is what the model should say at position t - 1.
    """

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    media_index: tuple[int, ...]
    media: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Encoder:
    """How turns are written for one network.

    `template` has {question} and {answer}, as a bundle's `prompt.example`. `end` closes a text
    (BOS, `tokens.bos`, opens it where the network has one). Longer than `most_tokens`: the oldest
    turns go, and of a single one the end of its answer.
    """

    tokenizer: Tokenizer
    tokens: Tokens
    template: str
    most_tokens: int
    end: int | None = None

    def __call__(self, turns: Sequence[Turn]) -> Encoded:
        """Raises UserError where even the last question leaves no room for an answer."""
        kept = list(turns)
        while True:
            media, parts = self._written(kept)
            first = [] if self.tokens.bos is None else [self.tokens.bos]
            ids = [*first, *(token for part in parts for token in part)]
            ids += [] if self.end is None else [self.end]
            if len(ids) <= self.most_tokens or len(kept) == 1:
                break
            # What the next turn shared goes over to it.
            head, following = kept[0], kept[1]
            if not following.frames and head.frames:
                kept[1] = Turn(following.question, following.answer, head.frames)
            kept = kept[1:]
        ids = ids[: self.most_tokens]
        labels = self._labels(ids)
        if all(label == IGNORED for label in labels):
            raise UserError(
                f"{kept[-1].question[:60]!r} is longer than {self.most_tokens} tokens, so nothing "
                "of its answer is left; allow more tokens"
            )
        index = media_index(ids, self.tokens.image)
        return Encoded(tuple(ids), tuple(labels), tuple(index), tuple(media[: max(index)]))

    def _written(self, turns: Sequence[Turn]) -> tuple[list[tuple[str, ...]], list[list[int]]]:
        """The media in order, and each turn's ids."""
        media: list[tuple[str, ...]] = []
        parts = []
        for one in turns:
            new = bool(one.frames) and (not media or one.frames != media[-1])
            media += [one.frames] if new else []
            template = self.template if new else self.template.replace(IMAGE, "")
            text = turn(template, one.question, one.answer, self.tokenizer)
            parts.append(list(self.tokenizer.encode(text, add_special_tokens=False).ids))
        return media, parts

    def _labels(self, ids: Sequence[int]) -> list[int]:
        labels, learning = [], False
        for token in ids:
            ends = token == self.end
            labels.append(token if learning or ends else IGNORED)
            if token in (self.tokens.answer, self.tokens.endofchunk):
                learning = token == self.tokens.answer
        return labels
