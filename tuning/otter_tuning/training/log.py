"""What a run says of itself: a CSV that a cut run goes on writing, TensorBoard where it is
installed, and a plot."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

CSV, PLOT, EVENTS = "metrics.csv", "loss.svg", "events"
LOSSES = ("loss", "right", "patch", "slot")
FIELDS = ("step", "epoch", "on", *LOSSES, "rate", "norm", "tokens", "seconds")


class Log:
    """Rows of `folder`/metrics.csv; what is there beyond `step` is of a run that was cut."""

    def __init__(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        kept = [row for row in self.rows() if int(row["step"]) <= step]
        with (folder / CSV).open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(kept)
        self._board = _board(folder / EVENTS, step)

    def rows(self) -> list[dict[str, str]]:
        """Every row so far, as text."""
        path = self._folder / CSV
        if not path.is_file():
            return []
        with path.open(newline="") as file:
            return list(csv.DictReader(file))

    def write(self, on: str, step: int, **values: float) -> None:
        """One row: `on` is training or validation."""
        row = {"on": on, "step": step, **values}
        with (self._folder / CSV).open("a", newline="") as file:
            csv.DictWriter(file, FIELDS).writerow(row)
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{on}/{name}", value, step)

    def close(self) -> None:
        """Write out what TensorBoard's writer still holds."""
        if self._board is not None:
            self._board.close()

    def plot(self) -> Path:
        """Loss over steps, training and validation, as an SVG."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 4), layout="constrained")
        axes = figure.add_subplot()
        for on, style in (("training", "-"), ("validation", "o-")):
            rows = [row for row in self.rows() if row["on"] == on and row["loss"]]
            steps = [int(row["step"]) for row in rows]
            axes.plot(steps, [float(row["loss"]) for row in rows], style, label=on)
        axes.set_xlabel("step")
        axes.set_ylabel("nats a learned token")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        figure.savefig(self._folder / PLOT, metadata={"Date": None})
        return self._folder / PLOT


def _board(folder: Path, step: int) -> Any:
    """TensorBoard's writer, or None where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
