"""What a trial says of the run that it is of."""

from __future__ import annotations

import msgspec

from otter_runtime.config import RunConfig
from otter_runtime.trials.about import config_file


def test_a_trial_keeps_no_password() -> None:
    config = RunConfig(source=["rtsp://me:hush@cam:554/a", "clip.avi"], interval_s=2.0)
    kept = config_file(config)["config.json"]
    assert b"hush" not in kept
    read = msgspec.json.decode(kept, type=RunConfig)
    assert read.source == ["rtsp://cam:554/a", "clip.avi"]
    assert read == msgspec.structs.replace(config, source=read.source)
