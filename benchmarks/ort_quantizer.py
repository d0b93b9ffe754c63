"""Our static int8 beside ONNX Runtime's own quantizer, on the same graphs and samples of pocket.

    python benchmarks/ort_quantizer.py
    python benchmarks/ort_quantizer.py --outliers         function-preserving outliers in every norm
    python benchmarks/ort_quantizer.py --samples 8         fewer samples, to try it

`quantize_static` gets the fp32 graphs and our scheme: symmetric, per-channel weights, explicit
Q/DQ, linear layers only. Its calibration is MinMax: Entropy and Percentile want samples of one
shape, and prompts are not. Both are held to the same fp32 outputs. Prints a table, then one JSON
line.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from otter_export.bundle_writer import Export
from otter_export.manifest import make_manifest
from otter_export.outliers import injected
from otter_export.precision import Choice
from otter_export.sample import Sample, read_samples
from otter_export.settings import Settings
from otter_model.checkpoint import Checkpoint, open_checkpoint
from otter_runtime.bundle import GOLDEN, GRAPHS, MANIFEST, Bundle, Manifest, write_manifest
from otter_runtime.engine import Engine
from otter_runtime.golden import check, load_golden
from otter_runtime.onnx_engine import open_engine
from otter_tuning.pocket import calibration

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINT = ROOT / "tuning" / "pocket" / "checkpoint"
# Ours, said in its words; products of two activations stay float, as in our graphs.
OPTIONS = {"ActivationSymmetric": True, "WeightSymmetric": True, "MatMulConstBOnly": True}
SHOWN = ("features_cosine", "media_cosine", "logits_cosine", "next_token_kl")
Feed = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Export both ways, compare, print."""
    options = _parser().parse_args(arguments)
    logging.getLogger().setLevel(logging.ERROR)  # its advice to pre-process
    with tempfile.TemporaryDirectory(prefix="otter-ort-") as folder:
        rows = _rows(Path(folder), options)
    print(f"{'':18}" + "".join(f"{name.replace('_', ' '):>17}" for name in SHOWN) + f"{'s':>8}")
    for name, row in rows.items():
        print(f"{name:18}" + "".join(f"{row[key]:17.5f}" for key in SHOWN) + f"{row['s']:8.1f}")
    print(json.dumps({"benchmark": "ort_quantizer", "outliers": options.outliers, "rows": rows}))
    return 0


def _rows(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    checkpoint = open_checkpoint(CHECKPOINT)
    if options.outliers:
        checkpoint = injected(checkpoint)
    samples = _samples(folder, checkpoint, options.samples)
    rows: dict[str, Any] = {}
    truth = Export(checkpoint, "fp32", samples, threads=2).write(folder / "fp32")
    begun = time.monotonic()
    ours = Export(checkpoint, "int8", samples, threads=2).write(folder / "int8")
    rows["ours"] = _figures(ours, truth, time.monotonic() - begun)
    feeds = _feeds(open_engine(truth, 2), truth.manifest, samples)
    begun = time.monotonic()
    theirs = _theirs(folder / "theirs", truth, checkpoint, feeds)
    rows["quantize_static"] = _figures(theirs, truth, time.monotonic() - begun)
    return rows


def _samples(folder: Path, checkpoint: Checkpoint, most: int) -> list[Sample]:
    file = folder / "calibration.npz"
    calibration.main(["--out", str(file), "--quiet"])
    settings = Settings()
    preprocess = settings.preprocess(checkpoint.config)
    return read_samples(file, preprocess, checkpoint.config.tokens.image)[:most]


def _figures(made: Bundle, truth: Bundle, seconds: float) -> dict[str, Any]:
    manifest = truth.manifest
    figures = check(open_engine(made, 2), load_golden(truth), manifest.decoding, manifest.tokens)
    return {**msgspec.to_builtins(figures), "s": round(seconds, 1)}


def _theirs(
    folder: Path, truth: Bundle, checkpoint: Checkpoint, feeds: Mapping[str, Sequence[Feed]]
) -> Bundle:
    """A bundle of the graphs that ONNX Runtime's quantizer makes."""
    folder.mkdir()
    for name in GRAPHS:
        quantize_static(
            str(truth.path / f"{name}.onnx"),
            str(folder / f"{name}.onnx"),
            Reader(feeds[name]),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            use_external_data_format=False,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options=OPTIONS,
        )
        (folder / f"{name}.bin").touch()
    shutil.copyfile(truth.path / GOLDEN, folder / GOLDEN)
    manifest = make_manifest(checkpoint, Settings(), folder, Choice())
    write_manifest(folder / MANIFEST, manifest)
    return Bundle.load(folder)


def _feeds(engine: Engine, manifest: Manifest, samples: Sequence[Sample]) -> dict[str, list[Feed]]:
    """The inputs of each graph, by name, of every sample."""
    d = manifest.dims.decoder
    empty = np.zeros((d.heads, 1, d.head_dim), np.float32)
    past = {f"past_{kind}.{i}": empty for i in range(d.layers) for kind in "kv"}
    feeds: dict[str, list[Feed]] = {name: [] for name in GRAPHS}
    for sample in samples:
        features = engine.encode(sample.pixels)
        media = engine.resample(features)
        count = len(sample.ids)
        feeds["vision"].append({"pixels": sample.pixels})
        feeds["resampler"].append({"features": features})
        feeds["decoder"].append(
            {
                "input_ids": np.array(sample.ids),
                "positions": np.arange(count),
                "media_index": np.array(sample.media_index),
                "logit_positions": np.arange(count),
                "media_k": media.k,
                "media_v": media.v,
                "past_len": np.zeros(1, np.int64),
                **past,
            }
        )
    return feeds


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands the feeds of one graph to the calibrator."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds: Iterator[Feed] = iter(feeds)

    def get_next(self) -> Feed | None:
        """The next feed; None at the end."""
        return next(self._feeds, None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Our static int8 beside ONNX Runtime's.")
    parser.add_argument("--outliers", action="store_true", help="inject outliers into every norm")
    parser.add_argument("--samples", type=int, default=60, help="calibration samples (60)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
