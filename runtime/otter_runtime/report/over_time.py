"""The trial along its time: latency, where it goes, frames, heat, one plot below the other.

It knows what was recorded and how plots are drawn. Faults are bands through all of them, so that
what a fault did is seen and not only read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from otter_robots.messages import Abstain, Answer, Governor, Health
from otter_runtime.pages.markup import Html, join
from otter_runtime.pages.plot import Band, Boxes, Plot, Point, Series, stacked
from otter_runtime.pages.scale import Scale, figures, magnitudes, moments
from otter_runtime.pages.table import folded, table
from otter_runtime.percentile import percentile
from otter_runtime.report.facts import Facts
from otter_runtime.report.frames import rates
from otter_runtime.report.latency import PARTS, columns, total_ms
from otter_runtime.report.reading import Moment, Reading
from otter_runtime.report.troubles import outages
from otter_runtime.report.wording import at, lasting, many, milliseconds

COLUMNS, ROWS = 60, 12
FAR = 20.0  # times the median: beyond, most answers would lie on the floor of a plain scale
COLOURS = dict(zip(PARTS, ("c6", "c3", "c2", "c1"), strict=True))


def plots(facts: Facts, reading: Reading) -> Html:
    """All of them, and a table that says the same."""
    time = moments(facts.seconds)
    spans = outages(facts.troubles, facts.seconds)
    bands = [Band(start, end) for start, end in spans]
    drawn = [
        *_answers(reading, time, bands),
        *_parts(reading, time, bands, facts.seconds),
        *_frames(reading, time, bands),
        *_heat(reading, time, bands, facts),
        *_clocks(reading, time, bands),
    ]
    # The words of the time axis stand below the last one.
    drawn[-1:] = [_with_times(one) for one in drawn[-1:]]
    return join(stacked(*drawn), folded("The same in figures", _table(reading, facts)))


def _with_times(plot: Plot) -> Plot:
    return replace(plot, times=True)


def _answers(reading: Reading, time: Scale, bands: Sequence[Band]) -> Iterator[Plot]:
    answers = reading.of(Answer)
    if not answers and not reading.of(Abstain):
        return
    took = [total_ms(one.what) for one in answers]
    middle = percentile(took, 50)
    fine = [(one.at_s, total_ms(one.what)) for one in answers if not one.what.late]
    late = [(one.at_s, total_ms(one.what)) for one in answers if one.what.late]
    abstained: list[Point] = [(one.at_s, None) for one in reading.of(Abstain)]
    marks = [
        Series("in time" if late else "answer", fine, "c1", "dots"),
        Series("late", late, "c2", "dots"),
        Series("abstained", abstained, "bad", "rug"),
    ]
    far = took and min(took) > 0 and max(took) > FAR * middle
    about = "No answer was given."
    if took:
        slowest = max(answers, key=lambda one: total_ms(one.what))
        about = (
            f"Half of the answers took {milliseconds(middle)} ms or less, 95 of 100 "
            f"{milliseconds(percentile(took, 95))} ms or less; the slowest was at "
            f"{at(slowest.at_s)} with {milliseconds(max(took))} ms."
        )
    yield Plot(
        title="From the question to the answer",
        unit="ms, logarithmic" if far else "ms",
        about=about,
        x=time,
        y=magnitudes(took) if far else figures(took),
        marks=[mark for mark in marks if mark.points],
        bands=bands,
        rem=9.0,
    )


def _parts(reading: Reading, time: Scale, bands: Sequence[Band], seconds: float) -> Iterator[Plot]:
    """Columns of the means, one part on the other."""
    boxes: dict[str, list[tuple[float, float, float, float]]] = {part: [] for part in PARTS}
    highest = 0.0
    timed = [one for one in reading.of(Answer) if one.what.timing]
    sums = dict.fromkeys(PARTS, 0.0)
    for start, end, means in columns(timed, seconds, COLUMNS):
        bottom = 0.0
        for part in reversed(PARTS):  # what the model does lies below what it waits for
            gap = (end - start) * 0.12
            boxes[part].append((start + gap, end - gap, bottom, bottom + means[part]))
            bottom += means[part]
            sums[part] += means[part]
        highest = max(highest, bottom)
    if not timed:
        return
    most = max(sums, key=lambda part: sums[part])
    share = sums[most] / (sum(sums.values()) or 1.0)
    yield Plot(
        title="Where the time goes",
        unit=f"ms, mean of every {lasting(seconds / COLUMNS)}",
        about=f"Most of it, {100 * share:.0f} %, goes into: {most}.",
        x=time,
        y=figures([highest]),
        marks=[Boxes(part, boxes[part], COLOURS[part]) for part in PARTS if any(boxes[part])],
        bands=bands,
    )


def _frames(reading: Reading, time: Scale, bands: Sequence[Band]) -> Iterator[Plot]:
    every = rates(reading)
    if not every:
        return
    encoded: list[Point] = [(every[0][0], every[0][2])]
    dropped: list[Point] = [(every[0][0], every[0][3])]
    for start, end, taken, left in every:
        encoded += [(start, taken), (end, taken)]
        dropped += [(start, left), (end, left)]
    any_dropped = any(rate for _, rate in dropped)
    marks = [
        Series("to the model", encoded, "c4", "steps"),
        Series("dropped", dropped, "c5", "steps"),
    ]
    last = reading.of(Health)[-1].what
    yield Plot(
        title="Frames",
        unit="per second",
        about=(
            f"{many(last.frames, 'frame')} went to the model, "
            f"{many(last.frames_dropped, 'frame')} were replaced by newer ones before that."
        ),
        x=time,
        y=figures([rate or 0.0 for _, rate in [*encoded, *dropped]]),
        marks=marks if any_dropped else marks[:1],
        bands=bands,
        rem=5.0,
    )


def _heat(reading: Reading, time: Scale, bands: Sequence[Band], facts: Facts) -> Iterator[Plot]:
    beats, said = reading.of(Health), reading.of(Governor)
    heat: list[Point] = [(one.at_s, one.what.temperature_c) for one in beats]
    known = [celsius for _, celsius in heat if celsius is not None]
    if known:
        yield Plot(
            title="Temperature",
            unit="°C, of the hottest sensor",
            about=f"Between {min(known):.0f} and {max(known):.0f} °C.",
            x=time,
            y=figures(known, least=None),
            marks=[Series("", heat, "c5")],
            bands=bands,
            rem=5.0,
        )
    steps = _steps(beats, said, facts.seconds)
    if any(step for _, step in steps):
        most = max((one.what.steps for one in said), default=1)
        high = max(int(step or 0) for _, step in steps)
        times = sum(one.kind == "governor" for one in facts.troubles)
        yield Plot(
            title="Governor",
            unit="step",
            about=(
                f"Performance was lowered: {many(times, 'stretch', 'stretches')} above step 0, up "
                f"to step {high} of {most}."
            ),
            x=time,
            y=figures([most], whole=True),
            marks=[Series("", steps, "c3", "steps")],
            bands=bands,
            rem=3.5,
        )


def _steps(
    beats: Sequence[Moment[Health]], said: Sequence[Moment[Governor]], seconds: float
) -> list[Point]:
    """The governor's steps: as it said them, and as each heartbeat did."""
    steps: list[Point] = [(one.at_s, one.what.step) for one in said]
    steps += [(one.at_s, one.what.governor_step) for one in beats]
    steps.sort(key=lambda point: point[0])
    return [*steps, (seconds, steps[-1][1])] if steps else []


def _clocks(reading: Reading, time: Scale, bands: Sequence[Band]) -> Iterator[Plot]:
    beats = reading.of(Health)
    cpu: list[Point] = [(one.at_s, one.what.cpu_mhz) for one in beats]
    gpu: list[Point] = [(one.at_s, one.what.gpu_mhz) for one in beats]
    known = [mhz for _, mhz in [*cpu, *gpu] if mhz is not None]
    if not known:
        return
    marks = [Series("fastest core", cpu, "c1"), Series("GPU", gpu, "c2")]
    yield Plot(
        title="Clocks",
        unit="MHz",
        about=f"Between {min(known):.0f} and {max(known):.0f} MHz.",
        x=time,
        y=figures(known),
        marks=[mark for mark in marks if any(mhz is not None for _, mhz in mark.points)],
        bands=bands,
        rem=5.0,
    )


def _table(reading: Reading, facts: Facts) -> Html:
    """The same over equal stretches of the trial."""
    width = max(facts.seconds, 1e-3) / ROWS
    rows = [_row(reading, number * width, (number + 1) * width) for number in range(ROWS)]
    names = ("from", "to", "answers", "late", "abstained", "p50 ms", "p95 ms", "°C", "step")
    return table("The trial in twelve stretches", names, rows, "nnnnnnnnn")


def _row(reading: Reading, start: float, end: float) -> list[str]:
    answers = [one.what for one in reading.of(Answer) if start <= one.at_s < end]
    beats = [one.what for one in reading.of(Health) if start <= one.at_s < end]
    took = [total_ms(one) for one in answers]
    heat = [one.temperature_c for one in beats if one.temperature_c is not None]
    return [
        at(start),
        at(end),
        str(len(answers)),
        str(sum(one.late for one in answers)),
        str(sum(start <= one.at_s < end for one in reading.of(Abstain))),
        milliseconds(percentile(took, 50) if took else None),
        milliseconds(percentile(took, 95) if took else None),
        f"{max(heat):.1f}" if heat else milliseconds(None),
        str(max((one.governor_step for one in beats), default=0)),
    ]
