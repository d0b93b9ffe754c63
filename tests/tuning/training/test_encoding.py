"""Which tokens are learned, which medium each sees: token by token, and held to the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.tuning.training.conftest import TOKENS, byte_tokenizer

from otter_model.checkpoint import load
from otter_runtime.errors import UserError
from otter_tuning.mimicit.mixture import Source
from otter_tuning.training.batch import Batch, Row, collate
from otter_tuning.training.encoding import IGNORED, Encoded, Encoder, Turn
from otter_tuning.training.mixing import plan, share
from otter_tuning.training.objective import Objective, taken
from otter_tuning.training.samples import read_samples, spread

TEMPLATE = "<image>User: {question} GPT:<answer>{answer}<|endofchunk|>"
NAMES = {256: "§", 257: "@", 258: "^", 259: "_"}


def encoder(most: int = 200, end: int | None = None) -> Encoder:
    return Encoder(byte_tokenizer(), TOKENS, TEMPLATE, most, end)


def shown(ids: tuple[int, ...], chosen: tuple[int, ...] | None = None) -> str:
    """Ids as text, @ for <image>, ^ for <answer>, § for the end; what is not learned as a dot."""
    tokenizer = byte_tokenizer()
    letters = [NAMES.get(one) or tokenizer.decode([one]) for one in ids]
    if chosen is None:
        return "".join(letters)
    both = zip(letters, chosen, strict=True)
    return "".join(letter if label != IGNORED else "." for letter, label in both)


@pytest.mark.parametrize(
    ("turns", "text", "learned", "index"),
    [
        (
            [Turn("a?", "b", ("x",))],
            "@User: a? GPT:^b§",
            "................b§"[1:],
            "1" * 16,
        ),
        (
            [Turn("a?", "b", ("x",)), Turn("c?", "d", ("x",))],
            "@User: a? GPT:^b§User: c? GPT:^d§",
            "...............b§..............d§",
            "1" * 33,
        ),
        (
            [Turn("a?", "b", ("x",)), Turn("c?", "d", ("y",))],
            "@User: a? GPT:^b§@User: c? GPT:^d§",
            "...............b§...............d§",
            "1" * 17 + "2" * 17,
        ),
        ([Turn("a?", "b")], "User: a? GPT:^b§", "..............b§", "0" * 16),
    ],
)
def test_every_token(turns: list[Turn], text: str, learned: str, index: str) -> None:
    made = encoder()(turns)
    assert shown(made.ids) == text
    assert shown(made.ids, made.labels)[-len(learned) :] == learned
    assert "".join(map(str, made.media_index))[: len(index)] == index[: len(made.ids)]
    assert len(made.media) == max(made.media_index)


def test_the_end_of_the_text_is_learned() -> None:
    made = encoder(end=259)([Turn("a?", "b")])
    assert shown(made.ids, made.labels) == "..............b§_"


def test_what_a_user_writes_brings_no_picture() -> None:
    made = encoder()([Turn("is this <image> or <answer>?", "no <|endofchunk|>", ("x",))])
    assert made.ids.count(TOKENS.image) == 1
    assert made.ids.count(TOKENS.endofchunk) == 1
    assert len(made.media) == 1


def test_too_long_the_oldest_turns_go_and_their_pictures_with_them() -> None:
    turns = [Turn("a?", "b", ("x",)), Turn("c?", "d", ("y",)), Turn("e?", "f", ("z",))]
    made = encoder(most=36)(turns)
    assert shown(made.ids) == "@User: c? GPT:^d§@User: e? GPT:^f§"
    assert made.media == (("y",), ("z",))
    # A conversation's picture goes over to what is left of it.
    made = encoder(most=20)([Turn("a?", "b", ("x",)), Turn("c?", "d", ("x",))])
    assert shown(made.ids) == "@User: c? GPT:^d§"
    assert made.media == (("x",),)
    assert shown(encoder(most=20)([Turn("a?", "b" * 30, ("x",))]).ids) == "@User: a? GPT:^bbbbb"
    with pytest.raises(UserError, match="longer than 10 tokens"):
        encoder(most=10)([Turn("a long question?", "b", ("x",))])


def test_frames_are_spread() -> None:
    frames = tuple("abcdefgh")
    assert spread(frames, 8) == frames
    assert spread(frames, 4) == ("a", "c", "f", "h")
    assert spread(frames, 2) == ("a", "h")
    assert spread(frames, 1) == ("h",)
    assert spread((), 4) == ()


def pixels_of(value: float) -> np.ndarray:
    return np.random.default_rng(int(value * 100)).standard_normal((3, 16, 16)).astype(np.float32)


def batch_of(turns: list[Turn], seen: dict[str, float]) -> Batch:
    return collate([Row(encoder()(turns), lambda name: pixels_of(seen[name]))], TOKENS.pad, 16)


@pytest.mark.parametrize("checkpoint", ["mpt", "llama"], indirect=True)
def test_an_example_is_seen_by_those_who_may_see_it(checkpoint: Path) -> None:
    """Another picture for exemplar k changes no logit before its `<image>`, and later ones."""
    objective = Objective(load(checkpoint))
    turns = [Turn("a?", "b", ("x",)), Turn("c?", "d", ("y",)), Turn("e?", "f", ("z",))]
    seen = {"x": 1.0, "y": 2.0, "z": 3.0}
    batch = batch_of(turns, seen)
    starts = [int(at) for at in (batch.ids[0] == TOKENS.image).nonzero()]
    with torch.inference_mode():
        before = objective.logits(batch)[0]
        for name, start in zip("xyz", starts, strict=True):
            after = objective.logits(batch_of(turns, {**seen, name: 9.0}))[0]
            assert torch.equal(before[:start], after[:start])
            assert (before[start:] - after[start:]).abs().max() > 1e-4


@pytest.mark.parametrize("checkpoint", ["mpt", "llama"], indirect=True)
def test_media_are_the_forward_pass_of_the_network(checkpoint: Path) -> None:
    """Rows of any length, with any number of media, give what the network gives them alone."""
    otter = load(checkpoint)
    objective = Objective(otter)
    rows = [
        [Turn("a?", "b", ("x",)), Turn("c?", "d", ("y",))],
        [Turn("a longer one?", "b", ("z",))],
        [Turn("text", "only")],
        [Turn("a video?", "b", ("x", "y", "z"))],
    ]
    seen = {"x": 1.0, "y": 2.0, "z": 3.0}

    def pixels(name: str) -> np.ndarray:
        return pixels_of(seen[name])

    encoded = [encoder()(turns) for turns in rows]
    batch = collate([Row(one, pixels) for one in encoded], TOKENS.pad, 16)
    assert len(batch.pixels) <= 6
    with torch.inference_mode():
        together = objective.logits(batch)
        for row, one in enumerate(encoded):
            media = one.media or (("x",),)
            frames = [
                torch.stack([torch.from_numpy(pixels(name)) for name in names]) for names in media
            ]
            vision = torch.stack(frames)[None]
            alone = otter(vision, torch.tensor([one.ids]))[0]
            torch.testing.assert_close(together[row, : len(one.ids)], alone, atol=2e-5, rtol=0)


def test_a_frame_of_many_samples_has_the_same_gradient_each_time() -> None:
    """`rows[which]` has another one each time, on a processor with two cores."""
    dice = torch.Generator().manual_seed(0)
    rows = torch.randn(10, 64, 192, generator=dice, requires_grad=True)
    which = torch.randint(0, len(rows), (40, 4), generator=dice)
    weights = torch.randn(*which.shape, *rows.shape[1:], generator=dice)
    assert torch.equal(taken(rows, which), rows[which])
    one, *others = (
        torch.autograd.grad((taken(rows, which) * weights).sum(), rows)[0] for _ in range(5)
    )
    assert all(torch.equal(one, other) for other in others)


def singly(sizes: dict[str, int]) -> dict[str, list[list[int]]]:
    return {group: [[at] for at in range(size)] for group, size in sizes.items()}


@given(
    sizes=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 60), min_size=1),
    batch=st.integers(1, 9),
    epoch=st.integers(0, 3),
)
def test_an_epoch_takes_every_sample_once(sizes: dict[str, int], batch: int, epoch: int) -> None:
    units = singly(sizes)
    planned = plan(units, batch, epoch, seed=1)
    for group, size in sizes.items():
        members = [at for one in planned if one.group == group for at in one.members]
        assert sorted(members) == list(range(size))
    assert planned == plan(units, batch, epoch, seed=1)


def test_groups_come_in_proportion_and_epochs_differ() -> None:
    units = singly({"a": 30_000, "b": 10_000})
    planned = plan(units, 4, 0, seed=0)
    for part in range(5):
        drawn = planned[part * 2000 : (part + 1) * 2000]
        assert abs(sum(one.group == "a" for one in drawn) / 2000 - 0.75) < 0.03
    assert planned != plan(units, 4, 1, seed=0)
    parts = [share(planned, rank, 3) for rank in range(3)]
    assert len({len(part) for part in parts}) == 1
    assert len({id(one) for part in parts for one in part}) == 10_000 // 3 * 3


def test_a_unit_is_drawn_whole() -> None:
    units = {"a": [[0, 3], [1], [2, 4, 5]]}
    planned = plan(units, 2, 0, seed=3)
    drawn = [set(one.members) for one in planned]
    assert all(sum(set(unit) <= members for members in drawn) == 1 for unit in units["a"])
    assert [one.place for one in planned] == [0, 1]


def test_samples_of_a_source(mixture: Path) -> None:
    folder = mixture.parent
    source = Source(mimicit_path=str(folder / "LACR_instructions.json"))
    samples = read_samples(source, most_examples=2, most_frames=4)
    assert len(samples) == 8
    assert [turn.frames for turn in samples[0].turns] == [
        ("LA_00_IMG_000000000001",),
        ("LA_00_IMG_000000000000",),
    ]
    (folder / "x_train.json").write_text('{"LACR_T2T_00_INS_000000000003": []}')
    chosen = Source(
        mimicit_path=source.mimicit_path, train_config_path=str(folder / "x_train.json")
    )
    (only,) = read_samples(chosen, 2, 4)
    assert (only.name, len(only.turns)) == ("LACR_T2T_00_INS_000000000003", 1)
    few = Source(mimicit_path=source.mimicit_path, num_samples=3)
    assert len(read_samples(few, 2, 4)) == 3
    assert read_samples(few, 2, 4, seed=5) == read_samples(few, 2, 4, seed=5)
    (folder / "x_train.json").write_text("{}")
    with pytest.raises(UserError, match="has no pair to train on"):
        read_samples(chosen, 2, 4)


def test_nothing_to_learn_is_no_encoding() -> None:
    assert isinstance(encoder()([Turn("a", "b")]), Encoded)
