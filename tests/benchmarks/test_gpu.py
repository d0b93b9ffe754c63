"""The GPU benchmark, driven for real on the CPU provider; costs against figures by hand."""

from __future__ import annotations

import json
from pathlib import Path

import gpu
import onnxruntime
import pytest
from graph_cost import Cost, cost
from tests.conftest import TinyBundle

from otter_runtime.bundle import Bundle

STAGES = ["encode, batch 1", "encode, batch 16", "resample 1", "prefill 16", "decode at 32"]


def test_every_stage_beside_its_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--provider", "cpu", "--random", "tiny", "--precision", "fp16", "--precision", "int4"]
    words += ["--capacity", "20", "--prompt-tokens", "16", "--seconds", "0.02"]
    assert gpu.main([*words, "--cache", str(tmp_path)]) == 0
    *shown, last = capsys.readouterr().out.splitlines()
    report = json.loads(last)
    assert [told["precision"] for told in report["bundles"]] == ["fp16", "int4"]
    assert all(
        rate > 0 for rate in (report["rates"]["copy_gb_s"], report["rates"]["matmul_tflop_s"])
    )
    for told in report["bundles"]:
        assert [stage["name"] for stage in told["stages"]] == STAGES
        assert told["memory_gb"] > 0
        for stage in told["stages"]:
            assert stage["ms"] > 0
            assert stage["launches"] > 20
            assert stage["limit_ms"] > 0
            assert stage["share"] == pytest.approx(stage["limit_ms"] / stage["ms"], abs=2e-3)
            assert not stage["replayed"]
    assert sum("tokens/s" in line for line in shown) == 2


def test_the_limit_is_the_largest_of_three() -> None:
    rates = gpu.Rates(copy_gb_s=100, matmul_tflop_s=10, launch_us=2)
    assert rates.limit_ms(Cost(10**9, 10**9), 10) == (10.0, "memory")
    assert rates.limit_ms(Cost(10**6, 10**12), 10) == (100.0, "arithmetic")
    assert rates.limit_ms(Cost(10**6, 10**6), 1000) == (2.0, "launches")


def test_costs_are_those_of_the_layers(tiny_bundle: TinyBundle) -> None:
    bundle = Bundle.load(tiny_bundle("mpt", "fp32"))
    path = bundle.path / "decoder.onnx"
    latents = bundle.manifest.dims.resampler.latents
    held = {"capacity": 32, "rows": 1, "media_tokens": latents}
    one, four = (cost(path, {**held, "tokens": tokens}) for tokens in (1, 4))
    d = bundle.manifest.dims.decoder
    # qkv, out, up, down; q, out, up, down of the gated ones; scores and values against the past.
    inner = d.cross_heads * d.cross_head_dim
    layers = d.layers * (4 * d.dim**2 + 2 * d.dim * 96)
    gated = d.gated_layers * (2 * d.dim * inner + 2 * d.dim * 2 * d.dim)
    past = d.layers * 2 * d.heads * d.head_dim * 32
    seen = d.gated_layers * 2 * inner * latents
    own = d.layers * 2 * d.heads * d.head_dim
    assert one.flops == 2 * (layers + gated + d.dim * d.vocab + past + seen + own)
    rows = 4 * (layers + gated + past + seen + 4 * own) + d.dim * d.vocab
    assert four.flops == 2 * rows
    # Three more of K/V and of the three integers of a token; the head reads the whole table.
    more = 3 * (d.layers * 2 * d.heads * d.head_dim * 4 + 3 * 8)
    assert four.bytes - one.bytes == more
    # In int8 the table is apart, in half precision, and read by the row.
    path = tiny_bundle("mpt", "int8") / "decoder.onnx"
    one, four = (cost(path, {**held, "tokens": tokens}) for tokens in (1, 4))
    assert four.bytes - one.bytes == more + 3 * d.dim * 2


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA is here"
)
def test_without_cuda_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([]) == 2
    assert "has no CUDAExecutionProvider" in capsys.readouterr().err


def test_a_bundle_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--provider", "cpu", "--bundle", str(tmp_path), "--seconds", "0.01"]
    assert gpu.main(words) == 2
    assert "manifest.json cannot be read" in capsys.readouterr().err
