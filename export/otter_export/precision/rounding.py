"""A matrix as int4 codes and scales: scales by clip search, codes by error feedback (GPTQ).

A matrix (in, out) has one scale per output channel and block of input channels; a code is a
whole number in -8 … 7. What a layer gets wrong is the trace of Δᵀ H Δ, where Δ is the weights'
error and H = Σ x xᵀ the second moments of its input.

Scales: the largest magnitude over 7 wastes levels on one weight, so smaller scales are tried, and
the one whose clipped and rounded weights err least, weighted by the diagonal of H, is kept.

Codes: rounded one input channel at a time, each error passed on to the channels not yet rounded in
the proportion that keeps the layer's output nearest (GPTQ, arXiv 2210.17323: the proportion is a
row of the upper Cholesky factor of H's inverse). Channels that matter most come first. H is given
in diagonal spans; nothing passes from one span to the next.
"""

from __future__ import annotations

import numpy as np
from ml_dtypes import int4
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from otter_export.precision.protocol import Floats

Codes = NDArray[np.int8]
LOWEST, HIGHEST = -8, 7
SMALLEST = 1e-8
# Scales tried, as shares of the one that clips nothing.
SHARES = np.linspace(1.0, 0.6, 11, dtype=np.float32)
# Added to H's diagonal, as a share of its mean: few samples leave directions unseen.
DAMPING = 0.01
# So many channels are rounded before their errors reach the rest of the span in one product.
CHUNK = 32
# Output channels are independent; so many at a time stay in a processor's cache.
COLUMNS = 512


def rounded(matrix: Floats, moments: Floats, block: int) -> tuple[NDArray[int4], Floats]:
    """Codes (in, out) int4 and scales (in / block, out) of `matrix`; `moments` (spans, n, n)."""
    # The many small products gain nothing from threads, and where another program is busy they
    # lose most of their speed: BLAS's threads wait for each other in a loop.
    with threadpool_limits(limits=1, user_api="blas"):
        return _rounded(matrix, moments, block)


def _rounded(matrix: Floats, moments: Floats, block: int) -> tuple[NDArray[int4], Floats]:
    weight = diagonal(moments)
    codes = np.empty(matrix.shape, int4)
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


def nearest(matrix: Floats, block: int) -> tuple[NDArray[int4], Floats]:
    """As `rounded`, but each weight to the nearest code, the largest magnitude to 7."""
    blocks = matrix.reshape(-1, block, matrix.shape[1])
    scales = widest_scales(blocks)
    return _codes(blocks, scales[:, None]).reshape(matrix.shape).astype(int4), scales


def widest_scales(blocks: Floats) -> Floats:
    """The scales (n, out) at which no weight of `blocks` (n, block, out) is clipped."""
    scales: Floats = np.maximum(np.abs(blocks).max(axis=1), SMALLEST) / np.float32(HIGHEST)
    return scales


def searched_scales(matrix: Floats, weight: Floats, block: int) -> Floats:
    """Per block and output channel the scale of least error, weighted: (in / block, out)."""
    blocks = matrix.reshape(-1, block, matrix.shape[1])
    weights = weight.reshape(-1, block)
    widest = widest_scales(blocks)
    best, least = widest, np.full(widest.shape, np.inf, np.float32)
    for share in SHARES:
        scales = widest * share
        off = _codes(blocks, scales[:, None]) * scales[:, None] - blocks
        error = np.einsum("bi,bio,bio->bo", weights, off, off)
        best = np.where(error < least, scales, best)
        least = np.minimum(error, least)
    return best


def feedback(moments: Floats) -> tuple[NDArray[np.int64], Floats]:
    """The order in which a span's channels are rounded, and GPTQ's factor (n, n) in that order.

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
            code = _codes(rows[i], scales[i])
            codes[i], errors[i - start] = code, (rows[i] - code * scales[i]) / factor[i, i]
            rows[i + 1 : end] -= factor[i, i + 1 : end, None] * errors[i - start]
        rows[end:] -= factor[start:end, end:].T @ errors
    return codes


def diagonal(moments: Floats) -> Floats:
    """H's diagonal (in,) of its spans (spans, n, n)."""
    weights: Floats = np.einsum("snn->sn", moments).reshape(-1)
    return weights


def output_error(delta: Floats, moments: Floats) -> float:
    """The trace of Δᵀ H Δ: squared error of a layer's outputs, summed over them and H's samples."""
    spans = delta.reshape(*moments.shape[:2], -1)
    return float(np.einsum("sio,sij,sjo->", spans, moments, spans, optimize=True))


def _codes(weights: Floats, scales: Floats) -> Floats:
    codes: Floats = np.clip(np.rint(weights / scales), LOWEST, HIGHEST)
    return codes
