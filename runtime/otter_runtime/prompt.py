"""Questions, history and examples to token ids, and which medium each token sees.

It knows the manifest's template; it does not know what the pictures are. The template carries
the special tokens: text from people or the model never does (it is broken up where it tries).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from otter_runtime.bundle import Manifest
from otter_runtime.errors import PromptError, TooManyImages

if TYPE_CHECKING:
    from tokenizers import Tokenizer

IMAGE = "<image>"
Turn = tuple[str, str]  # question, answer


@dataclass(frozen=True)
class Prompt:
    """Token ids, for each the medium it sees (1-based, 0 = none), and how many media that takes."""

    ids: list[int]
    media_index: list[int]
    images: int

    def require(self, media: int) -> None:
        """Raise TooManyImages where fewer than `images` media are there."""
        if self.images > media:
            raise TooManyImages(self.images, media)


def render(
    manifest: Manifest,
    tokenizer: Tokenizer,
    question: str,
    history: Sequence[Turn] = (),
    examples: Sequence[Turn] = (),
) -> Prompt:
    """The prompt for `question`: examples (a medium each), the live medium, history, question.

    History shares the live medium: only its first turn carries `<image>` (reference: gradio
    server, README). Raises PromptError where the ids do not have the media the text has.
    """
    template, example = manifest.prompt.template, manifest.prompt.example
    live = [*(turn(example, *said, tokenizer) for said in history)]
    live.append(turn(template, question, "", tokenizer))
    live[1:] = [text.replace(IMAGE, "") for text in live[1:]]
    shown = [turn(example, *said, tokenizer) for said in examples]
    text = "".join(shown + live)
    prompt = from_ids(manifest, _encoded(tokenizer, text))
    if prompt.images != text.count(IMAGE):
        raise PromptError(
            f"the prompt has {text.count(IMAGE)} {IMAGE} but {prompt.images} tokens with its id; "
            "the tokenizer does not belong to this manifest"
        )
    return prompt


def from_ids(manifest: Manifest, ids: Sequence[int]) -> Prompt:
    """The prompt of `ids`, with the model's BOS in front where it has one.

    A token sees the last medium shown at or before it (reference: inclusive cumulative sum).
    """
    bos = manifest.tokens.bos
    full = list(ids) if bos is None or list(ids[:1]) == [bos] else [bos, *ids]
    index = media_index(full, manifest.tokens.image)
    return Prompt(full, index, max(index, default=0))


def media_index(ids: Sequence[int], image: int) -> list[int]:
    """For each of `ids` the number of `image` tokens up to and including it."""
    seen = 0
    index = []
    for token in ids:
        seen += token == image
        index.append(seen)
    return index


def plain(text: str, specials: Sequence[str]) -> str:
    """`text` in which no special token can be read any more: a space breaks each of them up."""
    while found := next((special for special in specials if special in text), None):
        text = text.replace(found, f"{found[0]} {found[1:]}" if len(found) > 1 else "")
    return text.strip()


def turn(template: str, question: str, answer: str, tokenizer: Tokenizer) -> str:
    """`template` with a question, and an answer where it has a place for one."""
    specials = _specials(tokenizer)
    # One pass over the template, so that "{answer}" inside a question stays text.
    before, _, rest = template.partition("{question}")
    between, _, after = rest.partition("{answer}")
    return f"{before}{plain(question, specials)}{between}{plain(answer, specials)}{after}"


@lru_cache(maxsize=4)
def _specials(tokenizer: Tokenizer) -> tuple[str, ...]:
    """The text of each special token; looked up once for a tokenizer, whose own do not change."""
    return tuple(added.content for added in tokenizer.get_added_tokens_decoder().values())


@lru_cache(maxsize=64)
def _encoded(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    """Ids of `text`; an instruction is asked again and again, and questions often are."""
    return tuple(tokenizer.encode(text, add_special_tokens=False).ids)
