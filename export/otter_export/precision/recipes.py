"""The table of precisions: by name, how one is made of what calibration saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from otter_export.precision.fp16 import Fp16
from otter_export.precision.fp32 import Fp32
from otter_export.precision.int4 import MOMENTS, Int4
from otter_export.precision.int8 import Int8
from otter_export.precision.int8_dynamic import Int8Dynamic
from otter_export.precision.protocol import Precision
from otter_export.precision.seen import LARGEST, PEAKS, Seen, Statistic


@dataclass(frozen=True)
class Recipe:
    """`make` takes what calibration saw; that holds at least the statistics it `wants`.

    `tensorrt` says whether TensorRT can run the graph.
    """

    make: Callable[[Seen], Precision]
    wants: tuple[Statistic, ...] = ()
    tensorrt: bool = True


RECIPES: dict[str, Recipe] = {
    "fp32": Recipe(lambda seen: Fp32()),
    "fp16": Recipe(lambda seen: Fp16(seen["largest"], seen["peaks"]), (LARGEST, PEAKS)),
    "int8": Recipe(lambda seen: Int8(seen["largest"]), (LARGEST,)),
    "int4": Recipe(
        lambda seen: Int4(seen["moments"], Int8(seen["largest"])),
        (LARGEST, MOMENTS),
    ),
    "int8-dynamic": Recipe(lambda seen: Int8Dynamic(), tensorrt=False),
}
