"""Int4 weights, blocked: scales by clip search, codes by error feedback (GPTQ), packed in nibbles.

A matrix (in, out) has one scale per block of 64 or 128 input channels and output channel; a code
is a whole number in -8 … 7. What a layer gets wrong is the trace of Δᵀ H Δ, where Δ is the
weights' error and H = mean(x xᵀ) the second moments of its input, from calibration.

Scales: the largest magnitude over 7 wastes levels on one weight, so smaller scales are tried, and
the one whose clipped and rounded weights err least, weighted by the diagonal of H, is kept.

Codes: rounded one input channel at a time, each error passed on to the channels not yet rounded in
the proportion that keeps the layer's output nearest (GPTQ, arXiv 2210.17323: the proportion is a
row of the upper Cholesky factor of H's inverse). Channels that matter most come first. H is kept
in diagonal spans of at most 512 channels: a 7B model's moments are 2 GB then, not 40, and rounding
it takes minutes; nothing passes from one span to the next.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from otter_export.precision import Floats

Codes = NDArray[np.int8]
LOWEST, HIGHEST = -8, 7
BLOCKS = (128, 64)  # what TensorRT knows ("supported block sizes are {64, 128}"), the larger first
SPAN = 512
SMALLEST = 1e-8
# Scales tried, as shares of the one that clips nothing.
SHARES = np.linspace(1.0, 0.6, 11, dtype=np.float32)
# Added to H's diagonal, as a share of its mean: few samples leave directions unseen.
DAMPING = 0.01
# So many channels are rounded before their errors reach the rest of the span in one product.
CHUNK = 64
# Output channels are independent; so many at a time fit a processor's cache.
COLUMNS = 512


def block_size(channels: int) -> int | None:
    """The largest block that divides a matrix's input channels; None where there is none."""
    return next((size for size in BLOCKS if channels % size == 0), None)


def span_size(channels: int) -> int:
    """Channels of one span of H: whole blocks, at most `SPAN`, all spans alike."""
    block = block_size(channels)
    assert block is not None
    blocks = channels // block
    return block * max(n for n in range(1, SPAN // block + 1) if blocks % n == 0)


def rounded(matrix: Floats, moments: Floats, block: int) -> tuple[Codes, Floats]:
    """Codes (in, out) int8 and scales (in / block, out) of `matrix`; `moments` (spans, n, n)."""
    weight = np.einsum("snn->sn", moments).reshape(-1)  # H's diagonal (in,)
    codes = np.empty(matrix.shape, np.int8)
    scales = np.empty((matrix.shape[0] // block, matrix.shape[1]), np.float32)
    factors = [feedback(span) for span in moments]
    for at in range(0, matrix.shape[1], COLUMNS):
        part = slice(at, at + COLUMNS)
        columns = np.ascontiguousarray(matrix[:, part])
        scales[:, part] = searched_scales(columns, weight, block)
        full = np.repeat(scales[:, part], block, axis=0)
        for i, (order, factor) in enumerate(factors):
            rows = i * len(order) + order
            codes[rows, part] = fed_back(columns[rows], full[rows], factor)
    return codes, scales


def searched_scales(matrix: Floats, weight: Floats, block: int) -> Floats:
    """Per block and output channel the scale of least weighted error: (in / block, out)."""
    blocks = matrix.reshape(-1, block, matrix.shape[1])
    weights = weight.reshape(-1, block)
    widest = np.maximum(np.abs(blocks).max(axis=1), SMALLEST) / np.float32(HIGHEST)
    best, least = widest, np.full(widest.shape, np.inf, np.float32)
    for share in SHARES:
        scales = widest * share
        codes = np.clip(np.rint(blocks / scales[:, None]), LOWEST, HIGHEST)
        error = np.einsum("bi,bio->bo", weights, (codes * scales[:, None] - blocks) ** 2)
        best = np.where(error < least, scales, best)
        least = np.minimum(error, least)
    return best


def feedback(moments: Floats) -> tuple[NDArray[np.int64], Floats]:
    """The order in which a span's channels are rounded, and GPTQ's factor in that order.

    Row i of the factor, over its diagonal, says how the error of channel i reaches those after it.
    """
    order = np.argsort(-np.diagonal(moments), kind="stable")
    damped = moments[np.ix_(order, order)].astype(np.float64)
    mean = max(float(np.mean(np.diagonal(damped))), SMALLEST)
    damped[np.diag_indices_from(damped)] += DAMPING * mean
    factor: Floats = np.linalg.cholesky(np.linalg.inv(damped)).T.astype(np.float32)
    return order, factor


def fed_back(rows: Floats, scales: Floats, factor: Floats) -> Codes:
    """Codes of a span's `rows` (n, out), in order, each error passed on by `factor`."""
    rows, codes = rows.copy(), np.empty(rows.shape, np.int8)
    for start in range(0, len(rows), CHUNK):
        end = min(start + CHUNK, len(rows))
        errors = np.empty((end - start, rows.shape[1]), np.float32)
        for i in range(start, end):
            codes[i] = nearest(rows[i], scales[i])
            errors[i - start] = (rows[i] - codes[i] * scales[i]) / factor[i, i]
            rows[i + 1 : end] -= factor[i, i + 1 : end, None] * errors[i - start]
        rows[end:] -= factor[start:end, end:].T @ errors
    return codes


def nearest(weights: Floats, scales: Floats) -> Codes:
    """The nearest codes, without regard to anything else."""
    codes: Codes = np.clip(np.rint(weights / scales), LOWEST, HIGHEST).astype(np.int8)
    return codes


def packed(codes: Codes) -> NDArray[np.uint8]:
    """ONNX's INT4: two codes a byte in row-major order, the first in the low nibble."""
    flat = codes.reshape(-1).view(np.uint8) & 0xF
    return flat[0::2] | flat[1::2] << 4


def output_error(delta: Floats, moments: Floats) -> float:
    """The trace of Δᵀ H Δ: mean squared error of a layer's outputs, summed over them."""
    spans = delta.reshape(*moments.shape[:2], -1)
    return float(np.einsum("sio,sij,sjo->", spans, moments, spans, optimize=True))
