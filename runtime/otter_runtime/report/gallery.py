"""The worst moments as cards: the frames that were seen, what was asked and said, why it is here.

It knows moments and the trial's pictures; it does not know how moments are chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from otter_runtime.errors import TrialError
from otter_runtime.pages.markup import Child, Html, said, tag
from otter_runtime.pages.pictures import picture as image
from otter_runtime.report.facts import Facts, Progress
from otter_runtime.report.wording import at, badge, lasting, milliseconds
from otter_runtime.report.worst import Kind, Worst
from otter_runtime.trials import picture
from otter_runtime.trials.trial import Sight, Trial

EARLIER = 3  # frames beside the newest
LARGE, SMALL = 448, 176  # pixels at most
BADGES: dict[Kind, tuple[str, str]] = {
    "wrong": ("wrong", "bad"),
    "abstained": ("abstained", "warn"),
    "late": ("late", "warn"),
    "fault": ("fault", "bad"),
    "unsure": ("least sure", "c3"),
    "slow": ("slow", "c1"),
}


def cards(facts: Facts, trial: Trial, progress: Progress) -> Html:
    """One for each moment, in the order of time."""
    if not facts.worst:
        return tag("p", "Nothing was asked, and nothing went wrong.")
    shown = _pictures(facts.worst, trial, progress)
    return tag("ol", *(_card(one, shown) for one in facts.worst), class_="cards")


def _pictures(moments: Sequence[Worst], trial: Trial, progress: Progress) -> dict[int, Html]:
    """The pictures that are needed, by the message that shows them; the newest are large."""
    newest = {one.orders[-1] for one in moments if one.orders}
    wanted = newest.union(*(one.orders[-1 - EARLIER :] for one in moments))
    found: dict[int, Html] = {}
    if wanted:
        for sight in trial.sights():
            if sight.record.order in wanted:
                found[sight.record.order] = _picture(sight, sight.record.order in newest)
                progress("pictures", len(found), len(wanted))
            if len(found) == len(wanted):
                break
    return found


def _picture(sight: Sight, large: bool) -> Html:
    stamp = sight.show.stamp
    if not sight.file:
        return _none(f"frame {stamp.id} was not recorded: the disk was too slow for it")
    try:
        pixels = picture.decode(sight.file)
    except TrialError:
        return _none(f"frame {stamp.id} cannot be decoded")
    exact = picture.digest(pixels) == sight.show.digest
    alt = f"frame {stamp.id} of {stamp.source}"
    alt += "" if exact else ", which decodes to other pixels here than were seen"
    return image(pixels, alt, LARGE if large else SMALL)


def _none(why: str) -> Html:
    return tag("span", why, class_="no-picture")


def _card(one: Worst, shown: Mapping[int, Html]) -> Html:
    head = tag(
        "p",
        tag("b", at(one.at_s), class_="when"),
        *(badge(*BADGES[kind]) for kind in one.kinds),
        class_="card-head",
    )
    asked = tag("p", said(one.question), class_="asked") if one.question else None
    words = tag("p", said(one.said or "(nothing)"), class_="answer")
    why = tag("p", said(one.why), class_="why") if one.why else None
    text = tag("div", head, asked, words, why, tag("p", *_figures(one), class_="figures"))
    return tag("li", _film(one, shown), text, class_="card")


def _film(one: Worst, shown: Mapping[int, Html]) -> Html:
    """The newest frame, and beside it those before."""
    known = [shown[order] for order in one.orders if order in shown]
    if not known:
        return tag("div", _none("no frame of this moment is recorded"), class_="film alone")
    *before, newest = known
    earlier = before[-EARLIER:]
    aside = tag("div", *earlier, class_="earlier") if earlier else None
    return tag("div", newest, aside, class_="film" if earlier else "film alone")


def _figures(one: Worst) -> Iterator[Child]:
    """Small print, divided by dots."""
    parts = list(_parts(one))
    for number, part in enumerate(parts):
        yield f" · {part}" if number else part


def _parts(one: Worst) -> Iterator[str]:
    if one.times > 1:
        yield f"{one.times} times in {lasting(one.until_s - one.at_s)}"
    elif one.until_s > one.at_s:
        yield f"lasted {lasting(one.until_s - one.at_s)}"
    if one.confidence is not None:
        yield f"{100 * one.confidence:.0f} % sure"
    if one.total_ms is not None:
        yield f"took {milliseconds(one.total_ms)} ms"
    if one.age_ms is not None and one.ttl_ms is not None:
        yield f"frame {milliseconds(one.age_ms)} ms old, valid for {milliseconds(one.ttl_ms)} ms"
    if one.frame_ids:
        first, last = one.frame_ids[0], one.frame_ids[-1]
        yield f"frame {last}" if first == last else f"frames {first}\u2013{last}"
