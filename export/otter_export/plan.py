"""What an export will cost and bring, said before the work starts.

Sizes follow from the config to the percent; memory is a model of what the export holds at its
worst; speeds are predicted from each device's stated rates and were measured on none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from otter_export.network_size import (
    FLOAT,
    OF_GRAPH,
    cache_bytes,
    encode_flops,
    graph_bytes,
    matrices,
    prefill_flops,
    table_bytes,
)
from otter_export.precision import RECIPES, Choice
from otter_export.precision.int4 import span_size
from otter_model.config import OtterConfig
from otter_runtime.bench.devices import DEVICES, Device
from otter_runtime.bench.forecast import MATRIX_SHARE, decode_rate, matrix_ms

GB = 1e9
# A usual plan: exemplars, question and answer held, of which so many tokens are new at a question.
CONTEXT, FRESH = 512, 64
# What a device needs beside the model: system, CUDA and TensorRT, activations. An estimate.
OVERHEAD_GB = 2.0
TIGHT = 0.7
FORMULAS = (
    f"decode tok/s = η · bandwidth / bytes per token (weights, K/V of {CONTEXT} tokens, one "
    "medium); η = 0.50-0.65 below 1 GB, 0.65-0.80 below 3 GB, 0.80-0.90 above",
    f"encode, prefill = max(operations / ({MATRIX_SHARE} · dense rate), bytes / bandwidth)",
    f"fit: files, K/V of {CONTEXT} tokens and {OVERHEAD_GB} GB beside; tight above "
    f"{TIGHT:.0%} of the memory",
)
# The export itself: interpreter and libraries; copies of its largest block in fp32 while it is
# made, loaded and packed; and what ONNX Runtime holds of a file it runs on a processor, where fp16
# becomes float32 (0.61 GB of vision measured at 1.48).
BASE_GB = 0.5
BLOCK_COPIES = 3.0
LOADED = {"fp16": 2.4}


@dataclass(frozen=True)
class Forecast:
    """What is predicted of one device; ranges are (low, high), None where it cannot run."""

    device: str
    need_gb: float
    fit: str  # yes, tight, no
    encode_ms: float | None
    prefill_ms: float | None
    decode_tokens_s: tuple[float, float] | None


@dataclass(frozen=True)
class Plan:
    """An export that has not happened yet."""

    config: OtterConfig
    choice: Choice

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes on disk by graph."""
        return graph_bytes(self.config, self.choice.parts())

    @property
    def tensorrt(self) -> bool:
        """Whether TensorRT has all operators."""
        return all(RECIPES[name].tensorrt for name in self.choice.parts().values())

    @property
    def peak_gb(self) -> float:
        """Resident memory of the export at its worst: making a block, or running the bundle."""
        making = BLOCK_COPIES * self._largest_block() + self._moments_bytes()
        names = self.choice.parts()
        loaded = sum(LOADED.get(names[graph], 1.0) * size for graph, size in self.sizes.items())
        # The table stays on disk but for the rows that were asked for.
        held = (
            loaded
            - table_bytes(self.config, self.choice.parts())
            + cache_bytes(self.config, CONTEXT)
        )
        return BASE_GB + max(making, held) / GB

    def forecasts(self) -> list[Forecast]:
        """One per device of the table."""
        return [self._forecast(device) for device in DEVICES]

    def told(self) -> dict[str, Any]:
        """For programs."""
        return {
            "precision": self.choice.parts(),
            "bytes": self.sizes,
            "peak_memory_gb": round(self.peak_gb, 2),
            "tensorrt": self.tensorrt,
            "devices": {
                forecast.device: {
                    "need_gb": round(forecast.need_gb, 2),
                    "fit": forecast.fit,
                    "encode_ms": forecast.encode_ms,
                    "prefill_ms": forecast.prefill_ms,
                    "decode_tokens_s": forecast.decode_tokens_s,
                }
                for forecast in self.forecasts()
            },
            "formulas": list(FORMULAS),
        }

    def text(self) -> str:
        """For people."""
        names, sizes = self.choice.parts(), self.sizes
        rows = [
            f"plan: {sum(sizes.values()) / GB:.2f} GB on disk; exporting takes about "
            f"{self.peak_gb:.1f} GB of memory"
        ]
        for graph, parts in OF_GRAPH.items():
            kinds = ", ".join(f"{part} {names[part]}" for part in parts)
            rows.append(f"  {graph:10} {sizes[graph] / GB:8.3f} GB  {kinds}")
        rows.append(f"  {'predicted':20} need GB  fits   encode  {FRESH} tokens  decode")
        rows += [_row(forecast) for forecast in self.forecasts()]
        if not self.tensorrt:
            rows.append("  no speeds: TensorRT has no dynamic int8; calibrate, and take int8")
        return "\n".join([*rows, *(f"  {formula}" for formula in FORMULAS)])

    def _forecast(self, device: Device) -> Forecast:
        need = (sum(self.sizes.values()) + cache_bytes(self.config, CONTEXT)) / GB + OVERHEAD_GB
        share = need / device.memory_gb
        fit = "yes" if share <= TIGHT else "tight" if share <= 1 else "no"
        if fit == "no" or not self.tensorrt:
            return Forecast(device.name, need, fit, None, None, None)
        read = self.sizes["decoder"] - table_bytes(self.config, self.choice.parts())
        encode = self._ms(device, "vision", encode_flops(self.config), self.sizes["vision"])
        prefill = self._ms(device, "decoder", prefill_flops(self.config, FRESH), read)
        decode = decode_rate(device, read + cache_bytes(self.config, CONTEXT))
        return Forecast(device.name, need, fit, encode, prefill, decode)

    def _ms(self, device: Device, part: str, operations: int, read: int) -> float:
        return matrix_ms(device, self.choice.parts()[part], operations, read)

    def _moments_bytes(self) -> int:
        """What int4 keeps of calibration: second moments in spans, of every layer."""
        names = self.choice.parts()
        return sum(
            FLOAT * m.count * m.rows * span_size(m.rows)
            for m in matrices(self.config)
            if names[m.part] == "int4"
        )

    def _largest_block(self) -> int:
        """Bytes in fp32 of the most that is calibrated at once: the head, or a decoder layer."""
        body = [m for m in matrices(self.config) if m.part == "decoder"]
        layer = sum(m.rows * m.columns for m in body)  # of each kind one
        return FLOAT * max(layer, self.config.decoder.dim * self.config.decoder.vocab)


def _row(forecast: Forecast) -> str:
    start = f"  {forecast.device:20} {forecast.need_gb:7.1f}  {forecast.fit:5}"
    if forecast.decode_tokens_s is None:
        return start
    low, high = forecast.decode_tokens_s
    encode, prefill = f"{forecast.encode_ms:.1f} ms", f"{forecast.prefill_ms:.0f} ms"
    return f"{start}  {encode:>7}  {prefill:>9}  {low:.0f}-{high:.0f} tok/s"
