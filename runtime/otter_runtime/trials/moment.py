"""A moment of a trial as people name it: seconds since it began, or the time of day.

It knows a trial's beginning; it does not know what happened then.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from otter_runtime.errors import UserError
from otter_runtime.trials.trial import Trial

FOREVER_NS = 1 << 63


def moment(word: str, trial: Trial) -> int:
    """Nanoseconds on the trial's clock, for `12.5`, `20:15:30` or `2026-11-22T20:15:30`, UTC.

    Raises UserError for another word.
    """
    try:
        return trial.begun_ns + round(float(word) * 1e9)
    except (ValueError, OverflowError):
        pass
    begun = datetime.fromtimestamp(trial.begun_ns / 1e9, timezone.utc)
    try:
        return _ns(_moment(word.removesuffix("Z"), begun))
    except ValueError:
        raise UserError(
            f"{word!r} is no moment; write seconds since the trial began, e.g. 12.5, or a time in "
            f"UTC: it began at {begun:%Y-%m-%dT%H:%M:%S}"
        ) from None


def _moment(word: str, begun: datetime) -> datetime:
    if "T" in word or "-" in word:
        given = datetime.fromisoformat(word)
        return given if given.tzinfo else given.replace(tzinfo=timezone.utc)
    time = datetime.strptime(word, "%H:%M:%S" if word.count(":") == 2 else "%H:%M").time()
    at = datetime.combine(begun.date(), time, timezone.utc)
    # A trial may go on past midnight.
    return at if at >= begun.replace(microsecond=0) else at + timedelta(days=1)


def _ns(at: datetime) -> int:
    since = at - datetime.fromtimestamp(0, timezone.utc)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
