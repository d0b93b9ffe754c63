"""The network's rules: who sees which medium, what caching may not change, what is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otter_model.config import Family
from otter_model.errors import PromptTooLong, TooManyFrames, TooManyImages
from otter_model.otter import Otter
from otter_model.tiny import FAMILIES, tiny_checkpoint, tiny_config

NETWORKS = {f: tiny_checkpoint(f).build().requires_grad_(False) for f in FAMILIES}
IMAGE = 61
PROMPT = [3, IMAGE, 7, 8, IMAGE, 9, 10, 11]


def ids(*tokens: int) -> torch.Tensor:
    return torch.tensor([tokens])


@settings(max_examples=30, deadline=None)
@given(
    family=st.sampled_from(FAMILIES),
    tokens=st.lists(st.integers(0, 59) | st.just(IMAGE), min_size=1, max_size=24),
    cuts=st.lists(st.integers(1, 23), max_size=4),
)
def test_decoding_in_chunks_equals_decoding_at_once(
    family: Family, tokens: list[int], cuts: list[int]
) -> None:
    otter = NETWORKS[family]
    row = torch.tensor([tokens])
    index = otter.media_index(row)
    vision_x = torch.randn(1, max(1, int(index.max())), 1, 3, 16, 16)
    with torch.no_grad():
        media = otter.look(vision_x)
        whole = otter(vision_x, row)
        edges = sorted({0, len(tokens), *(cut for cut in cuts if cut < len(tokens))})
        cache, parts = None, []
        for start, end in pairwise(edges):
            chunk = slice(start, end)
            logits, cache = otter.decode(row[:, chunk], index[:, chunk], media, cache)
            parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=2e-5, rtol=0)


def test_a_token_sees_the_last_medium_before_it_and_no_other(
    otter: Otter, vision_x: torch.Tensor
) -> None:
    before = otter(vision_x, ids(*PROMPT))
    for medium, first in ((0, 1), (1, 4), (2, len(PROMPT))):
        other = vision_x.clone()
        other[:, medium] += 1.0
        changed = (otter(other, ids(*PROMPT)) - before).abs().amax(dim=(0, 2)) > 0
        assert not changed[:first].any()
        # Later tokens change through self-attention at least; surplus media change nothing.
        assert changed[first:].all()


def test_index_zero_is_exactly_sightless_but_runs_the_gated_feed_forward(
    otter: Otter, vision_x: torch.Tensor
) -> None:
    row, none = ids(3, 4, 5), torch.zeros(1, 3, dtype=torch.int64)
    logits, _ = otter.decode(row, none, otter.look(vision_x))
    elsewhere, _ = otter.decode(row, none, otter.look(-vision_x))
    assert torch.equal(logits, elsewhere)
    gates = [p for name, p in otter.named_parameters() if name.endswith("ff_gate")]
    kept = [gate.clone() for gate in gates]
    for gate in gates:
        gate.zero_()
    without, _ = otter.decode(row, none, otter.look(vision_x))
    for gate, value in zip(gates, kept, strict=True):
        gate.copy_(value)
    assert not torch.allclose(logits, without, atol=1e-3)


def test_text_alone_needs_no_media(otter: Otter) -> None:
    nothing = torch.zeros(1, 0, 1, 3, 16, 16)
    zeros = torch.zeros(1, 1, 1, 3, 16, 16)
    assert torch.equal(otter(nothing, ids(3, 4, 5)), otter(zeros, ids(3, 4, 5)))


def test_pads_on_the_left_change_nothing(otter: Otter, vision_x: torch.Tensor) -> None:
    padded = ids(63, 63, 63, *PROMPT)
    mask = (padded != 63).long()
    alone = otter(vision_x, ids(*PROMPT))
    torch.testing.assert_close(otter(vision_x, padded, mask)[:, 3:], alone, atol=2e-5, rtol=0)


def test_rows_of_a_batch_do_not_know_of_each_other(otter: Otter, vision_x: torch.Tensor) -> None:
    rows = torch.tensor([PROMPT, PROMPT[::-1]])
    batch = otter(torch.cat([vision_x, -vision_x]), rows)
    torch.testing.assert_close(batch[:1], otter(vision_x, rows[:1]), atol=2e-5, rtol=0)
    torch.testing.assert_close(batch[1:], otter(-vision_x, rows[1:]), atol=2e-5, rtol=0)


def test_media_computed_once_serve_several_rows(otter: Otter, vision_x: torch.Tensor) -> None:
    rows = torch.tensor([PROMPT, PROMPT[::-1]])
    shared, _ = otter.decode(rows, otter.media_index(rows), otter.look(vision_x))
    afresh = otter(vision_x.repeat(2, 1, 1, 1, 1, 1), rows)
    torch.testing.assert_close(shared, afresh, atol=2e-5, rtol=0)


def test_every_used_parameter_learns() -> None:
    otter = Otter(tiny_config("mpt", max_frames=2)).train()
    with torch.no_grad():
        for name, parameter in otter.named_parameters():
            if name.endswith("_gate"):
                parameter.fill_(0.5)
    otter(torch.randn(1, 2, 2, 3, 16, 16), ids(*PROMPT)).square().mean().backward()
    idle = {n for n, p in otter.named_parameters() if p.grad is None or not p.grad.any()}
    assert idle == {f"vision_encoder.vision_model.post_layernorm.{n}" for n in ("weight", "bias")}


def test_more_images_than_media_are_refused(otter: Otter, vision_x: torch.Tensor) -> None:
    with pytest.raises(TooManyImages, match="prompt 1 has 2 <image> tokens but only 1 media"):
        otter(vision_x[:, :1].repeat(2, 1, 1, 1, 1, 1), torch.tensor([[3] * 8, PROMPT]))


def test_more_tokens_than_positions_are_refused(otter: Otter, vision_x: torch.Tensor) -> None:
    with pytest.raises(PromptTooLong, match="65 tokens, but the decoder has 64"):
        otter(vision_x, ids(*[3] * 65))


def test_more_frames_than_embeddings_are_refused() -> None:
    otter = tiny_checkpoint("mpt", max_frames=2).build()
    with pytest.raises(TooManyFrames, match="3 frames, but the resampler has embeddings for 2"):
        otter.resample(torch.zeros(1, 3, 4, 24))
