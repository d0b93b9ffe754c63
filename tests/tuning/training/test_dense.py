"""Dense labels, changed clips, Muon and rates: the parts that a network from scratch needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from otter_runtime.errors import UserError
from otter_tuning.training.augmentation import Changes, Mirror
from otter_tuning.training.config import AugmentConfig, TuneConfig
from otter_tuning.training.encoding import Turn
from otter_tuning.training.labels import UNKNOWN, Labels
from otter_tuning.training.muon import orthogonalise
from otter_tuning.training.optimizers import optimizers, share_of_rate
from otter_tuning.training.probe import Probe


def labels() -> Labels:
    patches = np.array([[0, 1, 2, 2], [2, 2, 2, 2]])
    slots = np.array([[0, UNKNOWN], [1, 1]])
    return Labels.of(
        ("cat", "dog", "none"), ("left", "right"), ("a", "b"), patches, ("p", "q"), slots
    )


def test_labels_are_read_as_written(tmp_path: Path) -> None:
    labels().write(tmp_path / "labels.npz")
    read = Labels.read(tmp_path / "labels.npz")
    assert read.patches_of("a").tolist() == [0, 1, 2, 2]
    assert read.slots_of("q").tolist() == [1, 1]
    assert read.slots_of("elsewhere").tolist() == [UNKNOWN, UNKNOWN]
    assert (read.patch_classes, read.slot_classes) == (
        labels().patch_classes,
        labels().slot_classes,
    )
    np.savez(tmp_path / "other.npz", patches=np.zeros((1, 4)))
    with pytest.raises(UserError, match=r"should be an \.npz with patch_classes"):
        Labels.read(tmp_path / "other.npz")
    labels().write(tmp_path / "short.npz")
    held = dict(np.load(tmp_path / "short.npz"))
    np.savez(tmp_path / "short.npz", **{**held, "slots": held["slots"][:1]})
    with pytest.raises(UserError, match="2 pairs and slots of shape"):
        Labels.read(tmp_path / "short.npz")


def test_a_probe_weighs_classes_and_leaves_out_what_nobody_knows() -> None:
    probe = Probe(labels(), 8, 8, {"none": 0.2})
    features = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
    patches = torch.tensor([[0, 1, 2, 2], [2, 2, 2, 2]])
    logits = probe.patch(features).flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(
        logits, patches.flatten(), torch.tensor([1.0, 1.0, 0.2])
    )
    torch.testing.assert_close(probe.patch_loss(features, patches), expected)
    unknown = torch.full_like(patches, UNKNOWN)
    assert probe.patch_loss(features, unknown).item() == 0
    some = torch.cat([patches[:1], unknown[:1]])
    torch.testing.assert_close(
        probe.patch_loss(features, some), probe.patch_loss(features[:1], patches[:1])
    )
    with pytest.raises(UserError, match="there is no class 'bird' to weigh"):
        Probe(labels(), 8, 8, {"bird": 2.0})


@given(st.text())
def test_a_mirror_twice_is_none(text: str) -> None:
    mirror = Mirror({"left": "right"})
    assert mirror.text(mirror.text(text)) == text


def test_a_mirror_exchanges_words_not_parts_of_words() -> None:
    mirror = Mirror({"left": "right"})
    assert mirror.text("Left of it; is that right? copyright") == (
        "Right of it; is that left? copyright"
    )
    assert mirror.classes(["left", "ahead", "saw it right", "right", "saw it left"]).tolist() == [
        3, 1, 4, 0, 2,
    ]  # fmt: skip
    assert not Mirror({})
    assert Mirror({}).text("left") == "left"


def test_a_clip_changes_as_one_and_its_words_with_it() -> None:
    config = AugmentConfig(mirror={"left": "right"}, gain=0.2, tint=0.1, offset=0.3)
    changes, again = Changes(config, (1, 2, 3)), Changes(config, (1, 2, 3))
    pixels = np.random.default_rng(0).standard_normal((3, 4, 4)).astype(np.float32)
    mirrored = 0
    for clip in range(40):
        names = [f"OWN_IMG_{clip}_{frame:04d}" for frame in range(3)]
        change = changes.of(names[0])
        assert all(changes.of(name) is change for name in names)
        assert np.array_equal(change.pixels(pixels), again.of(names[2]).pixels(pixels))
        back = (change.pixels(pixels) - change.offset) / change.gain
        as_was = back[..., ::-1] if change.mirrored else back
        np.testing.assert_allclose(as_was, pixels, atol=1e-5)
        turns = [Turn("left?", "Right.", tuple(names)), Turn("and?", "left")]
        told = [(turn.question, turn.answer) for turn in changes.turns(turns)]
        if change.mirrored:
            assert told == [("right?", "Left."), ("and?", "right")]
            assert change.patches(np.arange(4)).tolist() == [1, 0, 3, 2]
        else:
            assert told == [("left?", "Right."), ("and?", "left")]
        mirrored += change.mirrored
    assert 8 < mirrored < 32


def test_no_augmentation_changes_nothing() -> None:
    pixels = np.random.default_rng(0).standard_normal((3, 4, 4)).astype(np.float32)
    assert np.array_equal(Changes(AugmentConfig(), (0,)).of("x").pixels(pixels), pixels)


def test_orthogonalising_flattens_the_singular_values() -> None:
    for shape in ((16, 48), (48, 16)):
        flat = orthogonalise(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
        values = torch.linalg.svdvals(flat)
        assert flat.shape == shape
        assert values.max() < 1.3
        assert values.min() > 0.5


def test_muon_takes_maps_and_adamw_the_rest() -> None:
    module = torch.nn.ModuleDict(
        {
            "wte": torch.nn.Embedding(40, 20),
            "map": torch.nn.Linear(20, 30),
            "small": torch.nn.Linear(20, 8),
        }
    )
    module["map"].bias.requires_grad_(False)
    config = TuneConfig(checkpoint="", mixture="", out="", optimizer="muon")
    muon, adamw = optimizers(module, config)
    held = [{id(p) for group in one.param_groups for p in group["params"]} for one in (muon, adamw)]
    assert held[0] == {id(module["map"].weight)}
    assert held[1] == {id(p) for p in (module["wte"].weight, *module["small"].parameters())}


@pytest.mark.parametrize("fall", ["cosine", "linear"])
def test_the_rate_rises_stays_and_falls_to_nothing(fall: str) -> None:
    config = TuneConfig(
        checkpoint="",
        mixture="",
        out="",
        warmup=0.1,
        hold=0.5,
        fall=fall,  # type: ignore[arg-type]
    )
    shares = [share_of_rate(config, step, 100) for step in range(101)]
    assert shares[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert shares[10:51] == [1.0] * 41
    assert shares[75] == pytest.approx(0.5)
    assert shares[50:] == sorted(shares[50:], reverse=True)
    assert shares[100] == pytest.approx(0)
