"""What is shipped: small enough, of one origin, truly labelled, right on fresh episodes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from otter_runtime.bundle import Bundle, file_sha256, model_hash
from otter_tuning.pocket import evaluate
from otter_tuning.pocket.cases import planning_cases
from otter_tuning.pocket.clip import EPISODES, SIDE, truth
from otter_tuning.pocket.data import render
from otter_tuning.pocket.kinds import SEEDS
from otter_tuning.pocket.questions import CLASSES
from otter_tuning.pocket.tokenizer import train_tokenizer
from otter_tuning.pocket.world import World

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "tuning" / "pocket" / "checkpoint"
POCKET = ROOT / "runtime" / "otter_runtime" / "pocket"

pytestmark = pytest.mark.filterwarnings("ignore")  # the simulator's dependencies warn


def test_checkpoint_bundle_and_clip_are_at_most_25_mb() -> None:
    files = [path for folder in (CHECKPOINT, POCKET) for path in folder.rglob("*")]
    assert sum(path.stat().st_size for path in files if path.is_file()) <= 25e6


def test_the_bundle_is_made_from_the_checkpoint() -> None:
    manifest = Bundle.load(POCKET / "bundle-int8").manifest
    hashes = {path.name: file_sha256(path) for path in CHECKPOINT.iterdir()}
    assert manifest.source["sha256"] == model_hash(hashes)
    assert {graph.precision for graph in (manifest.graphs.vision, manifest.graphs.decoder)} == {
        "int8"
    }


def test_the_tokenizer_is_the_one_that_is_trained() -> None:
    shipped = json.loads((CHECKPOINT / "tokenizer.json").read_text())
    assert shipped["model"]["vocab"] == json.loads(train_tokenizer().to_str())["model"]["vocab"]


def test_the_clip_is_the_first_episodes_and_its_labels_are_the_simulators() -> None:
    clips = json.loads((POCKET / "clip" / "labels.json").read_text())["clips"]
    assert [clip["seed"] for clip in clips] == list(SEEDS["clip"][:EPISODES])
    world = World(side=SIDE)
    world.reset(seed=clips[0]["seed"])
    kind, goal = world.things[0]
    views = list(world.walk(len(clips[0]["frames"]), goal))
    assert truth(views, kind) == clips[0]["frames"]


def test_it_is_right_on_fresh_episodes() -> None:
    episodes = render(SEEDS["validation"][70_000:70_040], jpeg=False)
    cases = planning_cases(episodes, 12, 0)
    results = evaluate.accuracy(
        evaluate.Answerer(Bundle.load(POCKET / "bundle-int8"), episodes, threads=1), cases
    )
    assert sum(map(len, results.values())) > 60
    assert set(results) == set(CLASSES)
    assert evaluate.mean(results) > 0.88
