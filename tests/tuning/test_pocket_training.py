"""A few real training steps: they learn, they go on where they were cut, they ship what loads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from otter_model.checkpoint import load, open_checkpoint
from otter_tuning.pocket.data import Episodes, render
from otter_tuning.pocket.kinds import SEEDS
from otter_tuning.pocket.muon import orthogonalise
from otter_tuning.pocket.train import STATE, Recipe, Trainer, optimisers, ship

pytestmark = pytest.mark.filterwarnings("ignore")  # the simulator's dependencies warn

TINY = Recipe(steps=3, looking_steps=1, chunks=2, plans=6, perceptions=3, warmup_steps=1)


@pytest.fixture(scope="module")
def episodes() -> Episodes:
    return render(SEEDS["validation"][60_000:60_003])


def test_orthogonalising_flattens_the_singular_values() -> None:
    for shape in ((16, 48), (48, 16)):
        flat = orthogonalise(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
        values = torch.linalg.svdvals(flat)
        assert flat.shape == shape
        assert values.max() < 1.3
        assert values.min() > 0.5


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    recipe = Recipe(steps=100, decay_steps=50, warmup_steps=10)
    assert recipe.rate(0, 0) == pytest.approx(0.1)
    assert recipe.rate(30, 0) == 1
    assert recipe.rate(75, 0) == pytest.approx(0.5)
    assert recipe.rate(40, 40) == pytest.approx(0.1)


def test_every_parameter_has_one_optimiser(episodes: Episodes, tmp_path: Path) -> None:
    trainer = Trainer(TINY, tmp_path, episodes, episodes)
    modules = [trainer.otter, trainer.probe]
    held = [p for one in optimisers(modules, TINY) for p in one.param_groups[0]["params"]]
    every = [p for module in modules for p in module.parameters()]
    assert sorted(map(id, held)) == sorted(map(id, every))


def test_a_run_learns_goes_on_and_ships(episodes: Episodes, tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "checkpoint"
    work.mkdir()
    trainer = Trainer(TINY, work, episodes, episodes)
    before = trainer.look(2)
    trainer.run()
    after = trainer.look(2)
    assert after.words is not None
    assert before.words is not None
    assert after.words < before.words
    assert after.patch < before.patch
    assert json.loads((work / STATE).read_text())["step"] == 3

    again = Trainer(replace(TINY, steps=4), work, episodes, episodes)
    assert again.first_step == 3
    for name, tensor in again.otter.state_dict().items():
        assert torch.equal(tensor, trainer.otter.state_dict()[name])

    ship(trainer.otter, trainer.tokenizer, out)
    shipped = load(out)
    assert open_checkpoint(out).tokenizer == out / "tokenizer.json"
    halves = trainer.otter.state_dict()
    assert all(torch.equal(t, halves[n].float()) for n, t in shipped.state_dict().items())
