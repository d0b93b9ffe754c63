"""A trial as a Rerun recording: what was seen and said on one timeline, laid out to be opened.

It knows Rerun's archetypes (rerun-sdk 0.26 and later) and not how a trial is kept. Pictures go in
as the files they are, at the moment they were captured; all else at the moment it was recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import rerun as rr
import rerun.blueprint as rrb

from otter_robots.messages import Answer, Governor, Health, Instruct, Question
from otter_runtime.trials.exports.job import Asked, Job, captured_ns, figures
from otter_runtime.trials.exports.lines import Level, line
from otter_runtime.trials.trial import Record, Sight

APPLICATION = "otter-edge"
TRIAL, FRAME = "trial", "frame"  # the timelines: the trial's clock, the newest frame's number
MARKDOWN = "text/markdown"


def write(job: Job) -> None:
    """Write the job's trial as an .rrd file with a blueprint."""
    recording = rr.RecordingStream(APPLICATION, recording_id=job.trial.name)
    recording.save(job.to, default_blueprint=blueprint())
    telling = Telling(recording, job)
    telling.about()
    job.tell("rerun", telling)
    recording.flush()
    recording.disconnect()


def blueprint() -> rrb.Blueprint:
    """The picture and the newest answer at the left; what happened, and the plots, at the right."""
    plots = rrb.Tabs(
        rrb.TimeSeriesView(name="Age of answers, ms", origin="plots/age"),
        rrb.TimeSeriesView(name="Time by stage, ms", origin="plots/timing"),
        rrb.TimeSeriesView(name="Confidence", origin="plots/confidence"),
        rrb.TimeSeriesView(name="Temperature and governor", origin="plots/heat"),
        rrb.TimeSeriesView(name="Health", origin="plots/health"),
    )
    left = rrb.Vertical(
        rrb.Spatial2DView(name="What it saw", origin="camera"),
        rrb.TextDocumentView(name="What it said", origin="answer"),
        row_shares=[3, 2],
    )
    right = rrb.Vertical(
        rrb.TextLogView(name="What happened", origin="log"),
        plots,
        rrb.TextDocumentView(name="The trial", origin="about"),
        row_shares=[3, 3, 2],
    )
    return rrb.Blueprint(
        rrb.Horizontal(left, right), rrb.TimePanel(timeline=TRIAL), collapse_panels=True
    )


class Telling:
    """One recording being written."""

    def __init__(self, recording: rr.RecordingStream, job: Job) -> None:
        self._recording, self._job = recording, job
        self._asked = Asked()
        self._tell: dict[type[msgspec.Struct], Callable[[Any, Record], None]] = {
            Question: self._question,
            Instruct: self._question,
            Answer: self._answer,
            Governor: self._governor,
            Health: self._health,
        }

    def about(self) -> None:
        """What is true of the whole trial: build, machine, model, and what is missing."""
        lines = [f"# {self._job.trial.name}"]
        if self._job.missing:
            lines += ["## Missing", *(f"- {one}" for one in self._job.missing)]
        for name, values in self._job.trial.metadata.items():
            lines += [f"## {name}", *(f"- {key}: `{value}`" for key, value in values.items())]
        text = rr.TextDocument("\n".join(lines), media_type=MARKDOWN)
        self._recording.log("about", text, static=True)

    def show(self, sight: Sight) -> None:
        """A frame, at its capture."""
        self._at(captured_ns(sight))
        self._recording.set_time(FRAME, sequence=sight.show.stamp.id)
        if not sight.file:
            self._log("frame", "WARN", f"frame {sight.show.stamp.id} was not recorded")
            return
        media = f"image/{sight.show.encoding}"
        stamp = sight.show.stamp
        self._recording.log(
            "camera",
            rr.EncodedImage(contents=sight.file, media_type=media),
            rr.AnyValues(frame_id=stamp.id, source=stamp.source, index=stamp.index),
        )
        self._job.written["frames"] += 1

    def tell(self, record: Record) -> None:
        """A message, where there is something to show of it."""
        self._at(record.log_ns)
        happened = line(record)
        if happened is not None:
            self._log(happened.kind, happened.level, happened.text)
        tell = self._tell.get(type(record.message))
        if tell is not None:
            tell(record.message, record)

    def _question(self, message: Question | Instruct, record: Record) -> None:
        self._asked.hear(record)
        self._log("question", "INFO", message.text)

    def _answer(self, answer: Answer, record: Record) -> None:
        asked = self._asked.text(answer)
        verdict = self._job.verdicts.of(record)
        document = rr.TextDocument("\n".join(_page(asked, answer)), media_type=MARKDOWN)
        values = {name: value for name, value in _facts(answer, record) if value not in ("", [])}
        self._recording.log("answer", document, rr.AnyValues(**values))
        level: Level = "WARN" if answer.late or answer.partial else "INFO"
        self._log("answer", level, f"{answer.text}  (to: {asked})" if asked else answer.text)
        self._plot("age", "age_ms", answer.age_ms)
        self._plot("confidence", "confidence", answer.confidence)
        for stage, spent_ms in answer.timing.items():
            self._plot("timing", stage, spent_ms)
        if verdict is not None:
            self._log("correction", "INFO", verdict.corrected or "right")

    def _governor(self, governor: Governor, _: Record) -> None:
        self._plot("heat", "governor_step", governor.step)
        self._plot("heat", "temperature_c", governor.temperature_c)

    def _health(self, health: Health, _: Record) -> None:
        self._plot("heat", "governor_step", health.governor_step)
        self._plot("heat", "temperature_c", health.temperature_c)
        for name, value in figures(health):
            if name not in ("governor_step", "temperature_c"):
                self._plot("health", name, value)
        self._job.written["health"] += 1

    def _at(self, log_ns: int) -> None:
        self._recording.set_time(TRIAL, timestamp=np.datetime64(log_ns, "ns"))

    def _log(self, kind: str, level: Level, text: str) -> None:
        self._recording.log(f"log/{kind}", rr.TextLog(text, level=level))
        self._job.written[kind] += 1

    def _plot(self, view: str, name: str, value: float | None) -> None:
        if value is not None:
            self._recording.log(f"plots/{view}/{name}", rr.Scalars(float(value)))


def _page(asked: str, answer: Answer) -> Iterator[str]:
    yield f"**{asked}**\n" if asked else ""
    yield f"# {answer.text}\n"
    if len(answer.steps) > 1:
        yield from (f"{at}. {step}" for at, step in enumerate(answer.steps, 1))
    if answer.confidence is not None:
        yield f"\nconfidence {answer.confidence:.2f}"
    yield f"\n{answer.age_ms:.0f} ms old, valid for {answer.ttl_ms:.0f} ms"
    yield f"\nframes {', '.join(map(str, answer.frame_ids))} of {answer.source}"
    yield from (f"\n*{word}*" for word in ("late", "partial") if getattr(answer, word))


def _facts(answer: Answer, record: Record) -> Iterator[tuple[str, Any]]:
    yield "text", answer.text
    yield "steps", list(answer.steps)
    yield "frame_ids", list(answer.frame_ids)
    yield "model_hash", answer.model_hash
    yield "question_id", answer.question_id or ""
    yield "seq", record.fields["seq"]
