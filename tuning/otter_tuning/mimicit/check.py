"""What is wrong with a set of MIMIC-IT files, each fault by its kind and id, and its repair.

The released files have ids that nothing answers to (issues 149, 172 and 329 of the public Otter
repository): contexts and pictures that are missing, or spelt in another way than where they are.
A repair drops or respells, never invents; what it did is the same list.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from otter_tuning.mimicit.instructions import Instruction, Instructions
from otter_tuning.mimicit.names import frame_of, meaning

# kind: what it means, what a repair does
KINDS = {
    "duplicate-id": ("an id stands twice in one file", "the last stays, as JSON reads it"),
    "duplicate-pair": ("the same pair under two ids", "the first stays"),
    "empty-text": ("an instruction or answer without text", "the pair is left out"),
    "dangling-context": ("a context names a pair that is not there", "the name is left out"),
    "own-context": ("a pair is its own context", "the name is left out"),
    "image-drift": ("a picture is there under another spelling", "the spelling of the store"),
    "dangling-image": ("a picture is not there", "a video goes on without it; a still's pair goes"),
    "missing-frame": ("a video's frame numbers have a hole", "none: the frames are not there"),
    "dangling-query": ("a context map asks for a pair that is not there", "the entry is left out"),
    "unused-image": ("no pair names the picture", "none: it does no harm"),
}


@dataclass(frozen=True)
class Fault:
    """One fault: its kind, the pair it was found in, what is named there, and what it is."""

    kind: str
    where: str
    named: str = ""
    found: str = ""


@dataclass
class Checked:
    """The faults, and the set as it is once they are repaired."""

    faults: list[Fault]
    instructions: Instructions
    contexts: dict[str, list[str]] | None
    pairs: int
    images: int
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.counts = Counter(fault.kind for fault in self.faults)


class Pictures:
    """The ids that there are pictures for, found by their meaning too."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = dict.fromkeys(names)
        self._by_meaning = {meaning(name): name for name in self.names}

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def spelt(self, name: str) -> str | None:
        """The id under which that picture is there."""
        return self._by_meaning.get(meaning(name))


def check(
    instructions: Instructions,
    images: Iterable[str] | None = None,
    contexts: Mapping[str, list[str]] | None = None,
    others: Container[str] = (),
) -> Checked:
    """Every fault of a set; `others` are ids of pairs in other files that contexts may name.

    Without `images` pictures are not looked for.
    """
    pictures = None if images is None else Pictures(images)
    faults = [Fault("duplicate-id", name) for name in instructions.duplicates]
    repaired = Instructions(instructions.meta, {}, instructions.hand, (), instructions.rest)
    seen: dict[Instruction, str] = {}
    for pair in instructions:
        found, mended = _pair(pair, instructions, others, pictures, seen)
        faults += found
        if mended is not None:
            raw = instructions.data[pair.id]
            repaired.data[pair.id] = raw if mended == pair else {**raw, **_changed(pair, mended)}
    if pictures is not None:
        faults += _unused(instructions, pictures)
    # What was left out may have been somebody's context: only what stayed counts.
    kept = _Either(repaired, others)
    for name, raw in repaired.data.items():
        if lost := [one for one in raw.get("rel_ins_ids", ()) if one not in kept]:
            faults += [Fault("dangling-context", name, one, "left out here") for one in lost]
            raw = {**raw, "rel_ins_ids": [one for one in raw["rel_ins_ids"] if one in kept]}
            repaired.data[name] = raw
    mapped = None if contexts is None else dict(_mapped(contexts, kept, faults))
    count = 0 if pictures is None else len(pictures.names)
    return Checked(faults, repaired, mapped, len(instructions), count)


@dataclass(frozen=True)
class _Either:
    """Ids of this file or another."""

    first: Container[str]
    second: Container[str]

    def __contains__(self, name: object) -> bool:
        return name in self.first or name in self.second


def _pair(
    pair: Instruction,
    instructions: Instructions,
    others: Container[str],
    pictures: Pictures | None,
    seen: dict[Instruction, str],
) -> tuple[list[Fault], Instruction | None]:
    """The faults of one pair, and the pair without them; None where nothing is left."""
    faults: list[Fault] = []
    known, related = _Either(instructions, others), []
    for name in pair.rel_ins_ids:
        if name == pair.id:
            faults.append(Fault("own-context", pair.id, name))
        elif name not in known:
            faults.append(Fault("dangling-context", pair.id, name))
        else:
            related.append(name)
    images = list(pair.image_ids) if pictures is None else list(_images(pair, pictures, faults))
    if pictures is not None:
        faults += _holes(pair)
    mended = replace(pair, rel_ins_ids=tuple(related), image_ids=tuple(images))
    if not pair.instruction.strip() or not pair.answer.strip():
        return [*faults, Fault("empty-text", pair.id)], None
    twin = seen.setdefault(replace(pair, id="", rel_ins_ids=()), pair.id)
    if twin != pair.id:
        return [*faults, Fault("duplicate-pair", pair.id, twin)], None
    lost = len(images) < len(pair.image_ids)
    still = not any(map(frame_of, pair.image_ids))
    return faults, None if lost and (still or not images) else mended


def _images(pair: Instruction, pictures: Pictures, faults: list[Fault]) -> Iterator[str]:
    for name in pair.image_ids:
        if name in pictures:
            yield name
        elif (spelt := pictures.spelt(name)) is not None:
            faults.append(Fault("image-drift", pair.id, name, spelt))
            yield spelt
        else:
            faults.append(Fault("dangling-image", pair.id, name))


def _holes(pair: Instruction) -> Iterator[Fault]:
    """Where frames are numbered evenly but for a hole; a stride of more than 1 is no hole."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for name in pair.image_ids:
        if (frame := frame_of(name)) is not None:
            numbers[frame[0]].append(frame[1])
    for clip, found in numbers.items():
        steps = [b - a for a, b in pairwise(sorted(found))]
        usual = min(steps, default=0)
        if len(steps) > 1 and usual > 0:
            for a, step in zip(sorted(found), steps, strict=False):
                if step >= 2 * usual:
                    yield Fault("missing-frame", pair.id, clip, f"after {a}, {step // usual - 1}")


def _unused(instructions: Instructions, pictures: Pictures) -> Iterator[Fault]:
    used: set[str | None] = set()
    for pair in instructions:
        used.update(name if name in pictures else pictures.spelt(name) for name in pair.image_ids)
    return (Fault("unused-image", "", name) for name in pictures.names if name not in used)


def _mapped(
    contexts: Mapping[str, list[str]], kept: Container[str], faults: list[Fault]
) -> Iterator[tuple[str, list[str]]]:
    for query, names in contexts.items():
        if query not in kept:
            faults.append(Fault("dangling-query", query))
            continue
        faults += [Fault("dangling-context", query, name) for name in names if name not in kept]
        faults += [Fault("own-context", query, name) for name in names if name == query]
        yield query, [name for name in names if name in kept and name != query]


def _changed(pair: Instruction, mended: Instruction) -> dict[str, list[str]]:
    """The fields that a repair changed, so that the rest of a record stays as it is."""
    lists = {"image_ids": mended.image_ids, "rel_ins_ids": mended.rel_ins_ids}
    return {name: list(value) for name, value in lists.items() if value != getattr(pair, name)}
