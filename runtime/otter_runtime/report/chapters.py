"""The chapters of a report that are figures and words: latency, faults, frames, what ran, files.

It knows the facts and how pages are built; it does not read trials.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from otter_runtime.pages.markup import Child, Html, join, said, tag
from otter_runtime.pages.plot import Boxes, Plot
from otter_runtime.pages.scale import Scale, moments
from otter_runtime.pages.table import facts as facts_list
from otter_runtime.pages.table import folded, table
from otter_runtime.report.facts import Facts
from otter_runtime.report.latency import PARTS, Stage
from otter_runtime.report.over_time import COLOURS
from otter_runtime.report.troubles import Trouble
from otter_runtime.report.wording import (
    at,
    badge,
    count,
    digest,
    lasting,
    many,
    milliseconds,
    size,
)

LOUD = {"fault": "bad", "governor": "warn", "stop": "warn"}
BAR_REM = 1.7
STATES = {"whole": "good", "interrupted": "warn", "damaged": "bad"}


def latency(facts: Facts) -> Html:
    """A row per stage, with a bar from its median to its 99th percentile."""
    if not facts.stages:
        return tag("p", "No timing was recorded.")
    most = max(stage.p99 for stage in facts.stages) or 1.0
    rows = [_stage(stage, most) for stage in facts.stages]
    names = ("stage", "p50", "p95", "p99", "most", "of", "p50 · p95 · p99")
    return table("Milliseconds by stage", names, rows, "tnnnnnt")


def _stage(stage: Stage, most: float) -> list[Child]:
    swatch = COLOURS.get(stage.name) if stage.name in PARTS else None
    name = tag(
        "span",
        tag("i", class_=f"swatch {swatch}") if swatch else None,
        tag("b", stage.name, class_="stage"),
        tag("span", stage.about, class_="quiet small"),
        class_="stage-name",
    )
    figures = [milliseconds(value) for value in (stage.p50, stage.p95, stage.p99, stage.most)]
    return [name, *figures, count(stage.count), _whisker(stage, most)]


def _whisker(stage: Stage, most: float) -> Html:
    """A dot at the median, a line to the 99th percentile, a mark at the 95th."""
    p50, p95, p99 = (f"{100 * value / most:.1f}%" for value in (stage.p50, stage.p95, stage.p99))
    return tag(
        "span",
        tag("i", class_="range", style=f"left:{p50};right:calc(100% - {p99})"),
        tag("i", class_="tick", style=f"left:{p95}"),
        tag("i", class_="dot", style=f"left:{p50}"),
        class_="whisker",
        aria_hidden="true",
    )


def troubles(facts: Facts) -> Html:
    """Bars along the time, one line for each code, and a table that says the same and more."""
    if not facts.troubles:
        return tag("p", "None was recorded.")
    drawn = _timeline(facts)
    rows = [_trouble(one) for one in facts.troubles]
    names = ("at", "what", "said", "lasted", "over")
    return join(drawn, table("Faults and recovery", names, rows, "ntttt"))


def _timeline(facts: Facts) -> Html:
    lanes = list(dict.fromkeys(_lane(one) for one in facts.troubles))
    place = {lane: len(lanes) - number for number, lane in enumerate(lanes)}
    boxes: dict[str, list[tuple[float, float, float, float]]] = {}
    for one in facts.troubles:
        top = place[_lane(one)]
        end = facts.seconds if one.end_s is None else one.end_s
        boxes.setdefault(LOUD[one.kind], []).append((one.begin_s, end, top - 0.75, top - 0.25))
    names = {number - 0.5: lane for lane, number in place.items()}
    names[float(len(lanes))] = ""
    y = Scale(0.0, float(len(lanes)), sorted(names), lambda value: names[value])
    listed = "; ".join(
        f"{_lane(one)} at {at(one.begin_s)}, {_lasted(one)}" for one in facts.troubles
    )
    drawn = Plot(
        title="When, and how long",
        unit="",
        about="",
        x=moments(facts.seconds),
        y=y,
        marks=[Boxes("", found, colour) for colour, found in boxes.items()],
        rem=BAR_REM * len(lanes),
        times=True,
        told=listed,
    )
    return tag("div", drawn.html(), class_="plots lanes")


def _lane(one: Trouble) -> str:
    return "governor" if one.kind == "governor" else one.code


def _trouble(one: Trouble) -> list[Child]:
    what = badge(one.code, LOUD[one.kind])
    return [at(one.begin_s), what, said(one.detail), _lasted(one), said(one.recovery)]


def _lasted(one: Trouble) -> str:
    return "to the end" if one.end_s is None else lasting(one.end_s - one.begin_s)


def frames(facts: Facts) -> Html:
    """What became of them, and the gaps."""
    found = facts.frames
    every = found.every_s and f"{found.every_s * 1e3:.0f} ms"
    rows: list[tuple[str, Child]] = [
        ("shown to the model", count(found.shown)),
        ("encoded", count(found.encoded)),
        ("dropped, as a newer one came", count(found.dropped)),
        ("damaged", count(found.damaged)),
        ("not recorded", count(found.unrecorded)),
        ("usually from one to the next", every),
    ]
    if not found.gaps:
        return join(facts_list(rows), tag("p", "There was no gap.", class_="quiet after"))
    gaps = [
        (at(gap.begin_s), lasting(gap.end_s - gap.begin_s), said(gap.why)) for gap in found.gaps
    ]
    return join(
        facts_list(rows),
        tag("h3", many(len(gaps), "gap"), class_="after"),
        table("Gaps between frames", ("at", "lasted", "meanwhile"), gaps, "nnt"),
    )


def ran(facts: Facts) -> Html:
    """The program, the model and the machine."""
    one = facts.ran
    clocks = [f"set by {step.by_s:+.3f} s at {at(step.at_s)}" for step in one.clocks_set]
    machine = dict(one.machine)
    synced = {"yes": "follows another clock", "no": "follows no other clock"}
    clocks += [synced[word] for word in (machine.pop("clock_synced", ""),) if word in synced]
    rows: list[tuple[str, Child]] = [
        ("model", _told(" · ".join([one.model, *dict.fromkeys(one.precisions.values())]))),
        *(("model hash", digest(text)) for text in one.model_hashes),
        ("manifest, SHA-256", digest(one.manifest_sha256)),
        ("configuration, SHA-256", digest(one.config_sha256)),
        ("program, digest of its source", digest(one.build.get("code", ""))),
        ("versions", _told(_pairs(one.build, but="code"))),
        ("engine", _told(_pairs(one.engine))),
        ("device", _told(machine.pop("device", "") or machine.pop("system", ""))),
        ("power mode", _told(", ".join(one.power_modes) or "none is known")),
        ("processor clock", _told(_processor(machine))),
        ("machine", _told(_pairs(machine))),
        ("wall clock", _told(", ".join(clocks))),
        ("source", _told(", ".join(one.sources))),
        ("bundle", _told(one.bundle)),
    ]
    config = json.dumps(one.config, indent=1, ensure_ascii=False)
    return join(
        facts_list(rows),
        folded("The configuration", tag("pre", said(config), tabindex=0)) if one.config else None,
    )


def _told(text: str) -> Child:
    """Nothing where there is nothing to say."""
    return said(text) if text else None


def _processor(machine: dict[str, str]) -> str:
    """The governor of its clock, and the fastest it may be; taken out of `machine`."""
    governor, fastest = machine.pop("governor", ""), machine.pop("max_khz", "")
    mhz = f"up to {int(fastest) / 1e3:.0f} MHz" if fastest.isdecimal() else ""
    return ", ".join(text for text in (governor, mhz) if text)


def _pairs(values: Mapping[str, object], but: str = "") -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in values.items() if name != but)


def _value(value: object) -> str:
    if isinstance(value, dict):
        distinct = set(map(str, value.values()))
        return distinct.pop() if len(distinct) == 1 else _pairs(value)
    return str(value)


def integrity(facts: Facts) -> Html:
    """Each file with its hash, what is missing, and what each topic has."""
    found = facts.integrity
    state = badge(facts.state, STATES[facts.state])
    sentence = "Every byte was read, every message that has a number is here."
    notes: Iterable[str] = facts.notes or [sentence]
    files = [
        (
            said(file.name),
            size(file.bytes),
            count(file.messages),
            badge(*_file_state(file.finished, bool(file.harms))),
            digest(file.sha256),
        )
        for file in found.files
    ]
    topics = [(said(topic), count(number)) for topic, number in found.topics.items()]
    return join(
        tag("div", state, tag("ul", *(tag("li", said(note)) for note in notes)), class_="verdict"),
        table("Files", ("file", "size", "messages", "state", "SHA-256"), files, "tnntt"),
        folded("Messages by topic", table("Messages", ("topic", "messages"), topics, "tn")),
    )


def _file_state(finished: bool, harmed: bool) -> tuple[str, str]:
    if harmed:
        return "damaged", "bad"
    return ("whole", "good") if finished else ("not finished", "warn")
