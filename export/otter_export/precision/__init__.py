"""How a graph's linear layers are written: a file per precision, and a table of them.

A `Precision` (protocol.py) writes linear layers, and the embedding table, into a graph.
`recipes.RECIPES` says by name how one is made, and of what: an fp32 run over the samples records
statistics of every linear layer's input (seen.py), and a recipe names those it wants. So a new
precision is one file here and one line in that table. Which part of the network takes which is a
`Choice` (choice.py).
"""

from otter_export.precision.choice import PARTS, TARGETS, Choice
from otter_export.precision.fp16 import Fp16
from otter_export.precision.fp32 import Fp32
from otter_export.precision.int4 import MOMENTS, Int4
from otter_export.precision.int8 import Int8
from otter_export.precision.int8_dynamic import Int8Dynamic
from otter_export.precision.protocol import Floats, Linear, Precision
from otter_export.precision.recipes import RECIPES, Recipe
from otter_export.precision.seen import LARGEST, PEAKS, Observed, Seen, Statistic

__all__ = [
    "LARGEST",
    "MOMENTS",
    "PARTS",
    "PEAKS",
    "RECIPES",
    "TARGETS",
    "Choice",
    "Floats",
    "Fp16",
    "Fp32",
    "Int4",
    "Int8",
    "Int8Dynamic",
    "Linear",
    "Observed",
    "Precision",
    "Recipe",
    "Seen",
    "Statistic",
]
