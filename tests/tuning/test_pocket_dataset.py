"""The pocket world as MIMIC-IT data, on a few really rendered episodes, and what trains on it."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from otter_model.checkpoint import load, open_checkpoint
from otter_tuning.mimicit.check import check
from otter_tuning.mimicit.image_store import ImageStore
from otter_tuning.mimicit.instructions import Instructions
from otter_tuning.pocket import network
from otter_tuning.pocket import questions as q
from otter_tuning.pocket.cases import perception_cases, planning_cases
from otter_tuning.pocket.data import BACKGROUND, FRAMES, SIDE, WINDOW, Episodes, render
from otter_tuning.pocket.dataset import (
    IMAGES,
    INSTRUCTIONS,
    LABELS,
    MIXTURE,
    picture_id,
    shard,
    write,
)
from otter_tuning.pocket.kinds import KINDS, SEEDS
from otter_tuning.pocket.pairs import CLIP, PERCEPTIONS, PLANS, draw, windows
from otter_tuning.pocket.tokenizer import SPECIAL_TOKENS, train_tokenizer
from otter_tuning.training.config import TuneConfig, read_config
from otter_tuning.training.labels import UNKNOWN, Labels
from otter_tuning.training.optimizers import share_of_rate
from otter_tuning.training.run import Place, opened

# The simulator's own dependencies warn of things that are theirs to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

ROOT = Path(__file__).parents[2]
SHOWN = SEEDS["validation"][50_000:50_005]


@pytest.fixture(scope="module")
def episodes() -> Episodes:
    return render(SHOWN)


@pytest.fixture(scope="module")
def written(episodes: Episodes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pocket")
    assert write([shard(SHOWN, episodes)], folder) == len(SHOWN) * 2 * (PLANS + PERCEPTIONS)
    return folder


def test_an_episode_is_the_same_each_time_it_is_rendered(episodes: Episodes) -> None:
    again = render(SHOWN[2:3])
    assert np.array_equal(again.frames[0], episodes.frames[2])
    assert np.array_equal(again.pixels[0], episodes.pixels[2])


def test_frames_show_what_the_truth_says(episodes: Episodes) -> None:
    assert episodes.frames.shape[2:] == (SIDE, SIDE, 3)
    assert episodes.frames.std() > 20
    filled = (episodes.patches != BACKGROUND).sum(-1)
    assert (filled[episodes.pixels.sum(-1) > 200] > 0).all()
    assert (filled[episodes.pixels.sum(-1) == 0] == 0).all()


def test_a_thing_in_view_is_in_front(episodes: Episodes) -> None:
    seen = episodes.pixels > 100
    assert seen.any()
    assert (np.abs(episodes.bearing[seen]) < 75).all()


def test_windows_stay_in_a_clip_and_repeat_only_their_oldest(episodes: Episodes) -> None:
    seen = windows(episodes, np.random.default_rng(0))
    steps = np.diff(seen.members, axis=-1)
    assert set(np.unique(steps)) == {0, 1}
    assert (np.diff(steps, axis=-1) >= 0).all()  # only in front
    assert (seen.members[:, 0] // CLIP == seen.members[:, -1] // CLIP).all()
    assert len(seen.episode) == len(SHOWN) * 2 * (CLIP - WINDOW + 1)


def test_rare_classes_are_asked_about_as_often_as_there_are_any(episodes: Episodes) -> None:
    many = Episodes(
        *(np.tile(getattr(episodes, name), (20, *[1] * (getattr(episodes, name).ndim - 1)))
          for name in ("frames", "patches", "pixels", "bearing", "distance"))
    )  # fmt: skip
    pairs = draw(windows(many, np.random.default_rng(1)), np.random.default_rng(2))
    forms = [answer.split("{kind}")[0] for answer in q.PLAN_ANSWERS]
    asked = Counter(form for pair in pairs for form in forms if pair.answer.startswith(form))
    unseen = asked.pop(forms[q.UNSEEN])
    assert unseen < 0.5 * sum(asked.values())  # 87 % of all that could be asked
    assert len(set(pairs)) == len(pairs)


def test_the_set_has_no_fault(written: Path) -> None:
    instructions = Instructions.read(written / INSTRUCTIONS)
    with ImageStore(written / IMAGES) as store:
        faults = check(instructions, list(store)).counts
    assert set(faults) <= {"unused-image"}


def test_pictures_and_labels_are_the_simulators(episodes: Episodes, written: Path) -> None:
    labels = Labels.read(written / LABELS)
    with ImageStore(written / IMAGES) as store:
        for at, frame in ((0, 0), (3, 7), (3, 8), (4, 15)):
            name = picture_id(SHOWN[at], frame)
            assert np.array_equal(store.pixels(name), episodes.frames[at, frame])
            assert np.array_equal(labels.patches_of(name), episodes.patches[at, frame])
    assert labels.patch_classes == (*KINDS, "background")
    answers = {
        form.format(kind=kind): (index, slot)
        for index, form in enumerate(q.PLAN_ANSWERS)
        for slot, kind in enumerate(KINDS)
    }
    told = [
        (answers[pair.answer], labels.slots_of(pair.id))
        for pair in Instructions.read(written / INSTRUCTIONS)
        if pair.answer in answers
    ]
    assert len(told) == len(SHOWN) * 2 * PLANS
    assert all(slots[slot] in (index, UNKNOWN) for (index, slot), slots in told)
    assert np.mean([slots[slot] == index for (index, slot), slots in told]) > 0.6


def recipe(data: Path, out: Path, **changed: object) -> TuneConfig:
    """The recipe itself on a small set, three steps, the words from the second."""
    fresh = data / "fresh"
    if not fresh.exists():
        network.main(["--out", str(fresh)])
    whole = read_config(ROOT / "configs" / "tuning" / "pocket.yaml")
    assert whole.probe is not None
    probe = msgspec.structs.replace(whole.probe, steps=1)
    small = {
        "checkpoint": str(fresh),
        "mixture": str(data / MIXTURE),
        "validation": None,
        "out": str(out),
        "batch": 2,
        "steps": 3,
        "warmup": 0.0,
        "probe": probe,
    }
    return msgspec.structs.replace(whole, **{**small, **changed})


def test_the_recipe_learns_and_stores_halves(written: Path, tmp_path: Path) -> None:
    config = recipe(written, tmp_path / "tuned", validation=str(written / MIXTURE))
    run = opened(config)
    before = run.validate()
    assert run.run() == tmp_path / "tuned"
    after = opened(config).validate()
    for loss in ("loss", "patch", "slot"):
        assert after[loss] < before[loss]
    rows = [row for row in run.log.rows() if row["on"] == "training"] if run.log else []
    assert [bool(row["loss"]) for row in rows] == [True]  # only the last step is told
    # What is stored is rounded to halves, and loads with its tokenizer.
    tuned, learned = load(tmp_path / "tuned").state_dict(), run._plain.state_dict()
    assert all(torch.equal(tuned[name], learned[name].half().float()) for name in tuned)
    assert open_checkpoint(tmp_path / "tuned").tokenizer == tmp_path / "tuned" / "tokenizer.json"


def test_the_recipe_goes_on_bit_for_bit(written: Path, tmp_path: Path) -> None:
    """Muon's momentum, the probe, its stage and what clips are changed by all go on."""
    whole = opened(recipe(written, tmp_path / "whole"))
    whole.run()
    cut = opened(recipe(written, tmp_path / "cut"))
    for step, batches in itertools.islice(cut._ahead(), 2):
        cut.step(step, batches)
    cut._keep(Place(2, 0.0))
    again = opened(recipe(written, tmp_path / "cut"))
    assert again.place.step == 2
    again.run()
    one, other = whole.objective.state_dict(), again.objective.state_dict()
    assert any(name.startswith("probe.") for name in one)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_recipes_rate() -> None:
    config = read_config(ROOT / "configs" / "tuning" / "pocket.yaml")
    rates = [share_of_rate(config, step, 1400) for step in (0, 49, 650, 1025, 1399)]
    assert rates == pytest.approx([0.02, 1, 1, 0.5, 1 / 750])


def test_the_shipped_network_is_the_recipes(tmp_path: Path) -> None:
    network.main(["--out", str(tmp_path)])
    shipped = ROOT / "tuning" / "pocket" / "checkpoint"
    assert open_checkpoint(tmp_path).config == open_checkpoint(shipped).config
    tokens = [json.loads((folder / "tokenizer.json").read_text()) for folder in (tmp_path, shipped)]
    assert tokens[0]["model"]["vocab"] == tokens[1]["model"]["vocab"]


def test_the_tokenizer_keeps_any_text_and_a_word_is_a_token() -> None:
    tokenizer = train_tokenizer()
    assert tokenizer.to_str() == train_tokenizer().to_str()
    for text in (q.PLAN_ANSWERS[0].format(kind=KINDS[0]), "größer 你好 \n \t x"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert len(tokenizer.encode("Turn left: the red box is on your left.").ids) <= 12
    assert [len(tokenizer.encode(token).ids) for token in SPECIAL_TOKENS] == [1] * 4


def test_cases_are_clear_and_marked_by_their_own_truth(episodes: Episodes) -> None:
    cases = planning_cases(episodes, 5, 0) + perception_cases(episodes, 12, 0)
    assert {case.label for case in cases} >= {"unseen", "see", "where", "nearest"}
    assert all(case.right(case.answer) for case in cases)
    assert not any(case.right("Sing a song.") for case in cases)
    assert all(len(case.frames) == WINDOW <= FRAMES for case in cases)
