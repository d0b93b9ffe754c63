"""Which pairs stand before which: the nearest by picture (I2I) or by instruction (T2T).

The paper's choice for LA's reasoning: the ten nearest pictures by CLIP, the ten nearest
instructions by a sentence encoder, cosine. Vectors come from whatever encoder the user has; the
search is exact, a block of rows at a time, so that memory stays flat.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otter_runtime.errors import UserError

NEAREST = 10
BLOCK = 1024  # rows compared at once


def nearest(vectors: NDArray[np.floating], count: int = NEAREST) -> NDArray[np.int64]:
    """For each row of `vectors` (n, dim) the `count` others of highest cosine, best first.

    (n, min(count, n - 1)); of equals the earlier row leads. A row of zeros is near to nothing, and
    comes last. Computed in double precision.
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, 1)
    count = min(count, len(unit) - 1)
    found = np.empty((len(unit), max(count, 0)), np.int64)
    for start in range(0, len(unit) if count > 0 else 0, BLOCK):
        rows = slice(start, start + BLOCK)
        # Rounded, so that equal vectors tie whatever order a product sums in.
        scores = np.round(unit[rows] @ unit.T, 12)
        own = np.arange(len(scores))
        scores[own, start + own] = -np.inf
        # A stable sort keeps the earlier of equals; what is beyond the threshold needs no sorting.
        for row, score in enumerate(scores):
            least = np.partition(score, -count)[-count]
            near = np.flatnonzero(score >= least)
            order = near[np.argsort(-score[near], kind="stable")]
            found[start + row] = order[:count]
    return found


def contexts(
    names: Sequence[str], vectors: NDArray[np.floating], count: int
) -> dict[str, list[str]]:
    """A context map: each of `names` with its nearest; `vectors` has a row for each."""
    return {
        name: [names[other] for other in row]
        for name, row in zip(names, nearest(vectors, count), strict=True)
    }


def read_vectors(path: Path) -> tuple[list[str], NDArray[np.floating]]:
    """Names (n,) and vectors (n, dim) of an .npz with `ids` and `vectors`; UserError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            names, vectors = [str(name) for name in file["ids"]], file["vectors"]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise UserError(f"{path} should be an .npz with `ids` and `vectors` ({error})") from error
    if vectors.ndim != 2 or len(vectors) != len(names) or not np.isfinite(vectors).all():
        raise UserError(
            f"{path} has {len(names)} ids and vectors of shape {vectors.shape}; a finite row for "
            "each id is expected"
        )
    return names, vectors
