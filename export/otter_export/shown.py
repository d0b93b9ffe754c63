"""A calibration example as people have it: pictures, a question, perhaps an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from otter_export.sample import Sample
from otter_model.config import Tokens
from otter_runtime.bundle import Preprocess, PromptFormat
from otter_runtime.frame import Pixels
from otter_runtime.preprocess import Preprocessor
from otter_runtime.prompt import media_index, turn

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class Shown:
    """Frames (H, W, 3) uint8 RGB in order; `answer` None where nobody gave one."""

    frames: Sequence[Pixels]
    question: str
    answer: str | None = None


@dataclass(frozen=True)
class Encoder:
    """Writes examples as the bundle will: its preprocessing, its prompt, its window's length.

    A token sees the one medium from its `<image>` on. Prompts end with their answer where there
    is one: generated tokens have their own ranges.
    """

    tokenizer: Tokenizer
    preprocess: Preprocess
    prompt: PromptFormat
    tokens: Tokens
    frames: int
    max_positions: int

    def __call__(self, shown: Shown) -> Sample:
        """The example as numbers; frames are dropped or repeated evenly to the window's length."""
        to_pixels = Preprocessor(self.preprocess)
        chosen = [shown.frames[i] for i in spread(len(shown.frames), self.frames)]
        ids = self._ids(shown)[: self.max_positions]
        pixels = np.stack([to_pixels(frame) for frame in chosen])
        return Sample(pixels, ids, media_index(ids, self.tokens.image))

    def _ids(self, shown: Shown) -> list[int]:
        template = self.prompt.template if shown.answer is None else self.prompt.example
        text = turn(template, shown.question, shown.answer or "", self.tokenizer)
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids if self.tokens.bos is None else [self.tokens.bos, *ids]


def spread(have: int, want: int) -> list[int]:
    """`want` of the indices below `have`, evenly, the last among them; repeated where too few."""
    return [(i + 1) * have // want - 1 if have >= want else i * have // want for i in range(want)]
