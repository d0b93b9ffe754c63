"""A field trial as MIMIC-IT: each chosen answer with its question and the frames that it saw.

It closes the loop: what was said in the field, marked right or corrected, becomes what the next
model is tuned on. It knows a trial's messages and MIMIC-IT's files; pictures stay the files that
were recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

from otter_robots.messages import Answer
from otter_runtime.errors import UserError
from otter_runtime.trials.exports.job import Asked, Job
from otter_runtime.trials.trial import Record, Sight
from otter_tuning.mimicit.image_store import ImageStore
from otter_tuning.mimicit.instructions import SUFFIX, Instruction, Instructions
from otter_tuning.mimicit.mixture import Source, write_mixture
from otter_tuning.mimicit.names import DATASETS, PAIR

SET = DATASETS["OWN"]
GROUP = "VIDEO_TEXT"
INSTRUCTIONS, IMAGES, MIXTURE = f"{SET.name}{SUFFIX}", f"{SET.name}.sqlite", "mixture.yaml"


def write(job: Job) -> None:
    """Write the job's trial as a set that `otter-edge tune` takes: pairs, pictures, a mixture.

    Without corrections every whole answer is a pair; with them, those that are marked. Raises
    UserError where no answer is left.
    """
    chosen = list(_chosen(job))
    if not chosen:
        raise UserError(
            f"{job.trial.name} has no answer to tune on; mark lines of `otter-edge trial answers` "
            'with "right": true or "corrected": "..." and give them as --corrections'
        )
    job.to.mkdir()
    with ImageStore(job.to / IMAGES) as store:
        store.add(_pictures(job, {one for pair in chosen for one in pair.frame_ids}))
        made = _instructions(job, chosen, store)
        job.written["pictures"] = len(store)
    job.written["pairs"] = len(made)
    made.write(job.to / INSTRUCTIONS)
    source = Source(mimicit_path=INSTRUCTIONS, images_path=IMAGES)
    write_mixture(job.to / MIXTURE, {GROUP: {SET.name: source}})


@dataclass(frozen=True)
class Chosen:
    """An answer that is to be learnt: `text` is what it should have been."""

    name: str
    question: str
    text: str
    frame_ids: tuple[int, ...]


def _chosen(job: Job) -> Iterator[Chosen]:
    asked = Asked()
    for moment in job.moments("answers"):
        if isinstance(moment, Sight):
            continue
        asked.hear(moment)
        answer = moment.message
        if isinstance(answer, Answer):
            text = _text(job, answer, moment)
            if text is None:
                job.written["not_chosen"] += 1
            elif not text.strip() or not asked.text(answer).strip() or not answer.frame_ids:
                job.written["without_a_question"] += 1
            else:
                yield Chosen(_name(job, moment), asked.text(answer), text, answer.frame_ids)


def _text(job: Job, answer: Answer, record: Record) -> str | None:
    """What is to be learnt of an answer; None where it was not chosen, or is cut short."""
    verdict = job.verdicts.of(record)
    if verdict is not None:
        return verdict.corrected or answer.text
    return None if job.verdicts.given or answer.partial else answer.text


def _name(job: Job, record: Record) -> str:
    fields = record.fields
    return f"{SET.name}_{PAIR}{job.trial.name}-{fields['epoch']}-{fields['seq']:05d}"


def _image(job: Job, frame_id: int) -> str:
    # Not as a video's numbered frames: a window may leave frames of the run out, which is no fault.
    return SET.image(f"{job.trial.name}-{frame_id:06d}")


def _pictures(job: Job, wanted: set[int]) -> Iterator[tuple[str, bytes]]:
    """The wanted frames, as they were recorded."""
    found = 0
    for sight in job.trial.sights():
        number = sight.show.stamp.id
        if number in wanted and sight.file:
            wanted.discard(number)
            found += 1
            job.progress("pictures", found, found + len(wanted))
            yield _image(job, number), sight.file


def _instructions(job: Job, chosen: list[Chosen], store: ImageStore) -> Instructions:
    """The pairs whose pictures are there; the same pair twice is one."""
    began_ns = int(job.trial.metadata.get("trial", {}).get("wall_ns", 0))
    began = datetime.fromtimestamp(began_ns // 10**9, timezone.utc)
    meta = {"version": "1", "time": began.isoformat(), "author": "otter-edge"}
    made = Instructions({**meta, "trial": job.trial.name, "missing": job.missing})
    seen: set[tuple[str, str, tuple[str, ...]]] = set()
    for one in chosen:
        images = tuple(name for name in (_image(job, n) for n in one.frame_ids) if name in store)
        job.written["frames_without_a_picture"] += len(one.frame_ids) - len(images)
        if images and (one.question, one.text, images) not in seen:
            seen.add((one.question, one.text, images))
            made.add(Instruction(one.name, one.question, one.text, images))
    return made
