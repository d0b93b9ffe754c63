"""Where runs come from: what a trial has recorded, or what a bundle says when it is played to it.

It knows trials and bundles; it does not know what is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from otter_runtime.compare.exchange import Run
from otter_runtime.compare.reading import run_of
from otter_runtime.trials.replay import Replay
from otter_runtime.trials.trial import SHOW, Record, Trial

Progress = Callable[[str, int, int], None]  # what, how much is done, of how much


def recorded(trial: Trial) -> Run:
    """What was said when it was recorded. Raises TrialError."""
    return run_of(trial.name, trial.records())


def replayed(trial: Trial, bundle: Path, seen: bool, progress: Progress) -> tuple[Run, str]:
    """What this bundle says of the trial, and what it could not be given; "" for nothing.

    With `seen` of the very frames that were answered from in the field, else of those that it would
    have had by then.

    Raises TrialError for a trial that cannot be replayed, BundleError.
    """
    frames = sum(1 for _ in trial.records({SHOW}))
    replay = Replay(trial, bundle, seen=seen)

    def watched() -> Iterator[Record]:
        for record in replay.records(inputs=True):
            if record.topic == SHOW:
                progress(f"frames through {bundle.name}", replay.frames, frames)
            yield record

    run = run_of(bundle.name, watched(), "table")
    named = f"{bundle.resolve().name}@{run.model_hash[:8]}"
    return msgspec.structs.replace(run, name=named), _lacking(replay)


def _lacking(replay: Replay) -> str:
    lacking = replay.lacking
    if not lacking:
        return ""
    return (
        f"the trial lacks {len(lacking.frames)} frames and {lacking.messages} messages, so that "
        "its replay is not all that was seen; see `otter-edge trial check`"
    )
