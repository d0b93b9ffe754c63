"""Which bundle a trial was recorded with, found again by its hash.

It knows where bundles may lie; it does not know how they are run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from otter_runtime.assembly import POCKET
from otter_runtime.bundle import MANIFEST, Manifest, model_hash, read_manifest
from otter_runtime.config import RunConfig
from otter_runtime.errors import BundleError, TrialError
from otter_runtime.trials.trial import Trial


def recorded_config(trial: Trial) -> RunConfig:
    """The configuration of the run. Raises TrialError where the trial has none."""
    try:
        return msgspec.json.decode(trial.attachments["config.json"], type=RunConfig)
    except KeyError:
        raise TrialError(
            f"{trial.path} has no config.json: it was recorded from the bus, without frames; "
            "a trial that is to be replayed is recorded by `otter-edge run --record`"
        ) from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise TrialError(
            f"the config.json of {trial.path} is not this version's ({error}); "
            "replay it with the version that it is from"
        ) from error


def recorded_hash(trial: Trial) -> str:
    """The model's hash by the manifest that is attached. Raises TrialError."""
    try:
        manifest = msgspec.json.decode(trial.attachments["manifest.json"], type=Manifest)
    except (KeyError, msgspec.MsgspecError, ValueError) as error:
        raise TrialError(
            f"{trial.path} does not say which model answered; say it with --bundle"
        ) from error
    return model_hash(manifest.files)


def find(trial: Trial, wanted: str) -> Path:
    """The folder of the bundle with this hash. Raises BundleError."""
    looked: list[Path] = []
    for folder in _candidates(trial):
        if folder not in looked and (folder / MANIFEST).is_file():
            looked.append(folder)
            if _hash(folder) == wanted:
                return folder
    raise BundleError(
        f"{trial.path} was recorded with the model {wanted[:16]}, which is none of "
        f"{', '.join(map(str, looked))}; copy its bundle from the device and give --bundle, or "
        "give another one to see what that says"
    )


def _hash(folder: Path) -> str:
    with contextlib.suppress(BundleError):
        return model_hash(read_manifest(folder / MANIFEST).files)
    return ""


def _candidates(trial: Trial) -> Iterator[Path]:
    """Where it lay when it was recorded, what comes with the runtime, and the neighbours."""
    config = recorded_config(trial)
    names = [trial.metadata.get("bundle", {}).get("path"), config.bundle]
    names += [step.bundle for step in config.governor.ladder]
    named = [Path(name) for name in names if name]
    yield from (*named, POCKET)
    for path in named:
        if path.parent.is_dir():
            yield from sorted(path.parent.iterdir())
