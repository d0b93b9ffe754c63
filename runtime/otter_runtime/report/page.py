"""The report as one page: what matters first, then what it rests on.

It puts the chapters in their order; what is in them is theirs.
"""

from __future__ import annotations

from pathlib import Path

from otter_runtime.pages.document import document, section
from otter_runtime.pages.markup import Child, Html, said, tag
from otter_runtime.report import chapters
from otter_runtime.report.facts import Facts, Progress
from otter_runtime.report.gallery import cards
from otter_runtime.report.over_time import plots
from otter_runtime.report.reading import Reading
from otter_runtime.report.wording import badge, count, lasting, many, milliseconds
from otter_runtime.trials.trial import Trial

STYLE = Path(__file__).with_name("style.css")
RULE = (
    "Six lists, each with its worst first: wrong answers (where labels are given), abstentions, "
    "late answers, faults, answers the model was least sure of, and slow ones. Ten are taken from "
    "them in turns, and stand here by their time. Not every one of them need be bad."
)


def page(trial: Trial, reading: Reading, facts: Facts, progress: Progress) -> str:
    """The text of the file."""
    return document(
        f"Trial {facts.name}",
        _header(facts),
        tag("main", *_chapters(trial, reading, facts, progress)),
        tag("footer", f"Trial {facts.name}. This page loads nothing and runs nothing."),
        style=STYLE.read_text(encoding="utf-8"),
    )


def _chapters(trial: Trial, reading: Reading, facts: Facts, progress: Progress) -> list[Child]:
    bands = "Red bands are faults." if any(one.kind == "fault" for one in facts.troubles) else None
    return [
        _tiles(facts),
        section("time", "Over time", plots(facts, reading), about=bands),
        section("worst", _worst_title(facts), cards(facts, trial, progress), about=RULE),
        section("troubles", "Faults and recovery", chapters.troubles(facts)),
        section("latency", "Latency by stage", chapters.latency(facts), about="Milliseconds."),
        section("frames", "Frames", chapters.frames(facts)),
        section("ran", "What ran", chapters.ran(facts)),
        section("integrity", "Integrity", chapters.integrity(facts)),
    ]


def _worst_title(facts: Facts) -> str:
    number = len(facts.worst)
    return "The ten worst moments" if number == 10 else f"The worst moments ({number})"


def _header(facts: Facts) -> Html:
    begun = facts.begun.replace("T", " ").replace("Z", " UTC") or "at an unknown time"
    model = " ".join([facts.ran.model, *dict.fromkeys(facts.ran.precisions.values())])
    device = facts.ran.machine.get("device") or facts.ran.machine.get("machine", "")
    parts = [model, device, begun, lasting(facts.seconds)]
    colour = chapters.STATES[facts.state]
    alarms = [note for note in facts.notes if facts.state != "whole"]
    return tag(
        "header",
        tag("p", "Otter Edge · field trial", class_="eyebrow"),
        tag("h1", said(facts.name), " ", badge(facts.state, colour)),
        tag("p", said(" · ".join(part for part in parts if part)), class_="quiet lead"),
        tag("p", _sentence(facts), class_="lead"),
        tag("ul", *(tag("li", said(note)) for note in alarms), class_="alarms") if alarms else None,
    )


def _sentence(facts: Facts) -> str:
    """The trial in a sentence or two."""
    found = facts.counts
    asked = f"Asked {many(found.asked, 'time')}: " if found.asked is not None else ""
    late = f" ({count(found.late)} late)" if found.late else ""
    parts = [f"{asked}{many(found.answered, 'answer')}{late}"]
    parts += [many(found.abstained, "abstention")] if found.abstained else []
    parts += [f"{count(found.quiet)} with nothing new to say"] if found.quiet else []
    parts += [f"{count(found.open)} left open"] if found.open else []
    faults = [one for one in facts.troubles if one.kind == "fault"]
    over = sum(one.end_s is not None for one in faults)
    trouble = "No fault."
    if faults:
        recovered = "all" if over == len(faults) else f"{over}"
        trouble = f"{many(len(faults), 'fault')}, {recovered} recovered from."
    end = f"The run ended ({facts.ended})." if facts.ended else "The run's end is not recorded."
    return f"{', '.join(parts)}. {trouble} {end}"


def _tiles(facts: Facts) -> Html:
    found = facts.counts
    faults = sum(one.kind == "fault" for one in facts.troubles)
    cut = f"{count(found.partial)} cut off" if found.partial else ""
    whole = next((one for one in facts.stages if one.name == "whole answer"), None)
    tiles = [
        _tile("asked", count(found.asked), _of_them(found.questions)),
        _tile("answered", count(found.answered), _right(facts)),
        _tile("abstained", count(found.abstained), _most(found.reasons)),
        _tile("late", count(found.late), cut),
        _tile("median answer", milliseconds(whole.p50 if whole else None), "", "ms"),
        _tile("95th percentile", milliseconds(whole.p95 if whole else None), "", "ms"),
        _tile("frames dropped", count(facts.frames.dropped), _gaps(facts)),
        _tile("faults", count(faults), _restarts(facts)),
    ]
    return tag("ul", *tiles, class_="tiles")


def _tile(name: str, value: str, more: str, unit: str = "") -> Html:
    figure = tag("b", value, tag("small", f" {unit}") if unit else None)
    return tag(
        "li",
        tag("span", name, class_="name"),
        figure,
        tag("span", said(more) if more else "\u00a0", class_="more"),
        class_="tile",
    )


def _of_them(questions: int | None) -> str:
    return f"{count(questions)} by clients" if questions else ""


def _right(facts: Facts) -> str:
    found = facts.counts
    return f"{found.right} of {found.judged} right" if found.judged else ""


def _most(reasons: dict[str, int]) -> str:
    first = next(iter(reasons), "")
    return f"{reasons[first]} {first}" if first else ""


def _gaps(facts: Facts) -> str:
    return many(len(facts.frames.gaps), "gap") if facts.frames.gaps else "no gap"


def _restarts(facts: Facts) -> str:
    return many(facts.restarts, "restart") if facts.restarts else ""
