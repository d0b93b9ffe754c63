"""A replay as a trial of its own: a folder that whatever reads trials reads as well.

It knows a replay's records and segments; it does not know brains.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from otter_runtime.errors import TrialError
from otter_runtime.trials.about import About, about
from otter_runtime.trials.channels import CAMERA, channels
from otter_runtime.trials.replay import Replay
from otter_runtime.trials.segment import PART, Segment
from otter_runtime.trials.trial import Record
from otter_runtime.trials.verified import promote

SYNC_MESSAGES = 256


def new_folder(path: Path) -> Path:
    """An empty folder. Raises TrialError where there is something in it, or it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        taken = any(path.iterdir())
    except OSError as error:
        raise TrialError(f"{path} cannot be written ({error.strerror}); give a folder") from error
    if taken:
        raise TrialError(f"{path} is not empty; give a new folder for the replay")
    return path


def write(replay: Replay, records: Iterable[Record], folder: Path) -> None:
    """Write all that a replay gives with its inputs into `folder`. Raises RecordError."""
    path = folder / "0000.mcap"
    segment = Segment(path, channels().values(), _about(replay, folder.name))
    for record in records:
        if record.topic in channels():
            segment.add(record.topic, record.data, record.log_ns, record.log_ns, record.order)
        if record.topic == CAMERA:
            segment.end_chunk()
        if segment.unsynced >= SYNC_MESSAGES:
            segment.sync()
    lacking = replay.lacking
    lost = {"lost": str(lacking.messages), "lost_frames": ",".join(map(str, lacking.frames))}
    promote(Path(os.fspath(path) + PART), path, segment.finish(lost))


def _about(replay: Replay, name: str) -> About:
    """What computed it, and the clocks of the trial that it is of."""
    config = {"config.json": replay.trial.attachments["config.json"]}
    here, trial = about(name, config, replay.bundle), replay.trial
    clock = {"wall_ns": str(trial.begun_ns), "mono_ns": str(trial.begun_ns - trial.ahead_ns)}
    of = {"trial": trial.name, "as_seen": str(replay.seen).lower()}
    metadata = {**here.metadata, "trial": {**here.metadata["trial"], **clock}, "replay": of}
    return About(name, int(clock["mono_ns"]), int(clock["wall_ns"]), metadata, here.files)
