"""The latency benchmark on a tiny bundle: every stage measured, bytes counted, JSON last."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import latency
import loop_timer
import numpy as np
import pytest
from bandwidth import read_bandwidth
from processor import cpu
from tokenizers import Regex, decoders

from otter_export.bundle_writer import Export
from otter_export.byte_tokenizer import byte_tokenizer
from otter_export.sample import random_samples
from otter_export.settings import Settings
from otter_model.checkpoint import Checkpoint
from otter_model.random_weights import RandomTensors
from otter_model.tiny import tiny_config
from otter_runtime.bundle import Bundle
from otter_runtime.onnx_engine import OnnxEngine

STAGES = {"preprocess", "encode", "resample", "prefill", "decode"}
QUESTIONS = {"question_in_answer", "question_may_take", "question_alone", "step_in_flight"}
LOOP = QUESTIONS | {"publish_to_receive", "loop_decode_engine", "loop_decode_own"}
LOOP |= {"loop_decode_own_cpu", "loop_frame_own", "loop_frame_own_cpu"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny, but with room for a byte tokenizer and a whole prompt."""
    config = tiny_config("mpt").with_vocab(300)
    config = replace(config, decoder=replace(config.decoder, max_positions=256))
    samples = random_samples(config, 2, length=20)
    folder = tmp_path_factory.mktemp("latency")
    byte_tokenizer(config.tokens, config.decoder.vocab).save(str(folder / "tokenizer.json"))
    checkpoint = Checkpoint(config, RandomTensors(config), folder / "tokenizer.json")
    return Export(checkpoint, "int8", samples, Settings()).write(folder / "bundle").path


def test_every_stage_is_measured(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--bundle", str(bundle), "--seconds", "0.05", "--read-gb", "0.05"]
    assert latency.main(words) == 0
    *shown, last = capsys.readouterr().out.splitlines()
    report = json.loads(last)
    assert set(report["stages_ms"]) == STAGES | LOOP
    for stage in report["stages_ms"].values():
        assert 0 < stage["median_ms"] <= stage["p99_ms"]
        assert stage["runs"] >= 5
    assert report["decode_share_of_bandwidth"] > 0
    assert any(line.startswith("decode ") for line in shown)


def test_two_precisions_are_measured_side_by_side(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for precision in ("int8", "fp32"):  # the ratio of a bundle and itself, as fast as it gets
        (tmp_path / f"tiny-{precision}").symlink_to(bundle)
    words = ["--random", "tiny", "--cache", str(tmp_path), "--beside", "fp32"]
    assert latency.main([*words, "--seconds", "0.02", "--read-gb", "0.05"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(report["times_as_fast"]) == {"encode", "resample", "prefill", "decode"}
    for stage, ratio in report["times_as_fast"].items():
        ours, theirs = (report[name]["stages_ms"][stage] for name in ("int8", "fp32"))
        assert ratio == pytest.approx(theirs["median_ms"] / ours["median_ms"], abs=0.006)
    assert report["asked"]["prefill_times_as_fast"]["got"] == report["times_as_fast"]["prefill"]
    ours = report["int8"]
    assert 0 < ours["resident_loaded_gb"] <= ours["resident_gb"]
    assert ours["cpu"]["name"]
    assert latency.main(["--beside", "fp32"]) == 2


def test_what_is_asked_of_int8_is_held_to_what_was_measured() -> None:
    report = {"decode_share_of_bandwidth": 0.81, "resident_loaded_gb": 3.1, "weights_gb": 2.0}
    held = latency.asked(report, {"prefill": 3.9, "encode": 3.0})
    assert {name: claim["held"] for name, claim in held.items()} == {
        "decode_share_of_bandwidth": True,
        "prefill_times_as_fast": False,
        "encode_times_as_fast": True,
        "resident_loaded_gb": False,
    }
    assert held["resident_loaded_gb"]["asked"] == 3.0


def test_bundles_are_prepared_without_measuring(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny-int8").symlink_to(bundle)
    assert latency.main(["--random", "tiny", "--cache", str(tmp_path), "--prepare"]) == 0
    assert json.loads(capsys.readouterr().out) == {"bundle": str(tmp_path / "tiny-int8")}
    assert latency.main(["--prepare"]) == 2


def test_a_first_token_need_not_be_text(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = Bundle.load(bundle)
    mute = loaded.tokenizer()
    mute.decoder = decoders.Replace(Regex("(?m).+"), "")
    monkeypatch.setattr(Bundle, "tokenizer", lambda bundle: mute)
    engine = OnnxEngine(loaded, threads=1, provider="cpu")
    with closing(loop_timer.LoopTimer(loaded, engine)) as timer:
        spans = timer.questions(np.zeros((16, 16, 3), np.uint8), 0.0)
    assert {name: len(spans[name]) for name in QUESTIONS} == dict.fromkeys(QUESTIONS, 5)
    assert all(took > 0 for name in QUESTIONS - {"step_in_flight"} for took in spans[name])


def test_what_a_question_waits_for() -> None:
    spans = {
        "question_in_answer": [0.9, 0.6, 0.8],
        "step_in_flight": [0.2, 0.0, 0.3],
        "question_alone": [0.4, 0.5, 7.0],
    }
    assert latency.waits_ms(spans) == pytest.approx(100)


def test_the_processor_is_named(tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text("processor\t: 0\nmodel name\t: Fast 9\nflags\t\t: fpu avx512_vnni amx_int8\n")
    assert cpu(told) == {"name": "Fast 9", "int8": ["amx_int8", "avx512_vnni"]}
    assert cpu(tmp_path / "none")["int8"] == []


def test_decode_reads_all_weights_but_the_table(bundle: Path) -> None:
    loaded = Bundle.load(bundle)
    engine = OnnxEngine(loaded, threads=1, provider="cpu")
    cache = engine.new_cache()
    empty = latency.decode_bytes(loaded, cache, 0)
    stored = (bundle / "decoder.bin").stat().st_size
    table = 300 * 48 * 2
    inline = (bundle / "decoder.onnx").stat().st_size  # small vectors lie in the graph itself
    assert stored - table - 4096 < empty < stored - table + inline
    engine.prefill(cache, [1] * 10, [0] * 10, [])
    held = latency.decode_bytes(loaded, cache, 0) - empty
    assert held == 4 * 2 * 48 * 4 * 10  # layers, K and V, dim, float32, tokens
    assert latency.decode_bytes(loaded, cache, 7) == empty + held + 7


def test_summary_is_in_milliseconds() -> None:
    assert latency.summary([0.001, 0.002, 0.003]) == {
        "median_ms": 2.0,
        "p99_ms": float(np.round(2.98, 4)),
        "runs": 3,
    }


def test_bandwidth_is_of_this_world() -> None:
    rate, how = read_bandwidth(threads=2, total_bytes=1 << 26)
    assert 0.1 < rate < 10_000
    assert how in ("max", "dot", "or")


@pytest.mark.parametrize("words", [["--bundle", "none"], ["--random", "otter-mtp1b"]])
def test_what_is_not_there_is_a_sentence(
    words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert latency.main([*words, "--cache", str(tmp_path)]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert words[1] in captured.err
