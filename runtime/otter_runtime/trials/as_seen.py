"""A trial's frames and asks in the order in which the brain saw them, not in which they came.

A frame counts once it was encoded, and an ask is about the window that it was answered from: both
are in what the brain said. So a replay in this order shows each ask the very frames that it had in
the field, whatever the clock does. It knows records; it does not know brains.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from otter_runtime.trials.channels import ordered, told
from otter_runtime.trials.trial import Record, Sight, Trial
from otter_runtime.wire import Ask, Said, Shown

_ASK, _SHOWN, _SAID = ordered(Ask), told(Shown), told(Said)


def saw(trial: Trial) -> dict[str, int]:
    """The newest frame that each answered ask was answered from."""
    said = (record.fields for record in trial.records({_SAID}))
    return {one["id"]: one["stamps"][-1]["id"] for one in said}


def as_seen(source: Iterable[Record | Sight], saw: Mapping[str, int]) -> Iterator[Record | Sight]:
    """The same without frames that were dropped and asks that nobody answered."""
    shown: dict[int, Sight] = {}
    waiting: list[Record] = []
    newest: int | None = None
    for one in source:
        if isinstance(one, Sight):
            shown[one.show.stamp.id] = one
        elif one.topic == _ASK:
            waiting += [one] if one.fields["id"] in saw else []
        else:
            yield one
        if isinstance(one, Record) and one.topic == _SHOWN and one.fields["kept"]:
            newest = one.fields["stamp"]["id"]
            if newest in shown:
                yield shown[newest]
            shown = {number: sight for number, sight in shown.items() if number > newest}
        due = [ask for ask in waiting if saw[ask.fields["id"]] == newest]
        waiting = [ask for ask in waiting if ask not in due]
        yield from due
