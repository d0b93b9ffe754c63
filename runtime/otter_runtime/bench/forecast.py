"""How fast a device should be, from its stated rates: a formula, held to no measurement.

Decoding reads every weight per token; prefill and encode are bound by arithmetic, or by reading
the weights once. What share of the stated rates is reached was estimated on what NVIDIA measured
of TensorRT-Edge-LLM on Orin.
"""

from __future__ import annotations

from dataclasses import dataclass

from otter_runtime.bench.devices import Device
from otter_runtime.bundle import Bundle, Manifest

GB = 1e9
# Share of the stated bandwidth that decoding reaches, by GB per token.
EFFICIENCY = ((1.0, (0.5, 0.65)), (3.0, (0.65, 0.8)), (float("inf"), (0.8, 0.9)))
MATRIX_SHARE = 0.5  # of the dense rate, in prefill and encode
# Bytes of one weight; int4 has a float32 scale per block of 128.
WEIGHT_BYTES = {"fp32": 4.0, "fp16": 2.0, "int8": 1.0, "int8-dynamic": 1.0, "int4": 0.5 + 4 / 128}


@dataclass(frozen=True)
class Forecast:
    """Milliseconds per frame and per prompt of `tokens`; tokens per second, (low, high)."""

    encode_ms: float
    prefill_ms: float
    decode_tokens_s: tuple[float, float]


def decode_rate(device: Device, read: float) -> tuple[float, float]:
    """Tokens per second, (low, high), where each token reads `read` bytes."""
    low, high = next(shares for limit, shares in EFFICIENCY if read / GB < limit)
    fastest = device.bandwidth * GB / read
    return round(low * fastest, 1), round(high * fastest, 1)


def matrix_ms(device: Device, precision: str, operations: float, read: float) -> float:
    """Milliseconds of `operations` in `precision` that read `read` bytes of weights."""
    rate = MATRIX_SHARE * device.rate(precision)
    return round(1e3 * max(operations / rate, read / (GB * device.bandwidth)), 1)


def forecast(bundle: Bundle, device: Device, tokens: int) -> Forecast:
    """For a bundle as it lies there, and a prompt of `tokens`.

    Operations are counted from the weights alone: attention's own products, a twentieth of an
    encoding, are left out.
    """
    manifest, graphs = bundle.manifest, bundle.manifest.graphs
    vision, decoder = (_bytes(bundle, graph.data) for graph in (graphs.vision, graphs.decoder))
    read = decoder - _table(manifest)
    body = (read - _head(manifest)) / WEIGHT_BYTES[graphs.decoder.precision]
    seen = manifest.dims.vision.patches + 1
    encode = 2 * seen * vision / WEIGHT_BYTES[graphs.vision.precision]
    return Forecast(
        matrix_ms(device, graphs.vision.precision, encode, vision),
        matrix_ms(device, graphs.decoder.precision, 2 * tokens * body, read),
        decode_rate(device, read + _cache(manifest, tokens)),
    )


def _bytes(bundle: Bundle, data: str | None) -> int:
    return (bundle.path / data).stat().st_size if data is not None else 0


def _table(manifest: Manifest) -> int:
    """The token embeddings, of which a token reads one row."""
    d = manifest.dims.decoder
    return d.vocab * d.dim * (4 if manifest.graphs.decoder.precision == "fp32" else 2)


def _head(manifest: Manifest) -> float:
    d, graph = manifest.dims.decoder, manifest.graphs.decoder
    return d.vocab * d.dim * WEIGHT_BYTES[graph.head or graph.precision]


def _cache(manifest: Manifest, tokens: int) -> int:
    """K/V of `tokens` and of one medium, float32."""
    d, latents = manifest.dims.decoder, manifest.dims.resampler.latents
    media = d.gated_layers * d.cross_heads * d.cross_head_dim * latents
    return 4 * 2 * (d.layers * d.heads * d.head_dim * tokens + media)
