"""What a bundle says beyond its network: prompt, decoding, preprocessing, window, capacities.

The defaults are those of the reference's demos; pocket overrides.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from otter_model.config import OtterConfig
from otter_runtime.bundle import Decoding, Manifest, Preprocess, PromptFormat, WindowDefaults

DEMO_DECODING = Decoding(max_new_tokens=512, no_repeat_ngram=3)
# OpenFlamingo has no <answer>; this is how its evaluation asks (open_flamingo `eval_model.py`).
FLAMINGO_PROMPT = PromptFormat(
    template="<image>Question:{question} Short answer:",
    example="<image>Question:{question} Short answer:{answer}<|endofchunk|>",
)
CAPACITIES = (128, 256, 512, 1024, 2048)
# Video demo: what the model must not go on with, as if it were the user.
BAD_WORDS = ("User:", "GPT1:", "GFT:", "GPT:")


@dataclass(frozen=True)
class Settings:
    """The part of a manifest that a user chooses."""

    name: str = "otter"
    prompt: PromptFormat = field(default_factory=PromptFormat)
    decoding: Decoding = DEMO_DECODING
    mode: str = "crop"
    window: WindowDefaults = field(default_factory=WindowDefaults)
    capacities: tuple[int, ...] = CAPACITIES

    @classmethod
    def of(cls, manifest: Manifest) -> Settings:
        """What a bundle was exported with."""
        return cls(
            name=manifest.name,
            prompt=manifest.prompt,
            decoding=manifest.decoding,
            mode=manifest.preprocess.mode,
            window=manifest.window,
            capacities=tuple(manifest.capacities),
        )

    def preprocess(self, config: OtterConfig) -> Preprocess:
        """Preprocessing to the network's picture size."""
        return Preprocess(size=config.vision.image_size, mode=self.mode)

    def for_network(self, config: OtterConfig) -> Settings:
        """With capacities that end at the network's positions, and its stop token."""
        limit = config.decoder.max_positions
        capacities = (*(size for size in self.capacities if size < limit), limit)
        d = self.decoding
        stop = d.stop_ids or [config.tokens.endofchunk]
        decoding = Decoding(
            max_new_tokens=min(d.max_new_tokens, limit // 2),
            no_repeat_ngram=d.no_repeat_ngram,
            bad_words=d.bad_words,
            stop_ids=stop,
        )
        return replace(self, capacities=capacities, decoding=decoding)


def bad_words(tokenizer: Path, words: tuple[str, ...] = BAD_WORDS) -> list[list[int]]:
    """Token ids of `words` as the tokenizer file writes them, without special tokens."""
    from tokenizers import Tokenizer

    encoder = Tokenizer.from_file(str(tokenizer))
    return [encoder.encode(word, add_special_tokens=False).ids for word in words]
