"""Training samples of a MIMIC-IT source: a pair with the pairs that stand before it.

Nothing is read but the instructions; pictures stay in their store until a batch wants them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from otter_runtime.errors import UserError
from otter_tuning.mimicit.instructions import Instruction, Instructions, read_contexts
from otter_tuning.mimicit.mixture import ALL, Source
from otter_tuning.training.encoding import Turn


@dataclass(frozen=True)
class Sample:
    """One sample: its turns, the last of which is the pair itself, and the files that it needs."""

    name: str
    turns: tuple[Turn, ...]
    images: str = ""
    labels: str = ""


def read_samples(
    source: Source, most_examples: int, most_frames: int, seed: int = 0
) -> list[Sample]:
    """The samples of a source; its context map says which pairs, or all with their own contexts.

    At most `most_examples` pairs stand before one, and a video has at most `most_frames` frames.
    `num_samples` of them are drawn by `seed`. Raises UserError where nothing is left.
    """
    instructions = Instructions.read(Path(source.mimicit_path))
    contexts: Mapping[str, Sequence[str]]
    if source.train_config_path:
        contexts = read_contexts(Path(source.train_config_path))
    else:
        contexts = {pair.id: pair.rel_ins_ids for pair in instructions}
    chance = random.Random(seed)
    made = [
        _sample(instructions, name, names[:most_examples], most_frames, source)
        for name, names in contexts.items()
        if name in instructions
    ]
    if source.num_samples != ALL and len(made) > source.num_samples:
        made = [made[at] for at in sorted(chance.sample(range(len(made)), source.num_samples))]
    if not made:
        raise UserError(
            f"{source.mimicit_path} with {source.train_config_path or 'its own contexts'} has no "
            "pair to train on; check it with `otter-edge mimicit check`"
        )
    return made


def _sample(
    instructions: Instructions, name: str, before: Sequence[str], most: int, source: Source
) -> Sample:
    pairs = [instructions[one] for one in before if one in instructions and one != name]
    turns = tuple(_turn(pair, most) for pair in [*pairs, instructions[name]])
    return Sample(name, turns, source.images_path, source.labels_path)


def _turn(pair: Instruction, most_frames: int) -> Turn:
    return Turn(pair.instruction, pair.answer, spread(pair.image_ids, most_frames))


def spread(frames: tuple[str, ...], most: int) -> tuple[str, ...]:
    """At most `most` of the frames, evenly, the first and the last among them (linspace)."""
    if len(frames) <= most:
        return frames
    if most == 1:
        return frames[-1:]
    return tuple(frames[round(at * (len(frames) - 1) / (most - 1))] for at in range(most))
