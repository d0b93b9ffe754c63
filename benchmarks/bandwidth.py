"""The machine's memory read bandwidth: what a decode step cannot be faster than.

Each thread reads its own array, far larger than a cache should keep, several times; the
best of three reductions that numpy runs without the interpreter lock counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
from numpy.typing import NDArray

Read = Callable[[NDArray[Any]], Any]
READS: dict[str, Read] = {
    "max": np.max,
    "dot": lambda array: np.dot(array, array),
    "or": lambda array: np.bitwise_or.reduce(array.view(np.int64)),
}


def read_bandwidth(threads: int = 2, total_bytes: int = 6 << 30) -> tuple[float, str]:
    """GB/s that `threads` read together, and the reduction that reached it.

    At least `total_bytes` are read per reduction; each thread's array is a sixth of its share.
    """
    size = total_bytes // threads // 6
    arrays = [np.ones(size // 8 * 2, np.float32) for _ in range(threads)]
    rates = {name: _rate(read, arrays, 6) for name, read in READS.items()}
    best = max(rates, key=lambda name: rates[name])
    return rates[best], best


def _rate(read: Read, arrays: list[NDArray[Any]], passes: int) -> float:
    barrier = Barrier(len(arrays))

    def work(array: NDArray[Any]) -> tuple[float, float]:
        read(array)
        barrier.wait()
        begun = time.perf_counter()
        for _ in range(passes):
            read(array)
        return begun, time.perf_counter()

    with ThreadPoolExecutor(len(arrays)) as pool:
        spans = list(pool.map(work, arrays))
    seconds = max(end for _, end in spans) - min(begun for begun, _ in spans)
    return passes * sum(array.nbytes for array in arrays) / seconds / 1e9
