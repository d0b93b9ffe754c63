"""What was measured on a device as rows of a Markdown table, each beside what was predicted."""

from __future__ import annotations

from collections.abc import Sequence

from otter_robots.terminal import printable
from otter_runtime.bench.device_bench import ModeReport

COLUMNS = (
    "device",
    "power mode",
    "clocks CPU/GPU MHz",
    "°C",
    "bundle",
    "provider",
    "load s",
    "encode ms",
    "resample ms",
    "prefill ms",
    "decode tok/s",
)
LEGEND = (
    "Measured: cold → warm (median); in brackets what was predicted of the device at full clocks."
)


def table(device: str, reports: Sequence[ModeReport]) -> str:
    """One row per power mode, and what the figures are."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    shown = printable(device)
    lines += ["| " + " | ".join(_cells(shown, report)) + " |" for report in reports]
    notes = [
        f"{report.mode}: not measured, {printable(report.note)}"
        for report in reports
        if report.note
    ]
    hot = [
        f"{report.mode}: the hardware slowed itself down {report.throttled} times meanwhile"
        for report in reports
        if report.throttled
    ]
    return "\n".join([*lines, "", LEGEND, *notes, *hot])


def _cells(device: str, report: ModeReport) -> list[str]:
    found, told = report.measured, report.predicted
    start = [device, report.mode or "the only one"]
    if found is None:
        return [*start, *["-"] * (len(COLUMNS) - len(start))]
    stages = found["stages"]

    def milliseconds(name: str, predicted: float | None = None) -> str:
        stage = stages[name]
        cell = f"{stage['cold_ms']:.1f} → {stage['median_ms']:.1f}"
        return cell if predicted is None else f"{cell} ({predicted:.1f})"

    rate = f"{1e3 / stages['decode']['cold_ms']:.1f} → {1e3 / stages['decode']['median_ms']:.1f}"
    if told is not None:
        rate += f" ({told.decode_tokens_s[0]:.0f}-{told.decode_tokens_s[1]:.0f})"
    return [
        *start,
        f"{_whole(report.cpu_mhz)}/{_whole(report.gpu_mhz)}",
        _whole(report.temperature_c),
        found["bundle"],
        found["provider"],
        f"{found['load_s']:.1f}",
        milliseconds("encode", told.encode_ms if told else None),
        milliseconds("resample"),
        milliseconds("prefill", told.prefill_ms if told else None),
        rate,
    ]


def _whole(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f}"
