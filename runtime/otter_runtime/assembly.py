"""A run put together from its configuration: bus, source, brain and front, and taken apart again.

It knows who needs whom; everything they do is theirs.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import msgspec

from otter_robots import endpoints
from otter_runtime import exemplar_files, folders
from otter_runtime.brain import Brain, Settings
from otter_runtime.bundle import MANIFEST
from otter_runtime.bus import Bus
from otter_runtime.child import ChildBrain
from otter_runtime.config import BusConfig, GovernorConfig, RunConfig
from otter_runtime.drain import Drain
from otter_runtime.errors import MissingExtra, UserError
from otter_runtime.eye import Eye, Source
from otter_runtime.front import Front, Say
from otter_runtime.governor import Governor
from otter_runtime.journal import Journal
from otter_runtime.keyring import Keyring
from otter_runtime.log import Log
from otter_runtime.lookout import Lookout
from otter_runtime.pushed import Pushed
from otter_runtime.readiness import Readiness
from otter_runtime.sources import specs
from otter_runtime.standing import Standing

if TYPE_CHECKING:
    from otter_runtime.metrics import Metrics
    from otter_runtime.trials.recorder import Recorder

POCKET = Path(__file__).parent / "pocket" / "bundle-int8"
JOURNAL = "journal.sqlite"
SWITCH_S = 0.0005
BUS = "bus"  # the source of frames that are pushed


@contextmanager
def assembled(config: RunConfig, say: Say = lambda envelope, message: None) -> Iterator[Front]:
    """The front of a run, ready for `run()`; SIGINT and SIGTERM stop it until the block ends.

    Everything a user can get wrong is found before the brain starts, except what is wrong with the
    bundle: that is the brain's to find. Raises UserError.
    """
    governor = _governor(config.governor, config.fast)
    source = _source(config)
    standing = Standing(config.instruction, config.interval_s, len(config.source), config.standing)
    pinned = exemplar_files.pins(config.exemplars)
    if config.fast and source.live:
        raise UserError("a live source cannot be read fast; leave --fast out")
    settings = Settings.of(config, str(config.bundle or POCKET))
    with ExitStack() as stack:
        stack.callback(source.close)
        witnesses = _witnesses(config, stack)
        # First in, last out: it hears the last words.
        recorder = _recorder(config, stack)
        bus = stack.enter_context(_bus(config.bus, config.health.reserve_mb))
        brain: Brain = ChildBrain(settings, config.brain.hung_s, config.brain.start_s)
        stack.callback(brain.close)
        if recorder:
            from otter_runtime.trials.tap import TappedBrain

            bus.attend(recorder)
            brain = TappedBrain(brain, recorder, config.record.picture == "jpeg")
        # Who pushes frames owes none while there is nothing to ask.
        silent_ms = None if isinstance(source, Pushed) else config.silent_ms
        eye = Eye(source, config.stale_ms, config.stuck_ms, silent_ms)
        governor.start()
        stack.callback(governor.close)
        front = Front(config, bus, eye, brain, standing, governor, say, witnesses)
        front.pins.stand(pinned)
        stack.enter_context(_signals(front))
        yield front


def _recorder(config: RunConfig, stack: ExitStack) -> Recorder | None:
    if config.record.folder is None:
        return None
    # A run that is not recorded does without the packages of a recording.
    from otter_runtime.trials.about import config_file
    from otter_runtime.trials.recorder import Recorder

    # Else a thread that computes keeps the loop from its next turn for 5 ms.
    sys.setswitchinterval(SWITCH_S)
    recorder = Recorder(config.record, config_file(config), Path(config.bundle or POCKET))
    stack.callback(recorder.close)
    return recorder


def _source(config: RunConfig) -> Source:
    if not config.source:
        raise UserError(
            "there is no source; give --source with a video file, a folder of images or a camera "
            f"number, or {BUS} for frames that a robot pushes"
        )
    if config.latency_ms >= config.stale_ms:
        raise UserError(
            f"latency_ms is {config.latency_ms:g}, so every frame would be stale on arrival "
            f"(stale_ms is {config.stale_ms:g}); raise stale_ms above it"
        )
    if config.source == [BUS]:
        return Pushed(config.latency_ms)
    if BUS in config.source:
        raise UserError(f"{BUS} is a live source and has no end; give it alone")
    sources = specs(config.source, config.folder_hz)
    return Drain(sources, config.fast, config.speed, config.latency_ms)


def _governor(config: GovernorConfig, fast: bool) -> Governor:
    for step in config.ladder:
        if step.bundle and not (Path(step.bundle) / MANIFEST).is_file():
            raise UserError(
                f"governor.ladder at {step.above_c:g} °C has the bundle {step.bundle}, where no "
                f"{MANIFEST} is; give the folder of an exported bundle"
            )
    # In lock-step a recording gives the same answers each time, however hot it gets.
    return Governor(msgspec.structs.replace(config, ladder=[]) if fast else config)


def _witnesses(config: RunConfig, stack: ExitStack) -> list[Say]:
    """Who hears what is published beside the bus: the log, and who serves the machine's health."""
    witnesses: list[Say] = []
    if config.log.file:
        log = Log(config.log.file, config.log.mb, config.log.keep)
        stack.callback(log.close)
        witnesses.append(log.hear)
    if config.health.address:
        readiness, metrics = Readiness(config.health.reserve_mb), _metrics()
        told = (readiness.dead, readiness.unready, metrics.text)
        stack.callback(Lookout(config.health.address, *told).close)
        witnesses += [readiness.hear, metrics.hear]
    return witnesses


def _metrics() -> Metrics:
    try:
        from otter_runtime.metrics import Metrics
    except ModuleNotFoundError as error:
        raise MissingExtra("prometheus-client", "metrics") from error
    return Metrics()


def _bus(config: BusConfig, reserve_mb: float) -> Bus:
    folder = Path(config.folder).absolute() if config.folder else None
    stream = config.stream or endpoints.stream_endpoint(folder)
    requests = config.requests or endpoints.requests_endpoint(folder)
    keyring = Keyring(Path(config.keys).expanduser().absolute()) if config.keys else None
    path = (folder or folders.state()) / JOURNAL
    journal = Journal(path, config.keep_days, config.keep_mb, reserve_mb)
    return Bus(stream, requests, journal, keyring)


@contextmanager
def _signals(front: Front) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        front.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
