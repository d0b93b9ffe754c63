"""A soak as a picture: memory, descriptors and latency over time, and when something went wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from otter_robots.errors import UserError

if TYPE_CHECKING:
    from soak_day import Soak

FRONT, BRAIN, HARM = "#1a7f37", "#0969da", "#cf222e"


def save(path: Path, soak: Soak) -> None:
    """Draw it. Raises UserError where matplotlib is not installed, or `path` cannot be written."""
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise UserError("matplotlib is not installed; run: pip install matplotlib") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 1, figsize=(10, 7.5), sharex=True, layout="constrained")
    minutes = [one.at_s / 60 for one in soak.samples]
    _processes(axes[0], "resident memory, MiB", minutes, soak, "resident_mib")
    _processes(axes[1], "open descriptors", minutes, soak, "descriptors")
    _latency(axes[2], minutes, soak)
    for axis in axes:
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.25)
        for at_s, _, _ in soak.faults:
            axis.axvline(at_s / 60, color=HARM, alpha=0.35, linewidth=0.8)
    axes[2].set_xlabel("minutes; a red line is a fault that was put in")
    figure.suptitle(f"{soak.samples[-1].frames} frames, {len(soak.faults)} faults")
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be saved ({error}); give a writable .png") from error
    finally:
        pyplot.close(figure)


def _processes(axis: Any, title: str, minutes: list[float], soak: Soak, name: str) -> None:
    for process, colour in (("front", FRONT), ("brain", BRAIN)):
        taken = [getattr(getattr(one, process), name) for one in soak.samples]
        axis.plot(minutes, [value or None for value in taken], color=colour, label=process)
    axis.set_title(title, loc="left", fontsize=10)
    axis.legend(loc="lower right", fontsize=8)


def _latency(axis: Any, minutes: list[float], soak: Soak) -> None:
    for name, colour in (("p50", FRONT), ("p95", BRAIN), ("p99", "#8250df")):
        values = [one.answer_ms[name] or None for one in soak.samples]
        axis.plot(minutes, values, color=colour, label=name)
    axis.set_title("question to answer, ms", loc="left", fontsize=10)
    axis.legend(loc="upper right", fontsize=8)
