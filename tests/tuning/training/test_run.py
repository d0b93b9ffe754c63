"""The run: what changes and what does not, a kill that changes nothing, two processes, LoRA."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from otter_export.bundle_writer import Export
from otter_export.sample import random_samples
from otter_model.checkpoint import load, open_checkpoint
from otter_runtime.bundle import Bundle
from otter_runtime.errors import UserError
from otter_tuning.commands import tune
from otter_tuning.training.config import read_config
from otter_tuning.training.parameters import part_of
from otter_tuning.training.run import opened

ROOT = Path(__file__).parents[3]
PROGRAM = "import sys; from otter_runtime.cli import main; sys.exit(main(sys.argv[1:]))"


def configured(mixture: Path, checkpoint: Path, out: str = "tuned", **values: object) -> Path:
    """A run's file: fp32, few steps, a rate at which a tiny network moves."""
    path = mixture.parent / f"{out}.yaml"
    given = {
        "checkpoint": str(checkpoint),
        "mixture": mixture.name,
        "out": out,
        "batch": 3,
        "rate": 1e-3,
        "precision": "fp32",
        "report_every": 1,
        "keep_every": 2,
        "frames": 3,
        **values,
    }
    path.write_text(yaml.safe_dump(given))
    return path


def call(*words: object) -> int:
    parser = argparse.ArgumentParser()
    tune.add_arguments(parser)
    return tune.run(parser.parse_args([str(word) for word in words]))


def state(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load(folder).state_dict())


@pytest.mark.parametrize("checkpoint", ["mpt", "llama"], indirect=True)
def test_one_step_changes_exactly_what_should(checkpoint: Path, mixture: Path) -> None:
    path = configured(mixture, checkpoint, steps=1, train=["resampler", "gated", "embeddings"])
    assert call(path) == 0
    before, after = state(checkpoint), state(mixture.parent / "tuned")
    config = open_checkpoint(checkpoint).config
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    allowed = {
        name for name in before if part_of(name, config) in ("resampler", "gated", "embeddings")
    }
    assert changed <= allowed
    # Of a part that learns, only what this batch had no use for may stay: positions of frames.
    assert {name for name in allowed - changed if "frame_embs" not in name} == set()


@pytest.mark.parametrize("parts", [["resampler"], ["language"], ["vision", "gated"]])
def test_other_splits(parts: list[str], checkpoint: Path, mixture: Path) -> None:
    run = opened(read_config(configured(mixture, checkpoint, steps=1, train=parts)))
    config = run.corpus._network
    assert {part_of(name, config) for name in run.learning} == set(parts)


def test_the_loss_falls_and_the_log_has_it(
    checkpoint: Path, mixture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = configured(
        mixture,
        checkpoint,
        epochs=6,
        rate=5e-3,
        validation=mixture.name,
        validate_every=10,
        keep_every=1000,
        train=["resampler", "gated", "embeddings", "language"],
    )
    assert call(path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    run = opened(read_config(path))
    assert run.log is not None
    rows = run.log.rows()
    losses = [float(row["loss"]) for row in rows if row["on"] == "training"]
    checked = [row for row in rows if row["on"] == "validation"]
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])
    assert float(checked[-1]["loss"]) < float(checked[0]["loss"])
    assert float(checked[-1]["right"]) > 0.3
    assert told["steps"] == len(losses) == 6 * 10
    assert (mixture.parent / "tuned" / "loss.svg").read_text().count("<svg") == 1


def test_export_takes_it(checkpoint: Path, mixture: Path, tmp_path: Path) -> None:
    assert call(configured(mixture, checkpoint, steps=1)) == 0
    tuned = open_checkpoint(mixture.parent / "tuned")
    assert tuned.tokenizer is not None
    samples = random_samples(tuned.config, 2, frames=2, length=20)
    bundle = Export(tuned, "fp32", samples).write(tmp_path / "bundle")
    assert Bundle.load(bundle.path).tokenizer().token_to_id("<image>") == 257


def started(path: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "tune", str(path)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("checkpoint", ["mpt"], indirect=True)
def test_a_killed_run_ends_as_one_that_was_not(checkpoint: Path, mixture: Path) -> None:
    whole = configured(mixture, checkpoint, "whole", epochs=5, precision="bf16")
    cut = configured(mixture, checkpoint, "cut", epochs=5, precision="bf16")
    assert started(whole).wait(300) == 0
    process = started(cut)
    deadline = time.monotonic() + 200
    place = mixture.parent / "cut" / "state" / "place.json"
    while not place.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = json.loads(place.read_text())["step"] if place.is_file() else 0
    assert 0 < kept < 40
    assert started(cut).wait(300) == 0
    one, other = state(mixture.parent / "whole"), state(mixture.parent / "cut")
    assert all(torch.equal(one[name], other[name]) for name in one)
    columns = [
        [
            line.split(",")[:5]
            for line in (mixture.parent / out / "metrics.csv").read_text().splitlines()
        ]
        for out in ("whole", "cut")
    ]
    assert columns[0] == columns[1]


def launched(config: str, path: Path) -> str:
    words = [
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        str(ROOT / "configs" / "tuning" / config),
    ]
    done = subprocess.run(
        [sys.executable, *words, "-m", "otter_tuning.training", str(path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", ["mpt"], indirect=True)
@pytest.mark.parametrize(
    ("launcher", "kind", "kept"),
    [
        ("ddp.yaml", "MULTI_CPU", "model.safetensors"),
        ("fsdp.yaml", "FSDP", "pytorch_model_fsdp.bin"),
    ],
)
def test_two_processes_make_the_step_of_one(
    launcher: str, kind: str, kept: str, checkpoint: Path, mixture: Path
) -> None:
    """Two processes of batch 3 are one that accumulates two batches of 3: `pytest -m slow
    tests/tuning/training -k two_processes`."""
    alone = configured(mixture, checkpoint, "alone", steps=3, accumulate=2)
    both = configured(mixture, checkpoint, "both", steps=3, validation=mixture.name)
    assert call(alone) == 0
    assert f"2 process(es), {kind}" in launched(launcher, both)
    assert (mixture.parent / "both" / "state" / kept).is_file()
    # What was kept is taken up: with nothing left to do, the same is written again.
    assert "3 steps from 3" in launched(launcher, both)
    one, other = state(mixture.parent / "alone"), state(mixture.parent / "both")
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, atol=2e-5, rtol=0)


@pytest.mark.parametrize("checkpoint", ["llama"], indirect=True)
@pytest.mark.parametrize("bits", [None, 4])
def test_lora_beside_the_language_model(bits: int | None, checkpoint: Path, mixture: Path) -> None:
    lora = {"rank": 2, "alpha": 4.0, "targets": ["q_proj", "v_proj"], "bits": bits}
    path = configured(mixture, checkpoint, steps=4, lora=lora, train=["resampler"])
    assert call(path) == 0
    out = mixture.parent / "tuned"
    base, tuned = state(checkpoint), state(out)
    config = open_checkpoint(checkpoint).config
    changed = {part_of(name, config) for name in base if not torch.equal(base[name], tuned[name])}
    assert changed == {"resampler"}
    merged = open_checkpoint(out, lora=out / "adapter").build().state_dict()
    adapted = {name for name in tuned if not torch.equal(tuned[name], merged[name])}
    assert {name.rsplit(".", 2)[-2] for name in adapted} == {"q_proj", "v_proj"}


def test_what_does_not_fit_is_told(checkpoint: Path, mixture: Path) -> None:
    with pytest.raises(UserError, match="there is no part 'eyes' to train"):
        opened(read_config(configured(mixture, checkpoint, train=["eyes"])))
    with pytest.raises(UserError, match="do not make one step"):
        opened(read_config(configured(mixture, checkpoint, accumulate=1000)))
    with pytest.raises(UserError, match=r"did you mean|known are"):
        read_config(configured(mixture, checkpoint, bach=3))
    (checkpoint / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"has no tokenizer\.json"):
        opened(read_config(configured(mixture, checkpoint)))
    with pytest.raises(UserError, match="nothing"):
        opened(read_config(configured(mixture, checkpoint.parent / "nothing")))


def test_a_missing_picture_is_named_before_the_run(checkpoint: Path, mixture: Path) -> None:
    import sqlite3

    base = sqlite3.connect(mixture.parent / "images.sqlite")
    base.execute("DELETE FROM image WHERE id = 'DC_IMG_v_2_0000'")
    base.commit()
    base.close()
    with pytest.raises(UserError, match=r"DC_INS_00002 wants DC_IMG_v_2_0000, which is not in"):
        opened(read_config(configured(mixture, checkpoint)))
