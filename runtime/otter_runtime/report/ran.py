"""What ran: the program, the model, the machine and its clocks, as the trial says.

It knows metadata and attachments, which are anybody's: what is not as expected is left out.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

import msgspec

from otter_robots.messages import Governor, Health, Status
from otter_runtime.report.reading import Reading
from otter_runtime.trials.trial import Trial
from otter_runtime.wire import Ready

CONFIG, MANIFEST = "config.json", "manifest.json"
SET_S = 0.05  # a wall clock that moves more than this from one heartbeat to the next was set


class ClockSet(msgspec.Struct, frozen=True, kw_only=True):
    """The wall clock was set while the trial went on."""

    at_s: float
    by_s: float


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """Texts are "" where the recording does not say; digests are SHA-256 in hex.

    `model_hashes` are those that answered, in their order; `precisions` those of the graphs.
    """

    model: str
    model_hashes: list[str]
    precisions: dict[str, str]
    bundle: str
    manifest_sha256: str
    config_sha256: str
    config: dict[str, Any]
    engine: dict[str, Any]
    build: dict[str, str]
    machine: dict[str, str]
    power_modes: list[str]
    clocks_set: list[ClockSet]
    sources: list[str]
    instructions: list[str]


def ran(trial: Trial, reading: Reading) -> Ran:
    """Everything that is known of it."""
    ready = [one.what for one in reading.of(Ready)]
    status = [one.what for one in reading.of(Status)]
    said = trial.metadata
    attached = trial.attachments
    manifest = _object(attached.get(MANIFEST, b""))
    told: list[Ready | Status] = [*ready, *status]
    names = [one.model for one in told if one.model]
    machine = dict(said.get("machine", {}))
    modes = [one.what.power_mode for one in reading.of(Governor)]
    modes += [one.what.power_mode for one in reading.of(Health)]
    return Ran(
        model=names[0] if names else str(manifest.get("name", "")),
        model_hashes=_distinct([one.model_hash for one in told]),
        precisions=_precisions(manifest),
        bundle=said.get("bundle", {}).get("path", ""),
        manifest_sha256=_digest(attached.get(MANIFEST)),
        config_sha256=_digest(attached.get(CONFIG)),
        config=_object(attached.get(CONFIG, b"")),
        engine=ready[0].engine if ready else {},
        build=dict(said.get("build", {})),
        machine=machine,
        power_modes=_distinct([machine.pop("power_mode", ""), *modes]),
        clocks_set=_clocks_set(reading),
        sources=_distinct([one.source for one in status]),
        instructions=_distinct([one.instruction or "" for one in status]),
    )


def _clocks_set(reading: Reading) -> list[ClockSet]:
    found = []
    for (_, before), (at_s, now) in pairwise(reading.clocks):
        by_s = ((now.wall_ns - before.wall_ns) - (now.mono_ns - before.mono_ns)) / 1e9
        if abs(by_s) > SET_S:
            found.append(ClockSet(at_s=round(at_s, 3), by_s=round(by_s, 3)))
    return found


def _precisions(manifest: dict[str, Any]) -> dict[str, str]:
    graphs = manifest.get("graphs")
    if not isinstance(graphs, dict):
        return {}
    return {
        name: str(graph["precision"])
        for name, graph in graphs.items()
        if isinstance(graph, dict) and "precision" in graph
    }


def _object(data: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}


def _digest(data: bytes | None) -> str:
    return "" if data is None else hashlib.sha256(data).hexdigest()


def _distinct(texts: list[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))
