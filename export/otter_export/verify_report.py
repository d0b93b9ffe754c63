"""The page that says how good a bundle is: one HTML file, readable offline, plots inside.

It draws what `comparison` measured and knows nothing of how.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape
from matplotlib.figure import Figure

from otter_export.comparison import Comparison, WholeError
from otter_export.layer_error import LayerError
from otter_runtime.bundle import GRAPHS, Bundle

INCHES_PER_LAYER, LEAST_INCHES, MOST_INCHES, HEIGHT = 0.16, 7.0, 16.0, 3.2
NAMED_LAYERS = 60  # more names on an axis than that cannot be read
WORST_LAYERS = 10


def write_report(
    path: Path,
    bundle: Bundle,
    comparison: Comparison,
    baselines: Sequence[WholeError] = (),
    accuracy: Mapping[str, Any] | None = None,
) -> None:
    """Write the page to `path`; `accuracy` is what a world's own episodes gave, if there is one."""
    page = Environment(
        loader=PackageLoader("otter_export", "."), autoescape=select_autoescape()
    ).get_template("verify_report.html")
    layers = comparison.layers
    path.write_text(
        page.render(
            bundle=bundle,
            manifest=bundle.manifest,
            comparison=comparison,
            whole=[comparison.whole, *baselines],
            plots=[(name, _plot(layers, name)) for name in GRAPHS],
            worst=sorted(layers, key=lambda layer: -layer.own)[:WORST_LAYERS],
            accuracy=accuracy,
        ),
        encoding="utf-8",
    )


def _plot(layers: Sequence[LayerError], graph: str) -> str:
    """The layers of one graph in order: bars for their own error, a line for what has added up."""
    own = [layer for layer in layers if layer.graph == graph]
    width = min(max(LEAST_INCHES, INCHES_PER_LAYER * len(own)), MOST_INCHES)
    figure = Figure(figsize=(width, HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    places = range(len(own))
    axes.bar(places, [layer.own for layer in own], color="#7aa6c2", label="the layer's own")
    axes.plot(
        places, [layer.accumulated for layer in own], ".-", color="#b3412d", label="accumulated"
    )
    axes.set_ylabel("relative error")
    every = 1 + len(own) // NAMED_LAYERS
    names = [layer.name.partition(".")[2] for layer in own]
    axes.set_xticks(list(places)[::every], names[::every], rotation=90, fontsize=6)
    axes.margins(x=0.01)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    return _svg(figure)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    # A fixed date and salt, so that the same figures give the same page.
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "<svg" + buffer.getvalue().partition("<svg")[2]
