"""What `otter-edge run` can be told: frozen structs hold the defaults, a YAML file overrides them.

It knows names and types; it does not know what the values do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from otter_robots import settings
from otter_robots.messages import MOST_IMAGES, Id, UserText, When

# Wide, and finite: what is beyond is a slip of the finger, and no clock can count it.
Positive = Annotated[float, msgspec.Meta(ge=1e-6, le=1e9)]
NotNegative = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Many = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Provider = Literal["cpu", "cuda", "tensorrt", "tensorrt-native"]


class WindowConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Which frames count; None means what the bundle was trained with.

    `policy` chooses `frames` of those that come at `rate_hz`: the `last`, `uniform`ly over the last
    `span_s`, `keyframes` that differ by `change` (0 to 1, of brightness), or the `newest` alone.
    """

    frames: Many | None = None
    rate_hz: Positive | None = None
    policy: Literal["last", "uniform", "keyframes", "newest"] = "last"
    span_s: Positive = 16.0
    change: Share = 0.06


class StandingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """When the standing instruction is asked, and which of its answers are not worth saying.

    It is asked every `interval_s`, on a `change` (0 to 1, of brightness) since it was asked last,
    or on both. Answers, or skills, that are in `quiet` are not said; with `repeat` false neither is
    one that was said just before.
    """

    when: When = "interval"
    change: Share = 0.06
    quiet: list[str] = []
    repeat: bool = True


class ExemplarConfig(msgspec.Struct, frozen=True, kw_only=True):
    """An exemplar that stands from the start: an `instruction` about `pictures`, oldest first.

    They are JPEG or PNG files; `answer` is the answer wanted.
    """

    pictures: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MOST_IMAGES)]
    instruction: UserText
    answer: UserText


class BusConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the runtime is reached. `folder` holds both sockets, the journal and the audit.

    Without it the sockets are in the per-user run folder, the rest in the state folder. `keys` is
    the folder of keys that tcp endpoints ask for. What was published is kept for `keep_days`, and
    no more of it than `keep_mb`.
    """

    folder: str | None = None
    stream: str | None = None
    requests: str | None = None
    keys: str | None = None
    keep_days: Positive = 7.0
    keep_mb: Positive = 1000.0


class BrainConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the engines run; `hung_s` of silence end a brain, `start_s` one that does not come up.

    `history_tokens` is how much of a conversation stands in front of its next question;
    `draft_tokens` are tried at once where the last answers went on like this, 0 for none; None
    is what pays with the bundle.
    """

    threads: Many | None = None
    provider: Provider = "cpu"
    history_tokens: Annotated[int, msgspec.Meta(ge=0)] = 256
    draft_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    hung_s: Positive = 10.0
    start_s: Positive = 300.0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the runtime may spend at most; None is no limit. `bundle` is a smaller model."""

    rate_hz: Positive | None = None
    window_frames: Many | None = None
    max_new_tokens: Many | None = None
    bundle: str | None = None


class StepConfig(Limits, frozen=True, kw_only=True):
    """A step of the governor's ladder: its limits hold at `above_c` degrees Celsius or more."""

    above_c: Annotated[float, msgspec.Meta(ge=-60, le=200)]


class GovernorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What is lowered when it gets hot: nothing without a ladder, or where there are no sensors.

    A step is left `back_c` below where it begins, and no two changes are nearer than `dwell_s`.
    The sensors below `root` are read every `interval_s`; `zones` names those that count, if not
    all, and `tegrastats` a file that `tegrastats --logfile` writes.
    """

    ladder: list[StepConfig] = []
    back_c: Positive = 5.0
    dwell_s: Positive = 15.0
    interval_s: Positive = 1.0
    zones: list[str] = []
    root: str = "/"
    tegrastats: str | None = None


class HealthConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where `/healthz`, `/readyz` and `/metrics` are served: `127.0.0.1:9464`, or nowhere.

    With less than `reserve_mb` left where the journal is, the runtime is not ready, and says so.
    """

    address: str | None = None
    reserve_mb: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 100.0


class LogConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A log of what is published, JSON lines: `file` or, where it is `-`, the standard output.

    At `mb` the file becomes the first of `keep` older ones, and a new one begins.
    """

    file: str | None = None
    mb: Positive = 10.0
    keep: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 3


class RecordConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where trials are recorded; nowhere without a `folder`. See docs/trials.md.

    A new file begins every `segment_s`. A frame that did not come as a file is a `png`, or goes
    through `jpeg` before the model sees it, which is smaller and delays it. `queue_frames` may wait
    to be written. Trials older than `keep_days`, or beyond `keep_gb` in all, are removed, oldest
    first, and so are more of them where less than `reserve_mb` of the disk is free.
    """

    folder: str | None = None
    segment_s: Positive = 60.0
    picture: Literal["png", "jpeg"] = "png"
    queue_frames: Many = 16
    keep_days: Positive = 30.0
    keep_gb: Positive = 20.0
    reserve_mb: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 500.0


class RunConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one run.

    `instruction` is one text for all sources or one for each; none leaves the runtime to answer
    questions. `fast` sees every frame of a recording as quickly as it is answered, `speed` plays it
    so many times faster than real time. `wait_s` is how long to wait for a first subscriber before
    the first frame. An answer is valid until its newest frame is `ttl_ms` old; a live camera whose
    newest frame is older than `stale_ms`, that gave none for `silent_ms` or that repeated one
    picture for `stuck_ms`, is not answered from. Its pictures are `latency_ms` old when they arrive
    (`otter-edge doctor --camera` measures it). An answer whose newest frame is older than
    `oldest_ms` when it is complete is an Abstain instead. `deadline_ms` is for questions that bring
    none of their own. `exemplars` stand by their names, as if they had been sent over the bus.
    """

    source: list[str] = []
    bundle: str | None = None
    instruction: list[str] = []
    interval_s: Positive = 1.0
    fast: bool = False
    speed: Positive = 1.0
    folder_hz: Positive = 1.0
    latency_ms: NotNegative = 0.0
    wait_s: NotNegative = 0.0
    deadline_ms: Positive = 30_000.0
    ttl_ms: Positive = 3000.0
    stale_ms: Positive = 2000.0
    silent_ms: Positive = 800.0
    stuck_ms: Positive = 1000.0
    oldest_ms: Positive = 10_000.0
    window: WindowConfig = WindowConfig()
    standing: StandingConfig = StandingConfig()
    exemplars: dict[Id, ExemplarConfig] = {}
    bus: BusConfig = BusConfig()
    brain: BrainConfig = BrainConfig()
    governor: GovernorConfig = GovernorConfig()
    health: HealthConfig = HealthConfig()
    log: LogConfig = LogConfig()
    record: RecordConfig = RecordConfig()


def read(path: Path | None, overrides: dict[str, Any]) -> RunConfig:
    """The defaults, overridden by the YAML file at `path` and then by `overrides` (nested alike).

    Raises UserError for a file that cannot be read, an unknown name or a value of another type.
    """
    values = settings.merged(RunConfig, path, overrides)
    for name in ("source", "instruction"):
        values[name] = _texts(values.get(name, []))
    return settings.convert(RunConfig, values, path)


def _texts(value: object) -> object:
    """A list of texts, where one text or a camera's number will do as well.

    YAML reads `gst: v4l2src` as a mapping; it is that text.
    """
    values = value if isinstance(value, list) else [value]
    return [_text(one) for one in values]


def _text(value: object) -> object:
    if isinstance(value, dict) and list(value) == ["gst"]:
        return f"gst: {value['gst']}"
    return str(value) if type(value) is int else value
