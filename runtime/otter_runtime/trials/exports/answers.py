"""The answers of a trial as lines for a person to mark: a file of corrections begins as this."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from otter_robots.messages import Answer
from otter_runtime.trials.exports.job import ANSWERED, ASKED, Asked
from otter_runtime.trials.trial import Trial


def answers(trial: Trial) -> Iterator[dict[str, Any]]:
    """`{epoch, seq, seconds, question, answer, frame_ids}` of every answer, in order."""
    asked = Asked()
    began_ns = int(trial.metadata.get("trial", {}).get("wall_ns", 0))
    for record in trial.records({ASKED, ANSWERED}):
        asked.hear(record)
        answer = record.message
        if isinstance(answer, Answer):
            yield {
                "epoch": record.fields["epoch"],
                "seq": record.fields["seq"],
                "seconds": round((record.log_ns - began_ns) / 1e9, 3),
                "question": asked.text(answer),
                "answer": answer.text,
                "frame_ids": list(answer.frame_ids),
            }
