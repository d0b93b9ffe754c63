"""The table of precisions: by name, how one is made of what calibration saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from otter_export.precision.fp16 import Fp16
from otter_export.precision.fp32 import Fp32
from otter_export.precision.int4 import MOMENTS, Int4, block_size
from otter_export.precision.int8 import Int8
from otter_export.precision.int8_dynamic import Int8Dynamic
from otter_export.precision.protocol import Precision
from otter_export.precision.seen import LARGEST, PEAKS, Seen, Statistic


def _float32_bytes(rows: int, columns: int) -> int:
    return 4 * rows * columns


@dataclass(frozen=True)
class Recipe:
    """`make` takes what calibration saw; that holds at least the statistics it `wants`.

    `bytes` is what a matrix (in, out) takes on disk, scales included; `tensorrt` says whether
    TensorRT can run the graph.
    """

    make: Callable[[Seen], Precision]
    wants: tuple[Statistic, ...] = ()
    bytes: Callable[[int, int], int] = _float32_bytes
    tensorrt: bool = True


def _int8_bytes(rows: int, columns: int) -> int:
    return columns * (rows + 4 + 1)  # a float32 scale and a zero point per output channel


def _int4_bytes(rows: int, columns: int) -> int:
    block = block_size(rows)
    if block is None or columns % 2:
        return _int8_bytes(rows, columns)
    return columns * (rows // 2 + 4 * rows // block)


RECIPES: dict[str, Recipe] = {
    "fp32": Recipe(lambda seen: Fp32()),
    "fp16": Recipe(
        lambda seen: Fp16(seen["largest"], seen["peaks"]),
        (LARGEST, PEAKS),
        lambda rows, columns: 2 * rows * columns,
    ),
    "int8": Recipe(lambda seen: Int8(seen["largest"]), (LARGEST,), _int8_bytes),
    "int4": Recipe(
        lambda seen: Int4(seen["moments"], Int8(seen["largest"])),
        (LARGEST, MOMENTS),
        _int4_bytes,
    ),
    "int8-dynamic": Recipe(lambda seen: Int8Dynamic(), (), _int8_bytes, tensorrt=False),
}
