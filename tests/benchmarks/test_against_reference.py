"""Our runtime beside the reference: the weights both read, our half, the ratios, and how it fails.

The whole comparison needs a reference implementation, which is nobody's to ship: with
OTTER_REFERENCE_SRC (a checkout) and OTTER_REFERENCE_PYTHON (its environment) set, it runs for real
on a tiny network, in a minute or two.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import against_reference
import numpy as np
import our_answer
import pytest
import torch
from random_bundle import random_bundle
from same_weights import TINY, WEIGHTS, SameWeights, write_safetensors

from otter_model.checkpoint import Checkpoint, open_checkpoint
from otter_model.random_weights import RandomTensors
from otter_model.tiny import tiny_config
from otter_runtime.bundle import Bundle

SOURCE, PYTHON = (os.environ.get(f"OTTER_REFERENCE_{name}") for name in ("SRC", "PYTHON"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Tiny, under the token ids of the comparison, so that its prompt fits."""
    same = SameWeights(TINY, Path()).config
    config = replace(tiny_config("mpt1b").with_vocab(same.decoder.vocab), tokens=same.tokens)
    checkpoint = Checkpoint(config, RandomTensors(config))
    out = random_bundle("tiny", "int8", tmp_path_factory.mktemp("ours"), lambda: checkpoint)
    return Bundle.load(out)


def test_both_read_the_same_weights(tmp_path: Path) -> None:
    config = tiny_config("mpt1b")
    tensors = RandomTensors(config)
    write_safetensors(tensors, tmp_path / WEIGHTS)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    read = open_checkpoint(tmp_path)
    assert read.config == config
    assert set(read.tensors) == set(tensors)
    assert all(torch.equal(read.tensors[name], tensors[name]) for name in tensors)


def test_our_answer_is_new_each_time(bundle: Bundle) -> None:
    assistant = our_answer.Assistant(bundle, threads=1, tokens=9)
    assert len(assistant.prompt) == 30
    shown = [picture[::40, ::40] for picture in our_answer.pictures(our_answer.FRAMES)]
    report = our_answer.measure(assistant, shown, runs=2)
    ids = report["ids"]
    assert len(ids) == 9
    assert len({tuple(ids[at : at + 3]) for at in range(7)}) == 7
    for cold, warm in (("cold_answer_s", "answer_s"), ("cold_first_token_s", "first_token_s")):
        assert len(report[cold]) == len(report[warm]) == 2
    assert all(
        first < whole
        for first, whole in zip(report["first_token_s"], report["answer_s"], strict=True)
    )
    asked = 1 + 2 * 2
    counters = assistant.loop.counters
    assert (counters.reused, counters.resampled, counters.prefilled) == (0, asked, asked * 30)
    assert counters.encoded == 3 * 16 + 2
    assert assistant.pixels(shown).shape == (1, 1, 16, 3, 16, 16)


def test_ratios_are_of_its_best_and_our_median() -> None:
    theirs = {"first_token_s": [9.0, 8.0], "answer_s": [30.0, 40.0]}
    ours = {
        "first_token_s": [0.5, 0.4, 9.0],
        "answer_s": [3.0, 1.0, 2.0],
        "cold_first_token_s": [4.0],
        "cold_answer_s": [6.0],
    }
    assert against_reference.ratios(ours, theirs) == {
        "first_token_ratio": 16.0,
        "answer_ratio": 15.0,
        "cold_first_token_ratio": 2.0,
        "cold_answer_ratio": 5.0,
    }


@pytest.mark.parametrize(
    ("model", "made", "says"),
    [
        ("tiny", "", "should be a checkout of Luodian/Otter"),
        ("otter-mtp1b", "src/otter_ai/models/otter", "no published model is called 'otter-mtp1b'"),
    ],
)
def test_what_is_not_there_is_a_sentence(
    model: str, made: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / made).mkdir(parents=True, exist_ok=True)
    words = ["--reference-src", str(tmp_path), "--reference-python", sys.executable]
    words += ["--model", model, "--cache", str(tmp_path)]
    assert against_reference.main(words) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.out == ""


@pytest.mark.skipif(
    not (SOURCE and PYTHON),
    reason="set OTTER_REFERENCE_SRC and OTTER_REFERENCE_PYTHON to compare with the reference",
)
def test_beside_the_reference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--reference-src", str(SOURCE), "--reference-python", str(PYTHON), "--model", TINY]
    words += ["--cache", str(tmp_path), "--runs", "1", "--reference-runs", "1", "--read-gb", "0.1"]
    assert against_reference.main(words) == 0
    *shown, last = capsys.readouterr().out.splitlines()
    report = json.loads(last)
    assert report["ids_equal_fp32"]
    assert len(set(report["precisions"]["fp32"]["ids"])) > 3
    assert report["fastest_reference"] in ("fp32", "bf16")
    assert report["first_token_ratio"] > 0
    assert report["answer_ratio"] <= report["answer_ratio_fp32"]
    assert any(line.startswith("reference bf16") for line in shown)
    assert np.isfinite(report["frames_per_s"])
